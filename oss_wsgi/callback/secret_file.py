"""The file of the ticket secrets, which is read again when it changes."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable

from ..exceptions import SettingsError
from ..explanations.text import Text

#: The least number of characters of a secret.
MIN_TICKET_SECRET = 32

#: Seconds after which the next use of the secrets reads the file again.
CHECK_SECONDS = 3.0

_MAX_BYTES = 65_536
_HOW = "write one secret on each line, and on the first line the one that seals; `openssl rand -hex 32` makes one"

log = logging.getLogger(__name__)


def read_secrets(path: str) -> tuple[str, ...]:
    """Return the secrets in a file: one on each line, without the blanks around it.

    Empty lines and lines that begin with ``#`` are ignored. Raises SettingsError, whose text quotes nothing from the
    file.
    """
    try:
        raw = _read(path)
        lines = raw.decode("utf-8-sig").split("\n")
    except OSError as error:
        raise _unusable(path, error.strerror or "it cannot be read") from error
    except UnicodeDecodeError:
        raise _unusable(path, "it is not UTF-8 text") from None
    if len(raw) > _MAX_BYTES:
        raise _unusable(path, "it is over 64 KB")
    secrets = []
    for number, line in enumerate(lines, 1):
        secret = line.strip()
        if not secret or secret.startswith("#"):
            continue
        if len(secret) < MIN_TICKET_SECRET:
            raise _unusable(path, Text("line {1} has fewer than {2} characters", number, MIN_TICKET_SECRET))
        # In OSS_TICKET_SECRET A,B is two secrets, so a comma in the file is probably a mistake.
        if "," in secret:
            raise _unusable(path, f"line {number} has a comma: {_HOW}")
        secrets.append(secret)
    if not secrets:
        raise _unusable(path, f"it holds no secret: {_HOW}")
    return tuple(secrets)


class SecretFile:
    """Callable: returns the secrets in a file, the same tuple until they change.

    The first call that comes ``CHECK_SECONDS`` after the last reading reads the file again. So a change takes effect
    within 10 s, whether the file is rewritten, replaced, or reached by a link that changes (as in Kubernetes). If the
    new file cannot be used, the old secrets stay in use, and the log says so once.

    :param clock: returns seconds.

    Raises SettingsError when the file cannot be used at the start.
    """

    def __init__(self, path: str, *, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        self._secrets = read_secrets(path)
        self._read_at = clock()
        self._problem = ""

    def __repr__(self) -> str:
        return f"SecretFile({self._path!r})"

    def __call__(self) -> tuple[str, ...]:
        now = self._clock()
        if abs(now - self._read_at) >= CHECK_SECONDS:  # a clock may be set back
            self._read_at = now  # set first: other threads use the old secrets meanwhile
            self._read_again()
        return self._secrets

    def _read_again(self) -> None:
        try:
            secrets = read_secrets(self._path)
        except SettingsError as error:
            if str(error) != self._problem:
                self._problem = str(error)
                log.error("%s The secrets that were read before stay in use.", error)
            return
        self._problem = ""
        if secrets != self._secrets:
            self._secrets = secrets
            log.info("OSS_TICKET_SECRET_FILE has changed: %d ticket secrets are in use", len(secrets))


def _read(path: str) -> bytes:
    """Read at most one byte more than a file may have. Raises OSError, also for anything but a regular file."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # opening a pipe would wait for its writer
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "it is not a regular file")
        return file.read(_MAX_BYTES + 1)


def _unusable(path: str, problem: str) -> SettingsError:
    return SettingsError(Text("OSS_TICKET_SECRET_FILE: {1} cannot be used: {2}.", repr(path), problem))
