"""DirectUpload: the middleware and the endpoints, joined over an application."""

from __future__ import annotations

import functools
import inspect
import logging
import secrets
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast
from urllib.parse import quote, unquote, unquote_to_bytes, urlsplit

from .bucket import BucketClient
from .callback.confirm import Confirm
from .callback.public_keys import PublicKeyStore
from .callback.sealing import Secrets
from .callback.secret_file import SecretFile
from .callback.signed_id import FIND_KEY, MAX_AGE, SignedIDBook
from .callback.ticket import ReceiptBook, TicketBook
from .callback.upload import UPLOAD_KEY, Upload
from .callback.url import target_of, without_password
from .callback.verifier import CallbackVerifier
from .credentials import CredentialsProvider
from .endpoints.callback import CallbackEndpoint
from .endpoints.form_user import FormUser
from .endpoints.gate import Gate
from .endpoints.health import HealthEndpoint, ReadinessEndpoint
from .endpoints.limits import LimitsEndpoint
from .endpoints.metrics import Metrics, MetricsEndpoint
from .endpoints.multipart import MultipartEndpoint, longest_body, multipart_is_off, step_name
from .endpoints.recover import RecoverEndpoint, recovery_is_off
from .endpoints.signature import SignatureEndpoint
from .endpoints.static import StaticFile, modules_of, shipped_folder
from .exceptions import SettingsError
from .explanations.regions import callbacks_dated, callbacks_source, sends_callbacks
from .explanations.text import Text
from .http import origin_of
from .ledger.base import Ledger
from .ledger.memory import MemoryLedger
from .ledger.url import ledger_from
from .middleware.authorization import AuthorizationPassthrough
from .middleware.callback_guard import CallbackGuard
from .middleware.confirmation import Confirmation
from .middleware.dispatcher import Blocking, PathRouter, Subtree, at_original_path, native_path
from .middleware.form_script import FormScript
from .middleware.found_request import FoundRequest
from .middleware.once import OncePerUpload
from .middleware.posted_files import PostedFiles
from .middleware.probe import PROBE_KEY, Probe, ProbeGate
from .parts.ticket import PartsBook
from .parts.uploads import PartUploads
from .recovery.events import EventOutcome
from .recovery.reconciler import Reconciler
from .recovery.recovery import Known, OnOrphan, Recovery
from .recovery.sweep import Reconciliation
from .settings import Settings
from .signing.presigned_url import URLPresigner
from .signing.presigner import PostPresigner
from .signing.v1 import REFUSED_TO_ACCOUNTS_SINCE, REFUSED_TO_BUCKETS_SINCE
from .wsgi.diagnosis import wrong_path
from .wsgi.environ import request_target
from .wsgi.observers import Observers
from .wsgi.questions import MEET_KEY, pass_on

if TYPE_CHECKING:
    import webob
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from .signing.grant import Grant
    from .wsgi.observers import OnIssued, OnRefused
    from .wsgi.questions import BodyLimit, BodyTest, CallbackTest, NonBlockingTest

F = TypeVar("F", bound=Callable[..., Any] | None)

DEFAULT_PREFIX = "/oss"
SIGNATURE_PATH = "/signature"
CALLBACK_PATH = "/callback"
RECOVER_PATH = "/recover"
HEALTH_PATH = "/health"
READINESS_PATH = "/health/ready"
LIMITS_PATH = "/limits"
MULTIPART_PATH = "/s3"
METRICS_PATH = "/metrics"
MODULE_NAME = "upload.js"
FORMS_NAME = "forms.js"
TYPES_NAME = "upload.d.ts"

_SHIPPED_SERVER_URL = f'const SERVER_URL = "{DEFAULT_PREFIX[1:]}{SIGNATURE_PATH}";'
_SERVER_URL = f'const SERVER_URL = new URL("{SIGNATURE_PATH[1:]}", import.meta.url).href;'
_SHIPPED_MOUNT = 'const MOUNT = "..";'

# A callback URL's path is shorter than this, so longer paths are not logged.
_MAX_MISROUTED = 4096

log = logging.getLogger(__name__)


