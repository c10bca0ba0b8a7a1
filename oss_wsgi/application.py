"""Joins the rooms: the middleware and the endpoints over an application, and the page."""

from __future__ import annotations

import base64
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from .callback.confirm import Confirm
from .callback.public_keys import PublicKeyStore
from .callback.ticket import TicketBook
from .callback.upload import Upload
from .callback.url import split_urls
from .callback.verifier import CallbackVerifier
from .credentials import CredentialsProvider
from .endpoints.callback import CallbackEndpoint
from .endpoints.health import HealthEndpoint, ReadinessEndpoint
from .endpoints.metrics import Metrics, MetricsEndpoint
from .endpoints.rate_limit import RateLimit
from .endpoints.signature import SignatureEndpoint
from .exceptions import SettingsError
from .ledger.base import Ledger
from .ledger.memory import MemoryLedger
from .middleware.authorization import AuthorizationPassthrough
from .middleware.callback_guard import CallbackGuard
from .middleware.confirmation import Confirmation
from .middleware.dispatcher import Dispatcher, at_original_path, path_router
from .middleware.once import OncePerUpload
from .middleware.probe import Probe, ProbeGate
from .settings import Settings
from .signing.presigner import PostPresigner
from .wsgi.diagnosis import wrong_path
from .wsgi.environ import header, request_target
from .wsgi.observers import Observers

if TYPE_CHECKING:
    import webob
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from .signing.grant import Grant
    from .wsgi.observers import OnIssued, OnRefused

DEFAULT_PREFIX = "/oss"
SIGNATURE_PATH = "/signature"
CALLBACK_PATH = "/callback"
HEALTH_PATH = "/health"
READINESS_PATH = "/health/ready"
METRICS_PATH = "/metrics"

log = logging.getLogger(__name__)


