"""The file beside a large file that says how its upload goes on after Ctrl-C or a crash."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import stat
import sys
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from ..private_file import open_private
from .terminal import plain, system_reason

_VERSION = 1
#: Bytes of a file's name, to which this one adds some; file systems take 255.
_LONGEST_NAME = 200
_MAX_SIZE = 64 * 1024


class StateError(Exception):
    """Raised in a sentence when an upload cannot go on as it was begun."""


@dataclass(frozen=True)
class UploadState:
    """An upload in parts that has begun.

    :ivar endpoint: the signature endpoint beside which it began.
    :ivar upload_id: its sealed ticket: anyone who has it can continue the upload, so no repr shows it.
    :ivar mtime: when the file was last changed, in nanoseconds.
    :ivar expire: Unix seconds until which the upload may be sent.
    """

    endpoint: str
    upload_id: str = field(repr=False)
    key: str
    size: int
    mtime: int
    part_size: int
    expire: int

    @property
    def count(self) -> int:
        """The number of parts; an empty file has one, which is empty."""
        return max(1, -(-self.size // self.part_size))

    def length(self, number: int) -> int:
        """Return the bytes of a part, counted from 1."""
        return min(self.part_size, self.size - (number - 1) * self.part_size)

    def save(self, path: Path) -> None:
        """Write the state into a file that its owner alone can read, in one step. Raises StateError."""
        temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        try:
            # A new file, never one or a link that another user of the folder put there.
            with open(temporary, "x", encoding="utf-8", opener=open_private) as file:
                json.dump({"version": _VERSION, **asdict(self)}, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise StateError(
                f"{plain(str(path))}, which remembers the upload, cannot be written: {system_reason(error)}. Name a "
                "folder for it with --state-dir"
            ) from error


def state_path(file: str, folder: str | None) -> Path:
    """Return where the state of a file's upload is: beside it, or in ``folder``, where files of one name may meet."""
    path = Path(file)
    name = path.name
    place = hashlib.sha256(os.fsencode(os.path.abspath(file))).hexdigest()[:12]
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = place
    if folder is None:
        return path.with_name(f".{name}.oss-wsgi-upload")
    return Path(folder) / f".{name}.{place}.oss-wsgi-upload"


def load_state(path: Path) -> UploadState | None:
    """Return the state in a file, None if there is no file.

    Raises StateError if it is not one, and for a file that another user could have written.
    """
    try:
        with open(path, encoding="utf-8", opener=_open_own) as file:
            members = json.loads(file.read(_MAX_SIZE))
        if members.pop("version") != _VERSION:
            raise ValueError
        state = UploadState(**members)
        types = {"str": str, "int": int}
        if not all(type(getattr(state, each.name)) is types[str(each.type)] for each in fields(state)):
            raise ValueError
        if state.size < 0 or state.part_size < 1:
            raise ValueError
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"{plain(str(path))} cannot be read: {system_reason(error)}") from error
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise StateError(f"{plain(str(path))} does not say how an upload goes on: remove it to begin anew") from error
    return state


def _open_own(path: str, flags: int) -> int:
    """Open a file that this user alone can write. Raises StateError for any other, and OSError."""
    try:
        descriptor = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise _not_own_error(path) from error
    status = os.fstat(descriptor)
    is_own = sys.platform == "win32" or (status.st_uid == os.geteuid() and not status.st_mode & 0o022)
    if not (is_own and stat.S_ISREG(status.st_mode)):
        os.close(descriptor)
        raise _not_own_error(path)
    return descriptor


def _not_own_error(path: str) -> StateError:
    return StateError(
        f"{plain(str(path))} cannot be trusted: others could have written it, or it is not a regular file. Remove it "
        "to begin anew, or name a folder of your own with --state-dir"
    )
