import os
import stat
import sys

import pytest

from local_oss.kept_keys import FILE, DamagedKeysError, kept_keys
from oss_wsgi.private_file import UnsafeFileError

from ..support.callbacks import shared_key
from ..support.foreign_files import AS_ROOT, KINDS, NOBODY, plant, victim_of
from .stored import put


def keys_of(directory, **options):
    return kept_keys(directory, lambda: shared_key(512), bits=512, **options)


def test_a_restart_changes_nothing(make_oss):
    first = make_oss()
    first.close()
    second = make_oss()
    assert (second.access_key_id, second.access_key_secret) == (first.access_key_id, first.access_key_secret)
    assert second.public_key_pem == first.public_key_pem


def test_a_reset_makes_new_keys_and_keeps_the_objects(make_oss, tmp_path, monkeypatch):
    first = make_oss()
    put(first.storage.bucket("examplebucket"), "a")
    first.close()
    shared_key.cache_clear()
    second = make_oss(reset_keys=True)
    assert second.access_key_id != first.access_key_id
    assert second.access_key_secret != first.access_key_secret
    assert second.public_key_pem != first.public_key_pem
    assert second.storage.bucket("examplebucket").get("a")


def test_given_keys_win_and_are_not_kept(make_oss, tmp_path):
    make_oss(access_key_id="given-id", access_key_secret="given-secret").close()
    assert "given-secret" not in (tmp_path / "objects" / FILE).read_text()
    assert make_oss().access_key_id != "given-id"


def test_a_temporary_folder_keeps_none(make_oss):
    oss = make_oss(directory=None)
    assert not (oss.directory / FILE).exists()


@pytest.mark.skipif(sys.platform == "win32", reason="modes are of POSIX")
def test_only_the_owner_can_read_them(tmp_path):
    keys_of(tmp_path)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_former_secrets_are_remembered(tmp_path):
    first = keys_of(tmp_path)
    second = keys_of(tmp_path, reset=True)
    assert second.former == (first.access_key_secret,)
    assert keys_of(tmp_path).former == second.former


def test_a_callback_key_of_another_size_is_replaced(tmp_path):
    first = keys_of(tmp_path)
    second = kept_keys(tmp_path, lambda: shared_key(1024), bits=1024)
    assert second.callback_key.bits == 1024
    assert second.access_key_secret == first.access_key_secret


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"access_key_id": 1}'])
def test_a_damaged_file_says_what_to_do(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(DamagedKeysError, match="remove it, and new ones are made"):
        keys_of(tmp_path)


@AS_ROOT
def test_keys_that_another_user_planted_are_refused_with_the_owner_and_the_fix(make_oss, tmp_path):
    directory = tmp_path / "objects"
    make_oss().close()
    directory.chmod(0o777)
    for path in (directory, directory / FILE):
        os.chown(path, NOBODY, NOBODY)
    for options in ({}, {"reset_keys": True}):
        with pytest.raises(UnsafeFileError, match=r"\.keys\.json' belongs to user 65534") as raised:
            make_oss(**options)
        assert "let root run `chown 0 " in str(raised.value)


@AS_ROOT
def test_the_owner_of_the_folder_alone_is_no_reason(make_oss, tmp_path):
    directory = tmp_path / "objects"
    first = make_oss()
    first.close()
    directory.chmod(0o777)
    os.chown(directory, NOBODY, NOBODY)
    assert make_oss().access_key_id == first.access_key_id


def test_keys_that_others_may_write_are_refused(tmp_path):
    keys_of(tmp_path)
    (tmp_path / FILE).chmod(0o620)
    with pytest.raises(UnsafeFileError, match="can be changed by other users"):
        keys_of(tmp_path)


def test_keys_that_others_could_only_read_are_used(tmp_path):
    first = keys_of(tmp_path)
    (tmp_path / FILE).chmod(0o644)
    assert keys_of(tmp_path).access_key_id == first.access_key_id
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["dangling link", "hard link"])
def test_what_is_no_regular_file_with_one_name_holds_no_keys(tmp_path, kind):
    victim = victim_of(tmp_path)
    before = victim.state()
    plant(kind, tmp_path / FILE, victim)
    with pytest.raises(UnsafeFileError, match=KINDS[kind]):
        keys_of(tmp_path)
    assert victim.state() == before
    assert not (tmp_path / "missing").exists()


def test_no_secret_is_in_a_repr(tmp_path):
    keys = keys_of(tmp_path)
    assert keys.access_key_secret not in repr(keys)
    assert "PRIVATE" not in repr(keys)


def test_processes_that_start_together_have_the_same_keys(tmp_path):
    """The second finds no file, and then one, as the first writes it meanwhile."""
    first = []

    def make_late():
        first.append(keys_of(tmp_path))
        return shared_key(512)

    second = kept_keys(tmp_path, make_late, bits=512)
    assert (second.access_key_id, second.access_key_secret) == (first[0].access_key_id, first[0].access_key_secret)
