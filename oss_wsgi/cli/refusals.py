"""A refusal of OSS as its error document says it, and its fix: a variable, a right of the key, or the region."""

from __future__ import annotations

import html
import re
from dataclasses import asdict, dataclass

from .. import settings_check
from ..exceptions import SettingsError
from ..explanations.rows import APPLICATION, EC_PAGE, OSS, find, rows_of_status
from ..explanations.text import Text, sentences
from ..sdk.client import SDKCallError
from .terminal import plain

REACH_OSS = "Check OSS_REGION, OSS_ENDPOINT and OSS_HOST, the DNS and the firewall: `oss-wsgi doctor --only bucket`."

_NO_RIGHT = "0003-00000001"
_KEY_CODES = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch"})
_KEY = "Check OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET: the key must exist, be enabled and belong together."


@dataclass(frozen=True)
class OSSRefusal:
    """Code, message, EC number and endpoint of an error document; "" for what it does not contain."""

    code: str
    message: str
    ec: str
    endpoint: str = ""

    def __str__(self) -> str:
        reason = self.code or "no reason given"
        if self.message:
            reason = f"{self.code}: {self.message}" if self.code else Text("{1}: {2}", "no code", self.message)
        return Text("{1} (EC {2})", reason, self.ec) if self.ec else reason

    def members(self) -> dict[str, str]:
        """Return what the document contains, for JSON."""
        return {name: value for name, value in asdict(self).items() if value}


def read_refusal(body: bytes) -> OSSRefusal:
    document = body[:65536].decode("utf-8", "replace")
    texts = (element_text(document, name) or "" for name in ("Code", "Message", "EC", "Endpoint"))
    return OSSRefusal(*(plain(text.strip()[:4096]) for text in texts))


def element_text(document: str, name: str) -> str | None:
    """Return the text of an element. It is found by a regular expression: no XML parser reads untrusted text."""
    match = re.search(rf"<{name}>([^<]*)</{name}>", document)
    return html.unescape(match[1]) if match else None


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
        return Text("The bucket is in another region: set OSS_REGION={1}.", region)
    if "region" in refusal.message.lower():  # of a V4 signature
        return "Set OSS_REGION to the bucket's own region, which the console shows: `oss-wsgi doctor --only region`."
    row = find(refusal.ec)
    if refusal.code == "AccessDenied" and (row is None or refusal.ec == _NO_RIGHT) and _is_without_right(refusal):
        return Text("Grant the RAM user or role of OSS_ACCESS_KEY_ID the right {1} on {2}.", rights, resource)
    if refusal.code in _KEY_CODES and row is None:
        return _KEY
    row = row or find(refusal.code)
    if row is not None:
        return row.fix
    return sentences(*(row.fix for row in rows_of_status(status, OSS)[:1])) or REACH_OSS


def say_sdk_error(error: SDKCallError | SettingsError) -> str:
    """Return why a call of the SDK has no result, which may be that it is not installed."""
    if isinstance(error, SettingsError):
        return str(error)
    if not error.status:
        return Text("OSS could not be asked: {1}", plain(str(error)))
    refusal = sdk_refusal(error)
    reason = f"{error.status} {refusal.code}{f', EC {refusal.ec}' if refusal.ec else ''}: {refusal.message}"
    return Text("OSS answered {1}", reason)


def fix_sdk_error(error: SDKCallError, rights: str, bucket: str) -> str:
    """Return the sentences that say what to do; ``rights`` are the RAM actions that the call needs."""
    if not error.status:
        return REACH_OSS
    return fix_refusal(sdk_refusal(error), error.status, rights, f"acs:oss:*:*:{bucket}")


def sdk_refusal(error: SDKCallError) -> OSSRefusal:
    code, message, ec = (plain(text) for text in (error.code, error.message, error.ec))
    return OSSRefusal(code, message, ec, read_refusal(error.document).endpoint)


def fix_status(status: int, code: str) -> str:
    """Return what to do about a refusal of the application: by the code in its answer, or else by its status."""
    row = find(code)
    return row.fix if row else sentences(*(row.fix for row in rows_of_status(status, APPLICATION)[:1]))


def see_also(refusal: OSSRefusal) -> str:
    """Return a sentence that says where a refusal is explained: in its row if it has one; "" without any code."""
    row = find(refusal.ec) or find(refusal.code)
    if row is not None:
        return Text("For more run `oss-wsgi explain {1}`.", row.code)
    if refusal.ec:
        return Text("For more see {1}.", EC_PAGE + refusal.ec)
    return Text("See {1} in the help of OSS.", refusal.code) if refusal.code else ""


def _is_without_right(refusal: OSSRefusal) -> bool:
    text = refusal.message.lower()
    return refusal.ec == _NO_RIGHT or "no right" in text or "acl" in text or "authoriz" in text or not text
