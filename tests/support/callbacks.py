"""The key of all local OSSs, callbacks as OSS posts them, and bodies whose ticket no form has issued.

Those of a form make `oss_wsgi.testing.callback_body`.
"""

from __future__ import annotations

import functools
import time
from typing import Any
from urllib.parse import urlencode

import webtest

from local_oss.callbacks.signing_key import CallbackKey
from oss_wsgi.callback.ticket import TicketBook
from oss_wsgi.testing import CallbackSigner


@functools.cache
def shared_key(bits: int) -> CallbackKey:
    """Return one key for all tests: making one takes longer than most of them."""
    return CallbackKey.generate(bits)


def new_report(
    secret: str, *, bucket: str = "examplebucket", key: str = "user/eric/a.txt", mime_type: str = "text/plain"
) -> bytes:
    """Return the body that OSS would send now for an object of 6 bytes, with a new ticket for it."""
    ticket = TicketBook([secret], clock=time.time).issue(
        bucket=bucket, key=key, prefix="", sizes=(6, 6), content_types=(), expires=int(time.time())
    )
    members = {"filename": key, "size": "6", "bucket": bucket, "mimeType": mime_type, "ticket": ticket}
    return urlencode(members).encode()


def post_callback(
    client: webtest.TestApp,
    body: bytes,
    signer: CallbackSigner,
    *,
    target: str = "/oss/callback",
    signed_target: str | None = None,
    content_type: str = "application/x-www-form-urlencoded",
    headers: dict[str, str | None] | None = None,
    **options: Any,
) -> webtest.TestResponse:
    """Post the callback that OSS would post for a body.

    :param signed_target: what OSS has signed and sent to a proxy, if that is not what arrives.
    :param headers: replace OSS's; None drops one.
    """
    merged = {**signer.headers(signed_target or target, body, content_type), **(headers or {})}
    present = {name: value for name, value in merged.items() if value is not None}
    return client.post(target, body, headers=present, **options)


def without_signed_id(answer: dict[str, Any]) -> dict[str, Any]:
    """Return what a handler has answered: the JSON that a page got, which must have a signed ID too."""
    assert len(answer["signed_id"]) > 100
    return {name: value for name, value in answer.items() if name != "signed_id"}
