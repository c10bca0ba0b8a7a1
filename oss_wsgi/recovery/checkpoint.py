"""Checkpoints: they store how far a sweep got, in the ledger or in a file."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import Any

from ..ledger.base import Ledger

#: A stored state: JSON values by name.
State = dict[str, Any]


class LedgerCheckpoint:
    """A checkpoint in a ledger, for all processes that share the ledger. Raises LedgerUnavailableError."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def load(self, name: str) -> State:
        """Return the last state saved under a name."""
        return _read(self._ledger.load(name) or "{}")

    def save(self, name: str, state: State) -> None:
        """Replace the state under a name."""
        self._ledger.save(name, json.dumps(state, ensure_ascii=False))


class FileCheckpoint:
    """A checkpoint in a file, readable only by this user.

    :param path: of the file, on a local disk.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.path.abspath(path)

    def load(self, name: str) -> State:
        """Return the last state saved under a name; a damaged file, or another program's, counts as empty."""
        state = self._states().get(name)
        return state if isinstance(state, dict) else {}

    def save(self, name: str, state: State) -> None:
        """Replace the file in one step, so that a kill leaves the old states or the new ones. Raises OSError."""
        new = f"{self.path}.new"
        with suppress(FileNotFoundError):
            os.unlink(new)
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump({**self._states(), name: state}, file)
        os.replace(new, self.path)

    def _states(self) -> State:
        try:
            with open(self.path, encoding="utf-8") as file:
                return _read(file.read())
        except (OSError, ValueError):
            return {}


def _read(text: str) -> State:
    try:
        state = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return state if isinstance(state, dict) else {}
