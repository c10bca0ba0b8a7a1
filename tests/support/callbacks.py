"""The key of all local OSSs, and bodies of callbacks whose ticket no form has issued.

Those of a form make `oss_wsgi.testing.callback_body`.
"""

from __future__ import annotations

import functools
import time
from urllib.parse import urlencode

from oss_wsgi.callback.ticket import TicketBook
from oss_wsgi.local.callbacks.signing_key import CallbackKey


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
