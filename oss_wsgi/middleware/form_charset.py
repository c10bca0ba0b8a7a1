"""The charsets of forms: how browsers write a text in each of them (Encoding standard, sections 9 to 14).

Python's codecs are other tables. In GBK, Big5 and Shift_JIS the rules here follow browsers where they differ in
characters that names of files have, such as the euro sign; some dozens of rare signs remain. In EUC-JP and ISO-2022-JP
the characters are Python's.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

Encoder = Callable[[str], bytes]

_ROWS_OF_NEC, _ROWS_OF_IBM = b"\xed\xee", b"\xfa\xfb\xfc"

#: The charsets that a page may have and Python knows by the same name, and those that it knows by another one.
_CHARSETS = re.compile(r"utf-8|gb18030|euc-jp|iso-2022-jp|ibm866|koi8-[ru]|iso-8859-(?:[2-8]|1[03-6])|windows-125[0-8]")
_CODECS = {
    "euc-kr": "cp949",
    "iso-8859-1": "cp1252",
    "iso-8859-8-i": "iso-8859-8",
    "macintosh": "mac-roman",
    "utf-16be": "utf-8",
    "utf-16le": "utf-8",
    "windows-874": "cp874",
    "x-mac-cyrillic": "mac-cyrillic",
}


def encoder_of(charset: str) -> Encoder | None:
    """Return how browsers encode the texts of a form in a charset, named in lower case; None if no page has it.

    A character that the charset lacks becomes a reference, such as ``&#128512;``.
    """
    if charset in _BY_CHARACTER:
        return functools.partial(_joined, _BY_CHARACTER[charset])
    codec = _CODECS.get(charset) or (charset if _CHARSETS.fullmatch(charset) else None)
    return None if codec is None else functools.partial(_encoded, codec)


def _encoded(codec: str, text: str) -> bytes:
    return text.encode(codec, "xmlcharrefreplace")


def _joined(encode: Encoder, text: str) -> bytes:
    return text.encode() if text.isascii() else b"".join(map(encode, text))


def _gbk(character: str) -> bytes:
    """Return a character in GBK, which has those of GB18030 that take two bytes, and the euro sign."""
    if character == "€":
        return b"\x80"
    data = character.encode("gb18030", "ignore")
    return data if 0 < len(data) <= 2 else _encoded("ascii", character)


def _big5(character: str) -> bytes:
    """Return a character in Big5, of which browsers do not write the rows that only Hong Kong has."""
    for codec in ("big5hkscs", "cp950"):
        data = character.encode(codec, "ignore")
        if len(data) == 1 or data[:1] >= b"\xa1":
            return data
    return _encoded("ascii", character)


def _shift_jis(character: str) -> bytes:
    """Return a character in Shift_JIS. Where it occurs twice, browsers write IBM's place, and Python NEC's."""
    data = _encoded("cp932", character)
    return _of_ibm().get(character, data) if data[0] in _ROWS_OF_NEC else data


@functools.cache
def _of_ibm() -> dict[str, bytes]:
    """Return the places of IBM's characters."""
    pairs = (bytes([row, cell]) for row in _ROWS_OF_IBM for cell in range(0x40, 0xFD))
    return {pair.decode("cp932", "ignore"): pair for pair in pairs}


_BY_CHARACTER = {"gbk": _gbk, "gb2312": _gbk, "big5": _big5, "shift_jis": _shift_jis}
