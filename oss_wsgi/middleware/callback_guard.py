"""Lets only verified upload callbacks through to an application."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ..callback.parameters import TICKET_MEMBER
from ..callback.ticket import TicketBook
from ..callback.upload import UPLOAD_KEY, Upload
from ..callback.url import callback_url_problems, split_urls, target_of
from ..callback.verifier import CallbackVerifier
from ..exceptions import (
    BodyTooLargeError,
    CallbackError,
    KeyUnavailableError,
    LengthRequiredError,
    MalformedCallbackError,
    UnverifiedError,
)
from ..wsgi.diagnosis import missing_authorization, missing_key_url, several_values, wrong_signature
from ..wsgi.environ import find_authorization, header, read_body, request_target
from ..wsgi.observers import context_of
from ..wsgi.responses import method_not_allowed, refuse

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

MAX_BODY_BYTES = 64 * 1024

_STATUS = {
    MalformedCallbackError: 400,
    UnverifiedError: 403,
    LengthRequiredError: 411,
    BodyTooLargeError: 413,
    KeyUnavailableError: 503,
}
_DIAGNOSES = {
    "authorization_missing": missing_authorization,
    "authorization_malformed": several_values,
    "pub_key_url_missing": missing_key_url,
    "pub_key_url_malformed": several_values,
    "signature_wrong": wrong_signature,
}

log = logging.getLogger(__name__)


class CallbackGuard:
    """Middleware: a callback reaches ``app`` only if OSS signed its path, query and body.

    ``app`` finds the verified ``Upload`` in ``environ["oss_wsgi.upload"]``, and the body to read again.
    Everything else is refused with JSON: 400 malformed, 403 not verified, 405 not a POST, 411 no length,
    413 over 64 KiB, 503 no key to verify with. What was wrong is said in the log, not in the answer.

        application = CallbackGuard(receive, CallbackVerifier(), bucket="examplebucket")

    What the signature proves: OSS sent exactly this path, query and body, at some time. What it does not prove: that
    the upload was asked for by your server, or ever happened. One key serves all customers of OSS, any of them can make
    it sign any body for your URL, and a signature never expires. ``tickets`` add that your server issued the
    signature for this bucket, object, size and type, not long ago; ``Upload.user`` and ``Upload.data`` are then
    what your server put into the grant. Without them believe a report as you would believe a stranger.

    :param tickets: the book that issued the tickets; a report without a good one is refused.
    :param bucket: refuse reports of any other bucket; the callback's body must then name it.
    :param callback_urls: the callback URLs as OSS knows them. Where a proxy strips or adds a prefix, their targets are
        what OSS signed; nothing but these and the target as received is tried.
    """

    def __init__(
        self,
        app: WSGIApplication,
        verifier: CallbackVerifier,
        *,
        tickets: TicketBook | None = None,
        bucket: str | None = None,
        callback_urls: Sequence[str] = (),
    ) -> None:
        self._app = app
        self._verifier = verifier
        self._tickets = tickets
        self._bucket = bucket
        self._targets = _targets(callback_urls)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "POST":
            return method_not_allowed(log, environ, start_response, "POST")
        try:
            upload = self.verify(environ)
        except CallbackError as error:
            hint = error.hint
            if error.reason in _DIAGNOSES:
                hint = f"{hint}; {_DIAGNOSES[error.reason](environ)}"
            return refuse(log, environ, start_response, _STATUS[type(error)], error.reason, hint)
        environ = {
            **environ,
            UPLOAD_KEY: upload,
            "wsgi.input": io.BytesIO(upload.body),
            "CONTENT_LENGTH": str(len(upload.body)),
        }
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        return self._app(environ, start_response)

    def verify(self, environ: WSGIEnvironment) -> Upload:
        """Give the upload that a request reports; CallbackError if it is not to be believed. It reads the body."""
        body = read_body(environ, MAX_BODY_BYTES)
        found = find_authorization(environ)
        authorization = found[1] if found else ""
        pub_key_url = header(environ, "HTTP_X_OSS_PUB_KEY_URL").strip(" \t")
        target = request_target(environ)
        try:
            self._verifier.verify(target=target, body=body, authorization=authorization, pub_key_url=pub_key_url)
        except UnverifiedError:
            other = self._configured_target(body, authorization, pub_key_url)
            if other is None:
                raise
            target = other
        else:
            log.debug("verified over the target as received")
        upload = Upload.parse(body, header(environ, "CONTENT_TYPE"), target.decode("utf-8", "replace"))
        if self._bucket is not None and upload.bucket != self._bucket:
            raise UnverifiedError("bucket_foreign", "the report is of another bucket than ours, or names none")
        facts = context_of(environ)
        if self._tickets is not None:
            ticket = self._tickets.open(upload.members.get(TICKET_MEMBER))
            facts.user = ticket.user
            ticket.check(upload)
            upload = upload.with_ticket(ticket)
        facts.object = upload.object
        return upload

    def _configured_target(self, body: bytes, authorization: str, pub_key_url: str) -> bytes | None:
        """Give the target of the configured callback URL that the signature fits, if it fits one."""
        for number, target in enumerate(self._targets, start=1):
            if self._verifier.is_valid(target=target, body=body, authorization=authorization, pub_key_url=pub_key_url):
                path = target.partition(b"?")[0].decode()
                log.info(
                    "verified over the target of configured callback URL %d of %d, %s, not over the one received",
                    *(number, len(self._targets), path),
                )
                return target
        return None


def _targets(callback_urls: Sequence[str]) -> tuple[bytes, ...]:
    """Give the target that OSS signs for each of the URLs, of which one text may join several by ``;``."""
    if isinstance(callback_urls, str):
        raise TypeError(f"callback_urls must be a sequence of URLs, not the text {callback_urls!r}.")
    urls = [each for url in callback_urls for each in split_urls(url)]
    problems = [problem for url in urls for problem in callback_url_problems(url)]
    if problems:
        raise ValueError("callback_urls: " + " ".join(problems))
    return tuple(target_of(url).encode() for url in urls)
