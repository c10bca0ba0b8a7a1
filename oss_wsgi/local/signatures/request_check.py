"""Who signed a request: in its header or in its URL, by signature V1 or V4."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from ..environ import Address
from ..errors import OSSError, invalid_argument
from .form_check import V4, Account
from .signed_request import SignedRequest
from .v1 import check_header_v1, check_query_v1
from .v4 import check_header_v4, check_query_v4

#: A URL with any of these means to be signed, and is refused where the others lack.
_QUERY_V1 = ("OSSAccessKeyId", "Signature")
_QUERY_V4 = ("x-oss-signature-version", "x-oss-signature", "x-oss-credential")


def signed_address(
    environ: Mapping[str, Any],
    readings: Sequence[Address],
    account: Account,
    region: str,
    now: float,
    *,
    further: Callable[[], Iterable[Address]] = tuple,
) -> tuple[Address, bool]:
    """What the request means of all that it may mean, and whether it is signed: the signature chooses, else the first.

    Each reading is another resource, so that a signature fits one of them at most.

    :param further: readings that only a signature can tell, asked for where it fits none of the others.
    """
    first, *others = readings
    try:
        return first, check_request_signature(environ, first, account, region, now)
    except OSSError as error:
        if error.code != "SignatureDoesNotMatch":
            raise
        for other in itertools.chain(others, further()):
            with suppress(OSSError):
                if check_request_signature(environ, other, account, region, now):
                    return other, True
        raise


def check_request_signature(
    environ: Mapping[str, Any], address: Address, account: Account, region: str, now: float
) -> bool:
    """False for an anonymous request; raises OSSError unless a signature that it carries is `account`'s."""
    request = SignedRequest.read(environ, address)
    if _is_form(request):
        return False
    in_header = bool(request.headers.get("authorization"))
    in_query_v1, in_query_v4 = (_names_any(request, names) for names in (_QUERY_V1, _QUERY_V4))
    if in_header + in_query_v1 + in_query_v4 > 1:
        raise invalid_argument("The request carries more than one signature.", name="Authorization")
    if in_query_v1:
        check_query_v1(request, account, now)
    elif in_query_v4:
        check_query_v4(request, account, region, now)
    elif in_header:
        _check_header(request, account, region, now)
    return in_header or in_query_v1 or in_query_v4


def _is_form(request: SignedRequest) -> bool:
    """A form is signed in its fields; its header and its URL are not looked at (P§2.1), whatever its type is."""
    is_multipart = request.headers.get("content-type", "").lower().startswith("multipart/form-data")
    return request.method == "POST" and not request.address.key and (is_multipart or not request.query)


def _check_header(request: SignedRequest, account: Account, region: str, now: float) -> None:
    algorithm = request.headers["authorization"].partition(" ")[0]
    if algorithm == "OSS":
        check_header_v1(request, account, now)
    elif algorithm == V4:
        check_header_v4(request, account, region, now)
    else:
        message = f"The Authorization header begins with neither OSS nor {V4}."
        raise invalid_argument(message, name="Authorization", value=algorithm)


def _names_any(request: SignedRequest, names: tuple[str, ...]) -> bool:
    return any(request.parameter(name) is not None for name in names)
