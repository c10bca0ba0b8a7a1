"""Known mistakes of programs that sign: which one makes the signature that was received."""

from __future__ import annotations

import base64
import calendar
import hashlib
import hmac
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from ..environ import Address
from ..errors import OSSError
from ..signatures.account import Account
from ..signatures.signed_request import SignedRequest
from ..signatures.v1 import sign, string_to_sign
from ..signatures.v4 import V4, Credential, canonical_request, sign_v4

REGIONS = tuple(
    """
    cn-hangzhou cn-shanghai cn-nanjing cn-fuzhou cn-wuhan-lr cn-qingdao cn-beijing cn-zhangjiakou cn-huhehaote
    cn-wulanchabu cn-shenzhen cn-heyuan cn-guangzhou cn-chengdu cn-hongkong us-west-1 us-east-1 ap-northeast-1
    ap-northeast-2 ap-southeast-1 ap-southeast-3 ap-southeast-5 ap-southeast-6 ap-southeast-7 eu-central-1 eu-west-1
    me-east-1 us-east-5 na-south-1
    """.split()  # noqa: SIM905
)

#: What a signature could be, and the sentence for the mistake that makes it.
Candidate = tuple[str, str]


def diagnose(
    environ: Mapping[str, Any],
    fields: Mapping[str, str] | None,
    address: Address,
    account: Account,
    region: str,
    former: Sequence[str],
    error: OSSError,
) -> tuple[str, str]:
    """Return the signature that OSS computes, and the known mistake that makes the received one; "" if none does.

    :param fields: those of a form; None for a request that is signed in its header or URL.
    :param former: other secrets of this bucket.
    :param error: SignatureDoesNotMatch.
    """
    provided = error.members["SignatureProvided"]
    if fields is not None:
        candidates = partial(_form_candidates, fields, region=region)
    else:
        candidates = partial(_request_candidates, SignedRequest.read(environ, address), region=region, error=error)
    own = candidates(account.access_key_secret)
    computed, _ = next(own)
    others = _secret_candidates(lambda secret: next(candidates(secret))[0], account, former)
    for signature, mistake in itertools.chain(others, own):
        if signature and hmac.compare_digest(signature.encode(), provided.strip().encode()):
            return computed, mistake
    return computed, ""


def difference(provided: str, computed: str) -> int:
    pairs = enumerate(zip(provided, computed, strict=False))
    return next((index for index, (ours, theirs) in pairs if ours != theirs), min(len(provided), len(computed)))


def _secret_candidates(
    with_secret: Callable[[str], str], account: Account, former: Sequence[str]
) -> Iterator[Candidate]:
    for secret in former:
        if secret != account.access_key_secret:
            yield (
                with_secret(secret),
                "It was signed with another secret of this bucket: one from before a reset, or the kept one.",
            )
    for space, name in (("\n", "a line break"), (" ", "a space"), ("\r\n", "a line break")):
        yield with_secret(account.access_key_secret + space), f"The secret was used with {name} at its end."
    yield with_secret(account.access_key_id), "The AccessKey ID was used in the place of the secret."


def _form_candidates(fields: Mapping[str, str], secret: str, *, region: str) -> Iterator[Candidate]:
    """Yield the right signature first."""
    policy = fields.get("policy", "")
    try:
        plain = base64.b64decode(policy, validate=True).decode()
    except ValueError:
        plain = ""
    if fields.get("x-oss-signature-version") == V4:
        credential = Credential.parse(fields["x-oss-credential"], name="x-oss-credential")
        yield from _v4(secret, credential, policy, region)
        yield sign(secret, policy), "It is a V1 signature: V4 derives a key from the secret, and uses SHA-256."
    else:
        credential = None
        yield from _v1(secret, policy)
    if plain:
        signature = sign_v4(secret, credential, plain) if credential else sign(secret, plain)
        yield signature, "The policy was signed before Base64: sign its Base64 text."


def _v1(secret: str, text: str) -> Iterator[Candidate]:
    yield sign(secret, text), ""
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
        ("A plain SHA-1 was used: V1 uses HMAC."),
    )


