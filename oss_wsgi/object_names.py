"""Functions that check object names, and that make them from the name of the user's file."""

from __future__ import annotations

import re
import unicodedata

from .explanations.text import Text

MAX_KEY_BYTES = 1023
FILENAME_VARIABLE = "${filename}"

_MAX_NAME_BYTES = 255
# A longer name cannot fit: NFC makes at least one byte of two characters. And normalizing a long row of combining marks
# takes quadratic time.
_MAX_NAME_CHARACTERS = 2 * _MAX_NAME_BYTES
_EXTENSION = re.compile(r"\.([A-Za-z0-9]{1,16})$")
# Windows, shells and URLs give these characters a meaning. `$`, `{` and `}` would let a name contain OSS's ${filename},
# which OSS replaces after it has checked the policy.
_RESERVED = re.compile(r"[<>:\"|?*#%$`{}^]")
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def is_hidden(character: str) -> bool:
    """Return whether a character is invisible or changes the text around it: control, format, bidi, surrogate."""
    return unicodedata.category(character) in _HIDDEN_CATEGORIES


def has_dot_segment(path: str) -> bool:
    """Return whether a part of an object name is ``.`` or ``..``, which HTTP clients resolve to another name."""
    return any(segment in (".", "..") for segment in path.split("/"))


def dir_problem(prefix: str) -> str | None:
    """Return what is wrong with a prefix of object names, or None. A prefix must end in ``/`` unless it is empty."""
    if prefix and not prefix.endswith("/"):
        return Text(
            "{1} must end in '/', or 'user1' would cover 'user10' too: write {2}.", repr(prefix), repr(prefix + "/")
        )
    return path_problem(prefix)


def path_problem(path: str) -> str | None:
    """Return what is wrong with an object name or a prefix, or None."""
    if path.startswith("/"):
        return Text("{1} must not begin with '/'.", repr(path))
    if "\\" in path:
        return Text("{1} must not contain a backslash: use '/'.", repr(path))
    if "//" in path:
        return Text("{1} must not contain '//'.", repr(path))
    if has_dot_segment(path):
        return Text("{1} must not contain '.' or '..' as a part.", repr(path))
    if any(is_hidden(character) for character in path):
        return Text("{1} must not contain control, invisible or text-direction characters.", repr(path))
    if FILENAME_VARIABLE in path:
        return Text("{1} must not contain {2}: OSS would replace it.", repr(path), FILENAME_VARIABLE)
    if len(path.encode()) > MAX_KEY_BYTES:
        return f"a name of {len(path.encode())} bytes is too long: OSS allows {MAX_KEY_BYTES} bytes of UTF-8."
    return None


def unique_name(filename: str, day: str, token: str, *, sharded: bool = False) -> str:
    """Return ``<day>/<token><extension>``; of the user's file name only a safe extension is used.

    With ``sharded`` the first two hex digits of the token stand before the day: OSS splits its index by the names'
    first characters, so without shards all uploads of a new day go to one partition of the index.
    """
    match = _EXTENSION.search(filename)
    shard = f"{token[:2]}/" if sharded else ""
    return f"{shard}{day}/{token}{'.' + match.group(1).lower() if match else ''}"


def original_name(filename: str) -> str:
    """Return a clean file name: the path's last part, in NFC, no hidden or reserved characters, 255 bytes of UTF-8.

    If nothing is left, the name is ``file``.
    """
    name = re.split(r"[/\\]", filename)[-1].strip()
    if len(name) > _MAX_NAME_CHARACTERS:
        name = name[:_MAX_NAME_CHARACTERS] + _extension(name)
    name = unicodedata.normalize("NFC", "".join(character for character in name if not is_hidden(character)))
    name = _RESERVED.sub("_", name)
    name = " ".join(name.split()).strip(" .")
    return _shorten(name or "file")


def original_folder(path: str) -> str:
    """Return the cleaned folders of a path such as ``holidays/2026/sea.jpg``, each with a ``/``; "" without any.

    Each folder is cleaned as by `original_name`; empty ones, ``.`` and ``..`` are left out.
    """
    folders = [folder for folder in re.split(r"[/\\]", path)[:-1] if folder.strip(" .")]
    return "".join(f"{original_name(folder)}/" for folder in folders)


def _shorten(name: str) -> str:
    """Return the name, cut between two characters to the longest that fits, with its extension."""
    if len(name.encode()) <= _MAX_NAME_BYTES:
        return name
    extension = _extension(name)
    stem = name[: len(name) - len(extension)].encode()[: _MAX_NAME_BYTES - len(extension)].decode(errors="ignore")
    return stem.rstrip(" .") + extension


def _extension(name: str) -> str:
    match = _EXTENSION.search(name)
    return match.group(0) if match else ""
