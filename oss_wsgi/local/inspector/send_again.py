"""Sends the callback of an upload again: as it was, twice, or changed so that an application must refuse it."""

from __future__ import annotations

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
    *,
    sleep: Callable[[float], object],
    on_request: Callable[[CallbackRequest], None] = lambda request: None,
) -> list[CallbackCall]:
    """Send the request, and return what came of it; two calls for "twice".

    :param change: a name of CHANGES.
    :param url: another URL, for which it is signed again.
    :param sleep: waits so many seconds.
    :param on_request: is called with what is sent, before it is.
    """
    if url and url != request.url:
        host = [(name, url.netloc if name == "Host" else value) for name, value in request.headers]
        request = replace(request, url=url, headers=host)
        request = sender.signed(request, url.string_to_sign(request.body))
    if change == "body":
        request = _with_body(request, altered(request.body))
    elif change == "key":
        other = CallbackKey.generate(2048)
        request = sender.signed(request, request.url.string_to_sign(request.body), other)
    elif change == "path":
        elsewhere = replace(request.url, path=f"{request.url.path.rstrip('/')}/elsewhere")
        request = sender.signed(request, elsewhere.string_to_sign(request.body))
    elif change == "late":
        sleep(LATE_SECONDS)
    on_request(request)
    requests = [request, request] if change == "twice" else [request]
    with ThreadPoolExecutor(len(requests)) as threads:
        return [call for call, _ in threads.map(sender.call, requests)]


def altered(body: bytes) -> bytes:
    """Return the body with another last digit or letter, so that it stays as long and can be parsed."""
    for index in range(len(body) - 1, -1, -1):
        character = body[index : index + 1]
        if character.isdigit():
            return body[:index] + (b"1" if character != b"1" else b"2") + body[index + 1 :]
        if character.isalpha():
            return body[:index] + (b"b" if character != b"b" else b"c") + body[index + 1 :]
    return body + b"1"


def _with_body(request: CallbackRequest, body: bytes) -> CallbackRequest:
    headers = [(name, str(len(body)) if name == "Content-Length" else value) for name, value in request.headers]
    return replace(request, body=body, headers=headers)
