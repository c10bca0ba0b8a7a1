"""Functions for files and folders that only their owner can read, with any umask, and for locks of files.

Another user may be able to write to the folder of such a file, and root runs commands on the files of other users. So
these functions follow no link, and look at a file before they use it:

- It is a regular file with one name: a second name, a hard link, may be the name of any other file on the disk.
- Only the rights of a file of this user are narrowed.
- Only a file that this very call has created gets another owner.
- Keys are read only from a file that no other user can have written.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import secrets
import shlex
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .explanations.text import Text

if sys.platform == "win32":
    import msvcrt

    def lock(descriptor: int) -> bool:
        """Lock an open file until it is closed, or its process ends; return False if another descriptor has it."""
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def lock(descriptor: int) -> bool:
        """Lock an open file until it is closed, or its process ends; return False if another descriptor has it."""
        # Not lockf: a process loses its lockf locks when it closes any other descriptor of the file.
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


log = logging.getLogger(__name__)

#: Opening a pipe would wait for its other end.
_CAREFULLY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}
_MAX_LINKS = 40
#: What the names of a SQLite file and of those that SQLite keeps beside it end with.
_SQLITE_ENDS = ("", "-wal", "-shm", "-journal")
#: Tries to lock a folder, and seconds between them: any process that may read the folder can hold its lock for ever.
_FOLDER_TRIES, _FOLDER_PAUSE = 100, 0.01


class UnsafeFileError(OSError):
    """Raised for a file or folder that another user may have put in its place.

    ``strerror`` is the whole text: it names the file, the fault and the fix.
    """

    def __init__(self, path: str | os.PathLike[str], text: str) -> None:
        super().__init__(errno.EPERM, text, os.fspath(path))

    def __str__(self) -> str:
        return str(self.strerror)


def open_private(
    path: str | os.PathLike[str], flags: int, *, like: str | os.PathLike[str] | None = None, own: bool = False
) -> int:
    """Open a file with mode 600 and return its descriptor; usable as ``opener`` of ``open``.

    An existing file of this user with another mode gets mode 600 too. If other users can read another user's file, the
    log says so.

    :param like: a file whose owner gets a file that root creates by this call, and must keep access to it.
    :param own: refuse an existing file that another user owns or may write to, as ``check_own`` does.

    Raises UnsafeFileError for a link, for anything else but a regular file, and for a file with several names;
    otherwise OSError as ``os.open`` does.
    """
    owner = os.lstat(like) if like is not None and sys.platform != "win32" and os.geteuid() == 0 else None
    descriptor, is_new = _open(path, flags | _CAREFULLY)
    try:
        status = os.fstat(descriptor)
        _check_file(path, status)
        if own and not is_new:
            _check_owner(path, status)
        if sys.platform != "win32":
            _narrow(descriptor, path, status, 0o600)
            if is_new and owner is not None:
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
        if flags & os.O_TRUNC:
            os.ftruncate(descriptor, 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def open_own(path: str | os.PathLike[str], flags: int) -> int:
    """Open a private file that decides what is trusted, such as one with keys; usable as ``opener`` of ``open``."""
    return open_private(path, flags, own=True)


def check_private(path: str | os.PathLike[str]) -> None:
    """Raise UnsafeFileError unless a path names a regular file with one name, or nothing."""
    with contextlib.suppress(FileNotFoundError):
        _check_file(path, os.lstat(path))


def check_own(path: str | os.PathLike[str]) -> None:
    """Raise UnsafeFileError as ``check_private`` does, and also for a file that another user owns or may write to."""
    with contextlib.suppress(FileNotFoundError):
        status = os.lstat(path)
        _check_file(path, status)
        _check_owner(path, status)


def sqlite_files(path: str | os.PathLike[str]) -> list[str]:
    """Return the paths of a SQLite file and of the files that SQLite keeps beside it, whether they exist or not.

    Look at them before SQLite opens them: as root it gives them to the owner of the first one, and does not notice that
    one of them is a second name of another file. Never open them: closing one would drop the locks of this process's
    connections.
    """
    return [f"{os.fspath(path)}{end}" for end in _SQLITE_ENDS]


def real_path(path: str | os.PathLike[str]) -> str:
    """Return an absolute path without links, for a file whose path somebody has chosen.

    Raises UnsafeFileError if root would follow another user's link in the place of the file.
    """
    link = os.path.abspath(path)
    if sys.platform != "win32" and os.geteuid() == 0:
        for _ in range(_MAX_LINKS):
            if not os.path.islink(link):
                break
            owner = os.lstat(link).st_uid
            if owner != 0:
                raise UnsafeFileError(
                    link,
                    Text(
                        "{1} is a symbolic link of {2}, which root does not follow: run this as that user, or "
                        "use the path that it leads to",
                        repr(link),
                        _user(owner),
                    ),
                )
            link = os.path.join(os.path.dirname(link), os.readlink(link))
    return os.path.realpath(path)


@contextlib.contextmanager
def file_lock(path: str | os.PathLike[str]) -> Iterator[bool]:
    """Hold the lock of a file of this user while the with block runs; yield whether it was free."""
    descriptor = open_own(path, os.O_RDWR | os.O_CREAT)
    try:
        yield lock(descriptor)
    finally:
        os.close(descriptor)


def write_private(path: Path, text: str, *, replace: bool) -> None:
    """Write an ASCII text into a private file in one step, so that nobody can read half of it.

    :param replace: False keeps what is there, such as a file that another process writes at the same time.
    """
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = open_private(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(text)
        if replace:
            os.replace(temporary, path)
        else:
            _move_unless_there(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def narrow(path: str | os.PathLike[str]) -> None:
    """Give mode 600 to a file of this user without opening it; do nothing if it does not exist.

    Raises UnsafeFileError as ``check_private`` does.
    """
    _narrow_unopened(path, 0o600, _check_file)


def narrow_folder(path: str | os.PathLike[str]) -> None:
    """Give mode 700 to a folder of this user; do nothing if it does not exist.

    Raises UnsafeFileError for a link, and for anything else but a folder.
    """
    _narrow_unopened(path, 0o700, _check_folder)


def make_private_folder(path: str | os.PathLike[str]) -> bool:
    """Make a folder and its missing parents with mode 700; leave existing folders unchanged.

    Return whether this call has made the folder.
    """
    path = os.path.abspath(path)
    if os.path.isdir(path):
        return False
    parent = os.path.dirname(path)
    # If a file stands in a folder's place, making a folder below it gives the better error: not a directory.
    if not os.path.exists(parent):
        make_private_folder(parent)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if not os.path.isdir(path):
            raise NotADirectoryError(errno.ENOTDIR, "it is not a folder", path) from None
        return False
    narrow_folder(path)  # the umask may have removed even the owner's rights
    return True


def make_own_folder(path: str | os.PathLike[str], *, like: str | os.PathLike[str] | None = None) -> None:
    """Make a folder whose name no person has chosen, with mode 700; one of this user that exists gets it too.

    :param like: a file, if it exists, whose owner gets a folder that root makes by this call.

    Raises UnsafeFileError for a link in its place.
    """
    is_new = make_private_folder(path)
    narrow_folder(path)
    if is_new and like is not None and sys.platform != "win32" and os.geteuid() == 0:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            with contextlib.suppress(FileNotFoundError):
                owner = os.lstat(like)
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
        finally:
            os.close(descriptor)


def _open(path: str | os.PathLike[str], flags: int) -> tuple[int, bool]:
    """Open a file, and return its descriptor and whether this call has created the file; leave its content."""
    while True:
        if flags & os.O_CREAT:
            try:
                return os.open(path, flags | os.O_EXCL, 0o600), True
            except FileExistsError:
                if flags & os.O_EXCL:
                    raise
        try:
            return os.open(path, flags & ~(os.O_CREAT | os.O_TRUNC)), False
        except FileNotFoundError:
            if not flags & os.O_CREAT:
                raise
            check_private(path)  # it is a link on Windows, or somebody has removed it meanwhile
        except OSError:
            check_private(path)  # has a better word for a link or a pipe
            raise


def _check_file(path: str | os.PathLike[str], status: os.stat_result) -> None:
    name = os.fspath(path)
    if not stat.S_ISREG(status.st_mode):
        raise UnsafeFileError(
            path, Text("{1} is {2}, not a regular file: move it away, or use another path", repr(name), _kind(status))
        )
    if status.st_nlink > 1:
        raise UnsafeFileError(
            path,
            Text(
                "{1} has {2} names (hard links), so it may be any other file: keep only the name that it "
                "should have, or use another path",
                repr(name),
                status.st_nlink,
            ),
        )


def _check_folder(path: str | os.PathLike[str], status: os.stat_result) -> None:
    if not stat.S_ISDIR(status.st_mode):
        raise UnsafeFileError(
            path,
            Text("{1} is {2}, not a folder: move it away, or use another path", repr(os.fspath(path)), _kind(status)),
        )


def _check_owner(path: str | os.PathLike[str], status: os.stat_result) -> None:
    if sys.platform == "win32":  # files have neither a number of their owner nor these modes there
        return
    me, name, mode = os.geteuid(), os.fspath(path), stat.S_IMODE(status.st_mode)
    if status.st_uid != me:
        raise UnsafeFileError(
            path,
            Text(
                "{1} belongs to {2}, and this process runs as {3}: remove it; or, if you trust what is "
                "in it, let root run `chown {4} {5}`",
                repr(name),
                _user(status.st_uid),
                _user(me),
                me,
                shlex.quote(name),
            ),
        )
    if mode & 0o022:
        raise UnsafeFileError(
            path,
            Text(
                "{1} can be changed by other users (its mode is {2}): remove it; or, if you trust what "
                "is in it, run `chmod 600 {3}`",
                repr(name),
                f"{mode:o}",
                shlex.quote(name),
            ),
        )


def _kind(status: os.stat_result) -> str:
    return _KINDS.get(stat.S_IFMT(status.st_mode), "a device")


def _user(number: int) -> str:
    """Return a user's number, and the name if there is one."""
    with contextlib.suppress(ImportError, KeyError):
        import pwd

        return Text("user {1} ({2})", number, pwd.getpwuid(number).pw_name)
    return Text("user {1}", number)


