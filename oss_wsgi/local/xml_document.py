"""XML documents: a safe reader for those of clients, and a writer for those of OSS."""

from __future__ import annotations

import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from xml.sax.saxutils import escape

from .errors import Headers, OSSError, Response, xml_text

#: An element: its name, and its text or its child elements.
Node = tuple[str, "str | Iterable[Node]"]


def read_xml(body: bytes, root: str) -> ElementTree.Element:
    """Return the root element with all namespaces removed.

    :raises OSSError: the body is not UTF-8 XML, declares a document type, or has a root element of another name.
    """
    try:
        # No document of OSS has a declaration, and entities let a small document grow or read files of this machine.
        # Decoding comes first because another encoding could hide a declaration.
        text = body.decode()
        if "<!DOCTYPE" in text:
            raise malformed_xml()
        document = ElementTree.fromstring(text)  # noqa: S314
    except (UnicodeDecodeError, ElementTree.ParseError):
        raise malformed_xml() from None
    for element in document.iter():
        element.tag = element.tag.rpartition("}")[2]
    if document.tag != root:
        raise malformed_xml()
    return document


def malformed_xml() -> OSSError:
    message = "The XML you provided was not well-formed or did not validate against our published schema."
    return OSSError(400, "MalformedXML", message)


def write_xml(name: str, content: str | Iterable[Node]) -> bytes:
    return ('<?xml version="1.0" encoding="UTF-8"?>\n' + _element(name, content) + "\n").encode()


def xml_response(name: str, content: str | Iterable[Node], headers: Headers | None = None) -> Response:
    """Return a 200 with this document, without `xmlns`: the SDKs look for elements without a namespace."""
    return Response(200, [*(headers or []), ("Content-Type", "application/xml")], write_xml(name, content))


def iso_time(moment: float) -> str:
    """Return Unix seconds as OSS writes a time in XML: `2024-12-03T12:12:12.000Z`."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(moment))


def _element(name: str, content: str | Iterable[Node]) -> str:
    inner = escape(xml_text(content)) if isinstance(content, str) else "".join(_element(*node) for node in content)
    return f"<{name}>{inner}</{name}>"
