"""What `explain --signed` compares: OSS's answer, and what this server signed (protocol.md 15)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from ..explanations.signatures import POLICY, UNKNOWN, V4, Item, compared, difference, fixes, items_of
from ..explanations.text import Text
from ..http import json_object, urlencoded_pairs
from ..signing.presigned_url import canonical_request, string_to_sign_v1
from .codes_in_text import MAX_TEXT
from .refusals import element_text
from .terminal import MisuseError, read_input

_MAX_SHOWN = 100
_MAX_PARAMETERS = 1000
_SIGNATURES = ("x-oss-signature", "Signature")
#: These tell a reader nothing, and must not be shown.
_SEALED = ("security-token", "oss-wsgi")
#: An answer of the signature endpoint does not have these, which clients send by themselves.
_SENT_BY_ITSELF = ("content-length", "host")


class Comparison(NamedTuple):
    """OSS's text item by item, beside ours where that is known, and what follows from the differences."""

    items: list[Item]
    fixes: list[str]

    def members(self) -> dict[str, Any]:
        """Return the members of JSON, with long values shortened."""
        signed = [
            {
                "name": item.name,
                "oss": _shown(item.name, item.oss),
                "ours": _shown(item.name, item.ours),
                "differs": item.differs,
            }
            for item in self.items
        ]
        return {"signed": signed, "fixes": self.fixes}

    def lines(self) -> Iterator[str]:
        """Yield the lines for a person; ``!`` marks a difference."""
        yield "What OSS read in the request, beside what was signed:"
        for item in self.items:
            if not item.differs:
                yield f"    {item.name}: {_shown(item.name, item.oss if item.oss is not None else item.ours)}"
                continue
            yield f"  ! {item.name}"
            yield Text("      OSS:    {1}", _shown(item.name, item.oss))
            yield Text("      signed: {1}", _shown(item.name, item.ours))
        yield from self.fixes


def compare(answer: str, signed: str | None) -> Comparison | None:
    """Compare OSS's answer with what was signed; None if the answer does not show what OSS signed.

    ``signed`` is the signature endpoint's JSON, a signed URL, or the name of a file with either; None if not known.

    Raises MisuseError.
    """
    answer = answer.replace("\r\n", "\n")
    string_to_sign = element_text(answer, "StringToSign")
    if string_to_sign is None:
        return None
    try:
        oss = items_of(string_to_sign, element_text(answer, "CanonicalRequest") or "")
    except ValueError:  # cut short
        return None
    if signed is None:
        names = ("content-type", "unsigned") if "content-type" in oss else ("unsigned",)
        return Comparison([Item(name, value, UNKNOWN) for name, value in oss.items()], list(map(difference, names)))
    items = compared(oss, _read_signed(signed, oss))
    return Comparison(items, list(fixes(items)))


def _read_signed(text: str, oss: Mapping[str, str]) -> dict[str, str]:
    signed = _parse(text)
    fields, url = signed.get("fields"), signed.get("url")
    if isinstance(fields, dict) and isinstance(fields.get("policy"), str):
        return {POLICY: fields["policy"]}
    if not isinstance(url, str) or "?" not in url:
        raise MisuseError("--signed has no signed URL and no policy: give the signature endpoint's JSON, or a URL.")
    headers = signed.get("headers")
    known = {str(name).lower(): str(value) for name, value in headers.items()} if isinstance(headers, dict) else None
    items = _items_of_url(str(signed.get("method") or oss.get("method")), url, known or {}, oss)
    for name in oss:
        if not name.startswith(("parameter ", "additional")) and (known is None or name in _SENT_BY_ITSELF):
            items.setdefault(name, UNKNOWN)
    return items


def _items_of_url(method: str, url: str, headers: Mapping[str, str], oss: Mapping[str, str]) -> dict[str, str]:
    parts = urlsplit(url)
    path = unquote(parts.path)
    if not oss.get("path", "").endswith(path):  # the host names the bucket, unless it is a domain of one's own
        path = f"/{(parts.hostname or '').partition('.')[0]}{path}"
    else:
        path = oss["path"]
    pairs = {name: value for name, value in urlencoded_pairs(parts.query, _MAX_PARAMETERS) if name not in _SIGNATURES}
    if "x-oss-signature-version" not in pairs:
        return items_of(string_to_sign_v1(method, path, pairs.get("Expires", ""), pairs, headers))
    raw = [pair.partition("=")[::2] for pair in parts.query.split("&")]
    query = [(name, value) for name, value in raw if name not in _SIGNATURES]
    canonical = canonical_request(method, path, query, headers, pairs.get("x-oss-additional-headers", ""))
    return items_of(V4, canonical)


def _parse(text: str) -> dict[str, Any]:
    text = text.strip()
    if not text.startswith(("{", "http://", "https://")):
        text = read_input(text, MAX_TEXT, "--signed: ").decode("utf-8", "replace").strip()
    if text.startswith(("http://", "https://")):
        return {"url": text}
    signed = json_object(text.encode("utf-8", "replace"))
    if signed is None:
        raise MisuseError("--signed must be a signed URL, or the JSON object that the signature endpoint returned.")
    return signed


def _shown(name: str, value: str | None) -> str:
    if value is None:
        return "(not there)"
    length = 0 if name.endswith(_SEALED) else _MAX_SHOWN
    return value if 0 < len(value) <= length else Text("{1}... ({2} characters)", value[:length], len(value))
