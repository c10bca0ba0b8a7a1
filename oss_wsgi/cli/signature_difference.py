"""Compares what OSS signed, as its SignatureDoesNotMatch shows it, with what this server signed (protocol.md 15)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from ..explanations.rows import row_of
from ..http import json_object, urlencoded_pairs
from ..signing.presigned_url import canonical_request, string_to_sign_v1
from .codes_in_text import MAX_TEXT
from .refusals import element_text
from .terminal import MisuseError, read_input

_MAX_SHOWN = 100
_MAX_PARAMETERS = 1000
_UNKNOWN = "?"
_SIGNATURES = ("x-oss-signature", "Signature")
#: These tell a reader nothing, and must not be shown.
_SEALED = ("security-token", "oss-wsgi")
#: An answer of the signature endpoint does not have these, which clients send by themselves.
_SENT_BY_ITSELF = ("content-length", "host")


class Row(NamedTuple):
    """One item of the signed text, as OSS has it and as it was signed; None if it is missing, ``?`` if unknown."""

    name: str
    oss: str | None
    ours: str | None

    @property
    def differs(self) -> bool:
        return _UNKNOWN not in (self.oss, self.ours) and self.oss != self.ours


class Comparison(NamedTuple):
    """OSS's text item by item, beside ours where that is known, and what follows from the differences."""

    rows: list[Row]
    fixes: list[str]

    def members(self) -> dict[str, Any]:
        """Return the members of JSON, with long values shortened."""
        texts = [(row, _shown(row.name, row.oss), _shown(row.name, row.ours)) for row in self.rows]
        rows = [{"name": row.name, "oss": oss, "ours": ours, "differs": row.differs} for row, oss, ours in texts]
        return {"signed": rows, "fixes": self.fixes}

    def lines(self) -> Iterator[str]:
        """Yield the lines for a person; ``!`` marks a difference."""
        yield "What OSS read in the request, beside what was signed:"
        for row in self.rows:
            if not row.differs:
                yield f"    {row.name}: {_shown(row.name, row.oss if row.oss is not None else row.ours)}"
                continue
            yield f"  ! {row.name}"
            yield f"      OSS:    {_shown(row.name, row.oss)}"
            yield f"      signed: {_shown(row.name, row.ours)}"
        yield from self.fixes


def compare(answer: str, signed: str | None) -> Comparison | None:
    """Compare OSS's answer with what was signed; None if the answer does not show what OSS signed.

    ``signed`` is the signature endpoint's JSON, a signed URL, or the name of a file with either; None if not known.

    Raises MisuseError.
    """
    oss = _read_answer(answer)
    if oss is None:
        return None
    ours = None if signed is None else _read_signed(signed, oss)
    if ours is None:
        rows = [Row(name, value, _UNKNOWN) for name, value in oss.items()]
        return Comparison(
            rows, [_told(name) for name in ("content-type", "unsigned") if name != "content-type" or name in oss]
        )
    names = [*oss, *(name for name in ours if name not in oss)]
    rows = [Row(name, oss.get(name), ours.get(name)) for name in names]
    rows = [row for row in rows if row.differs or not row.name.startswith(("parameter ", "policy"))]
    return Comparison(rows, list(_fixes(rows)))


def _fixes(rows: list[Row]) -> Iterator[str]:
    different = [row for row in rows if row.differs]
    length = next((row for row in rows if row.name == "content-length" and row.oss is not None), None)
    if any(row.name == "content-type" for row in different):
        yield _told("content-type")
    others = [row for row in different if row.name != "content-type"]
    for name, names in (
        ("missing", [row.name for row in others if row.oss is None]),
        ("added", [row.name for row in others if row.ours is None]),
        ("changed", [row.name for row in others if None not in (row.oss, row.ours)]),
    ):
        if names:
            yield _told(name, names=", ".join(names))
    if not different and length is not None:
        yield _told("size", bytes=str(length.oss))
    if not different:
        yield _told("none")