def _narrow_unopened(
    path: str | os.PathLike[str], mode: int, check: Callable[[str | os.PathLike[str], os.stat_result], None]
) -> None:
    """Look at what a path names, and narrow its rights without opening it; do nothing if it does not exist."""
    with contextlib.ExitStack() as stack, contextlib.suppress(FileNotFoundError):
        if sys.platform == "linux":
            # What this descriptor names cannot be replaced between the look and the change.
            descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW)
            stack.callback(os.close, descriptor)
            status = os.fstat(descriptor)
            check(path, status)
            _narrow(f"/proc/self/fd/{descriptor}", path, status, mode)
        else:
            status = os.lstat(path)
            check(path, status)
            if sys.platform != "win32":
                _narrow(path, path, status, mode, change=getattr(os, "lchmod", None))


def _narrow(
    file: int | str | os.PathLike[str],
    path: str | os.PathLike[str],
    status: os.stat_result,
    mode: int,
    *,
    change: Callable[[Any, int], None] | None = None,
) -> None:
    """Narrow the rights of a file that was looked at, if this user owns it."""
    present = stat.S_IMODE(status.st_mode)
    if present == mode:
        return
    if status.st_uid == os.geteuid():
        with contextlib.suppress(PermissionError, FileNotFoundError):  # the latter without /proc
            (change or os.chmod)(file, mode)
            return
    if present & 0o077:
        log.warning(
            "other users can read %r, and this process may not change that: let its owner run chmod %o on it",
            os.fspath(path),
            mode,
        )


def _move_unless_there(temporary: Path, path: Path) -> None:
    """Move a file to a path that names nothing; all processes that do so take turns."""
    if sys.platform == "win32":
        with contextlib.suppress(FileExistsError):
            os.rename(temporary, path)
        return
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # a folder that cannot be read, a file system without such locks
            folder = os.open(path.parent, os.O_RDONLY)
            stack.callback(os.close, folder)
            for _ in range(_FOLDER_TRIES):
                if lock(folder):
                    break
                threading.Event().wait(_FOLDER_PAUSE)
        if not os.path.lexists(path):
            os.rename(temporary, path)
