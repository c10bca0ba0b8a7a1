"""The ticket of an upload in parts, which clients know as its upload ID, and the sizes and numbers of its parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..callback.sealing import Secrets
from ..callback.ticket import NewTicket, Ticket, TicketBook
from ..settings_check import MAX_PART_BYTES, MAX_PARTS, MIN_PART_BYTES

_LABEL = b"oss_wsgi upload in parts"
_MEBIBYTE = 1024 * 1024


class PartsTicket(NamedTuple):
    """The ticket of an upload in parts: what it may store, and OSS's ID of the upload.

    ``part_size`` is the size in bytes of each part except the last, if the client uses the size that this server
    returned, and None if the client has a rule of its own. ``acl`` is the grant's.
    """

    ticket: Ticket
    upload_id: str
    part_size: int | None
    acl: str | None

    @property
    def key(self) -> str:
        return self.ticket.key or ""

    @property
    def size(self) -> int | None:
        """Return the size of the whole file, or None if the client did not state it."""
        return self.ticket.max_size if self.ticket.min_size == self.ticket.max_size else None

    @property
    def allowed_parts(self) -> int:
        """Return the highest part number that may be sent."""
        if self.part_size is not None:
            return part_count(self.ticket.max_size, self.part_size)
        return allowed_parts(self.ticket.max_size)

    def length(self, number: int) -> int | None:
        """Return the exact length of a part in bytes, or None if it is not known."""
        if self.part_size is None:
            return None
        return min(self.part_size, self.ticket.max_size - (number - 1) * self.part_size)


class PartsBook:
    """Seals and opens the tickets of uploads in parts.

    They are sealed under their own keys, so they do not open as a form's ticket or as a receipt. They have the same
    nonce, and so the same ID, as the ticket that they contain.

    :param secrets: the ticket secrets.
    :param clock: returns Unix seconds.
    """

    def __init__(self, secrets: Secrets, *, clock: Callable[[], float]) -> None:
        self._sealed = TicketBook(secrets, clock=clock, label=_LABEL)

    def seal(self, ticket: NewTicket, upload_id: str, part_size: int | None, acl: str | None) -> str:
        """Return the ID of an upload in parts for its ticket: letters, digits, ``-`` and ``_``."""
        return self._sealed.seal(ticket.with_members(upload_id, part_size, acl))

    def open(self, text: str) -> PartsTicket:
        """Return the ticket that was sealed as ``text``; UnverifiedError as ``TicketBook.open`` raises it."""
        ticket, _, (upload_id, part_size, acl) = self._sealed.unseal(text)
        return PartsTicket(ticket, upload_id, part_size, acl)


def part_count(size: int, part_size: int) -> int:
    """Return how many parts a file has; an empty file has one empty part."""
    return max(1, -(-size // part_size))


def allowed_parts(size: int) -> int:
    """Return the most parts that a file of ``size`` bytes may have, however a client cuts it."""
    return min(MAX_PARTS, part_count(size, MIN_PART_BYTES))


def fitting_part_size(size: int, part_size: int) -> int:
    """Return ``part_size``, or the next whole number of MiB if the file would have more than 10,000 parts."""
    least = -(-size // MAX_PARTS)
    if least <= part_size:
        return part_size
    return min(MAX_PART_BYTES, -(-least // _MEBIBYTE) * _MEBIBYTE)
