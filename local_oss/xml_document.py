"""XML documents: a safe reader for clients' documents, and a writer for OSS's."""

from __future__ import annotations

import re
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping

from .errors import Headers, OSSError, Response, xml_escaped

#: An element: its name, and its text or its child elements.
Node = tuple[str, "str | Iterable[Node]"]


_REFERENCE = re.compile(r"&#(?:x([0-9a-fA-F]{1,6})|([0-9]{1,7}));")
#: The code points that XML 1.0 cannot hold, even as references: control characters, and two noncharacters.
_FORBIDDEN = [*(code for code in range(0x20) if code not in (0x09, 0x0A, 0x0D)), 0xFFFE, 0xFFFF]


def read_xml(body: bytes, root: str, *, any_character: bool = False, ec: str = "") -> ElementTree.Element:
    """Return the root element with all namespaces removed.

    :param any_character: read characters that XML 1.0 forbids too, as they are or as references.
    :param ec: the EC of the error.
    :raises OSSError: the body is not UTF-8 XML, declares a document type, or has a root element of another name.
    """
    try:
        # No document of OSS has a declaration, and entities let a small document grow or read files of this machine.
        # Decoding comes first because another encoding could hide a declaration.
        text = body.decode()
        if "<!DOCTYPE" in text:
            raise malformed_xml(ec)
        stand_ins = _stand_ins(text) if any_character else {}
        document = ElementTree.fromstring(_replaced(text, stand_ins))  # noqa: S314
    except (UnicodeDecodeError, ElementTree.ParseError):
        raise malformed_xml(ec) from None
    for element in document.iter():
        element.tag = element.tag.rpartition("}")[2]
        if element.text and stand_ins:
            element.text = element.text.translate({ord(private): code for code, private in stand_ins.items()})
    if document.tag != root:
        raise malformed_xml(ec, f"the root node is not named {root}.")
    return document


def _stand_ins(text: str) -> dict[int, str]:
    """Return for each character that XML forbids a private one that does not occur in the text."""
    private = (chr(code) for code in range(0xF0000, 0xFFFFE) if chr(code) not in text)
    return dict(zip(_FORBIDDEN, private, strict=False))


def _replaced(text: str, stand_ins: Mapping[int, str]) -> str:
    def character(match: re.Match[str]) -> str:
        return stand_ins.get(int(match[1], 16) if match[1] else int(match[2]), match[0])

    return _REFERENCE.sub(character, text).translate(stand_ins) if stand_ins else text


def malformed_xml(ec: str = "", detail: str = "") -> OSSError:
    message = "The XML you provided was not well-formed or did not validate against our published schema."
    members = {"ErrorDetail": detail} if detail else {}
    return OSSError(400, "MalformedXML", message, ec, **members)


def write_xml(name: str, content: str | Iterable[Node]) -> bytes:
    """Return a document as OSS prints it: each element on a line of its own, indented by two blanks."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>']
    _add_lines(lines, [(name, content)])
    return "\n".join([*lines, ""]).encode()


def xml_response(name: str, content: str | Iterable[Node], headers: Headers | None = None) -> Response:
    """Return a 200 with this document, without `xmlns`: the SDKs look for elements without a namespace."""
    return Response(200, [*(headers or []), ("Content-Type", "application/xml")], write_xml(name, content))


def iso_time(moment: float) -> str:
    """Return Unix seconds as OSS writes a time in XML: `2024-12-03T12:12:12.000Z`."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(moment))


def _add_lines(lines: list[str], nodes: Iterable[Node], indent: str = "") -> None:
    for name, content in nodes:
        if isinstance(content, str):
            lines.append(f"{indent}<{name}>{xml_escaped(content)}</{name}>")
        else:
            lines.append(f"{indent}<{name}>")
            _add_lines(lines, content, f"{indent}  ")
            lines.append(f"{indent}</{name}>")
