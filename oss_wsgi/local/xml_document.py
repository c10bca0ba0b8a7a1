"""XML documents: those that clients send, read with care, and those that OSS answers."""

from __future__ import annotations

import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from xml.sax.saxutils import escape

from .errors import Answer, Headers, OSSError, xml_text

#: An element: its name, and its text or the elements in it.
Node = tuple[str, "str | Iterable[Node]"]


def read_xml(body: bytes, root: str) -> ElementTree.Element:
    """The root element, namespaces left off; OSSError unless it is a document of UTF-8 whose root has that name."""
    try:
        # Decoded first, so that no other encoding hides a declaration, which no document of OSS has: entities are
        # where small documents become large ones, or files of this machine.
        text = body.decode()
        if "<!DOCTYPE" in text:
            raise malformed_xml()
        element = ElementTree.fromstring(text)  # noqa: S314
    except (UnicodeDecodeError, ElementTree.ParseError):
        raise malformed_xml() from None
    for found in element.iter():
        found.tag = found.tag.rpartition("}")[2]
    if element.tag != root:
        raise malformed_xml()
    return element


def malformed_xml() -> OSSError:
    message = "The XML you provided was not well-formed or did not validate against our published schema."
    return OSSError(400, "MalformedXML", message)


def write_xml(name: str, content: str | Iterable[Node]) -> bytes:
    return ('<?xml version="1.0" encoding="UTF-8"?>\n' + _element(name, content) + "\n").encode()


def xml_answer(name: str, content: str | Iterable[Node], headers: Headers | None = None) -> Answer:
    """No `xmlns`: the SDKs look for elements without one."""
    return Answer(200, [*(headers or []), ("Content-Type", "application/xml")], write_xml(name, content))


def iso_time(moment: float) -> str:
    """Return Unix seconds as OSS writes them in XML: `2024-12-03T12:12:12.000Z`."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(moment))


def _element(name: str, content: str | Iterable[Node]) -> str:
    inner = escape(xml_text(content)) if isinstance(content, str) else "".join(_element(*node) for node in content)
    return f"<{name}>{inner}</{name}>"
