"""Checkpoints: they store how far a sweep got, in the ledger or in a file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..http import json_object
from ..ledger.base import Ledger
from ..private_file import UnsafeFileError, open_private, write_private

#: A stored state: JSON values by name.
State = dict[str, Any]


class CheckpointFile:
    """A file with texts by name, readable only by this user; ``load`` and ``save`` are those of a ledger.

    :param path: of the file, on a local disk.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(os.path.abspath(path))

    def load(self, name: str) -> str | None:
        """Return the last text saved under a name; a damaged file, or another program's, counts as empty.

        Raises UnsafeFileError, which is an OSError, for a link and for anything else but a regular file.
        """
        text = self._texts().get(name)
        return text if isinstance(text, str) else None

    def save(self, name: str, text: str) -> None:
        """Replace the file in one step, so that a kill leaves the old texts or the new ones. Raises OSError."""
        write_private(self._path, json.dumps({**self._texts(), name: text}), replace=True)

    def _texts(self) -> State:
        try:
            with open(self._path, "rb", opener=open_private) as file:
                return json_object(file.read()) or {}
        except UnsafeFileError:
            raise
        except OSError:
            return {}


def load_state(store: Ledger | CheckpointFile, name: str) -> State:
    """Return the last state saved under a name, in a ledger for all processes that share it; {} if it is damaged."""
    return json_object(store.load(name) or "") or {}


def save_state(store: Ledger | CheckpointFile, name: str, state: State) -> None:
    """Replace the state under a name. Raises LedgerUnavailableError; for a file OSError."""
    store.save(name, json.dumps(state, ensure_ascii=False))
