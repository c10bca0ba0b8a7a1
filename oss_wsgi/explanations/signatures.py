"""Why two signatures differ: what differs between two strings to sign, and the known mistakes of programs that sign.

All of it is read from the strings to sign as OSS shows them (protocol.md 15), so it knows no request and no clock.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from urllib.parse import unquote

from .regions import region_ids
from .rows import row_of
from .text import Text, sentences

V4 = "OSS4-HMAC-SHA256"

#: The one item of what a form signs.
POLICY = "policy of the form"
#: What is not known of one of two strings to sign.
UNKNOWN = "?"
_ALWAYS_SIGNED = ("content-type", "content-md5")

#: What a signature could be, and the sentence for the mistake that makes it.
Candidate = tuple[str, str]


# What differs.


class Item(NamedTuple):
    """One item of the signed text, as OSS has it and as it was signed; None if it is missing."""

    name: str
    oss: str | None
    ours: str | None

    @property
    def differs(self) -> bool:
        return UNKNOWN not in (self.oss, self.ours) and self.oss != self.ours


def items_of(string_to_sign: str, canonical_request: str = "") -> dict[str, str]:
    """Return the items of a string to sign; V4's has only the hash of the canonical request, which must be given too.

    Raises ValueError for a text that is cut short.
    """
    if string_to_sign.startswith(V4):
        return _items_v4(canonical_request)
    return {POLICY: string_to_sign} if "\n" not in string_to_sign else _items_v1(string_to_sign)


def compared(oss: Mapping[str, str], ours: Mapping[str, str]) -> list[Item]:
    """Return what two strings to sign have, without parameters and policies that are the same."""
    items = [Item(name, oss.get(name), ours.get(name)) for name in dict.fromkeys((*oss, *ours))]
    return [item for item in items if item.differs or not item.name.startswith(("parameter ", "policy"))]


def fixes(items: Iterable[Item]) -> Iterator[str]:
    """Yield what follows from the differences, and what to do."""
    different = [item for item in items if item.differs]
    if any(item.name == "content-type" for item in different):
        yield difference("content-type")
    others = [item for item in different if item.name != "content-type"]
    for name, names in (
        ("missing", [item.name for item in others if item.oss is None]),
        ("added", [item.name for item in others if item.ours is None]),
        ("changed", [item.name for item in others if None not in (item.oss, item.ours)]),
    ):
        if names:
            yield difference(name, names=", ".join(names))
    if not different:
        length = next((item for item in items if item.name == "content-length" and item.oss is not None), None)
        if length is not None:
            yield difference("size", bytes=str(length.oss))
        yield difference("none")


def difference(name: str, **values: str) -> str:
    """Return the meaning and the fix of a difference, with the values that they name."""
    row = row_of("difference", name)
    return sentences(Text(row.meaning, **values), row.fix)


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


def _split(lines: Iterable[str], separator: str) -> Iterator[tuple[str, str]]:
    for line in lines:
        if line:
            name, _, value = line.partition(separator)
            yield name, value


def first_difference(provided: str, computed: str) -> int:
    """Return at which character two signatures begin to differ."""
    pairs = enumerate(zip(provided, computed, strict=False))
    return next((index for index, (ours, theirs) in pairs if ours != theirs), min(len(provided), len(computed)))


# Known mistakes.


class Scope(NamedTuple):
    """The day and the region for which V4 derives a key."""

    day: str
    region: str


def find_mistake(
    provided: str,
    string_to_sign: str,
    canonical_request: str,
    scope: Scope | None,
    *,
    key: tuple[str, str],
    former: Sequence[str],
    region: str,
) -> tuple[str, str]:
    """Return the signature of a string to sign, and the known mistake that makes the provided one; "" if none does.

    :param string_to_sign: of a request, or the policy of a form.
    :param canonical_request: that of a V4 request; "" otherwise.
    :param scope: that of a V4 form; for a request the string to sign has it.
    :param key: the ID and the secret of the access key.
    :param former: other secrets of this bucket.
    :param region: that of the bucket.
    """
    key_id, secret = key
    if string_to_sign.startswith(f"{V4}\n"):
        scope = Scope(*string_to_sign.split("\n")[2].split("/")[:2])

    def sign(key: str, text: str = string_to_sign) -> str:
        return _sign_v1(key, text) if scope is None else _sign_v4(key, text, scope)

    computed = sign(secret)
    candidates: list[Iterable[Candidate]] = [
        ((sign(key), mistake) for key, mistake in _wrong_secrets(key_id, secret, former)),
        _v1(secret, string_to_sign) if scope is None else _v4(secret, string_to_sign, scope, region),
    ]
    if "\n" not in string_to_sign:
        candidates.append(_of_policy(secret, string_to_sign, scope))
    texts = _other_texts_v4(string_to_sign, canonical_request) if canonical_request else _other_texts_v1(string_to_sign)
    candidates.append((sign(secret, text), mistake) for text, mistake in texts)
    for signature, mistake in itertools.chain(*candidates):
        if signature != computed and hmac.compare_digest(signature.encode(), provided.strip().encode()):
            return computed, mistake
    return computed, ""


def _sign_v1(secret: str, text: str) -> str:
    return base64.b64encode(hmac.digest(secret.encode(), text.encode(), "sha1")).decode()


def _sign_v4(
    secret: str,
    text: str,
    scope: Scope,
    *,
    prefix: str = "aliyun_v4",
    service: str = "oss",
    end: str = "aliyun_v4_request",
) -> str:
    key = f"{prefix}{secret}".encode()
    for part in (*scope, service, end):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


def _wrong_secrets(key_id: str, secret: str, former: Sequence[str]) -> Iterator[Candidate]:
    """Yield secrets with which the right text may have been signed."""
    for other in former:
        if other != secret:
            yield other, "It was signed with another secret of this bucket: one from before a reset, or the kept one."
    for space, name in (("\n", "a line break"), (" ", "a space"), ("\r\n", "a line break")):
        yield secret + space, Text("The secret was used with {1} at its end.", name)
    yield key_id, "The AccessKey ID was used in the place of the secret."


def _of_policy(secret: str, policy: str, scope: Scope | None) -> Iterator[Candidate]:
    if scope is not None:
        yield _sign_v1(secret, policy), "It is a V1 signature: V4 derives a key from the secret, and uses SHA-256."
    try:
        plain = base64.b64decode(policy, validate=True).decode()
    except ValueError:
        return
    signature = _sign_v1(secret, plain) if scope is None else _sign_v4(secret, plain, scope)
    yield signature, "The policy was signed before Base64: sign its Base64 text."


def _v1(secret: str, text: str) -> Iterator[Candidate]:
    digest = hmac.digest(secret.encode(), text.encode(), "sha1")
    in_hex = "It is hexadecimal: encode the 20 bytes of the HMAC in Base64."
    yield digest.hex(), in_hex
    yield digest.hex().upper(), in_hex
    yield (
        base64.b64encode(digest.hex().encode()).decode(),
        "The hexadecimal text was encoded in Base64, not the 20 bytes.",
    )
    sha256 = hmac.digest(secret.encode(), text.encode(), "sha256")
    for signature in (base64.b64encode(sha256).decode(), sha256.hex()):
        yield signature, "SHA-256 was used: V1 uses SHA-1."
    yield (
        base64.b64encode(hashlib.sha1((text + secret).encode(), usedforsecurity=False).digest()).decode(),
        "A plain SHA-1 was used: V1 uses HMAC.",
    )


def _v4(secret: str, text: str, scope: Scope, region: str) -> Iterator[Candidate]:
    signature = _sign_v4(secret, text, scope)
    yield base64.b64encode(bytes.fromhex(signature)).decode(), "It is Base64: V4 signatures are hexadecimal."
    yield signature.upper(), "It has capital letters: V4 signatures are in lower case."
    for day in _other_days(scope.day):
        yield (
            _sign_v4(secret, text, scope._replace(day=day)),
            Text("The signing key was derived for the day {1}, not {2} (UTC).", day, scope.day),
        )
    for name in dict.fromkeys((f"oss-{region}", region.removeprefix("oss-"), *region_ids())):
        if name != scope.region:
            yield (
                _sign_v4(secret, text, scope._replace(region=name)),
                Text("The signing key was derived for the region {1}, not {2}.", name, scope.region),
            )
    yield (
        _sign_v4(secret, text, scope, prefix=""),
        "The signing key was derived without aliyun_v4 before the secret.",
    )
    yield (
        _sign_v4(secret, text, scope, prefix="AWS4", service="s3", end="aws4_request"),
        "It is a signature for S3: OSS has its own prefix, service and end.",
    )
    yield (
        _sign_v4(secret, text, scope, service="s3"),
        "The signing key was derived for the service s3, not oss.",
    )
    yield (
        hmac.digest(secret.encode(), text.encode(), "sha256").hex(),
        "It was signed with the secret itself: V4 derives a key from the secret, the day and the region.",
    )


def _other_days(day: str) -> Iterator[str]:
    try:
        moment = datetime.strptime(day, "%Y%m%d")
        for days in (-1, 1, *range(-7, -1)):
            yield (moment + timedelta(days=days)).strftime("%Y%m%d")
    except (ValueError, OverflowError):
        return


def _other_texts_v1(text: str) -> Iterator[tuple[str, str]]:
    """Yield other strings to sign that a program may have made for the same request, and the mistake in each."""
    if text.count("\n") < 4:
        return
    method, md5, content_type, date, *headers, resource = text.split("\n")

    def joined(md5: str, content_type: str, headers: Sequence[str]) -> str:
        return "\n".join((method, md5, content_type, date, *headers, resource))

    if md5:
        yield joined("", content_type, headers), _left_out("content-md5")
    if content_type:
        yield joined(md5, "", headers), _left_out("content-type")
    else:
        mistake = "content-type: application/octet-stream was signed, but not sent."
        yield joined(md5, "application/octet-stream", headers), mistake
    for name, others in _without_each(headers):
        if name != "x-oss-date":  # then it is the date
            yield joined(md5, content_type, others), _left_out(name)


def _other_texts_v4(string_to_sign: str, canonical_request: str) -> Iterator[tuple[str, str]]:
    """Yield the strings to sign of other canonical requests, and the mistake in each."""
    *beginning, _ = string_to_sign.split("\n")
    method, path, query, *headers, blank, additional, payload = canonical_request.split("\n")

    def hashed(path: str, headers: Sequence[str], additional: str) -> str:
        canonical = "\n".join((method, path, query, *headers, blank, additional, payload))
        return "\n".join((*beginning, hashlib.sha256(canonical.encode()).hexdigest()))

    for name, others in _without_each(headers):
        yield hashed(path, others, additional), _left_out(name)
        names = ";".join(each for each in additional.split(";") if each != name)
        yield hashed(path, others, names), _left_out(name)
    if additional:
        always = [line for line in headers if line.startswith(("x-oss-", *(f"{name}:" for name in _ALWAYS_SIGNED)))]
        yield hashed(path, always, ""), "The additional headers were named, but not signed."
    yield (
        canonical_request,
        "The canonical request itself was signed: sign the string to sign, which has its SHA-256.",
    )
    yield hashed(unquote(path), headers, additional), "The path was signed without percent-encoding."


def _without_each(headers: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield the name of each header, and the other lines."""
    for index, line in enumerate(headers):
        yield line.partition(":")[0], [*headers[:index], *headers[index + 1 :]]


def _left_out(name: str) -> str:
    return Text("The header {1} was sent, but not signed.", name)
