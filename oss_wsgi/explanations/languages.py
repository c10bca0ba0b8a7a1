"""The language of a person, and translations of what programs write in English.

Programs write English, which logs and JSON keep; what a person reads is translated where it is shown. ``zh.toml`` has
each text beside its translation. The value for ``{1}`` in a text is put into the translation, and is translated itself
if the file has it as a text. The rows of ``rows.toml`` are such texts too.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from .rows import rows, tables_of

ENGLISH = "en"
CHINESE = "zh"

#: A text with this many letters of its own is hardly found by chance.
_TELLING = 10
#: The most characters of a text with its values.
_LONGEST = 4000
_VARIABLES = ("LC_ALL", "LC_MESSAGES", "LANG")
_ACCEPTED = re.compile(
    rf"(?<![\w-])({CHINESE}|{ENGLISH})(?:-[a-z0-9-]+)?\s*(?:;\s*q=([01](?:\.[0-9]{{1,3}})?))?(?![\w-])"
)
_ROWS = ("code", "ec", "reason", "outcome", "status", "line", "sentence", "difference", "server", "route")
_PLACE = re.compile(r"\{(\w+)\}")
#: Where a text may be put together of others: behind a label, between clauses, at the end of a sentence or a line.
_BREAK = re.compile(r"[:;] |(?<=[.`]) (?=[A-Za-z`])|\n")
_SEPARATORS = {": ": "：", "; ": "；", " ": "", "\n": "\n"}
#: Breaks of a text that is put together of others; one with more is somebody else's.
_MOST_BREAKS = 16


class _Pattern(NamedTuple):
    """A text with places: the expression that finds it, the names of its places in their order, its translation."""

    regex: re.Pattern[str]
    names: tuple[str, ...]
    translation: str


class _Catalogue(NamedTuple):
    whole: Mapping[str, str]
    patterns: tuple[_Pattern, ...]


def language_of(environ: Mapping[str, str]) -> str:
    """Return the language of a locale: of LC_ALL, LC_MESSAGES or LANG, the first that is set."""
    locale = next((environ[name] for name in _VARIABLES if environ.get(name)), "")
    return CHINESE if locale.lower().startswith(CHINESE) else ENGLISH


def spoken_language(environ: Mapping[str, str]) -> str:
    """Return the language of the environment's locale, or English where standard output cannot write that language."""
    try:
        "中文".encode(sys.stdout.encoding or "utf-8")
    except (LookupError, UnicodeEncodeError):
        return ENGLISH
    return language_of(environ)


def accepted_language(header: str | None) -> str:
    """Return the language that an Accept-Language header prefers: of those here, the one with the highest weight."""
    weights: dict[str, float] = {}
    for name, weight in _ACCEPTED.findall((header or "").lower()):
        weights[name] = max(weights.get(name, 0.0), float(weight or 1))
    return CHINESE if weights.get(CHINESE, 0.0) > weights.get(ENGLISH, 0.0) else ENGLISH


def in_language(text: str, language: str) -> str:
    """Return a text in a language. An unknown text, or one longer than any in the catalogue, is returned unchanged."""
    is_left = language == ENGLISH or len(text) > _LONGEST
    return text if is_left else _translated(text, _catalogue(language))


def _translated(text: str, catalogue: _Catalogue) -> str:
    whole = _whole(text, catalogue)
    if whole is not None:
        return whole
    # Not within a command, which stands between backticks.
    breaks = [each for each in _BREAK.finditer(text) if text.count("`", 0, each.start()) % 2 == 0]
    if not breaks or len(breaks) > _MOST_BREAKS:
        return text
    for each in reversed(breaks):
        first = _whole(text[: each.start()], catalogue)
        if first is not None:
            return first + _SEPARATORS[each[0]] + _translated(text[each.end() :], catalogue)
    begin = breaks[0].end()  # what stands before it is unknown, and stays
    return text[:begin] + _translated(text[begin:], catalogue)


def _whole(text: str, catalogue: _Catalogue) -> str | None:
    """Return the translation of a text that is one of the catalogue; None for another.

    A text of the catalogue may have become a sentence, with a capital at its beginning and a full stop.
    """
    found = _entry(text, catalogue)
    if found is None and text.endswith("."):
        clause = _whole(text[:-1], catalogue)
        return None if clause is None else f"{clause}。"
    if found is None and text[:1].isupper():
        return _entry(text[0].lower() + text[1:], catalogue)
    return found


def _entry(text: str, catalogue: _Catalogue) -> str | None:
    if text in catalogue.whole:
        return catalogue.whole[text]
    for pattern in catalogue.patterns:
        match = pattern.regex.fullmatch(text)
        if match:
            values = {
                name: _translated(value, catalogue) for name, value in zip(pattern.names, match.groups(), strict=True)
            }
            return _filled(pattern.translation, values)
    return None


def _filled(translation: str, values: Mapping[str, str]) -> str:
    return _PLACE.sub(lambda place: values.get(place[1], place[0]), translation)


@functools.cache
def _catalogue(language: str) -> _Catalogue:
    texts = dict(_row_texts(language)) | catalogue_texts(language)
    with_places = sorted((text for text in texts if _PLACE.search(text)), key=_weight, reverse=True)
    return _Catalogue(texts, tuple(_pattern(text, texts[text]) for text in with_places))


def catalogue_texts(language: str) -> dict[str, str]:
    """Return the texts of a language's file and their translations, without the names of its tables."""
    tables = tables_of(f"{language}.toml").values()
    return {text: translation for table in tables for text, translation in table.items()}


def _row_texts(language: str) -> Iterable[tuple[str, str]]:
    for english, other in zip(rows(*_ROWS), rows(*_ROWS, language=language), strict=True):
        yield english.meaning, other.meaning
        yield english.fix, other.fix
        yield english.source, other.source


def _weight(text: str) -> int:
    """Return how many letters a text has outside its places: texts that have more are tried first."""
    return sum(letter.isalpha() for letter in _PLACE.sub("", text))


def _pattern(text: str, translation: str) -> _Pattern:
    """Return a pattern. If the text is sentences, no place in it matches beyond the end of a sentence.

    If the text has few letters of its own, a place matches two words at most: it would be found in any text.
    """
    value = r"((?:(?!\. [A-Z`]).)*?)" if text.endswith((".", "`")) else "(.*?)"
    if _weight(text) < _TELLING:
        value = r"(\S*(?: \S+)?)"
    literals = _PLACE.split(text)
    regex = "".join(value if index % 2 else re.escape(literal) for index, literal in enumerate(literals))
    return _Pattern(re.compile(regex, re.DOTALL), tuple(literals[1::2]), translation)