class DirectUpload:
    """Direct uploads to OSS for any WSGI application.

    ``GET {prefix}/signature`` signs a form or a PUT, ``POST {prefix}/callback`` receives OSS's verified report,
    ``GET {prefix}/limits`` returns what may be uploaded, ``GET {prefix}/upload.js`` is a module that uploads from any
    page, ``GET {prefix}/health`` says that the process responds, ``GET {prefix}/health/ready`` that it has credentials
    and a writable ledger (503 otherwise). With ``OSS_RECOVER=on``, ``POST {prefix}/recover`` answers a page whose
    callback was lost; with ``OSS_REPORT_BY=page`` it is where pages report their uploads, and OSS sends no callbacks.
    With ``OSS_MULTIPART=on``, ``{prefix}/s3/...`` uploads large files in parts, by the requests that
    Uppy's clients send. Every other path goes to ``app`` unchanged, with ``find_upload`` in its environ.

    Use ``prefix=""`` for a DirectUpload that another application or server mounts: the endpoints are at ``/signature``
    and so on below the mount, every other path is 404, and ``app`` gets only what ``forward_callback`` passes on.

    ``reconcile`` and ``handle_event`` find uploads whose report never arrived.

        application = DirectUpload(legacy_app, Settings.from_environ(os.environ), authorize=allow, on_upload=save)

    :param app: your application: it gets every path that is not below ``prefix``, unchanged.
    :param settings: bucket, key and limits, as ``Settings.from_environ(os.environ)`` reads them.
    :param prefix: the path below which the endpoints are; ``""`` where something else mounts them.
    :param authorize: ``(webob.Request) -> Grant | None``: returns what this request may upload; None refuses.
    :param may_complete: ``(user: str | None) -> bool``: called with the ticket's user before an upload in parts is
        completed, which may be days after ``authorize`` granted it; False refuses, and the parts stay.
    :param on_upload: ``(Upload) -> dict | None``: called with each verified upload; adds members to the JSON response.
    :param forward_callback: pass a verified callback on to ``app``, whose own view answers it and finds the upload
        in ``environ["oss_wsgi.upload"]``.
    :param forms: put files that went straight to OSS back into the forms that bring their signed IDs, as
        ``PostedFiles`` does, before ``app`` reads them. It needs the official SDK, or a ``bucket_client``.
        ``"inject"`` also adds the line of ``upload.js`` that takes over forms to each HTML page of ``app``, and to the
        page's Content-Security-Policy what the line needs.
    :param form_user: ``(webob.Request) -> str | None``: returns who sends such a form. By default ``authorize`` is
        asked as for a signature, with the cookies and headers of the form's request; give a function where people log
        in by a header that only a script sends. The request has no body.
    :param confirm: ``(Upload) -> bool``: called before the application gets an upload, to ask OSS itself, as
        ``SDKConfirmation`` does.
    :param rate_limit: ``(who: str) -> float | None``: returns how many seconds a caller that asks too often must wait,
        as ``RateLimit`` does; called for signatures, uploads in parts and lost reports.
    :param credentials: provider of the access key, called for each signature; by default the settings' own key signs,
        or with OSS_CREDENTIALS_LIBRARY the official library's key.
    :param on_issued: ``(Grant, facts)``: called with each signed form or PUT. ``facts`` is a dict: ``object``,
        ``expires``, ``user``, ``address``, ``request_id`` and more, but no secret; for a PUT and an upload in parts
        also ``upload_method``.
    :param on_refused: ``(reason, status, facts)``: called with each refused signature, callback or form. If it raises,
        that is logged, and the response stays the same.
    :param metrics: counts what happens, as ``Metrics()`` does; without it nothing is counted.
    :param serve_metrics: show the counts at ``GET {prefix}/metrics`` to anybody; False where you serve them elsewhere.
    :param ledger: remembers which uploads were handled; by default the ledger of OSS_LEDGER, or this process's memory.
    :param public_keys: the keys that are trusted; by default OSS's own and the settings' ``trusted_keys``.
    :param bucket_client: asks the bucket which objects are stored; by default an ``SDKBucket``, made when it is needed.
    :param known: ``(pairs of object and ETag) -> those that the application has handled``: called by a sweep with
        objects that the ledger does not know, such as uploads older than its retention.
    :param on_orphan: ``(Upload)``: called once by a sweep or an event with each stored upload that the checks refuse;
        no object is deleted.
    :param clock: returns Unix seconds.

    Raises SettingsError for insufficient settings.
    """

    #: ``(method, path, headers) -> bool``: whether a request is answered without waiting for a callable of yours, a
    #: disk or another host. ``make_server`` sends the response to a callback only after a SQLite ledger has stored it;
    #: under another server such a callback waits for the disk. ``path`` is decoded as PATH_INFO is; of ``headers`` only
    #: the key URL is used, under the name ``X_OSS_PUB_KEY_URL``.
    is_nonblocking: NonBlockingTest

    #: ``(method, path) -> int | None``: how many bytes a request's body may have; None if it goes to your application,
    #: which sets no limit.
    body_limit: BodyLimit

    #: ``(environ) -> bool``: whether the body of a request is read, or the request is refused without it. The environ
    #: needs no ``wsgi.input``.
    reads_body: BodyTest

    #: ``(method, path, headers) -> bool``: whether a request is a callback of OSS, for which ``make_server`` keeps
    #: threads. A forged callback counts too: it is refused without waiting. A callback whose key has to be fetched
    #: first does not count.
    is_callback: CallbackTest

    #: This DirectUpload, and those in the application that it wraps. Middleware around it passes them on, so that
    #: `serve --app` and `reconcile` find them.
    direct_uploads: tuple[DirectUpload, ...]

    def __init__(
        self,
        app: WSGIApplication,
        settings: Settings,
        *,
        prefix: str = DEFAULT_PREFIX,
        authorize: Callable[[webob.Request], Grant | None] | None = None,
        may_complete: Callable[[str | None], bool] | None = None,
        on_upload: Callable[[Upload], dict[str, Any] | None] | None = None,
        forward_callback: bool = False,
        forms: bool | Literal["inject"] = False,
        form_user: Callable[[webob.Request], str | None] | None = None,
        confirm: Confirm | None = None,
        rate_limit: Callable[[str], float | None] | None = None,
        credentials: CredentialsProvider | None = None,
        on_issued: OnIssued | None = None,
        on_refused: OnRefused | None = None,
        metrics: Metrics | None = None,
        serve_metrics: bool = True,
        ledger: Ledger | None = None,
        public_keys: PublicKeyStore | None = None,
        bucket_client: BucketClient | None = None,
        known: Known | None = None,
        on_orphan: OnOrphan | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if forward_callback and on_upload is not None:
            raise ValueError(
                "forward_callback passes reports to the application's own view, so on_upload is never "
                "called: leave one of them out."
            )
        callables = {
            "authorize": authorize,
            "may_complete": may_complete,
            "on_upload": on_upload,
            "form_user": form_user,
        }
        for name, function in callables.items():
            if inspect.iscoroutinefunction(function):
                raise TypeError(
                    f"{name} is an async function: write a plain one, or mount "
                    "oss_wsgi.asgi.DirectUpload, which can call it."
                )
        authorize, may_complete, form_user = _guarded(authorize), _guarded(may_complete), _guarded(form_user)
        on_upload, known, on_orphan = _guarded(on_upload), _guarded(known), _guarded(on_orphan)
        on_issued, on_refused = _guarded(on_issued), _guarded(on_refused)
        _check_forms(forms, form_user, settings, prefix)
        settings = with_callback_path(settings, prefix)
        self._bucket, self._host = settings.bucket_and_host()  # raises before a file is opened and warnings are logged
        if credentials is None:
            credentials = _credentials(settings, clock)
        #: The ledger, for callers who ask which uploads were handled.
        self.ledger = ledger_of(settings, clock) if ledger is None else ledger
        self.settings = settings
        self._prefix = prefix
        self._forwards_callback = forward_callback
        self._gate_options: dict[str, Any] = {
            "authorize": authorize,
            "allow_anonymous": settings.allow_anonymous,
            "allowed_origins": settings.allowed_origins,
            "rate_limit": rate_limit,
        }
        self._may_complete = may_complete
        self._credentials = credentials
        self._on_issued = on_issued
        self._on_refused = on_refused
        self._metrics = metrics
        self._serves_metrics = serve_metrics
        self._public_keys = public_keys or public_key_store(settings)
        self._known = known
        self._on_orphan = on_orphan
        self._clock = clock
        self._callback_urls = settings.callback_urls
        self._callback_path = native_path(prefix) + CALLBACK_PATH
        self._secrets = _ticket_secrets(settings, clock)
        tickets = self._tickets = TicketBook(self._secrets, clock=clock)
        signed_ids = self._signed_ids = SignedIDBook(self._secrets, self._bucket, clock=clock)
        receipts = self._receipts = ReceiptBook(self._secrets, clock=clock, keep_seconds=settings.ledger_keep)
        self._presigner = PostPresigner(
            settings, credentials, clock=clock, tickets=tickets, receipts=receipts if settings.receipts else None
        )
        self._forms = forms
        self._has_handler = forward_callback or on_upload is not None
        self._form_user = form_user

        @functools.cache
        def client() -> BucketClient:
            """Make what asks the bucket, when the bucket must be asked."""
            if bucket_client is not None:
                return bucket_client
            from .sdk.bucket import SDKBucket  # imported here because few need it

            return SDKBucket(settings, credentials=credentials, clock=clock)

        @functools.cache
        def recovery() -> Recovery:
            return Recovery(client(), settings.bucket_and_host()[0], tickets, receipts, clock=clock)

        self._mounted_over = app
        self._bucket_client = client
        self._recovery = recovery
        receiver: WSGIApplication
        if forward_callback:
            receiver = self._forward(confirm)
        else:
            receiver = CallbackEndpoint(on_upload, confirm=confirm, signed_ids=settings.signed_ids)
        url = self._callback_urls[0] if self._callback_urls else None
        self._once = OncePerUpload(
            receiver,
            self.ledger,
            keep_seconds=settings.ledger_keep,
            signed_ids=signed_ids,
            request_for=FoundRequest(self._callback_path, url),
        )
        _warn_of_unheard_uploads(settings, prefix, self._has_handler, bool(forms))
        _warn_of_v1(settings)
        self.direct_uploads = (self, *direct_uploads_of(app))
        self._build()

    def _build(self) -> None:
        """Make the endpoints, and the middleware around the application."""
        settings, metrics = self.settings, self._metrics
        self._observers = _observers(self._on_issued, self._on_refused, metrics)
        self._reconciler = Reconciler(
            settings,
            self._recovery,
            self._once.deliver,
            self.ledger,
            prefixes=[settings.upload_dir] if self._gate_options["authorize"] is None else [""],
            known=self._known,
            on_orphan=self._on_orphan,
            counters=metrics,
            clock=self._clock,
        )
        endpoints: dict[str, WSGIApplication | Subtree] = {
            SIGNATURE_PATH: self._signature(),
            CALLBACK_PATH: self._callback(),
            LIMITS_PATH: self._limits(),
            # The usual way of a report has a name of its own in the metrics.
            RECOVER_PATH: Subtree(self._recover(), lambda method, rest: "page" if settings.pages_report else ""),
            HEALTH_PATH: HealthEndpoint(),
            READINESS_PATH: self._readiness(),
            **_browser_modules(settings, self._prefix),
        }
        if metrics is not None:
            metrics.watch(self.ledger, self._public_keys, self.oldest_untold_seconds)
            if self._serves_metrics:
                endpoints[METRICS_PATH] = MetricsEndpoint(metrics)
        subtrees = {MULTIPART_PATH: self._multipart()}
        self._app = PathRouter(self._with_forms(), self._prefix, endpoints, self._observers, subtrees)
        pass_on(self, self._app)
        self._probe: Probe | None = None
        if settings.ticket_secret or settings.ticket_secret_file:  # else only this process knows the secret
            gate = ProbeGate(self._secrets, clock=self._clock)
            urls, forms = self._callback_urls, bool(self._forms)
            self._probe = Probe(self._app, gate, self._callback_path, urls, self.ledger, forms=forms)
            self.reads_body = self._probe.reads_body

    def count_in(self, metrics: Metrics) -> Metrics:
        """Count in ``metrics``, which a server shows elsewhere, unless the constructor got metrics of its own.

        Return those that count. Call this before requests come.
        """
        if self._metrics is None:
            self._metrics, self._serves_metrics = metrics, False
            self._build()
        return self._metrics

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if MEET_KEY in environ:
            environ[MEET_KEY](self)
        if "HTTP_X_OSS_PUB_KEY_URL" in environ and environ.get("PATH_INFO") != self._callback_path:
            self._log_misrouted_callback(environ)
        if PROBE_KEY in environ and self._probe is not None:
            return self._probe(environ, start_response)
        environ[FIND_KEY] = self.find_upload
        return self._app(environ, start_response)

    def find_upload(self, signed_id: str | None, *, user: str | None, max_age: float = MAX_AGE) -> Upload:
        """Return the upload of a signed ID that a form has brought; the application finds this in its environ too.

            upload = environ["oss_wsgi.find_upload"](form.get("photo"), user=environ.get("REMOTE_USER"))

        The signed ID proves that the upload was reported to this application, for an object in this bucket and for this
        user. It asks neither OSS nor a ledger, so it does not know whether the object was deleted since, nor whether
        the signed ID came with another form before. The returned upload has ``bucket``, ``object``, ``etag``, ``size``,
        ``mime_type``, ``filename``, ``user``, ``data``, ``ticket_id`` and ``signed_id`` as they were when it was
        handled; its other attributes have their defaults.

        :param user: who sends the form; None if uploads have no user. It is compared with the user that ``authorize``
            put into the ``Grant``.
        :param max_age: seconds since the signed ID was made, which each response to the page does anew.

        Raises SignedIDError with the reason ``signed_id_malformed``, ``signed_id_altered`` (also for another secret or
        bucket), ``signed_id_expired`` or ``signed_id_other_user``; TypeError for a user that is no text.
        """
        return self._signed_ids.find_upload(signed_id, user=user, max_age=max_age)

    def reconcile(
        self,
        *,
        since: float | str | timedelta | datetime = "26h",
        until: float | str | timedelta | datetime = "15m",
        dry_run: bool = False,
        progress: Callable[[Reconciliation], object] | None = None,
        prefixes: Sequence[str] | None = None,
        known: Known | None = None,
        on_orphan: OnOrphan | None = None,
    ) -> Reconciliation:
        """Sweep the bucket: handle each upload that was stored between ``since`` and ``until`` and is not known yet.

        Each end is a duration before now (seconds, ``"26h"``, a timedelta) or a moment (a datetime with a time zone, or
        Unix seconds). Uploads after ``until`` are left alone, because their callbacks may still arrive. A sweep deletes
        nothing.

        Only objects with a receipt are handled, in the caller's thread; up to eight threads ask the bucket meanwhile.
        One sweep runs at a time. After a sweep was killed, the next one with the same prefixes lists its window again;
        the ledger knows what was handled, and which objects have no receipt.

        :param dry_run: handle nothing; count uploads that would be handled as ``untold``.
        :param progress: called with the report after each page and each object that needed a HEAD.
        :param prefixes: of the object names; by default OSS_UPLOAD_DIR. With an ``authorize``, which may grant any
            name, the default is the whole bucket.
        :param known: replaces the constructor's ``known``; ``on_orphan`` replaces the constructor's too.

        Raises SettingsError if ``since`` is further back than the ledger remembers (OSS_LEDGER_KEEP) and there is no
        ``known``; ValueError for a malformed window; SweepRunningError; BucketError and LedgerUnavailableError, after
        which the next sweep lists the window again.
        """
        return self._reconciler.reconcile(
            since,
            until,
            dry_run=dry_run,
            progress=progress,
            prefixes=prefixes,
            known=known,
            on_orphan=on_orphan,
        )

    @property
    def has_known(self) -> bool:
        """Whether a ``known`` tells sweeps which uploads the application has handled."""
        return self._known is not None

    @property
    def has_authorize(self) -> bool:
        """Whether an ``authorize`` decides who may upload."""
        return self._gate_options["authorize"] is not None

    @property
    def has_handler(self) -> bool:
        """Whether the application gets uploads: by ``on_upload`` or ``forward_callback``."""
        return self._has_handler

    @property
    def forms(self) -> bool | Literal["inject"]:
        """What the constructor got as ``forms``."""
        return self._forms

    @property
    def credentials(self) -> CredentialsProvider | None:
        """The provider of the access key; None if the settings' own key signs."""
        return self._credentials

    def handle_event(self, body: bytes | str) -> list[EventOutcome]:
        """Handle the uploads that a message of OSS names, unless they were handled before.

        ``body`` is a message of an SMQ queue (JSON or its Base64), or a CloudEvent of EventBridge. Only the object's
        name is taken from it: the ledger, a HEAD and the object's receipt decide, so an event may be late, repeated or
        forged.

        Returns what was done with each event; then the message may be deleted. Raises NotDeliveredError (the
        application did not accept an upload), BucketError or LedgerUnavailableError when the message must be delivered
        again, and MalformedRecoveryError when the body is not an event, so that delivering it again would not help.
        """
        return self._reconciler.handle_events(body)

    def oldest_untold_seconds(self) -> float | None:
        """Return the age of the oldest upload that may not be handed over; 0 if none, None before the first sweep."""
        return self._reconciler.oldest_untold_seconds()

    def _log_misrouted_callback(self, environ: WSGIEnvironment) -> None:
        """Log why a callback that was meant for our path reaches the application instead."""
        if (environ.get("PATH_INFO") or "").endswith(self._callback_path):
            return
        target = request_target(environ).partition(b"?")[0]
        if len(target) <= _MAX_MISROUTED and unquote_to_bytes(target).endswith(self._callback_path.encode("latin-1")):
            log.warning("a callback does not reach %s: %s", CALLBACK_PATH, wrong_path(environ))

    def _with_forms(self) -> WSGIApplication:
        """Return the application behind the middleware that its forms need."""
        app = self._mounted_over
        if not self._forms:
            return app
        if self._forms == "inject":
            app = FormScript(app, f"{quote(self._prefix)}/{MODULE_NAME}", origins=[origin_of(self._host)])
        user_of = FormUser(
            native_path(self._prefix) + SIGNATURE_PATH,
            authorize=self._gate_options["authorize"],
            allow_anonymous=self.settings.allow_anonymous,
            form_user=self._form_user,
        )
        bucket = self._bucket_client()
        return PostedFiles(app, self._signed_ids.open, bucket, user_of=user_of, observers=self._observers)

    # The endpoints.

    def _forward(self, confirm: Confirm | None) -> WSGIApplication:
        """Return an application that calls the application's own view with a verified callback, after ``confirm``."""
        view = at_original_path(self._mounted_over, CALLBACK_PATH, self._prefix)
        endpoint = CallbackEndpoint()

        def view_unless_skipped(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            if environ[UPLOAD_KEY].skips_handler:
                return endpoint(environ, start_response)
            return view({**environ, FIND_KEY: self.find_upload}, start_response)  # a found upload's request is new

        return view_unless_skipped if confirm is None else Confirmation(view_unless_skipped, confirm)

    def _signature(self) -> WSGIApplication:
        return self._observed(SignatureEndpoint(self._presigner, **self._gate_options, observers=self._observers))

    def _callback(self) -> WSGIApplication:
        guard = CallbackGuard(
            self._once,
            CallbackVerifier(self._public_keys),
            tickets=self._tickets,
            bucket=self._bucket,
            callback_urls=self._callback_urls,
            on_mismatch=self._once.note_refused,
        )
        # The user's own view reads HTTP_AUTHORIZATION only; the guard finds the header in other variables too.
        return self._observed(AuthorizationPassthrough(guard) if self._forwards_callback else guard)

    def _limits(self) -> WSGIApplication:
        settings = self.settings
        # Without a report there is no ticket; without receipts there is nothing to compare a ticket with.
        has_tickets = settings.pages_report or bool(self._callback_urls)
        can_recover = settings.recover and settings.receipts and has_tickets
        part_size = settings.part_size if settings.multipart else None
        gate = Gate(**self._gate_options)
        forms = self._forms and has_tickets  # signed IDs come with the response to a report
        limits = LimitsEndpoint(self._presigner, gate, recover=can_recover, part_size=part_size, forms=forms)
        return self._observed(limits)

    def _recover(self) -> WSGIApplication:
        if not self.settings.recover:
            return recovery_is_off
        origins, rate_limit = self.settings.allowed_origins, self._gate_options["rate_limit"]
        return RecoverEndpoint(self._recovery(), self._once.deliver, allowed_origins=origins, rate_limit=rate_limit)

    def _readiness(self) -> WSGIApplication:
        ledger = self.ledger
        checks = {"ledger": lambda: ledger.check(), "credentials": self._presigner.check}
        return ReadinessEndpoint(checks, clock=time.monotonic)

    def _multipart(self) -> Subtree:
        settings = self.settings
        if not settings.multipart:
            return Subtree(multipart_is_off(settings.allowed_origins), step_name)
        uploads = PartUploads(
            self._recovery(),
            self._presigner,
            URLPresigner(settings, self._credentials, clock=self._clock),
            receipts=self._receipts,
            book=PartsBook(self._secrets, clock=self._clock),
            ledger=self.ledger,
            keep_seconds=settings.ledger_keep,
            part_size=settings.part_size,
            clock=self._clock,
        )
        endpoint = MultipartEndpoint(
            uploads,
            self._presigner,
            Gate(**self._gate_options, may_complete=self._may_complete),
            self._once.deliver,
            bucket=self._bucket,
            address=self._host,
            clock=self._clock,
            observers=self._observers,
        )
        return Subtree(self._observed(endpoint), step_name, longest_body)

    def _observed(self, endpoint: WSGIApplication) -> WSGIApplication:
        """Return the endpoint, marked as blocking if it calls observers of the user's own, which may wait."""
        return endpoint if self._on_issued is None and self._on_refused is None else Blocking(endpoint)


def direct_uploads_of(app: object) -> tuple[DirectUpload, ...]:
    """Return the DirectUploads that an application shows: itself, or those that middleware passes on."""
    return tuple(getattr(app, "direct_uploads", ()))


def with_callback_path(settings: Settings, prefix: str = DEFAULT_PREFIX) -> Settings:
    """Return the settings with the path of DirectUpload's callback added to each callback URL without a path."""
    path = quote((prefix or DEFAULT_PREFIX) + CALLBACK_PATH)
    urls = settings.callback_urls
    complete = [f"{url}{path}" if url and urlsplit(url)[2:4] == ("", "") else url for url in urls]
    return settings if urls == complete else replace(settings, callback_url=";".join(complete))


def _guarded(function: F) -> F:
    """Return a callable of the application; under Django, one around which old database connections are closed."""
    if function is None or "django.db" not in sys.modules:
        return function
    from .django.connections import closing_connections  # imported here because Django may be missing

    return cast("F", closing_connections(function))


def _check_forms(forms: object, form_user: object, settings: Settings, prefix: str) -> None:
    """Raise TypeError, ValueError or SettingsError for forms that could not work."""
    if not isinstance(forms, bool) and forms != "inject":
        raise TypeError(f'forms must be True or False, or "inject" to add the line to pages too, not {forms!r}.')
    if form_user is not None and not forms:
        raise ValueError("form_user says who sends a form, and is never asked without forms=True: add it.")
    if forms and not prefix:
        raise ValueError(f"forms={forms!r} changes what the application gets and sends, and prefix='' passes none on.")
    if forms and not settings.signed_ids:
        raise SettingsError("OSS_SIGNED_IDS is off, so no form can bring a file: set OSS_SIGNED_IDS=on.")


def _warn_of_unheard_uploads(settings: Settings, prefix: str, has_handler: bool, has_forms: bool) -> None:
    """Log why the application would not get reports: no receipts or callbacks, no callback URL, or one elsewhere."""
    if settings.recover and not settings.receipts:
        log.warning(
            "OSS_RECEIPTS is off: OSS_RECOVER cannot find uploads that were signed without a receipt; set "
            "OSS_RECEIPTS=on"
        )
    if settings.pages_report:
        if settings.callback_url:
            log.warning(
                "OSS_CALLBACK_URL is ignored, because pages report uploads (OSS_REPORT_BY=page): remove it, or set "
                "OSS_REPORT_BY=oss"
            )
        return
    if sends_callbacks(settings.region) is False:
        log.warning(
            "OSS sends no callbacks from the region %s (its list of %s: %s), so nobody would report an upload; what it "
            "answers there to a form with a callback is not known; set OSS_REPORT_BY=page: then the page reports",
            settings.region, callbacks_dated(), callbacks_source(),
        )  # fmt: skip
        return
    own_path = quote((prefix or "/PATH-OF-THE-MOUNT") + CALLBACK_PATH)
    if not settings.callback_url:
        if has_handler and settings.multipart:
            log.warning(
                "OSS_CALLBACK_URL is not set, so the application's handler is called only for files uploaded in parts; "
                "set the public URL of its path: OSS_CALLBACK_URL=https://YOUR-HOST%s",
                own_path,
            )
        elif has_handler:
            log.warning(
                "OSS_CALLBACK_URL is not set, so OSS reports no upload, and the application's handler at %s is never "
                "called; set the public URL of that path: OSS_CALLBACK_URL=https://YOUR-HOST%s",
                own_path,
                own_path,
            )
        if has_forms:
            log.warning(
                "OSS_CALLBACK_URL is not set, so no upload gets a signed ID, and the files of forms go through the "
                "application as before; set the public URL of its path: OSS_CALLBACK_URL=https://YOUR-HOST%s",
                own_path,
            )
        return
    for url in settings.callback_urls:
        path = target_of(url).partition("?")[0]
        if unquote(path).endswith(prefix + CALLBACK_PATH):  # below a mount, or as it is
            continue
        parts = urlsplit(url)
        fix = f"OSS_CALLBACK_URL={parts.scheme}://{parts.netloc}{own_path}"
        other_prefix = unquote(path.removesuffix(CALLBACK_PATH))
        if path.endswith(CALLBACK_PATH) and len(other_prefix) > 1:
            fix += f", or DirectUpload(..., prefix={other_prefix!r})"
        log.warning(
            "OSS_CALLBACK_URL is %s, but DirectUpload receives reports at %s: the handler is not called, unless a "
            "server in front turns %s into %s; set %s",
            without_password(url), own_path, path, own_path, fix,
        )  # fmt: skip


def _warn_of_v1(settings: Settings) -> None:
    """Log that OSS no longer takes signatures of version 1 from everybody, if the settings ask for them."""
    if settings.signature_version == "v1":
        log.warning(
            "OSS_SIGNATURE_VERSION is v1, which OSS refuses, in phases, for accounts made since %s and buckets made "
            "since %s (EC 0002-00000080); set OSS_SIGNATURE_VERSION=v4",
            REFUSED_TO_ACCOUNTS_SINCE,
            REFUSED_TO_BUCKETS_SINCE,
        )


@functools.cache
def _module_texts() -> dict[str, bytes]:
    """Return the page's module, its types and its imports; the module finds the signature endpoint by its own URL."""
    texts = modules_of(shipped_folder(), MODULE_NAME)
    texts[MODULE_NAME] = texts[MODULE_NAME].replace(_SHIPPED_SERVER_URL.encode(), _SERVER_URL.encode())
    texts[TYPES_NAME] = (shipped_folder() / TYPES_NAME).read_bytes()
    return texts


def _browser_modules(settings: Settings, prefix: str) -> dict[str, StaticFile]:
    """Return the endpoints of the page's module, by their paths. What takes over forms knows how long ``prefix`` is."""
    origins = settings.allowed_origins
    mount = f'const MOUNT = "{"/".join([".."] * max(1, prefix.count("/")))}";'
    texts = {**_module_texts()}
    texts[FORMS_NAME] = texts[FORMS_NAME].replace(_SHIPPED_MOUNT.encode(), mount.encode())
    return {f"/{name}": StaticFile(name, text, allowed_origins=origins) for name, text in texts.items()}


def _observers(on_issued: OnIssued | None, on_refused: OnRefused | None, metrics: Metrics | None) -> Observers | None:
    """Return the observers joined; None if there are none."""
    if on_issued is None and on_refused is None and metrics is None:
        return None
    counts_issued = metrics.on_issued if metrics is not None else None
    return Observers(
        on_issued=[observer for observer in (on_issued, counts_issued) if observer is not None],
        on_refused=[on_refused] if on_refused is not None else [],
        on_answered=[metrics.on_answered] if metrics is not None else [],
        clock=time.monotonic,
    )


def public_key_store(settings: Settings, trusted: Mapping[str, str] | None = None) -> PublicKeyStore:
    """Make a store of OSS's keys, the settings' keys (PEM files) and the keys in ``trusted`` (PEM texts)."""
    pinned = dict(trusted or {})
    for url, file in settings.trusted_keys:
        try:
            pinned[url] = Path(file).read_text(encoding="ascii")
        except (OSError, ValueError) as error:
            raise SettingsError(
                Text("OSS_TRUSTED_KEYS: {1} cannot be read: {2}.", repr(file), _reason(error))
            ) from error
    try:
        return PublicKeyStore(pinned, fetcher=_fetch, clock=time.monotonic)
    except ValueError as error:
        raise SettingsError(f"OSS_TRUSTED_KEYS: {error}") from error


def _reason(error: OSError | ValueError) -> str:
    """Return in words why a file cannot be read."""
    return (error.strerror or "the system gives no reason") if isinstance(error, OSError) else "it is not PEM text"


def _fetch(url: str) -> bytes:
    # Imported here because TLS takes 6 MiB, and OSS's key has been the same since 2015.
    from .callback.key_fetcher import HTTPSFetcher

    return HTTPSFetcher()(url)


def _credentials(settings: Settings, clock: Callable[[], float]) -> CredentialsProvider | None:
    """Return a provider if the settings name the official library, else None; SettingsError without a key."""
    if not settings.credentials_library:
        settings.credentials()
        return None
    from .sdk.credentials import library_provider  # imported here because few use it

    return library_provider(settings, clock)


def _ticket_secrets(settings: Settings, clock: Callable[[], float]) -> Secrets:
    """Return the ticket secrets: the settings' own, a SecretFile that reads them from their file, or a random one."""
    if settings.ticket_secret_file:
        return SecretFile(settings.ticket_secret_file, clock=clock)
    if not settings.ticket_secret:
        log.warning(
            "OSS_TICKET_SECRET is not set: this process made its own, so it refuses reports of uploads that began "
            "before a restart or were signed by another process; set it where there is more than one process"
        )
    return settings.ticket_secret or [secrets.token_hex(32)]


def ledger_of(settings: Settings, clock: Callable[[], float] = time.time, *, threads: int | None = None) -> Ledger:
    """Open the settings' ledger, with connections for ``threads`` threads, or make one in memory."""
    if settings.ledger is not None:
        return ledger_from(settings.ledger, clock=clock, threads=threads)
    log.warning(
        "OSS_LEDGER is not set: handled uploads are remembered only in this process's memory, so after a restart or in "
        "another process the same report is handled again"
    )
    return MemoryLedger(clock=clock)
