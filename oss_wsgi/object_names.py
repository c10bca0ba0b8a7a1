"""Object names: made by the server, or cleaned from the name of the user's file."""

from __future__ import annotations

import re
import unicodedata

MAX_KEY_BYTES = 1023
FILENAME_VARIABLE = "${filename}"

_MAX_NAME_BYTES = 255
_EXTENSION = re.compile(r"\.([A-Za-z0-9]{1,16})$")
# Windows, shells and URLs give these a meaning of their own; `$`, `{` and `}` would let a name hold
# OSS's ${filename}, which OSS expands after it has checked the policy.
_RESERVED = re.compile(r"[<>:\"|?*#%$`{}^]")
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def is_hidden(character: str) -> bool:
    """Tell whether a character is invisible or turns the text around it: control, format, bidi, surrogate."""
    return unicodedata.category(character) in _HIDDEN_CATEGORIES


def dir_problem(prefix: str) -> str | None:
    """Say what is wrong with a prefix of object names that should end in ``/``, or None."""
    if prefix and not prefix.endswith("/"):
        return f"{prefix!r} must end in '/', or 'user1' would cover 'user10' too: write {prefix + '/'!r}."
    return path_problem(prefix)


def path_problem(path: str) -> str | None:
    """Say what is wrong with an object name or a prefix, or None."""
    if path.startswith("/"):
        return f"{path!r} must not begin with '/'."
    if "\\" in path:
        return f"{path!r} must not hold a backslash: use '/'."
    if "//" in path:
        return f"{path!r} must not hold '//'."
    if any(segment in (".", "..") for segment in path.split("/")):
        return f"{path!r} must not hold '.' or '..' as a part."
    if any(is_hidden(character) for character in path):
        return f"{path!r} must not hold control, invisible or text-direction characters."
    if FILENAME_VARIABLE in path:
        return f"{path!r} must not hold {FILENAME_VARIABLE}: OSS would replace it."
    if len(path.encode()) > MAX_KEY_BYTES:
        return f"a name of {len(path.encode())} bytes is too long: OSS takes {MAX_KEY_BYTES} bytes of UTF-8."
    return None


def unique_name(filename: str, day: str, token: str) -> str:
    """Make ``<day>/<token><safe extension>``; nothing of the user's name but its extension is kept."""
    match = _EXTENSION.search(filename)
    return f"{day}/{token}{'.' + match.group(1).lower() if match else ''}"


def original_name(filename: str) -> str:
    """Clean a file's name: last part of the path, NFC, no hidden or reserved characters, 255 bytes of UTF-8.

    What is left of a name that was nothing else is ``file``.
    """
    name = re.split(r"[/\\]", filename)[-1]
    name = unicodedata.normalize("NFC", "".join(c for c in name if not is_hidden(c)))
    name = _RESERVED.sub("_", name)
    name = " ".join(name.split()).strip(" .")
    return _shorten(name or "file")


def _shorten(name: str, limit: int = _MAX_NAME_BYTES) -> str:
    if len(name.encode()) <= limit:
        return name
    match = _EXTENSION.search(name)
    extension = match.group(0) if match else ""
    stem = name[: len(name) - len(extension)].encode()[: limit - len(extension)].decode(errors="ignore")
    return stem.rstrip(" .") + extension
