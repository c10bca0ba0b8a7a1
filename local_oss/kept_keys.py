"""The access key and the key of callbacks, kept with the objects, so that programs may pin them across restarts."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from oss_wsgi.private_file import make_private_folder, open_own, write_private

from .callbacks.signing_key import CallbackKey

FILE = ".keys.json"
#: How many secrets of former access keys are kept, so that the inspector can recognize their signatures.
MAX_FORMER = 8


class DamagedKeysError(ValueError):
    """Raised when the file of the keys holds no keys."""


@dataclass(frozen=True)
class Keys:
    """The keys that are kept; `former` holds the secrets of earlier access keys, the newest first."""

    access_key_id: str
    access_key_secret: str = field(repr=False)
    callback_key: CallbackKey = field(repr=False)
    former: tuple[str, ...] = field(default=(), repr=False)


def new_keys(make_callback_key: Callable[[], CallbackKey], former: tuple[str, ...] = ()) -> Keys:
    """Return new keys, without storing them."""
    return Keys(f"LOCAL{secrets.token_hex(10)}", secrets.token_hex(20), make_callback_key(), former)


def kept_keys(directory: Path, make_callback_key: Callable[[], CallbackKey], *, bits: int, reset: bool = False) -> Keys:
    """Return the keys of a folder, and make the missing ones.

    :param bits: the size of the callback key; one of another size is replaced.
    :param reset: make new ones.
    :raises OSError: the file cannot be read or written, or (UnsafeFileError) another user owns it or may write to it.
    :raises DamagedKeysError: the file holds no keys.
    """
    path = directory / FILE
    keys = _read(path)
    is_kept = keys is not None
    if keys and not reset and keys.callback_key.bits == bits:
        return keys
    if keys and not reset:
        keys = replace(keys, callback_key=make_callback_key())
    else:
        keys = new_keys(make_callback_key, (keys.access_key_secret, *keys.former)[:MAX_FORMER] if keys else ())
    make_private_folder(directory)
    return _write(path, keys, replace=is_kept)


def _read(path: Path) -> Keys | None:
    try:
        with open(path, encoding="ascii", opener=open_own) as file:
            text = file.read()
    except FileNotFoundError:
        return None
    try:
        members = json.loads(text)
        key = CallbackKey.from_pem(members["callback_key"])
        return Keys(
            str(members["access_key_id"]), str(members["access_key_secret"]), key, tuple(map(str, members["former"]))
        )
    except (ValueError, KeyError, TypeError):
        raise DamagedKeysError(f"{str(path)!r} holds no keys: remove it, and new ones are made") from None


def _write(path: Path, keys: Keys, *, replace: bool) -> Keys:
    """Write the file, and return the keys that it then holds.

    :param replace: False to leave the file of another process that started at the same time.
    """
    members = {
        "access_key_id": keys.access_key_id,
        "access_key_secret": keys.access_key_secret,
        "callback_key": keys.callback_key.private_pem,
        "former": list(keys.former),
    }
    write_private(path, json.dumps(members, indent=1), replace=replace)
    return keys if replace else _read(path) or keys
