"""The fix of a refusal that a command meets: which variable, which right of the key, which region."""

from __future__ import annotations

from .. import settings_check
from ..explanations.rows import APPLICATION, EC_PAGE, OSS, find, rows_of_status
from .http_client import OSSRefusal

REACH_OSS = "Check OSS_REGION, OSS_ENDPOINT and OSS_HOST, the DNS and the firewall: `oss-wsgi doctor --only bucket`."

_NO_RIGHT = "0003-00000001"
_KEY_CODES = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch"})
_KEY = "Check OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET: the key must exist, be enabled and belong together."


def region_of(host_name: str) -> str | None:
    """Return the region in an endpoint of OSS, with or without a bucket's name before it; None for another host."""
    return settings_check.region_of(host_name) or settings_check.region_of(host_name.partition(".")[2])


def fix_refusal(refusal: OSSRefusal, status: int, rights: str, resource: str) -> str:
    """Return the sentences that say what to do about a refusal of OSS.

    :param rights: the RAM actions that the request needs, such as ``oss:PutObject``.
    :param resource: what they are needed on, such as ``acs:oss:*:*:examplebucket/*``.
    """
    region = region_of(refusal.endpoint)
    if region:
        return f"The bucket is in another region: set OSS_REGION={region}."
    if "region" in refusal.message.lower():  # of a V4 signature
        return "Set OSS_REGION to the bucket's own region, which the console shows: `oss-wsgi doctor --only region`."
    if refusal.code == "AccessDenied" and _is_without_right(refusal):
        return f"Grant the RAM user or role of OSS_ACCESS_KEY_ID the right {rights} on {resource}."
    if refusal.code in _KEY_CODES and not find(refusal.ec):
        return _KEY
    for code in (refusal.ec, refusal.code):
        row = find(code)
        if row is not None:
            return row.fix
    return " ".join(row.fix for row in rows_of_status(status, OSS)[:1]) or REACH_OSS


def fix_status(status: int, code: str) -> str:
    """Return what to do about a refusal of the application: by the code in its answer, or else by its status."""
    row = find(code)
    return row.fix if row else " ".join(row.fix for row in rows_of_status(status, APPLICATION)[:1])


def see_also(refusal: OSSRefusal) -> str:
    """Return a sentence that says where a refusal is explained: in its row if it has one; "" without any code."""
    for code in (refusal.ec, refusal.code):
        if find(code) is not None:
            return f"For more run `oss-wsgi explain {code}`."
    if refusal.ec:
        return f"For more see {EC_PAGE}{refusal.ec}."
    return f"See {refusal.code} in the help of OSS." if refusal.code else ""


def _is_without_right(refusal: OSSRefusal) -> bool:
    text = refusal.message.lower()
    return refusal.ec == _NO_RIGHT or "no right" in text or "acl" in text or "authoriz" in text or not text
