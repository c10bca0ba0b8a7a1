"""A text for people in English, whose values stay apart, so that another language can be asked for (`languages.py`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

_PLACE = re.compile(r"\{(\w+)\}")
#: Texts within texts that `text_of` reads.
_MOST_LEVELS = 10


class Text(str):
    """A sentence, or a part of one: ``Text("forms go to {1}", host)``.

    It is the English text for everything that takes a ``str``: logs, JSON, exceptions. A value may be a Text itself.
    Only places that have a value are filled; other braces stay.

    :ivar template: the English text with its places, as ``zh.toml`` has it.
    :ivar values: by the names of the places.
    """

    template: str
    values: Mapping[str, object]

    def __new__(cls, template: str, *values: object, **named: object) -> Text:
        by_name = {str(number): value for number, value in enumerate(values, start=1)} | named
        return cls._with(filled(template, {name: f"{value}" for name, value in by_name.items()}), template, by_name)

    @classmethod
    def _with(cls, english: str, template: str, values: Mapping[str, object]) -> Text:
        text = str.__new__(cls, english)
        text.template, text.values = template, values
        return text

    @classmethod
    def sentence(cls, clause: str) -> Text:
        """Return a clause as a sentence: with a capital at its beginning and a full stop."""
        return cls._with(f"{clause[:1].upper()}{clause[1:]}.", "{1}.", {"1": clause})

    def mapped(self, change: Callable[[str], str]) -> Text:
        """Return the text with each of its values changed."""
        return Text(self.template, **{name: change(_text(value)) for name, value in self.values.items()})

    def __str__(self) -> str:
        return self  # so that `str(error)` returns the Text with which an error was raised


def ended(text: str) -> str:
    """Return a text with a full stop, unless it has one."""
    return text if text.endswith(".") else Text("{1}.", text)


def sentences(*texts: str) -> str:
    """Return texts with a blank between them, without those that are empty."""
    return joined("{1} {2}", texts)


def joined(pair: str, texts: Iterable[str]) -> str:
    """Return texts that are joined as ``pair`` says, such as ``{1}; {2}``, without those that are empty."""
    whole, *others = [text for text in texts if text] or [""]
    for text in others:
        whole = Text(pair, whole, text)
    return whole


def filled(template: str, values: Mapping[str, str]) -> str:
    """Return a template with its values in their places."""
    return _PLACE.sub(lambda place: values.get(place[1], place[0]), template)


def parts_of(text: str) -> object:
    """Return what JSON can carry to another process, which has the text again by ``text_of``."""
    if not isinstance(text, Text):
        return text
    return [text.template, {name: parts_of(_text(value)) for name, value in text.values.items()}]


def _text(value: object) -> str:
    return value if isinstance(value, str) else str(value)


def text_of(parts: object, levels: int = _MOST_LEVELS) -> str:
    """Return the text of what ``parts_of`` returned. Raises ValueError for anything else."""
    if isinstance(parts, str):
        return parts
    if levels and isinstance(parts, list) and len(parts) == 2:
        template, values = parts
        if isinstance(template, str) and isinstance(values, dict):
            return Text(template, **{name: text_of(value, levels - 1) for name, value in values.items()})
    raise ValueError("not the parts of a text")