def _v4(secret: str, credential: Credential, text: str, region: str) -> Iterator[Candidate]:
    signature = sign_v4(secret, credential, text)
    yield signature, ""
    yield base64.b64encode(bytes.fromhex(signature)).decode(), "It is Base64: V4 signatures are hexadecimal."
    yield signature.upper(), "It has capital letters: V4 signatures are in lower case."
    for day in _other_days(credential.day):
        other = credential._replace(day=day)
        yield (
            sign_v4(secret, other, text),
            f"The signing key was derived for the day {day}, not {credential.day} (UTC).",
        )
    for name in dict.fromkeys((f"oss-{region}", region.removeprefix("oss-"), *REGIONS)):
        if name != credential.region:
            other = credential._replace(region=name)
            yield (
                sign_v4(secret, other, text),
                f"The signing key was derived for the region {name}, not {credential.region}.",
            )
    for prefix, service, end, mistake in (
        ("", "oss", "aliyun_v4_request", "The signing key was derived without aliyun_v4 before the secret."),
        ("AWS4", "s3", "aws4_request", "It is a signature for S3: OSS has its own prefix, service and end."),
        ("aliyun_v4", "s3", "aliyun_v4_request", "The signing key was derived for the service s3, not oss."),
    ):
        key = f"{prefix}{secret}".encode()
        for part in (credential.day, credential.region, service, end):
            key = hmac.digest(key, part.encode(), hashlib.sha256)
        yield hmac.digest(key, text.encode(), hashlib.sha256).hex(), mistake
    plain = hmac.digest(secret.encode(), text.encode(), "sha256").hex()
    yield plain, "It was signed with the secret itself: V4 derives a key from the secret, the day and the region."


def _other_days(day: str) -> Iterator[str]:
    try:
        moment = calendar.timegm(time.strptime(day, "%Y%m%d"))
    except ValueError:
        return
    for days in (-1, 1, *range(-7, -1)):
        yield time.strftime("%Y%m%d", time.gmtime(moment + days * 86400))


def _request_candidates(request: SignedRequest, secret: str, *, region: str, error: OSSError) -> Iterator[Candidate]:
    """Yield the right signature first."""
    text = error.members["StringToSign"]
    if text.startswith(f"{V4}\n"):
        yield from _v4_request(request, secret, region, text)
    else:
        date = text.split("\n")[3] if text.count("\n") > 3 else ""
        yield from _v1(secret, text)
        for name, without in _without_each(request, date_header="x-oss-date"):
            yield sign(secret, string_to_sign(without, date)), _left_out(name)
        others = (name for name in ("content-type", "content-md5") if name not in request.headers)
        for name in others:
            value = "application/octet-stream" if name == "content-type" else ""
            added = replace(request, headers={**request.headers, name: value})
            yield sign(secret, string_to_sign(added, date)), f"{name}: {value} was signed, but not sent."


def _v4_request(request: SignedRequest, secret: str, region: str, text: str) -> Iterator[Candidate]:
    _, date, scope, _ = text.split("\n")
    day, name, *_ = scope.split("/")
    credential = Credential("", day, name)
    additional = request.parameter("x-oss-additional-headers") or _additional(request)
    yield from _v4(secret, credential, text, region)

    def signed(canonical: str) -> str:
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        return sign_v4(secret, credential, "\n".join((V4, date, scope, digest)))

    for header, without in _without_each(request):
        names = ";".join(part for part in additional.split(";") if part.strip().lower() != header)
        yield signed(canonical_request(without, additional)), _left_out(header)
        yield signed(canonical_request(without, names)), _left_out(header)
    if additional:
        yield signed(canonical_request(request)), "The additional headers were named, but not signed."
    yield (
        sign_v4(secret, credential, canonical_request(request, additional)),
        ("The canonical request itself was signed: sign the string to sign, which has its SHA-256."),
    )
    unescaped = "\n".join((request.method, request.resource, *canonical_request(request, additional).split("\n")[2:]))
    yield signed(unescaped), "The path was signed without percent-encoding."


def _additional(request: SignedRequest) -> str:
    members = request.headers.get("authorization", "").split(",")
    named = (member.strip().partition("=") for member in members)
    return next((value for name, _, value in named if name == "AdditionalHeaders"), "")


def _without_each(request: SignedRequest, date_header: str = "") -> Iterator[tuple[str, SignedRequest]]:
    for name in request.headers:
        if name != date_header and (
            name.startswith("x-oss-")
            or name in ("content-type", "content-md5", "host", *_additional(request).split(";"))
        ):
            headers = {header: value for header, value in request.headers.items() if header != name}
            yield name, replace(request, headers=headers)


def _left_out(name: str) -> str:
    return f"The header {name} was sent, but not signed."
