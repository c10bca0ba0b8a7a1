import os

from oss_wsgi.local.storage.process_lock import create_locked, file_lock


def test_a_lock_is_free_once_its_holder_closes_it(tmp_path):
    path = tmp_path / "lock"
    descriptor = create_locked(path)
    with file_lock(path, wait=False) as acquired:
        assert acquired is False
    os.close(descriptor)
    with file_lock(path, wait=False) as acquired:
        assert acquired is True
        with file_lock(path, wait=False) as acquired_twice:
            assert acquired_twice is False