class DirectUpload:
    """Direct uploads to OSS for any WSGI application.

    ``GET {prefix}/signature`` signs a form, ``POST {prefix}/callback`` receives OSS's verified report,
    ``GET {prefix}/health`` says that the process answers, ``GET {prefix}/health/ready`` that there are credentials and
    a ledger that can be written to (503 without). Every other path goes to ``app`` untouched.

        application = DirectUpload(legacy_app, Settings.from_environ(os.environ), authorize=allow, on_upload=save)

    :param authorize: ``(webob.Request) -> Grant | None``: what this request may upload; None refuses.
    :param on_upload: ``(Upload) -> dict | None``: hears of each verified upload; adds members to the JSON answer.
    :param forward_callback: hand a verified callback on to ``app``, whose own view answers it and finds the upload
        in ``environ["oss_wsgi.upload"]``.
    :param confirm: ``(Upload) -> bool``: asks OSS itself before the application hears of an upload, as
        ``SDKConfirmation`` does.
    :param rate_limit: ``(who: str) -> float | None``: seconds to wait for whoever asks for too many signatures, as
        ``RateLimit`` says.
    :param credentials: provider of the access key, asked for each signature; without it the settings' own is used.
    :param on_issued: ``(Grant, facts)``: hears of each signed form. ``facts`` is a dict: ``object``, ``expires``,
        ``user``, ``address``, ``request_id`` and the like, without a secret.
    :param on_refused: ``(reason, status, facts)``: hears of each refusal, of signatures and of callbacks. An observer
        that raises is logged, and changes no answer.
    :param metrics: count what happens; ``GET {prefix}/metrics`` tells them to anybody, unless ``serve_metrics`` is
        False and you serve them elsewhere.
    :param ledger: knows which uploads were handled; without it the settings' file, or this process's memory.
    :param public_keys: the keys that are believed; without it OSS's own and the settings' ``trusted_keys``.
    :param clock: gives Unix seconds.

    Raises SettingsError for settings that do not suffice.
    """

    def __init__(
        self,
        app: WSGIApplication,
        settings: Settings,
        *,
        prefix: str = DEFAULT_PREFIX,
        authorize: Callable[[webob.Request], Grant | None] | None = None,
        on_upload: Callable[[Upload], dict[str, Any] | None] | None = None,
        forward_callback: bool = False,
        confirm: Confirm | None = None,
        rate_limit: Callable[[str], float | None] | None = None,
        credentials: CredentialsProvider | None = None,
        on_issued: OnIssued | None = None,
        on_refused: OnRefused | None = None,
        metrics: Metrics | None = None,
        serve_metrics: bool = True,
        ledger: Ledger | None = None,
        public_keys: PublicKeyStore | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if forward_callback and on_upload is not None:
            raise ValueError("With forward_callback the application's own view answers: leave on_upload out.")
        bucket, _ = settings.bucket_and_host()
        ledger = ledger_of(settings, clock) if ledger is None else ledger
        public_keys = public_keys or public_key_store(settings)
        urls = split_urls(settings.callback_url) if settings.callback_url else []
        if not forward_callback:
            receive: WSGIApplication = CallbackEndpoint(on_upload, confirm=confirm)
        else:
            receive = at_original_path(app, CALLBACK_PATH, prefix)
            if confirm is not None:
                receive = Confirmation(receive, confirm)
        tickets = ticket_book(settings, clock)
        guard = CallbackGuard(
            OncePerUpload(receive, ledger),
            CallbackVerifier(public_keys),
            tickets=tickets,
            bucket=bucket,
            callback_urls=urls,
        )
        presigner = PostPresigner(settings, credentials, clock=clock, tickets=tickets)
        signature = SignatureEndpoint(
            presigner,
            authorize=authorize,
            allow_anonymous=settings.allow_anonymous,
            allowed_origins=settings.allowed_origins,
            rate_limit=rate_limit,
        )
        endpoints: dict[str, WSGIApplication] = {
            SIGNATURE_PATH: signature,
            CALLBACK_PATH: guard,
            HEALTH_PATH: HealthEndpoint(),
            READINESS_PATH: ReadinessEndpoint(_checks(ledger, presigner), clock=time.monotonic),
        }
        told = on_issued is not None or on_refused is not None
        if metrics is not None:
            metrics.watch(ledger, public_keys)
            if serve_metrics:
                endpoints[METRICS_PATH] = MetricsEndpoint(metrics)
        events = _events(on_issued, on_refused, metrics)
        served = path_router(endpoints, events)
        if authorize is not None or forward_callback:  # the guard finds the header by itself
            served = AuthorizationPassthrough(served)
        self._app: WSGIApplication = Dispatcher(app, {prefix: served})

        root = prefix.encode().decode("latin-1")
        self._at_once = {("GET", root + HEALTH_PATH)}
        asks = authorize is not None or credentials is not None or told
        if not asks and isinstance(rate_limit, (RateLimit, type(None))):
            self._at_once.add(("GET", root + SIGNATURE_PATH))
        self._callback = "POST", root + CALLBACK_PATH
        if settings.ticket_secret:
            self._app = Probe(self._app, ProbeGate(settings.ticket_secret, clock=clock), root + CALLBACK_PATH, urls)
        listens = on_upload is not None or confirm is not None or forward_callback or told
        known = public_keys.pinned if isinstance(ledger, MemoryLedger) and not listens else ()
        self._known_keys = {base64.b64encode(url.encode()).decode() for url in known}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if "HTTP_X_OSS_PUB_KEY_URL" in environ and not header(environ, "PATH_INFO").endswith(self._callback[1]):
            self._say_if_led_astray(environ)
        return self._app(environ, start_response)

    def _say_if_led_astray(self, environ: WSGIEnvironment) -> None:
        """Log why a callback that was sent to our path will go to the application instead."""
        target = unquote_to_bytes(request_target(environ).partition(b"?")[0])
        if target.endswith(self._callback[1].encode("latin-1")):
            log.warning("a callback does not reach %s: %s", CALLBACK_PATH, wrong_path(environ))

    def is_nonblocking(self, method: str, path: str, headers: Mapping[str, str]) -> bool:
        """Tell whether a request is answered without waiting: for no callable of yours, no disk and no other host.

        ``path`` is decoded as PATH_INFO is; of ``headers`` the key URL counts, under the name ``X_OSS_PUB_KEY_URL``.
        """
        asked = method, path
        return asked in self._at_once or (
            asked == self._callback and headers.get("X_OSS_PUB_KEY_URL") in self._known_keys
        )


def _events(on_issued: OnIssued | None, on_refused: OnRefused | None, metrics: Metrics | None) -> Observers | None:
    """Join the observers; None where there are none."""
    issued = [each for each in (on_issued, metrics.on_issued if metrics else None) if each is not None]
    refused = [on_refused] if on_refused is not None else []
    answered = [metrics.on_answered] if metrics is not None else []
    if not (issued or refused or answered):
        return None
    return Observers(on_issued=issued, on_refused=refused, on_answered=answered, clock=time.monotonic)


def _checks(ledger: Ledger, presigner: PostPresigner) -> dict[str, Callable[[], object]]:
    """Name what must work for the application to be ready; a ledger without a ``check`` of its own counts as good."""
    checks: dict[str, Callable[[], object]] = {"credentials": presigner.check}
    check = getattr(ledger, "check", None)
    return {"ledger": check, **checks} if check is not None else checks


def public_key_store(settings: Settings, trusted: Mapping[str, str] | None = None) -> PublicKeyStore:
    """Make the store of OSS's keys, those of the settings (PEM files) and those of ``trusted`` (PEM texts)."""
    pinned = dict(trusted or {})
    for url, file in settings.trusted_keys:
        try:
            pinned[url] = Path(file).read_text(encoding="ascii")
        except (OSError, ValueError) as error:
            raise SettingsError(f"OSS_TRUSTED_KEYS: {file!r} cannot be read: {type(error).__name__}.") from error
    try:
        return PublicKeyStore(pinned, fetcher=_fetch, clock=time.monotonic)
    except ValueError as error:
        raise SettingsError(f"OSS_TRUSTED_KEYS: {error}") from error


def _fetch(url: str) -> bytes:
    from .callback.key_fetcher import HTTPSFetcher  # TLS takes 6 MiB, and OSS's key has been the same since 2015

    return HTTPSFetcher()(url)


def ticket_book(settings: Settings, clock: Callable[[], float] = time.time) -> TicketBook:
    """Make the book of tickets, with the settings' secrets or one made now."""
    if not settings.ticket_secret:
        log.warning(
            "OSS_TICKET_SECRET is not set: this process made one of its own, so reports of uploads that began before "
            "a restart, or that reach another process, will be refused; set it where there is more than one process"
        )
    return TicketBook(settings.ticket_secret or [secrets.token_hex(32)], clock=clock)


def ledger_of(settings: Settings, clock: Callable[[], float] = time.time) -> Ledger:
    """Open the ledger of the settings, or one in memory."""
    if settings.ledger is not None:
        from .ledger.sqlite import SQLiteLedger  # SQLite takes a megabyte

        return SQLiteLedger(settings.ledger, clock=clock)
    log.warning(
        "OSS_LEDGER is not set: which uploads were handled is known in this process's memory alone, so after a restart "
        "or in another process the same report is handled again"
    )
    return MemoryLedger(clock=clock)
