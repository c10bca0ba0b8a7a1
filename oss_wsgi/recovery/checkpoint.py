"""Where a sweep stands: in a file beside the ledger, or in memory; and the lock that lets only one sweep run."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from ..exceptions import SweepRunningError
from ..ledger.process_lock import try_lock

#: What is stored: values of JSON by name.
State = dict[str, Any]


class Checkpoint(Protocol):
    """Stores the state of sweeps. ``hold`` is called before the others, except that anybody may ``load``."""

    def hold(self) -> Any:
        """Return a context manager during which no other sweep runs; SweepRunningError if one runs already."""
        ...

    def load(self) -> State:
        """Return what was saved last; empty if nothing was, or it cannot be read."""
        ...

    def save(self, state: State) -> None:
        """Replace what is stored, as a whole."""
        ...


class MemoryCheckpoint:
    """A checkpoint for one process. It forgets everything when the process ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._text = "{}"

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the lock, as ``Checkpoint.hold`` describes."""
        if not self._lock.acquire(blocking=False):
            raise _running_error()
        try:
            yield
        finally:
            self._lock.release()

    def load(self) -> State:
        """Return what was saved last."""
        state: State = json.loads(self._text)
        return state

    def save(self, state: State) -> None:
        """Replace what is stored."""
        self._text = json.dumps(state)


class FileCheckpoint:
    """A checkpoint in a file, readable by this user alone; beside it is a lock file, which stays.

    The kernel drops the lock when a process ends, so a killed sweep never blocks the next one.

    :param path: of the file, on a local disk.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.path.abspath(path)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the lock, as ``Checkpoint.hold`` describes. Raises OSError if the lock file cannot be made."""
        descriptor = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if not try_lock(descriptor):
                raise _running_error()
            yield
        finally:
            os.close(descriptor)

    def load(self) -> State:
        """Return what was saved last; a file that is not ours or was damaged counts as empty."""
        try:
            with open(self.path, encoding="utf-8") as file:
                state = json.load(file)
        except (OSError, ValueError, RecursionError):
            return {}
        return state if isinstance(state, dict) else {}

    def save(self, state: State) -> None:
        """Replace the file at once, so that a kill leaves the old state or the new one. Raises OSError."""
        new = f"{self.path}.new"
        with suppress(FileNotFoundError):
            os.unlink(new)
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(state, file)
        os.replace(new, self.path)


def _running_error() -> SweepRunningError:
    return SweepRunningError("sweep_running", "another sweep is running: wait until it ends; nothing is lost")
