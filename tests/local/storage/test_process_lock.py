import os

from oss_wsgi.local.storage.contents import hold, locked


def test_what_a_process_holds_nobody_else_has_until_it_lets_go(tmp_path):
    path = tmp_path / "lock"
    descriptor = hold(path)
    with locked(path, wait=False) as had:
        assert had is False
    os.close(descriptor)
    with locked(path, wait=False) as had:
        assert had is True
        with locked(path, wait=False) as also:
            assert also is False
