"""A page of the keys of a bucket: read from where it starts, as far as it goes, whatever else the bucket holds."""

from __future__ import annotations

from .index import ObjectIndex
from .object_rows import OBJECT, read_object
from .stored_object import CommonPrefix, StoredObject

Entry = StoredObject | CommonPrefix
FOLDED_BATCH = 20


def list_page(
    index: ObjectIndex, bucket: str, *, prefix: str, delimiter: str, after: str, limit: int
) -> tuple[list[Entry], bool]:
    start, end = prefix.encode(), _behind(prefix.encode())
    mark, cut = after.encode(), delimiter.encode()
    if after:
        # A marker that is itself a common prefix stands for all that it stands for in a listing.
        group = _group(mark, start, cut)
        start = max(start, _behind(mark) if group == mark else mark + b"\0")
    entries: list[Entry] = []
    while (room := limit + 1 - len(entries)) > 0:
        # Of what a delimiter folds, most rows would be read in vain.
        size = min(room, FOLDED_BATCH) if cut else room
        rows = index.read(
            f"SELECT {OBJECT} FROM objects WHERE bucket = ? AND key >= ? AND key < ? ORDER BY key LIMIT ?",  # noqa: S608
            bucket,
            start,
            end,
            size,
        )
        for row in rows:
            group = _group(row[0], prefix.encode(), cut)
            if group:
                entries.append(CommonPrefix(group.decode()))
                start = _behind(group)
                break
            entries.append(read_object(row))
            start = row[0] + b"\0"
        else:
            if len(rows) < size:
                break
    return entries[:limit], len(entries) > limit


def _group(key: bytes, prefix: bytes, delimiter: bytes) -> bytes:
    if not delimiter or not key.startswith(prefix):
        return b""
    found = key.find(delimiter, len(prefix))
    return b"" if found < 0 else key[: found + len(delimiter)]


def _behind(prefix: bytes) -> bytes:
    """The first bytes behind all that begin so; no UTF-8 begins with 255."""
    return prefix[:-1] + bytes([prefix[-1] + 1]) if prefix else b"\xff"
