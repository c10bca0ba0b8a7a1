"""Files and folders that their owner alone can read: new ones, and those that others could read or put there before."""

from __future__ import annotations

import os
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from oss_wsgi.private_file import (
    UnsafeFileError,
    check_own,
    check_private,
    file_lock,
    lock,
    make_own_folder,
    make_private_folder,
    narrow,
    narrow_folder,
    open_own,
    open_private,
    real_path,
    write_private,
)

from .support.foreign_files import AS_ROOT, KINDS, NOBODY, Victim, plant, victim_of
from .support.forks import run
from .support.ledger_programs import POSIX

pytestmark = POSIX

NEW = os.O_WRONLY | os.O_CREAT


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0, 0o077, 0o777], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_new_files_and_folders_are_private(tmp_path: Path) -> None:
    make_private_folder(tmp_path / "a" / "b")
    os.close(open_private(tmp_path / "a" / "b" / "file", NEW))
    assert [mode(tmp_path / name) for name in ("a", "a/b", "a/b/file")] == [0o700, 0o700, 0o600]


@pytest.mark.parametrize("before", [0o644, 0o666, 0o400, 0o777])
def test_a_file_that_exists_becomes_private(tmp_path: Path, before: int) -> None:
    for number, change in enumerate((lambda path: os.close(open_private(path, os.O_RDONLY)), narrow)):
        path = tmp_path / f"file{number}"
        path.touch()
        path.chmod(before)
        change(path)
        assert mode(path) == 0o600


def test_a_folder_that_exists_stays_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_private_folder(tmp_path)
    assert mode(tmp_path) == 0o755


def test_a_file_in_the_place_of_a_folder_is_called_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="it is not a folder"):
        make_private_folder(tmp_path / "file")


def test_narrow_ignores_a_missing_file(tmp_path: Path) -> None:
    narrow(tmp_path / "missing")
    assert not (tmp_path / "missing").exists()


def test_a_file_that_may_not_be_narrowed_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError

    path = tmp_path / "file"
    path.touch()
    path.chmod(0o644)
    monkeypatch.setattr("oss_wsgi.private_file.os.chmod", refuse)
    os.close(open_private(path, os.O_RDONLY))
    assert "chmod 600" in caplog.text
    caplog.clear()
    monkeypatch.undo()
    path.chmod(0o400)
    monkeypatch.setattr("oss_wsgi.private_file.os.chmod", refuse)
    os.close(open_private(path, os.O_RDONLY))
    assert caplog.records == [], "nobody else can read it"


def test_a_folder_becomes_private_and_a_missing_one_is_ignored(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    narrow_folder(tmp_path)
    narrow_folder(tmp_path / "missing")
    assert mode(tmp_path) == 0o700
    assert not (tmp_path / "missing").exists()


def test_a_folder_in_a_file_is_not_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        make_private_folder(tmp_path / "file" / "folder")


@pytest.mark.parametrize("has_links", [True, False])
def test_a_text_is_written_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool) -> None:
    if not has_links:
        monkeypatch.setattr(os, "link", _no_links)
    path = tmp_path / "file"
    write_private(path, "first", replace=False)
    assert (path.read_text(), mode(path)) == ("first", 0o600)
    write_private(path, "second", replace=True)
    assert path.read_text() == "second"
    assert os.listdir(tmp_path) == ["file"]


