"""Sends the callback of an upload again: as it was, twice, or changed so that an application must refuse it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from ..callbacks.parameters import CallbackURL
from ..callbacks.sender import CallbackCall, CallbackRequest, CallbackSender
from ..callbacks.signing_key import CallbackKey

#: Name -> what the page says.
CHANGES = {
    "": "Unchanged",
    "late": "Late: after 6 seconds, when OSS has given up",
    "twice": "Twice at once",
    "body": "Altered body, with the old signature",
    "key": "Signed with another key",
    "path": "Signed for another path",
}
LATE_SECONDS = 6.0


def send_again(
    sender: CallbackSender,
    request: CallbackRequest,
    change: str,
    url: CallbackURL | None,
    on_request: Callable[[CallbackRequest], None],
) -> list[CallbackCall]:
    """Send the request, and return what came of it; two calls for "twice".

    :param change: a name of CHANGES.
    :param url: another URL, for which it is signed again.
    :param on_request: is called with what is sent, before it is.
    """
    if url and url != request.url:
        request = _signed(replace(request.with_header("Host", url.netloc), url=url), url, sender.key)
    if change == "body":
        body = altered(request.body)
        request = replace(request, body=body).with_header("Content-Length", str(len(body)))
    elif change == "key":
        request = _signed(request, request.url, CallbackKey.generate(2048))
    elif change == "path":
        elsewhere = replace(request.url, path=f"{request.url.path.rstrip('/')}/elsewhere")
        request = _signed(request, elsewhere, sender.key)
    elif change == "late":
        time.sleep(LATE_SECONDS)
    on_request(request)
    requests = [request, request] if change == "twice" else [request]
    with ThreadPoolExecutor(len(requests)) as threads:
        return [call for call, _ in threads.map(sender.call, requests)]


def altered(body: bytes) -> bytes:
    """Return the body with another last digit or letter, so that it stays as long and can be parsed."""
    last = re.search(rb"[0-9A-Za-z](?=[^0-9A-Za-z]*\Z)", body)
    if not last:
        return body + b"1"
    one, other = (b"1", b"2") if last[0].isdigit() else (b"b", b"c")
    return body[: last.start()] + (other if last[0] == one else one) + body[last.end() :]


def _signed(request: CallbackRequest, url: CallbackURL, key: CallbackKey) -> CallbackRequest:
    return request.with_header("Authorization", key.sign(url.string_to_sign(request.body)))
