"""LimitsEndpoint: what a page may know before a person chooses a file, and that it asks as the signature does."""

from __future__ import annotations

import time
from typing import Any

import pytest
import webtest

from oss_wsgi import AccessLog, DirectUpload, Grant, Metrics, Settings
from oss_wsgi.exceptions import CredentialsError

from ..support.example_settings import EXAMPLE


def client(values: dict[str, Any] | None = None, **options: Any) -> webtest.TestApp:
    settings = Settings(**{**EXAMPLE, "allow_anonymous": True, **(values or {})})
    return webtest.TestApp(DirectUpload(lambda environ, start_response: [], settings, **options))


def test_the_settings_limits_are_told() -> None:
    values = {"upload_max_size": 5000, "upload_content_types": ("image/png",), "upload_expires": 60}
    response = client(values).get("/oss/limits", status=200)
    assert response.json == {
        "max_size": 5000,
        "min_size": 0,
        "content_types": ["image/png"],
        "expires": 60,
        "methods": ["post", "put"],
        "multipart_from": None,
        "part_size": None,
        "recover": False,
        "forms": False,
    }
    assert response.content_type == "application/json"
    assert response.headers["Cache-Control"] == "no-store"


def test_a_grants_own_limits_win() -> None:
    grant = Grant(max_size=70, min_size=7, content_types=[], expires=5)
    limits = client({"upload_content_types": ("image/png",)}, authorize=lambda request: grant).get("/oss/limits").json
    assert [limits[name] for name in ("max_size", "min_size", "content_types", "expires")] == [70, 7, [], 5]


def test_what_the_limits_allow_is_signed_and_no_more() -> None:
    app = client(authorize=lambda request: Grant(max_size=70, min_size=7))
    limits = app.get("/oss/limits").json
    for size, status in [(limits["max_size"], 200), (limits["max_size"] + 1, 403), (limits["min_size"] - 1, 403)]:
        assert app.get(f"/oss/signature?filename=a&size={size}", status=status)


@pytest.mark.parametrize(
    ("authorize", "status"),
    [
        (lambda request: None, 403),
        (lambda request: "everything", 500),
        (lambda request: 1 / 0, 500),
        (lambda request: Grant(min_size=10, max_size=5), 403),
    ],
)
def test_the_refusals_are_those_of_the_signature(authorize: Any, status: int) -> None:
    app = client(authorize=authorize)
    answers = [app.get(f"/oss/{path}", status=status) for path in ("limits", "signature")]
    assert answers[0].json == answers[1].json


def test_without_credentials_the_limits_are_still_told() -> None:
    class Provider:
        def get_credentials(self) -> Any:
            raise CredentialsError("none")

    app = client(credentials=Provider())
    app.get("/oss/signature", status=503)
    assert app.get("/oss/limits").json["recover"] is False


@pytest.mark.parametrize(
    ("values", "can_recover"), [({}, True), ({"receipts": False}, False), ({"callback_url": None}, False)]
)
def test_recover_is_told_where_a_lost_report_can_be_handed_in(values: dict[str, Any], can_recover: bool) -> None:
    class Client:
        pass

    app = client({"recover": True, **values}, bucket_client=Client())
    assert app.get("/oss/limits").json["recover"] is can_recover


def test_metrics_do_not_count_limits_as_signatures() -> None:
    metrics = Metrics()
    app = client({"allow_anonymous": False}, metrics=metrics)
    app.get("/oss/limits", status=403)
    text = metrics.text()[1].decode()
    assert "signatures_refused_total{" not in text
    assert 'endpoint="limits"' in text


def test_the_log_knows_who_asked(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    app = AccessLog(client(authorize=lambda request: Grant(user="eric")).app, clock=time.monotonic)
    webtest.TestApp(app).get("/oss/limits")
    assert vars(caplog.records[-1])["user"] == "eric"
