"""Reads the XML in which OSS says why it refused something."""

from __future__ import annotations

import html
import re
from dataclasses import asdict, dataclass

from .terminal import plain


@dataclass(frozen=True)
class OSSRefusal:
    """Code, message and EC number of a refusal; "" for what it did not say."""

    code: str
    message: str
    ec: str
    endpoint: str = ""

    def __str__(self) -> str:
        said = f"{self.code or 'no code'}: {self.message}" if self.message else self.code or "no reason given"
        return said + (f" (EC {self.ec})" if self.ec else "")

    def members(self) -> dict[str, str]:
        """Give what it said, for JSON."""
        return {name: value for name, value in asdict(self).items() if value}


def read_refusal(body: bytes) -> OSSRefusal:
    """Read an error document, as text alone: no parser of XML meets what a stranger sent."""
    text = body[:65536].decode("utf-8", "replace")
    return OSSRefusal(_text(text, "Code"), _text(text, "Message"), _text(text, "EC"), _text(text, "Endpoint"))


def _text(document: str, name: str) -> str:
    found = re.search(rf"<{name}>([^<]{{0,4096}})</{name}>", document)
    return plain(html.unescape(found[1]).strip()) if found else ""
