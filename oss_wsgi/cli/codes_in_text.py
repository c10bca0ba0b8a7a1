"""Finds in a text what the rows explain: codes and statuses in XML, JSON and logs, known lines, the page's sentences.

The text may be an answer of OSS, a line of a log, what a user read on the page in any of its languages, or a code.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import NamedTuple

from ..endpoints.static import shipped_folder
from ..explanations.rows import APPLICATION, OSS, Row, by_code, find, rows, rows_of_status
from .refusals import read_refusal

#: The most characters that are read of a text.
MAX_TEXT = 1024 * 1024

_EC = re.compile(r"(?<![0-9-])[0-9]{4}-[0-9]{8}(?![0-9-])")
_MEMBER = re.compile(r"\b(?:reason|code)[\"']?\s*[=:]\s*[\"']?([A-Za-z]\w*(?:\.\w+)*)")
# Words of a sentence have neither an underscore nor a second capital.
_CODE = re.compile(r"\b(?:[a-z]+(?:_[a-z]+)+|[A-Z]+[a-z]+[A-Z][A-Za-z]*)\b")
_ONLY_STATUS = re.compile(
    r"(?:(?:http|error|status|code|from|/[0-9.]+)[\s:=]*)*([1-5][0-9]{2})[.,;:]?(?:\s+[A-Za-z -]+)?", re.IGNORECASE
)
_STATUS = re.compile(
    r"(?:\bstatus(?:[ _]?code)?[\"']?\s*[=:]?\s*[\"']?|\bHTTP(?:/[0-9.]+)?[\"']?\s+|\brefused: |\bsignature: |' |\" )"
    r"([1-5][0-9]{2})\b",
    re.IGNORECASE,
)
#: OSS quotes the application's own status in the message of a callback that failed.
_CALLBACK_STATUS = re.compile(r"Error status ?: ?([1-5][0-9]{2})\b", re.IGNORECASE)
_PAGE_TEXT = re.compile(r'^ +(\w+): "(.{8,})",$|^ +(\w+): \{$', re.MULTILINE)
_NAMES = {name.lower(): status.value for name, status in HTTPStatus.__members__.items()}


class FoundCode(NamedTuple):
    """A code, spelled as in the table, or a status with its sender if that is known."""

    code: str
    sender: str | None = None


def find_codes(text: str) -> list[FoundCode]:
    """Return the codes in a text, the most telling first: EC numbers, codes, statuses."""
    text = text[:MAX_TEXT].strip()
    row = find(text)
    if row is not None:
        return [FoundCode(row.code)]
    only = _ONLY_STATUS.fullmatch(text)
    found = [FoundCode(only[1])] if only else list(_in_words(text))
    if text.lower() in _NAMES:
        found = [FoundCode(str(_NAMES[text.lower()]), APPLICATION)]
    if any(not each.code.isdigit() for each in found):  # a code says more than statuses but the application's own
        quoted = _CALLBACK_STATUS.findall(text)
        found = [each for each in found if not each.code.isdigit() or each.code in quoted]
    known = {each.code for each in found if each.sender}
    telling = [each for each in found if each.sender or each.code not in known]
    return sorted(dict.fromkeys(telling), key=lambda each: (not _EC.fullmatch(each.code), each.code.isdigit()))


def _in_words(text: str) -> Iterator[FoundCode]:
    """Yield the words of a text that look like codes. XML and JSON are texts too: their members are named alike."""
    yield from (FoundCode(number) for number in _EC.findall(text))
    is_document = "<Code>" in text
    if is_document and (code := read_refusal(text.encode()).code):
        yield FoundCode(code)
    for word in (*_MEMBER.findall(text), *_CODE.findall(text)):
        if word.lower() in by_code() and by_code()[word.lower()].code == word:
            yield FoundCode(word)
        elif word in _NAMES:
            yield FoundCode(str(_NAMES[word]), APPLICATION)
    for status in _CALLBACK_STATUS.findall(text):
        yield FoundCode(status, APPLICATION)
    if is_document:
        return
    is_ours = "refused: status=" in text or "oss_wsgi." in text
    rest = _CALLBACK_STATUS.sub("", text)
    for match in _STATUS.finditer(rest):
        if rows_of_status(match[1]):
            yield FoundCode(match[1], APPLICATION if is_ours else OSS if match[0].lower().startswith("ref") else None)


def find_rows(text: str) -> list[Row]:
    """Return the rows of the known lines and of the page's sentences in a text, each once."""
    text = text[:MAX_TEXT]
    sentences = {row.name: row for row in rows("sentence")}
    names = [name for _, name in _page_texts(text)]
    names += [name for name, row in sentences.items() if row.pattern and re.search(row.pattern, text)]
    lines = [row for row in rows("line") if re.search(row.pattern, text)]
    return [*lines, *(sentences[name] for name in dict.fromkeys(names) if name in sentences)]


def codes_of_sentences(text: str) -> list[FoundCode]:
    """Return the codes for which the page shows the sentences in a text."""
    found = []
    for section, name in _page_texts(text[:MAX_TEXT]):
        if section == "server" and len(name) == 3:
            found.append(FoundCode(name, APPLICATION))
        elif section == "storage" and name[0].isupper():
            found.append(FoundCode(name))
    return found


def _page_texts(text: str) -> Iterator[tuple[str, str]]:
    """Yield section and name of each of the page's texts that occurs in a text."""
    text = " ".join(text.casefold().split())
    for sentence, place in _sentences().items():
        if sentence in text:
            text = text.replace(sentence, "")
            yield place


@functools.cache
def _sentences() -> dict[str, tuple[str, str]]:
    """Return section and name by text, for the page's texts about single files in all its languages.

    The first of equal texts counts. Longer texts come first, because one may be a part of another.
    """
    sentences: dict[str, tuple[str, str]] = {}
    for language in sorted((shipped_folder() / "languages").glob("*.js")):
        section = ""
        for match in _PAGE_TEXT.finditer(language.read_text(encoding="utf-8")):
            name, sentence, opened = match.groups()
            section = opened or section
            if not opened and section in ("states", "errors", "server", "storage"):
                sentences.setdefault(sentence.casefold().rstrip(".。"), (section, name))
    return dict(sorted(sentences.items(), key=lambda item: len(item[0]), reverse=True))
