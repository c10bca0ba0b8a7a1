"""Rows of ``rows.toml``: what a code, a status, a reason or a message means, and what to do about it.

The file is read when a row is first needed: no server reads it before it refuses something.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: The page of an EC number, which stands behind it.
EC_PAGE = "https://api.aliyun.com/troubleshoot?q="

#: Who sends a status.
OSS = "OSS"
APPLICATION = "this application"
FRONT = "a server in front"

#: The kinds of rows that a code alone finds.
CODE_KINDS = ("code", "ec", "reason", "outcome")

_PHRASE = re.compile(r"\{(\w+)\}")
# As logs, OSS's documents and these commands write a code.
_WRITTEN_CODE = re.compile(r"\(?(?:ec[\s:=]*(?=[0-9])|(?:reason|code)[\s:=]+)?([a-z0-9_.-]+?)[.,;]?\)?")


@dataclass(frozen=True)
class Row:
    """One row of the file; its fields are described there.

    :ivar name: the row's name in the file.
    :ivar code: what a person sees: the title where there is one, else the name.
    """

    kind: str
    name: str
    code: str
    meaning: str
    fix: str
    by: tuple[str, ...]
    shown: tuple[str, ...]
    source: str = ""
    pattern: str = ""

    @property
    def sources(self) -> list[str]:
        """Return the sources in full: the page, an EC number's own page, or the modules that emit it."""
        pages = [self.source] if self.source else [f"oss_wsgi.{module}" for module in self.by]
        return [*pages, EC_PAGE + self.code] if self.kind == "ec" else pages


def rows(*kinds: str, language: str = "en") -> Sequence[Row]:
    """Return the rows of some kinds, in the file's order. What a language lacks is in English."""
    return [row for kind in kinds for row in _read(language)[kind]]


def heading_of(kind: str, language: str = "en") -> str:
    """Return the heading of the rows of a kind. What a language lacks is in English."""
    table = tables_of("rows.toml")["kinds"][kind]
    return str(table.get(language, table)["heading"])


def row_of(kind: str, name: str, default: str = "", language: str = "en") -> Row:
    """Return the row of a kind with exactly this name, or else the one named ``default``. Raises KeyError."""
    named = {row.name: row for row in _read(language)[kind]}
    return named[name] if name in named else named[default or name]


def hint_of(reason: str) -> str:
    """Return what the log says of a refusal that adds nothing to the row of its reason."""
    row = row_of("reason", reason)
    return f"{row.meaning} {row.fix}"


def find(code: str, language: str = "en") -> Row | None:
    """Return the row of a code, in any case, alone or as in `(EC 0006-00000213)` and `reason=ticket_foreign`."""
    written = _WRITTEN_CODE.fullmatch(code.strip().lower())
    return by_code(language).get(written[1]) if written else None


@functools.cache
def by_code(language: str = "en") -> Mapping[str, Row]:
    """Return the rows that a code alone finds, by the code in small letters."""
    return {row.code.lower(): row for row in rows(*CODE_KINDS, language=language)}


def rows_of_status(status: int | str, sender: str | None = None, language: str = "en") -> Sequence[Row]:
    """Return the rows of a status: of its sender, or of all senders if that one is unknown or does not send it."""
    found = [row for row in _read(language)["status"] if row.name == str(status)]
    return [row for row in found if row.by == (sender,)] or found


@functools.cache
def tables_of(file: str) -> Mapping[str, Any]:
    """Return the tables of a file in this folder."""
    from importlib import resources

    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    tables: Mapping[str, Any] = tomllib.loads(resources.files(__package__).joinpath(file).read_text("utf-8"))
    return tables


@functools.cache
def _read(language: str) -> Mapping[str, Sequence[Row]]:
    return rows_in(tables_of("rows.toml"), language)


def rows_in(tables: Mapping[str, Any], language: str) -> Mapping[str, Sequence[Row]]:
    """Return the rows of each kind in the tables of such a file."""
    phrases, sources = ({**tables[name], **tables[name].get(language, {})} for name in ("phrases", "sources"))
    phrases = {name: phrase for name, phrase in phrases.items() if isinstance(phrase, str)}
    return {
        kind: [
            _row(kind, name, {**defaults, **member}, sources, phrases, language)
            for name, table in tables.get(kind, {}).items()
            for member in (table if isinstance(table, list) else [table])
        ]
        for kind, defaults in tables["kinds"].items()
    }


def _row(
    kind: str,
    name: str,
    table: Mapping[str, Any],
    sources: Mapping[str, str],
    phrases: Mapping[str, str],
    language: str,
) -> Row:
    """Return a row with the phrases in its texts, in a language or else in English."""
    texts = {**table, **table.get(language, {})}
    known = {**phrases, "code": name}

    def filled(text: str) -> str:
        return _PHRASE.sub(lambda match: known.get(match[1], match[0]), text)

    return Row(
        kind,
        name,
        table.get("title", name),
        filled(filled(texts["meaning"])),
        filled(filled(texts["fix"])),
        tuple(table["by"]),
        tuple(table["shown"]),
        sources[table["source"]] if "source" in table else "",
        table.get("pattern", ""),
    )
