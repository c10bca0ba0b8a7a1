"""The rows of a list of exchanges: an upload is one row, with its preflight, its parts and its reads folded into it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from oss_wsgi.explanations.text import Text

from .exchange import Exchange

#: The words of a row for the exchanges folded into it: for one, and for several.
_WORDS = {
    "preflight": ("{1} preflight", "{1} preflights"),
    "part": ("{1} part", "{1} parts"),
    "read": ("{1} read", "{1} reads"),
    "call": ("{1} other call", "{1} other calls"),
}


@dataclass(frozen=True)
class Row:
    """An exchange of a list, with those that are folded into it, the newest first."""

    exchange: Exchange
    folded: Sequence[Exchange]

    @property
    def counts(self) -> list[str]:
        """How many exchanges of each sort are folded, in words."""
        sorts = [_sort(exchange) for exchange in self.folded]
        return [
            Text(one if sorts.count(sort) == 1 else several, sorts.count(sort))
            for sort, (one, several) in _WORDS.items()
            if sort in sorts
        ]


def rows_of(exchanges: Sequence[Exchange]) -> list[Row]:
    """Return the rows of exchanges that come newest first; a failed exchange always has a row of its own."""
    heads: dict[str, Exchange] = {}
    for fold in (_fold_parts, _fold_reads, _fold_preflights):
        fold(exchanges[::-1], heads)
    folded: dict[str, list[Exchange]] = {}
    for exchange in exchanges:
        head = heads.get(exchange.id)
        while head and head.id in heads:
            head = heads[head.id]
        if head:
            folded.setdefault(head.id, []).append(exchange)
    return [Row(exchange, folded.get(exchange.id, ())) for exchange in exchanges if exchange.id not in heads]


def _fold_parts(exchanges: Iterable[Exchange], heads: dict[str, Exchange]) -> None:
    """Fold the exchanges of an upload in parts into its completion or, until it is completed, into its beginning."""
    uploads: dict[str, list[Exchange]] = {}
    for exchange in exchanges:
        if exchange.upload_id:
            uploads.setdefault(exchange.upload_id, []).append(exchange)
    for members in uploads.values():
        head = next((member for member in reversed(members) if member.kind == "upload"), members[0])
        heads.update((member.id, head) for member in members if member.kind == "part" and _folds(member, head))


def _fold_reads(exchanges: Iterable[Exchange], heads: dict[str, Exchange]) -> None:
    """Fold the reads of an object into the upload that stored it."""
    uploads: dict[tuple[str, str], Exchange] = {}
    for exchange in exchanges:
        name = exchange.bucket, exchange.key
        if exchange.kind == "upload" and exchange.stored:
            uploads[name] = exchange
        elif exchange.kind == "read" and name in uploads and _folds(exchange, uploads[name]):
            heads[exchange.id] = uploads[name]


def _fold_preflights(exchanges: Iterable[Exchange], heads: dict[str, Exchange]) -> None:
    """Fold a preflight into the request that a browser sent after it."""
    waiting: dict[tuple[str, str, str], list[Exchange]] = {}
    for exchange in exchanges:
        path = exchange.target.partition("?")[0]
        if exchange.kind == "cors":
            asked = exchange.header("origin"), exchange.header("access-control-request-method"), path
            waiting.setdefault(asked, []).append(exchange)
        elif preflights := waiting.pop((exchange.header("origin"), exchange.method, path), []):
            preflight, *later = preflights
            if _folds(preflight, exchange):
                heads[preflight.id] = exchange
            if later:
                waiting[exchange.header("origin"), exchange.method, path] = later


def _folds(exchange: Exchange, head: Exchange) -> bool:
    return exchange.id != head.id and not exchange.has_failed


def _sort(exchange: Exchange) -> str:
    if exchange.operation in ("UploadPart", "UploadPartCopy"):
        return "part"
    return {"cors": "preflight", "read": "read"}.get(exchange.kind, "call")
