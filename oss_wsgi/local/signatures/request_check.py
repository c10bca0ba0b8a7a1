"""The signature of a request, in its header or its URL, V1 or V4; it also decides what the request means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from ..environ import Address
from ..errors import OSSError, invalid_argument
from .account import Account
from .signed_request import SignedRequest
from .v1 import check_header_v1, check_query_v1
from .v4 import V4, check_header_v4, check_query_v4

# A URL with any of these counts as signed and is refused if it lacks one of the others.
_QUERY_V1 = ("OSSAccessKeyId", "Signature")
_QUERY_V4 = ("x-oss-signature-version", "x-oss-signature", "x-oss-credential")


def signed_address(
    environ: Mapping[str, Any], candidates: Sequence[Address], account: Account, region: str, now: float
) -> tuple[Address, Account | None]:
    """Return the address that the request means, and the key that signed it.

    A signature fits one candidate at most, since each is another resource to sign, and the request means that one. An
    unsigned request means the first.

    :raises OSSError: the signature fits none; the error shows the first.
    """
    first, *others = candidates
    try:
        return first, check_request_signature(environ, first, account, region, now)
    except OSSError as error:
        if error.code != "SignatureDoesNotMatch":
            raise
        for other in others:
            with suppress(OSSError):
                signer = check_request_signature(environ, other, account, region, now)
                if signer:
                    return other, signer
        raise


def check_request_signature(
    environ: Mapping[str, Any], address: Address, account: Account, region: str, now: float
) -> Account | None:
    """Return the key that signed the request, None for an unsigned one; raise OSSError for a wrong signature."""
    request = SignedRequest.read(environ, address)
    if _is_form(request):
        return None
    in_header = bool(request.headers.get("authorization"))
    in_query_v1, in_query_v4 = (_has_any(request, names) for names in (_QUERY_V1, _QUERY_V4))
    if in_header + in_query_v1 + in_query_v4 > 1:
        raise invalid_argument("The request carries more than one signature.", name="Authorization")
    if in_query_v1:
        return check_query_v1(request, account, now)
    if in_query_v4:
        return check_query_v4(request, account, region, now)
    return _check_header(request, account, region, now) if in_header else None


def _is_form(request: SignedRequest) -> bool:
    """Return whether this is a form, which is signed in its fields: its header and URL are ignored (protocol.md 2.1).

    A POST to a bucket without a query counts as one whatever its type, so that the refusal names a wrong type.
    """
    is_multipart = request.headers.get("content-type", "").lower().startswith("multipart/form-data")
    return request.method == "POST" and not request.address.key and (is_multipart or not request.query)


def _check_header(request: SignedRequest, account: Account, region: str, now: float) -> Account:
    algorithm = request.headers["authorization"].partition(" ")[0]
    if algorithm == "OSS":
        return check_header_v1(request, account, now)
    if algorithm == V4:
        return check_header_v4(request, account, region, now)
    message = f"The Authorization header begins with neither OSS nor {V4}."
    raise invalid_argument(message, name="Authorization", value=algorithm)


def _has_any(request: SignedRequest, names: tuple[str, ...]) -> bool:
    return any(request.parameter(name) is not None for name in names)
