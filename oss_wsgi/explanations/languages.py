"""The language of a person, and translations of what programs write in English.

Programs write English, which logs and JSON keep; what a person reads is translated where it is shown. ``zh.toml`` has
each text beside its translation. A text with values is a ``Text``: its template is looked up, and each value is
translated by itself. The rows of ``rows.toml`` are such texts too.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterable, Mapping

from .rows import rows, tables_of
from .text import Text, filled

ENGLISH = "en"
CHINESE = "zh"

_VARIABLES = ("LC_ALL", "LC_MESSAGES", "LANG")
_ACCEPTED = re.compile(
    rf"(?<![\w-])({CHINESE}|{ENGLISH})(?:-[a-z0-9-]+)?\s*(?:;\s*q=([01](?:\.[0-9]{{1,3}})?))?(?![\w-])"
)
_ROWS = ("code", "ec", "reason", "outcome", "status", "line", "sentence", "difference", "server", "route")


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
    """Return a text in a language. A text that is not in the catalogue is returned unchanged, but for its values."""
    return text if language == ENGLISH else _translated(text, _catalogue(language))


def _translated(text: str, catalogue: Mapping[str, str]) -> str:
    if not isinstance(text, Text):
        return catalogue.get(text, text)
    values = {name: _translated(str(value), catalogue) for name, value in text.values.items()}
    # No blank follows a Chinese sentence.
    return filled(catalogue.get(text.template, text.template), values).replace("。 ", "。")


@functools.cache
def _catalogue(language: str) -> Mapping[str, str]:
    return dict(_row_texts(language)) | catalogue_texts(language)


def catalogue_texts(language: str) -> dict[str, str]:
    """Return the texts of a language's file and their translations, without the names of its tables."""
    tables = tables_of(f"{language}.toml").values()
    return {text: translation for table in tables for text, translation in table.items()}


def _row_texts(language: str) -> Iterable[tuple[str, str]]:
    for english, other in zip(rows(*_ROWS), rows(*_ROWS, language=language), strict=True):
        yield english.meaning, other.meaning
        yield english.fix, other.fix
        yield english.source, other.source
