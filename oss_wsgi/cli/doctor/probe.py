"""One call of a callback URL as OSS would send it, and how its response is read."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...application import CALLBACK_PATH, DEFAULT_PREFIX
from ...callback.parameters import FORM
from ...callback.public_keys import OSS_PUBLIC_KEY_URLS
from ...explanations.text import Text, text_of
from ...middleware.probe import PROBE_HEADER, PROBE_MEMBER, prove
from ..http_client import Response, UnreachableError, json_members, request
from ..terminal import plain

FIX_CHECK_CALLBACK = "See the check `callback`: `oss-wsgi doctor --only callback`."
#: How to set the callback's URL.
LINE_URL = f"`export OSS_CALLBACK_URL=https://app.example.com{DEFAULT_PREFIX}{CALLBACK_PATH}`"
FIX_NO_URL = Text("Set OSS_CALLBACK_URL to the public URL of the callback endpoint: {1}.", LINE_URL)

#: A body that shows whether it is decoded, joined or rewritten on its way.
BODY = b"object=a%2Fb+c%20d.txt&text=%E4%B8%AD&size=0&probe=1"


@dataclass(frozen=True)
class ProbeCall:
    """One call of a callback URL.

    :ivar authorization: the Authorization header that was sent; random, so no signature.
    :ivar key_url: the x-oss-pub-key-url header that was sent.
    :ivar authenticated: whether the call proved that it is a probe. The application answers a probe with a report of
        what arrived, and refuses any other call, because its signature is wrong.
    """

    url: str
    authorization: str
    key_url: str
    authenticated: bool
    response: Response | UnreachableError


def call_callback(url: str, secret: str | None, timeout: float) -> ProbeCall:
    """Call a callback URL, with a probe's proof if there is a ticket secret; ``timeout`` in seconds."""
    authorization = base64.b64encode(secrets.token_bytes(64)).decode()
    key_url = base64.b64encode(OSS_PUBLIC_KEY_URLS[1].encode()).decode()
    headers = {
        "Authorization": authorization,
        "Connection": "close",
        "Content-MD5": base64.b64encode(hashlib.md5(BODY, usedforsecurity=False).digest()).decode(),
        "Content-Type": FORM,
        "User-Agent": "aliyun-oss-callback",
        "x-oss-pub-key-url": key_url,
        "x-oss-tag": "CALLBACK",
        **proof_of(secret),
    }
    response: Response | UnreachableError
    try:
        response = request("POST", url, headers, BODY, deadline=timeout)
    except UnreachableError as error:
        response = error
    return ProbeCall(url, authorization, key_url, secret is not None, response)


def proof_of(secret: str | None) -> dict[str, str]:
    """Return the header that proves a probe; none without a secret."""
    return {} if secret is None else {PROBE_HEADER: prove(secret, time.time())}


def probe_report(response: Response) -> dict[str, Any] | None:
    """Return the application's report of what arrived; None if the response is not one to a probe."""
    report = json_members(response).get(PROBE_MEMBER)
    return report if response.status == 200 and isinstance(report, dict) else None


def reported_text(report: Mapping[str, Any], name: str) -> str:
    """Return a text of the application's report, whose values stay apart if it sent them so; "" without one."""
    texts = report.get("texts")
    try:
        return text_of(texts[name] if isinstance(texts, dict) and name in texts else report.get(name) or "")
    except ValueError:
        return str(report.get(name))


def is_refusal(response: Response) -> bool:
    """Return whether a response looks like the application's refusal of a wrong signature."""
    return response.status == 403 and isinstance(json_members(response).get("error"), dict)


def compression(response: Response) -> str:
    """Return the name of the response's compression; "" if it has none."""
    coding = plain((response.headers.get("Content-Encoding") or "").strip().lower())
    return "" if coding == "identity" else coding
