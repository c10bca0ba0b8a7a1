"""Metrics count what happens, and MetricsEndpoint shows the counts only where it is switched on."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import prometheus_client
import pytest
import webtest

from oss_wsgi import DirectUpload, Grant, MemoryLedger, Metrics, MetricsEndpoint, PublicKeyStore, Settings
from oss_wsgi.exceptions import FetchError, SettingsError
from oss_wsgi.ledger.base import StoredResponse, UploadIdentity
from oss_wsgi.testing import CallbackSigner, FrozenClock, callback_body

from ..support.callbacks import post_callback
from ..support.example_settings import EXAMPLE

SIGNER = CallbackSigner()
SETTINGS = Settings(**EXAMPLE, ticket_secret=("t" * 32,))
GRANT = Grant(user="eric", dir="users/eric")


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def client(metrics: Metrics, **options: Any) -> webtest.TestApp:
    arguments = {"authorize": lambda request: GRANT, "public_keys": SIGNER.public_keys, **options}
    return webtest.TestApp(DirectUpload(lambda environ, start: [], SETTINGS, metrics=metrics, **arguments))


def value(metrics: Metrics, name: str, **labels: str) -> Any:
    return metrics.registry.get_sample_value(f"oss_wsgi_{name}", labels)


def report(app: webtest.TestApp, **headers: str) -> Callable[[], int]:
    body = callback_body(app.get("/oss/signature?filename=a.png").json, size=6)
    return lambda: int(post_callback(app, body, SIGNER, headers=dict(headers), expect_errors=True).status_int)


def test_signatures_are_counted_and_their_refusals_by_reason(metrics: Metrics) -> None:
    app = client(metrics)
    for _ in range(3):
        app.get("/oss/signature?filename=a.png")
    app.head("/oss/signature")
    app.options("/oss/signature")
    app.get("/oss/signature?size=x", status=400)
    client(Metrics(), authorize=lambda request: None).get("/oss/signature", status=403)
    assert value(metrics, "signatures_issued_total") == 4
    assert value(metrics, "signatures_refused_total", reason="size_malformed") == 1
    assert value(metrics, "signatures_refused_total", reason="not_authorized") is None


def test_callbacks_are_counted_by_outcome(metrics: Metrics) -> None:
    app = client(metrics)
    good = report(app)
    wrong = report(app, Authorization="AAAA")
    assert [good(), good(), good(), wrong()] == [200, 200, 200, 403]
    for outcome, count in (("accepted", 1), ("repeated", 2), ("signature_wrong", 1)):
        assert value(metrics, "callbacks_total", outcome=outcome) == count


def test_a_server_counts_what_an_application_does_not_count_itself(metrics: Metrics) -> None:
    options: dict[str, Any] = {"authorize": lambda request: GRANT, "public_keys": SIGNER.public_keys}
    uploads = DirectUpload(lambda environ, start: [], replace(SETTINGS, ticket_secret=()), **options)
    begun_before = report(webtest.TestApp(uploads))
    is_nonblocking = uploads.is_nonblocking
    assert uploads.count_in(metrics) is metrics
    assert uploads.count_in(Metrics()) is metrics, "the first ones stay"
    app = webtest.TestApp(uploads)
    app.get("/oss/signature?filename=a.png")
    app.get("/oss/metrics", status=404)
    assert value(metrics, "signatures_issued_total") == 1
    assert value(metrics, "ledger_uploads") == 0
    assert is_nonblocking("GET", "/oss/health", {}) is True
    assert begun_before() == 200, "its ticket can still be opened"
    assert value(metrics, "callbacks_total", outcome="accepted") == 1
    own = Metrics()
    counted = client(own)
    assert counted.app.count_in(metrics) is own
    counted.get("/oss/signature?filename=a.png")
    assert (value(own, "signatures_issued_total"), value(metrics, "signatures_issued_total")) == (1, 1)
    counted.get("/oss/metrics", status=200)


@pytest.mark.parametrize(
    ("endpoint", "status", "reason", "counted"),
    [
        ("callback", 200, None, 'callbacks_total{outcome="accepted"}'),
        ("callback", 300, None, 'callbacks_total{outcome="application"}'),
        ("signature", 403, "not_authorized", 'signatures_refused_total{reason="not_authorized"}'),
        ("signature", 200, None, None),
        ("s3/part", 200, None, 'multipart_total{outcome="ok",step="part"}'),
        ("s3/complete", 200, "repeated", 'multipart_total{outcome="repeated",step="complete"}'),
        ("s3/complete", 300, None, 'multipart_total{outcome="application",step="complete"}'),
        ("s3/begin", 204, None, None),
        ("recover", 200, None, 'recovered_total{outcome="recovered"}'),
        ("recover", 300, None, 'recovered_total{outcome="application"}'),
        ("recover", 404, "not_stored", 'recovered_total{outcome="not_stored"}'),
        ("recover", 204, None, None),
        ("form", 303, None, 'forms_total{outcome="accepted"}'),
        ("form", 400, None, 'forms_total{outcome="application"}'),
        ("form", 409, "posted_file_deleted", 'forms_total{outcome="posted_file_deleted"}'),
        ("health", 503, None, None),
    ],
)
def test_a_response_is_counted_by_its_outcome_and_preflights_are_not(
    endpoint: str, status: int, reason: str | None, counted: str | None, metrics: Metrics
) -> None:
    metrics.on_answered(endpoint, status, 0.25, reason)
    lines = [line for line in metrics.text()[1].decode().splitlines() if line.endswith(" 1.0") and "_total" in line]
    assert lines == ([] if counted is None else [f"oss_wsgi_{counted} 1.0"])
    assert value(metrics, "request_seconds_sum", endpoint=endpoint) == 0.25


def test_signatures_sweeps_and_events_are_counted(metrics: Metrics) -> None:
    for facts in ({}, {"upload_method": "PUT"}, {"upload_method": "MULTIPART"}, {"upload_method": "PUT"}):
        metrics.on_issued(GRANT, facts)
    methods = [value(metrics, "signatures_by_method_total", method=name) for name in ("post", "put", "multipart")]
    assert (value(metrics, "signatures_issued_total"), methods) == (4, [1, 2, 1])
    metrics.on_reconciled({"known": 2, "failed": 0})
    metrics.on_event("gone")
    assert value(metrics, "reconciled_total", outcome="known") == 2
    assert value(metrics, "reconciled_total", outcome="failed") == 0
    assert value(metrics, "events_total", outcome="gone") == 1


def test_the_oldest_upload_of_all_applications_is_shown(metrics: Metrics, caplog: pytest.LogCaptureFixture) -> None:
    ledger, keys = MemoryLedger(clock=FrozenClock()), PublicKeyStore()
    metrics.watch(ledger, keys)
    metrics.watch(ledger, keys, lambda: None)
    assert "oldest_untold" not in metrics.text()[1].decode()
    assert caplog.records == []
    for age in (7.0, 90.0, 8.0):
        metrics.watch(ledger, keys, lambda age=age: age)  # type: ignore[misc]
    assert value(metrics, "oldest_untold_seconds") == 90


def test_seconds_are_counted_by_endpoint(metrics: Metrics) -> None:
    app = client(metrics)
    app.get("/oss/health")
    report(app)()
    app.get("/oss/nothing", status=404)
    for endpoint in ("health", "signature", "callback"):
        assert value(metrics, "request_seconds_count", endpoint=endpoint) == 1
        assert value(metrics, "request_seconds_sum", endpoint=endpoint) >= 0
    assert value(metrics, "request_seconds_bucket", endpoint="callback", le="0.0005") is not None, "ours are so small"
    assert "nothing" not in metrics.text()[1].decode()


def test_fetches_of_keys_are_counted(metrics: Metrics) -> None:
    clock = FrozenClock()
    answers: list[Any] = [FetchError("away"), SIGNER.pem.encode()]

    def fetch(url: str) -> bytes:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return bytes(answer)

    store = PublicKeyStore(fetcher=fetch, clock=clock)
    client(metrics, public_keys=store)
    for outcome in ("fetched", "failed"):
        assert value(metrics, "key_fetches_total", outcome=outcome) == 0
    with pytest.raises(Exception, match="away"):
        store.get("https://gosspublic.alicdn.com/callback_pub_key_v2.pem")
    clock.advance(100)
    store.get("https://gosspublic.alicdn.com/callback_pub_key_v2.pem")
    for outcome in ("fetched", "failed"):
        assert value(metrics, "key_fetches_total", outcome=outcome) == 1


def test_a_ledger_that_cannot_be_counted_is_left_out(metrics: Metrics, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(MemoryLedger):
        def __len__(self) -> int:
            raise OSError("the disk is away")

        def load(self, name: str) -> str | None:
            raise OSError("the disk is away")

    app = client(Metrics(), ledger=Broken(clock=time.time))
    assert caplog.records == [], "nobody has asked yet"
    text = app.get("/oss/metrics").text
    assert "oss_wsgi_key_fetches_total" in text
    assert "oss_wsgi_ledger_uploads" not in text
    assert "could not be counted: OSError" in caplog.text


def test_no_user_object_or_secret_is_shown(metrics: Metrics) -> None:
    app = client(metrics)
    report(app)()
    text = app.get("/oss/metrics").text
    assert "oss_wsgi_signatures_issued_total 1.0" in text
    for private in ("eric", "a.png", "LTAI", "ExampleSecret", "examplebucket"):
        assert private not in text


def test_a_failing_metric_changes_no_response(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*labels: object) -> None:
        raise ValueError

    monkeypatch.setattr(prometheus_client.Histogram, "labels", fail)
    assert client(metrics).get("/oss/health").json == {"status": "ok"}


def test_a_custom_registry_is_used() -> None:
    registry = prometheus_client.CollectorRegistry()
    client(Metrics(registry)).get("/oss/signature")
    assert registry.get_sample_value("oss_wsgi_signatures_issued_total") == 1


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(SettingsError, match=r"oss-wsgi\[metrics\]"):
        Metrics()


def test_two_applications_may_share_metrics(metrics: Metrics) -> None:
    clock = FrozenClock()
    ledgers, shared = [MemoryLedger(clock=clock) for _ in range(2)], PublicKeyStore()
    for ledger in (*ledgers, ledgers[0]):
        client(metrics, ledger=ledger, public_keys=shared)
        identity = UploadIdentity("t", "object", "etag", int(clock()) + 60)
        ledger.run_once(identity, lambda _: StoredResponse("200 OK", "application/json", b"{}"))
    _, text = metrics.text()
    assert text.count(b'oss_wsgi_key_fetches_total{outcome="fetched"}') == 1
    shared.fetches["failed"], another = 2, PublicKeyStore()
    another.fetches["failed"] = 3
    metrics.watch(ledgers[0], another)
    assert value(metrics, "key_fetches_total", outcome="failed") == 5
    assert value(metrics, "ledger_uploads") == 2


def site(**options: Any) -> webtest.TestApp:
    return webtest.TestApp(DirectUpload(lambda environ, start: [], SETTINGS, **options))


def test_the_endpoint_answers_with_a_text_that_is_not_cached() -> None:
    endpoint = MetricsEndpoint(Metrics())
    app = webtest.TestApp(lambda environ, start: endpoint({**environ, "PATH_INFO": ""}, start))
    answer = app.get("/")
    assert answer.content_type == "text/plain"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "# TYPE oss_wsgi_signatures_issued_total counter" in answer.text


def test_the_endpoint_is_off_unless_asked_for() -> None:
    assert site().get("/oss/metrics", expect_errors=True).status_int == 404
    metrics = Metrics()
    assert site(metrics=metrics, serve_metrics=False).get("/oss/metrics", expect_errors=True).status_int == 404
    assert "oss_wsgi_" in site(metrics=Metrics()).get("/oss/metrics").text


def test_the_endpoint_blocks_and_counting_does_not() -> None:
    app = DirectUpload(lambda environ, start: [], SETTINGS, metrics=Metrics())
    assert not app.is_nonblocking("GET", "/oss/metrics", {})
    assert app.is_nonblocking("GET", "/oss/signature", {}), "counting waits for nothing"