def _told(difference: str, **values: str) -> str:
    """Return the meaning and the fix of a difference, with the values that they name."""
    row = row_of("difference", difference)
    return f"{row.meaning} {row.fix}".format_map(values)


def _read_answer(text: str) -> dict[str, str] | None:
    """Return the items that OSS signed, as its answer shows them."""
    text = text.replace("\r\n", "\n")
    string_to_sign = element_text(text, "StringToSign")
    if string_to_sign is None:
        return None
    try:
        if string_to_sign.startswith("OSS4-HMAC-SHA256"):  # it has only the hash of the request
            return _items_v4(element_text(text, "CanonicalRequest") or "")
        return _policy(string_to_sign) if "\n" not in string_to_sign else _items_v1(string_to_sign)
    except ValueError:  # cut short
        return None


def _policy(text: str) -> dict[str, str]:
    return {"policy of the form": text}


def _items_v1(text: str) -> dict[str, str]:
    method, md5, content_type, date, *headers, resource = text.split("\n")
    path, _, sub_resources = resource.partition("?")
    items = {"method": method, "path": path, "date": date, "content-md5": md5, "content-type": content_type}
    items |= dict(_split(headers, ":"))
    items |= {f"parameter {name}": value for name, value in _split(sub_resources.split("&"), "=")}
    return {name: value for name, value in items.items() if value or not name.startswith("content-")}


def _items_v4(text: str) -> dict[str, str]:
    method, path, query, *headers, _, additional, _ = text.split("\n")
    items = {"method": method, "path": unquote(path)}
    items |= dict(_split(headers, ":"))
    if additional:
        items["additional headers"] = additional
    return items | {f"parameter {unquote(name)}": unquote(value) for name, value in _split(query.split("&"), "=")}


def _split(lines: list[str], separator: str) -> Iterator[tuple[str, str]]:
    for line in lines:
        if line:
            name, _, value = line.partition(separator)
            yield name, value


def _read_signed(text: str, oss: Mapping[str, str]) -> dict[str, str] | None:
    signed = _parse(text)
    fields, url = signed.get("fields"), signed.get("url")
    if isinstance(fields, dict) and isinstance(fields.get("policy"), str):
        return _policy(fields["policy"])
    if not isinstance(url, str) or "?" not in url:
        raise MisuseError("--signed has no signed URL and no policy: give the signature endpoint's JSON, or a URL.")
    headers = signed.get("headers")
    known = {str(name).lower(): str(value) for name, value in headers.items()} if isinstance(headers, dict) else None
    items = _items_of(str(signed.get("method") or oss.get("method")), url, known or {}, oss)
    for name in oss:
        if not name.startswith(("parameter ", "additional")) and (known is None or name in _SENT_BY_ITSELF):
            items.setdefault(name, _UNKNOWN)
    return items


def _items_of(method: str, url: str, headers: Mapping[str, str], oss: Mapping[str, str]) -> dict[str, str]:
    parts = urlsplit(url)
    path = unquote(parts.path)
    if not oss.get("path", "").endswith(path):  # the host names the bucket, unless it is a domain of one's own
        path = f"/{(parts.hostname or '').partition('.')[0]}{path}"
    else:
        path = oss["path"]
    pairs = {name: value for name, value in urlencoded_pairs(parts.query, _MAX_PARAMETERS) if name not in _SIGNATURES}
    if "x-oss-signature-version" not in pairs:
        return _items_v1(string_to_sign_v1(method, path, pairs.get("Expires", ""), pairs, headers))
    raw = [pair.partition("=")[::2] for pair in parts.query.split("&")]
    query = [(name, value) for name, value in raw if name not in _SIGNATURES]
    return _items_v4(canonical_request(method, path, query, headers, pairs.get("x-oss-additional-headers", "")))


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
    return value if 0 < len(value) <= length else f"{value[:length]}... ({len(value)} characters)"
