"""Calls the application as OSS would, each callback URL once, whichever check asks."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from dataclasses import dataclass

from ...callback.parameters import FORM
from ...callback.public_keys import OSS_PUBLIC_KEY_URLS
from ...callback.url import split_urls
from ...middleware.probe_gate import PROBE_HEADER, prove
from ..http_client import Answer, UnreachableError, request
from .context import TIMEOUT, Examination, NotCheckedError, yellow

#: Whatever is decoded, joined or written anew on the way shows in it.
BODY = b"object=a%2Fb+c%20d.txt&text=%E4%B8%AD&size=0&probe=1"


@dataclass(frozen=True)
class Call:
    """What was sent to one URL, and what came of it; unproved it is a stranger's callback, to be refused."""

    url: str
    authorization: str
    key_url: str
    proved: bool
    answer: Answer | UnreachableError


def calls(case: Examination) -> list[Call]:
    """Call each URL of OSS_CALLBACK_URL; with the ticket secret as a probe, which hears what arrived."""
    if case.calls is None:
        case.need("OSS_CALLBACK_URL", "OSS_TICKET_SECRET")
        settings = case.settings
        if not settings.callback_url:
            cure = "Set it to the public URL of the callback endpoint."
            raise NotCheckedError(yellow("not checked: OSS_CALLBACK_URL is not set", cure))
        secret = settings.ticket_secret[0] if settings.ticket_secret else None
        case.calls = [_call(url, secret) for url in split_urls(settings.callback_url)]
    return case.calls


def _call(url: str, secret: str | None) -> Call:
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
    }
    if secret is not None:
        headers[PROBE_HEADER] = prove(secret, time.time())
    answer: Answer | UnreachableError
    try:
        answer = request("POST", url, headers, BODY, deadline=TIMEOUT)
    except UnreachableError as error:
        answer = error
    return Call(url, authorization, key_url, secret is not None, answer)
