"""Middleware that passes on only verified upload callbacks."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ..callback.parameters import TICKET_MEMBER
from ..callback.ticket import TicketBook
from ..callback.upload import UPLOAD_KEY, Upload
from ..callback.url import callback_url_problems, split_urls, target_of
from ..callback.verifier import CallbackVerifier
from ..exceptions import CallbackError, UnverifiedError
from ..explanations.rows import hint_of
from ..wsgi.diagnosis import missing_authorization, missing_key_url, several_values, wrong_signature
from ..wsgi.environ import ReceivedCallback, signature_headers
from ..wsgi.facts import facts_of
from ..wsgi.questions import nonblocking_test

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

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

    ``app`` finds the verified ``Upload`` in ``environ["oss_wsgi.upload"]``, and the body ready to be read again.
    Everything else is refused with JSON: 400 malformed, 403 not verified, 405 not a POST, 411 no length,
    413 over 64 KiB, 503 no key to verify with. The reason is in the log, not in the response.

        application = CallbackGuard(receive, CallbackVerifier(), bucket="examplebucket")

    The signature proves that OSS sent exactly this path, query and body, at some time. It does not prove that your
    server asked for the upload, or that the upload ever happened. All customers of OSS share one key, any of them can
    make OSS sign any body for your URL, and a signature never expires. ``tickets`` also prove that your server recently
    issued the signature for this bucket, object, size and type; then ``Upload.user`` and ``Upload.data`` are what your
    server put into the grant. Without tickets, trust a report no more than any other request.

    :param tickets: the book that issued the tickets; a report without a valid one is refused.
    :param bucket: refuse reports about any other bucket; the callback's body must then name it.
    :param callback_urls: the callback URLs as OSS knows them. OSS signs their targets, which differ from the received
        one if a proxy strips or adds a prefix. Only these targets and the received one are tried.
    :param on_mismatch: ``(Upload, environ)``: called with a verified upload whose object the ticket allows, but not its
        size or type.
    """

    def __init__(
        self,
        app: WSGIApplication,
        verifier: CallbackVerifier,
        *,
        tickets: TicketBook | None = None,
        bucket: str | None = None,
        callback_urls: Sequence[str] = (),
        on_mismatch: Callable[[Upload, WSGIEnvironment], object] | None = None,
    ) -> None:
        self._app = app
        self._on_mismatch = on_mismatch
        self._verifier = verifier
        self._tickets = tickets
        self._bucket = bucket
        self._targets = _targets(callback_urls)
        self._inner_is_nonblocking = nonblocking_test(app)
        # The user's own verifier may have other rules.
        is_own = type(verifier) is CallbackVerifier
        self._pinned_key_urls = verifier.pinned_key_urls() if is_own else frozenset()
        self._check_headers = verifier.check_headers if is_own else None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        facts = facts_of(environ)
        if environ["REQUEST_METHOD"] != "POST":
            return facts.method_not_allowed(log, start_response, "POST")
        try:
            upload = self.verify(environ)
        except CallbackError as error:
            diagnose = _DIAGNOSES.get(error.reason)
            hint = error.hint if diagnose is None else f"{error.hint}; {diagnose(environ)}"
            return facts.refuse_error(log, start_response, error, hint=hint)
        environ = {
            **environ,
            UPLOAD_KEY: upload,
            "wsgi.input": io.BytesIO(upload.body),
            "CONTENT_LENGTH": str(len(upload.body)),
        }
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        return self._app(environ, start_response)

    def is_nonblocking(self, method: str, path: str, headers: Mapping[str, str]) -> bool:
        """Return whether a request is answered without waiting: true only if no key has to be fetched."""
        return (
            method == "POST"
            and headers.get("X_OSS_PUB_KEY_URL") in self._pinned_key_urls
            and self._inner_is_nonblocking(method, path, headers)
        )

    def reads_body(self, environ: WSGIEnvironment) -> bool:
        """Return whether a request has what a report's signature needs beside the body."""
        if environ["REQUEST_METHOD"] != "POST":
            return False
        try:
            if self._check_headers is not None:
                self._check_headers(*signature_headers(environ)[1:])
        except UnverifiedError:
            return False
        return True

    def is_callback(self, method: str, path: str, headers: Mapping[str, str]) -> bool:
        """Return whether a request looks like a report of OSS that is verified or refused without fetching a key."""
        pub_key_url = headers.get("X_OSS_PUB_KEY_URL")
        if method != "POST" or pub_key_url is None:
            return False
        return pub_key_url in self._pinned_key_urls or self._verifier.has_key(pub_key_url)

    def verify(self, environ: WSGIEnvironment) -> Upload:
        """Return the upload that a request reports; this consumes the body.

        Raises CallbackError for a report that cannot be trusted.
        """
        received = ReceivedCallback.from_environ(environ)
        if received.body_error is not None:
            # A server that asks ``reads_body`` has not read the body of a report whose headers are wrong.
            if self._check_headers is not None and received.body_error.reason == "body_truncated":
                self._check_headers(received.authorization, received.pub_key_url)
            raise received.body_error
        try:
            self._verifier.verify(
                target=received.target,
                body=received.body,
                authorization=received.authorization,
                pub_key_url=received.pub_key_url,
            )
            target = received.target
        except UnverifiedError:
            configured = self._configured_target(received)
            if configured is None:
                raise
            target = configured
        upload = Upload.parse(received.body, received.content_type, target.decode("utf-8", "replace"))
        if self._bucket is not None and upload.bucket != self._bucket:
            raise UnverifiedError("bucket_foreign", hint_of("bucket_foreign"))
        if self._tickets is not None:
            ticket, _, _ = self._tickets.unseal(upload.members.get(TICKET_MEMBER))
            is_named = False
            try:
                ticket.check_callback()
                ticket.check_name(upload.bucket, upload.object, upload.etag)
                is_named = True
                ticket.check_content(upload.size, upload.mime_type)
            except UnverifiedError:
                facts_of(environ).user = ticket.user
                if is_named and self._on_mismatch is not None:
                    self._on_mismatch(upload.with_ticket(ticket), environ)
                raise
            upload = upload.with_ticket(ticket)
        facts = facts_of(environ)
        facts.user, facts.object = upload.user, upload.object
        return upload

    def _configured_target(self, received: ReceivedCallback) -> bytes | None:
        """Return the target of the configured callback URL for which the signature is correct, or None."""
        for number, target in enumerate(self._targets, start=1):
            if self._verifier.is_valid(
                target=target,
                body=received.body,
                authorization=received.authorization,
                pub_key_url=received.pub_key_url,
            ):
                path = target.partition(b"?")[0].decode()
                line = "the signature fits configured callback URL %d of %d, %s, and not the target received"
                log.info(line, number, len(self._targets), path)
                return target
        return None


def _targets(callback_urls: Sequence[str]) -> tuple[bytes, ...]:
    """Return the target that OSS signs for each of the URLs; one text may contain several, joined by ``;``."""
    if isinstance(callback_urls, str):
        raise TypeError(f"callback_urls must be a sequence of URLs, not the text {callback_urls!r}.")
    urls = [url for text in callback_urls for url in split_urls(text)]
    problems = [problem for url in urls for problem in callback_url_problems(url)]
    if problems:
        raise ValueError("callback_urls: " + " ".join(problems))
    return tuple(target_of(url).encode() for url in urls)
