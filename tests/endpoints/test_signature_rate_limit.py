"""SignatureEndpoint calls its rate limit, and signs nothing that the limit refuses."""

from __future__ import annotations

import math
from typing import Any

import pytest

from oss_wsgi import Grant
from oss_wsgi.endpoints.rate_limit import RateLimit
from oss_wsgi.testing import FrozenClock

from .test_signature import RootClient


class Recorder:
    """A limit that records its callers and returns a fixed value."""

    def __init__(self, wait: Any = None) -> None:
        self.callers: list[str] = []
        self.wait = wait

    def __call__(self, who: str) -> Any:
        self.callers.append(who)
        return self.wait


def test_too_many_requests_are_429_with_retry_after(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    clock = FrozenClock()
    client = RootClient(rate_limit=RateLimit(2, 61, clock=clock))
    assert [client.get().status_int for _ in range(2)] == [200, 200]
    response = client.get()
    assert response.status_int == 429
    assert response.headers["Retry-After"] == "31"
    assert "reason=too_many_requests " in caplog.text
    assert response.json == {"error": {"code": "too_many_requests", "message": "Too many requests: try again in 31 s."}}
    clock.advance(31)
    assert client.get().status_int == 200


@pytest.mark.parametrize(("wait", "retry_after"), [(0.001, "1"), (1, "1"), (1.001, "2"), (90.0, "90")])
def test_retry_after_is_rounded_up(wait: float, retry_after: str) -> None:
    assert RootClient(rate_limit=Recorder(wait)).get().headers["Retry-After"] == retry_after


@pytest.mark.parametrize(
    ("grant", "environ", "who"),
    [
        (Grant(user="eric"), {"REMOTE_ADDR": "192.0.2.7"}, "user:eric"),
        (Grant(), {"REMOTE_ADDR": "192.0.2.7"}, "address:192.0.2.7"),
        (Grant(user=""), {"REMOTE_ADDR": "192.0.2.7"}, "address:192.0.2.7"),
        (Grant(user="address:192.0.2.7"), {"REMOTE_ADDR": "192.0.2.7"}, "user:address:192.0.2.7"),
        (Grant(), {"REMOTE_ADDR": ""}, "address:"),
    ],
)
def test_the_limit_gets_the_user_or_else_the_address(grant: Grant, environ: dict[str, str], who: str) -> None:
    limit = Recorder()
    RootClient(authorize=lambda request: grant, rate_limit=limit).get(extra_environ=environ)
    assert limit.callers == [who]


def test_anonymous_issuing_is_limited_by_address() -> None:
    limit = Recorder()
    RootClient(rate_limit=limit).get(extra_environ={"REMOTE_ADDR": "192.0.2.7", "REMOTE_USER": "eric"})
    assert limit.callers == ["address:192.0.2.7"]


def test_a_request_refused_before_does_not_count() -> None:
    limit = Recorder()
    RootClient(authorize=lambda request: None, rate_limit=limit).get()
    RootClient(allow_anonymous=False, rate_limit=limit).get()
    client = RootClient(rate_limit=limit)
    client.get("?filename=a&filename=b")
    client.get(headers={"Sec-Fetch-Site": "cross-site"})
    client.app.post("/sign", expect_errors=True)
    client.app.options("/sign")
    assert limit.callers == []


@pytest.mark.parametrize("wrong", [True, False, 0, -1, math.nan, math.inf, "5", {}, Grant()])
def test_a_limit_that_returns_no_seconds_is_500(wrong: Any, caplog: pytest.LogCaptureFixture) -> None:
    response = RootClient(rate_limit=Recorder(wrong)).get()
    assert response.status_int == 500
    assert "reason=rate_limit_failed " in caplog.text
    assert "signature" not in response.text


@pytest.mark.parametrize("kind", [ConnectionError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_limit_that_raises_is_500(kind: type[BaseException], caplog: pytest.LogCaptureFixture) -> None:
    def down(who: str) -> float | None:
        raise kind("redis://:swordfish@cache")

    response = RootClient(rate_limit=down).get()
    assert response.status_int == 500
    assert "swordfish" not in response.text
    (record,) = caplog.records
    assert "reason=rate_limit_failed " in record.getMessage()
    assert kind.__name__ in record.getMessage()
    assert record.exc_info
