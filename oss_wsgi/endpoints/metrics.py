"""The counters of what happens, and the endpoint where Prometheus reads them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from ..callback.public_keys import PublicKeyStore
from ..exceptions import SettingsError
from ..ledger.base import Ledger
from ..wsgi.facts import facts_of
from ..wsgi.responses import SECURITY_HEADERS

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from ..signing.grant import Grant

# OSS waits 5 s for a callback; a signature takes a tenth of a millisecond.
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

# Prometheus sees no increase from a series that begins with its first event, so the outcomes of which
# examples/monitoring/alerts.yml warns begin at 0.
_REPORTS_FROM_ZERO = (
    "accepted",
    "repeated",
    "application",
    "handler_failed",
    "ledger_unavailable",
    "credentials_unavailable",
)
_FROM_ZERO = (
    *_REPORTS_FROM_ZERO,
    "key_unavailable",
    "signature_wrong",
    "authorization_missing",
    "authorization_malformed",
    "ticket_foreign",
    "bucket_foreign",
)

T = TypeVar("T")

log = logging.getLogger(__name__)


class Metrics:
    """Counters for ``DirectUpload(..., metrics=Metrics())``; needs ``pip install oss-wsgi[metrics]``.

    ====================================  =============  ==============================================================
    oss_wsgi_signatures_issued_total
    oss_wsgi_signatures_by_method_total   method         the same, as post, put or multipart
    oss_wsgi_signatures_refused_total     reason         as in the log
    oss_wsgi_callbacks_total              outcome        accepted, repeated (the stored response), a reason, application
                                                         (your own view's response was not 2xx)
    oss_wsgi_request_seconds              endpoint       histogram of the time until the response
    oss_wsgi_key_fetches_total            outcome        fetched, failed
    oss_wsgi_ledger_uploads                              stored responses, and orphans that on_orphan was told of, of
                                                         all processes that share the ledger; expired ones count until
                                                         they are deleted. From 100,000 on a SQL database estimates
    oss_wsgi_page_reports_total           outcome        reports of pages, under OSS_REPORT_BY=page: accepted,
                                                         repeated (the stored response), a reason, application
    oss_wsgi_recovered_total              outcome        pages that asked for a lost report: recovered, repeated, a
                                                         reason
    oss_wsgi_multipart_total              step, outcome  requests of uploads in parts. Steps: params, begin, part,
                                                         list, complete, abort. Outcomes: ok, repeated (the stored
                                                         response), a reason, application
    oss_wsgi_forms_total                  outcome        posted forms with signed IDs: accepted, a reason, application
                                                         (the view's response was 4xx or 5xx)
    oss_wsgi_reconciled_total             outcome        objects of this process's sweeps, by ``Reconciliation.counts``
    oss_wsgi_events_total                 outcome        uploads that events named, as ``handle_event`` returns it
    oss_wsgi_oldest_untold_seconds                       age of the oldest upload that sweeps may not have handed
                                                         over; 0 if none
    ====================================  =============  ==============================================================

    Each process counts separately; ``--metrics-listen`` adds up the counts of all ``--processes``. Labels never name
    users or objects.

    :param registry: where to register; by default a new registry. Raises SettingsError without the extra.
    """

    def __init__(self, registry: Any = None) -> None:
        try:
            import prometheus_client as prometheus
        except ImportError as error:
            raise SettingsError("Metrics needs prometheus_client: pip install 'oss-wsgi[metrics]'.") from error
        self._prometheus = prometheus
        self._watched: list[tuple[Ledger, PublicKeyStore]] = []
        self._untold_ages: list[Callable[[], float | None]] = []
        self.registry: Any = prometheus.CollectorRegistry() if registry is None else registry

        def counter(name: str, meaning: str, *labels: str) -> prometheus.Counter:
            return prometheus.Counter(f"oss_wsgi_{name}", meaning, labels, registry=self.registry)

        self._issued = counter("signatures_issued", "Signed forms and PUT requests sent.")
        self._issued_by_method = counter("signatures_by_method", "Signed forms and PUT requests by method.", "method")
        self._refused = counter("signatures_refused", "Refused requests for a signature.", "reason")
        self._callbacks = counter("callbacks", "Callbacks by their outcome.", "outcome")
        for outcome in _FROM_ZERO:
            self._callbacks.labels(outcome)
        self._page_reports = counter("page_reports", "Reports of pages by their outcome.", "outcome")
        for outcome in _REPORTS_FROM_ZERO:
            self._page_reports.labels(outcome)
        self._recovered = counter("recovered", "Requests for uploads whose report was lost.", "outcome")
        self._multipart = counter("multipart", "Requests of uploads in parts.", "step", "outcome")
        self._forms = counter("forms", "Posted forms with signed IDs by their outcome.", "outcome")
        self._reconciled = counter("reconciled", "Objects that sweeps found.", "outcome")
        self._events = counter("events", "Uploads that events named.", "outcome")
        self._seconds = prometheus.Histogram(
            "oss_wsgi_request_seconds",
            "Seconds until the response.",
            ["endpoint"],
            buckets=_SECONDS,
            registry=self.registry,
        )

    def on_issued(self, grant: Grant, facts: Mapping[str, Any]) -> None:
        """Count a signed form or PUT."""
        self._issued.inc()
        self._issued_by_method.labels(facts.get("upload_method", "POST").lower()).inc()

    def on_answered(self, endpoint: str, status: int, seconds: float, reason: str | None) -> None:
        """Count a response and the seconds that it took."""
        self._seconds.labels(endpoint).observe(seconds)
        if endpoint == "callback":
            outcome = "accepted" if 200 <= status < 300 else "application"
            self._callbacks.labels(reason or outcome).inc()
        elif endpoint == "signature" and reason is not None:
            self._refused.labels(reason).inc()
        elif endpoint.startswith("s3/") and status != 204:  # no preflight
            outcome = "ok" if 200 <= status < 300 else "application"
            self._multipart.labels(endpoint.removeprefix("s3/"), reason or outcome).inc()
        elif endpoint == "recover/page" and status != 204:
            outcome = "accepted" if 200 <= status < 300 else "application"
            self._page_reports.labels(reason or outcome).inc()
        elif endpoint == "recover" and status != 204:  # no preflight
            outcome = "recovered" if 200 <= status < 300 else "application"
            self._recovered.labels(reason or outcome).inc()
        elif endpoint == "form":
            outcome = "accepted" if status < 400 else "application"
            self._forms.labels(reason or outcome).inc()

    def on_reconciled(self, counts: Mapping[str, int]) -> None:
        """Count the objects of a sweep by their outcome."""
        for outcome, count in counts.items():
            self._reconciled.labels(outcome).inc(count)

    def on_event(self, outcome: str) -> None:
        """Count an upload that an event named."""
        self._events.labels(outcome).inc()

    def watch(
        self,
        ledger: Ledger,
        public_keys: PublicKeyStore,
        oldest_untold_seconds: Callable[[], float | None] | None = None,
    ) -> None:
        """Also report a ledger's size, a key store's fetches and the age of the oldest upload that sweeps left."""
        if oldest_untold_seconds is not None:
            self._untold_ages.append(oldest_untold_seconds)
        if not self._watched:
            self.registry.register(self)
        if not any(ledger is other and public_keys is store for other, store in self._watched):
            self._watched.append((ledger, public_keys))

    def collect(self) -> Iterator[Any]:
        """Yield the metrics of ledgers and key stores for the registry; one that applications share counts once."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        stores = {id(store): store for _, store in self._watched}
        fetches = CounterMetricFamily("oss_wsgi_key_fetches", "Fetches of OSS's keys.", labels=["outcome"])
        for outcome in ("fetched", "failed"):
            fetches.add_metric([outcome], sum(store.fetches[outcome] for store in stores.values()))
        yield fetches
        ledgers = {id(ledger): ledger for ledger, _ in self._watched}
        sizes = [size for size in (_told(ledger.__len__) for ledger in ledgers.values()) if size is not None]
        if sizes:
            yield GaugeMetricFamily("oss_wsgi_ledger_uploads", "Responses that the ledger stores.", sum(sizes))

        ages = [age for age in map(_told, self._untold_ages) if age is not None]
        if ages:
            yield GaugeMetricFamily(
                "oss_wsgi_oldest_untold_seconds", "Age of the oldest upload that sweeps may have left.", max(ages)
            )

    def describe(self) -> list[Any]:
        """Return nothing, so that registering does not count the ledger, which may be unreachable then."""
        return []

    def text(self) -> tuple[str, bytes]:
        """Return the content type and the text that Prometheus reads."""
        return self._prometheus.CONTENT_TYPE_LATEST, self._prometheus.generate_latest(self.registry)


def _told(function: Callable[[], T]) -> T | None:
    """Return what ``function`` returns; None if the ledger cannot be reached now."""
    try:
        return function()
    except BaseException as error:  # SystemExit too: `endpoints.callback` says why
        log.warning("the ledger could not be counted: %s", type(error).__name__)
        return None


class MetricsEndpoint:
    """Application: GET or HEAD returns what ``metrics`` has counted, in Prometheus's text format.

    It asks for no password: block its path at the front server, or serve it on a separate port.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO"):
            return facts_of(environ).not_found(log, start_response)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return facts_of(environ).method_not_allowed(log, start_response, "GET, HEAD")
        content_type, body = self._metrics.text()
        headers = [("Content-Type", content_type), ("Content-Length", str(len(body))), *SECURITY_HEADERS]
        start_response("200 OK", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