def test_the_text_of_another_process_can_be_left(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_private(path, "first", replace=False)
    write_private(path, "second", replace=False)
    assert path.read_text() == "first"
    assert os.listdir(tmp_path) == ["file"]


def _no_links(source: object, target: object) -> None:
    raise OSError("this file system has no hard links")


@pytest.fixture
def victim(tmp_path: Path) -> Victim:
    return victim_of(tmp_path)


#: What opens a file, changes its rights, or tells whether it may be used.
USES: dict[str, Callable[[Path], object]] = {
    "read": lambda path: os.close(open_private(path, os.O_RDONLY)),
    "create": lambda path: os.close(open_private(path, os.O_RDWR | os.O_CREAT)),
    "cut": lambda path: os.close(open_private(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)),
    "read keys": lambda path: os.close(open_own(path, os.O_RDONLY)),
    "narrow": narrow,
    "check": check_private,
    "check keys": check_own,
}


@pytest.mark.parametrize("kind", KINDS)
def test_only_a_regular_file_with_one_name_is_used(tmp_path: Path, victim: Victim, kind: str) -> None:
    path, before = tmp_path / "file", victim.state()
    plant(kind, path, victim)
    for name, use in USES.items():
        with pytest.raises(UnsafeFileError, match=KINDS[kind]) as raised:
            use(path)
        assert repr(str(path)) in str(raised.value) == raised.value.strerror, name
        assert "use another path" in str(raised.value), name
        assert victim.state() == before, name
        assert not (tmp_path / "missing").exists(), name


def test_a_device_is_refused() -> None:
    before = os.stat(os.devnull)
    with pytest.raises(UnsafeFileError, match="'/dev/null' is a device"):
        open_private(os.devnull, os.O_RDWR)
    assert os.stat(os.devnull).st_mode == before.st_mode


@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe", "socket"])
@pytest.mark.parametrize("use", [narrow_folder, make_own_folder], ids=lambda use: use.__name__)
def test_only_a_folder_is_used_as_one(tmp_path: Path, victim: Victim, kind: str, use: Callable[[Path], object]) -> None:
    target, path = tmp_path / "target", tmp_path / "folder"
    target.mkdir(mode=0o755)
    plant(kind, path, Victim(target))
    with pytest.raises((UnsafeFileError, NotADirectoryError), match=r"not a folder|no folder|it is not a folder"):
        use(path)
    assert mode(target) == 0o755
    assert not (tmp_path / "missing").exists()


def test_a_refused_file_is_not_left_open(tmp_path: Path, victim: Victim) -> None:
    plant("hard link", tmp_path / "file", victim)
    before = os.listdir("/dev/fd")
    with pytest.raises(UnsafeFileError):
        open_private(tmp_path / "file", os.O_RDONLY)
    assert os.listdir("/dev/fd") == before


def test_a_file_of_this_user_is_cut_if_asked(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a long text")
    with open(tmp_path / "file", "w", opener=open_private) as file:
        file.write("short")
    assert (tmp_path / "file").read_text() == "short"


@AS_ROOT
@pytest.mark.parametrize("use", [USES["create"], narrow], ids=["open", "narrow"])
def test_root_changes_nothing_of_another_users_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, use: Callable[[Path], object]
) -> None:
    path = tmp_path / "file"
    path.touch()
    path.chmod(0o644)
    os.chown(path, NOBODY, NOBODY)
    use(path)
    assert (path.stat().st_uid, mode(path)) == (NOBODY, 0o644)
    assert "let its owner run chmod 600" in caplog.text


@AS_ROOT
def test_root_changes_nothing_of_another_users_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    os.chown(tmp_path, NOBODY, NOBODY)
    make_own_folder(tmp_path)
    assert (tmp_path.stat().st_uid, mode(tmp_path)) == (NOBODY, 0o755)


@AS_ROOT
def test_root_gives_away_only_a_file_that_it_creates(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.touch()
    os.chown(other, NOBODY, 7)
    for name in ("there", "new"):
        path = tmp_path / name
        if name == "there":
            path.touch()
        os.close(open_private(path, os.O_RDWR | os.O_CREAT, like=other))
        owner = (path.stat().st_uid, path.stat().st_gid)
        assert (owner, mode(path)) == ((0, 0) if name == "there" else (NOBODY, 7), 0o600)


@AS_ROOT
def test_keys_of_another_user_are_refused_with_the_owner_and_the_fix(tmp_path: Path) -> None:
    path = tmp_path / "a file"
    path.touch(0o600)
    os.chown(path, 4_000_000, 0)
    for use in ("read keys", "check keys"):
        with pytest.raises(
            UnsafeFileError, match="belongs to user 4000000, and this process runs as user 0 "
        ) as raised:
            USES[use](path)
        assert f"let root run `chown 0 '{path}'`" in str(raised.value)


@pytest.mark.parametrize("bits", [0o620, 0o602, 0o666])
def test_keys_that_others_may_write_are_refused_as_they_are(tmp_path: Path, bits: int) -> None:
    path = tmp_path / "file"
    path.touch()
    path.chmod(bits)
    for use in ("read keys", "check keys"):
        with pytest.raises(UnsafeFileError, match=f"its mode is {bits:o}.*`chmod 600 {path}`"):
            USES[use](path)
    assert mode(path) == bits


def test_keys_that_others_could_read_are_used_and_private_from_then_on(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    path.chmod(0o644)
    USES["check keys"](path)
    USES["read keys"](path)
    assert mode(path) == 0o600
    check_own(tmp_path / "missing")


@pytest.mark.parametrize("kind", ["link", "dangling link"])
def test_a_new_text_replaces_a_link_and_not_what_it_leads_to(tmp_path: Path, victim: Victim, kind: str) -> None:
    path, before = tmp_path / "file", victim.state()
    plant(kind, path, victim)
    write_private(path, "text", replace=False)
    assert path.is_symlink()
    write_private(path, "text", replace=True)
    assert (path.is_symlink(), path.read_text(), victim.state()) == (False, "text", before)


def test_of_several_that_write_at_once_one_wins_and_its_file_has_one_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together, lexists = threading.Barrier(4), os.path.lexists

    def slow_lexists(path: Path) -> bool:
        exists = lexists(path)
        threading.Event().wait(0.01)  # so that the others look too, unless they must wait
        return exists

    monkeypatch.setattr(os.path, "lexists", slow_lexists)

    def write(name: str, text: str) -> str:
        together.wait(60)
        write_private(tmp_path / name, text, replace=False)
        with open(tmp_path / name, opener=open_own) as file:
            return file.read()

    with ThreadPoolExecutor(4) as pool:
        for number in range(5):
            assert len(set(pool.map(write, [str(number)] * 4, "abcd"))) == 1


@pytest.mark.slow
def test_a_lock_of_the_folder_that_is_never_freed_stops_nobody(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    assert lock(descriptor)
    write_private(tmp_path / "file", "text", replace=False)
    os.close(descriptor)
    assert (tmp_path / "file").read_text() == "text"


def test_links_to_a_chosen_file_are_resolved(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("folder/b")
    (tmp_path / "folder").symlink_to("real")
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "b").symlink_to("../c")
    assert real_path(tmp_path / "a") == f"{tmp_path}/c"
    (tmp_path / "c").symlink_to("a")
    real_path(tmp_path / "a")  # a circle: opening it fails


@AS_ROOT
def test_root_follows_no_link_of_another_user_in_the_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("c")
    os.lchown(tmp_path / "b", NOBODY, NOBODY)
    with pytest.raises(UnsafeFileError, match=r"/b' is a symbolic link of user 65534.* which root does not follow"):
        real_path(tmp_path / "a")
    (tmp_path / "folder").symlink_to(tmp_path)
    os.lchown(tmp_path / "folder", NOBODY, NOBODY)
    assert real_path(tmp_path / "folder" / "c") == f"{tmp_path}/c"


@AS_ROOT
@pytest.mark.slow
def test_another_user_than_root_has_the_same_rules(tmp_path: Path) -> None:
    """The user's own links are followed, and a key of root is not the user's own."""
    code = f"""
import os, sys
os.chdir(sys.argv[1])
from oss_wsgi.private_file import UnsafeFileError, open_own, real_path, narrow
os.setgid({NOBODY}); os.setuid({NOBODY})
os.symlink("mine", "link")
print(os.path.basename(real_path("link")))
for use in (lambda: open_own("of root", os.O_RDONLY), lambda: narrow("link"), lambda: narrow("of root")):
    try:
        use()
        print("used")
    except UnsafeFileError as error:
        print(error)
"""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        (Path(folder) / "of root").touch(0o644)
        (Path(folder) / "mine").touch()
        os.chown(Path(folder) / "mine", NOBODY, NOBODY)
        ended = run(["-c", code, folder], os.environ)
        assert mode(Path(folder) / "of root") == 0o644
        assert mode(Path(folder) / "mine") == 0o644
    name, of_root, of_link, narrowed = ended.stdout.splitlines()
    assert (name, narrowed) == ("mine", "used"), ended.stderr
    assert of_root.startswith("'of root' belongs to user 0 (root), and this process runs as user 65534")
    assert "is a symbolic link, not a regular file" in of_link


def test_a_lock_is_free_once_its_holder_closes_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    descriptor = open_private(path, NEW)
    assert lock(descriptor)
    with file_lock(path) as acquired:
        assert acquired is False
    os.close(descriptor)
    with file_lock(path) as acquired:
        assert acquired is True
        with file_lock(path) as acquired_twice:
            assert acquired_twice is False
    assert mode(path) == 0o600
