"""RedisRateLimit: one limit for many machines, and what happens while Redis is away."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from oss_wsgi.endpoints import redis_rate_limit
from oss_wsgi.endpoints.redis_rate_limit import RedisRateLimit
from oss_wsgi.exceptions import SettingsError
from oss_wsgi.redis.client import RedisServer
from tests.support.ports import free_port
from tests.support.redis_servers import Server, redis, running, running_cluster, server, servers

pytestmark = pytest.mark.slow

__all__ = ["redis", "server", "servers"]  # fixtures


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a server on a busy machine for slow, not for away."""
    monkeypatch.setattr(redis_rate_limit, "TIMEOUTS", (60.0, 60.0))


@pytest.fixture
def away() -> str:
    """Return the URL of a server that is not there."""
    return f"redis://127.0.0.1:{free_port()}"


def let_pass(server: Server, seconds: float) -> None:
    """Let time pass for all callers, as far as their keys tell."""
    with server.client() as client:
        for key in client.scan_iter("*:rate:*"):
            client.set(key, round(float(client.get(key)) - seconds * 1e6), keepttl=True)


def passed(limit: RedisRateLimit, who: str, times: int) -> int:
    return sum(limit(who) is None for _ in range(times))


def test_the_bucket_refills_evenly(server: Server) -> None:
    limit = RedisRateLimit(3, 600, server.url)
    assert passed(limit, "a", 5) == 3
    let_pass(server, 200)
    assert passed(limit, "a", 5) == 1
    let_pass(server, 10_000)
    assert passed(limit, "a", 5) == 3
    limit.close()


@pytest.mark.parametrize(("count", "seconds"), [(1, 0.5), (6, 1), (7, 60.0), (2000, 3600)])
def test_as_many_pass_at_once_as_the_count_says(redis: Server, count: int, seconds: float) -> None:
    limit = RedisRateLimit(count, seconds * 1000, redis.url)
    assert passed(limit, "a", count + 3) == count
    limit.close()


def test_a_caller_that_waits_as_long_as_told_is_let_through(server: Server) -> None:
    limit = RedisRateLimit(1, 600, server.url)
    assert limit("a") is None
    wait = limit("a")
    assert wait is not None
    assert 500 < wait <= 600
    let_pass(server, wait)
    assert limit("a") is None
    limit.close()


def test_each_caller_and_each_rate_has_its_own_bucket(redis: Server) -> None:
    limits = [RedisRateLimit(1, 60, redis.url), RedisRateLimit(1, 61, redis.url)]
    limits += [
        RedisRateLimit(1, 60, f"{redis.url}?prefix=other&wait_for_sync=off"),
        RedisRateLimit(1, 60, redis.url, prefix="third"),
    ]
    for limit in limits:
        assert [limit("user:a"), limit("user:b"), limit("用户\udc80")] == [None] * 3
        assert limit("user:a")
        limit.close()


def test_a_server_is_waited_for_as_long_as_a_request_may_wait(redis: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {}
    run = RedisServer.run

    def noting(server: RedisServer, *arguments: Any) -> Any:
        options.update(server.client.get_connection_kwargs())
        return run(server, *arguments)

    monkeypatch.setattr(RedisServer, "run", noting)
    monkeypatch.setattr(redis_rate_limit, "TIMEOUTS", (50.0, 60.0))
    limit = RedisRateLimit(1, 60, redis.url)
    limit("a")
    assert (options["socket_connect_timeout"], options["socket_timeout"]) == (50.0, 60.0)
    limit.close()


def test_all_machines_count_together(redis: Server) -> None:
    limits = [RedisRateLimit(40, 3600, redis.url) for _ in range(4)]
    results: list[int] = []
    threads = [threading.Thread(target=lambda one=one: results.append(passed(one, "a", 25))) for one in limits]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(results) == 40
    for limit in limits:
        limit.close()


def test_a_refused_request_does_not_count(redis: Server) -> None:
    limit = RedisRateLimit(1, 600, redis.url)
    assert passed(limit, "a", 100) == 1
    let_pass(redis, 600)
    assert limit("a") is None
    limit.close()


def test_the_keys_are_small_name_nobody_and_end_by_themselves(redis: Server) -> None:
    limit = RedisRateLimit(2, 60, redis.url)
    limit("user:eric")
    with redis.client() as client:
        (key,) = client.keys()
        assert key.startswith(b"oss-wsgi:rate:") and b"eric" not in key
        assert 0 < client.pttl(key) <= 30_000
        assert client.memory_usage(key) < 200
    limit.close()


def test_a_servers_clock_that_is_set_back_makes_nobody_wait_for_long(redis: Server) -> None:
    limit = RedisRateLimit(2, 600, redis.url)
    limit("a")
    let_pass(redis, -86_400)
    assert limit("a") == pytest.approx(300, abs=50)
    limit.close()


def test_a_cluster_counts_too(tmp_path: Path) -> None:
    with running_cluster("redis", tmp_path) as cluster:
        limits = [RedisRateLimit(2, 60, server.url) for server in cluster]
        for who in ("a", "b", "c", "d"):
            assert [limit(who) is None for limit in limits] == [True, True, False]
        for limit in limits:
            limit.close()


@pytest.mark.parametrize(("pause", "times"), [(3600.0, 1), (0.0, 5)], ids=["known to be away", "asked again"])
def test_requests_pass_while_the_server_is_away(
    away: str, pause: float, times: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    run = RedisServer.run

    def counting(server: RedisServer, *arguments: Any) -> Any:
        asked.append(arguments)
        return run(server, *arguments)

    monkeypatch.setattr(RedisServer, "run", counting)
    monkeypatch.setattr(RedisServer, "close", lambda server: asked.append("closed"))
    monkeypatch.setattr(redis_rate_limit, "AWAY_SECONDS", pause)
    limit = RedisRateLimit(1, 60, away)
    assert [limit("a") for _ in range(5)] == [None] * 5
    assert len(asked) == times
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["the rate limit cannot reach redis"]
    limit.close()
    assert asked[times:] == ["closed"]


def test_requests_are_refused_while_the_server_is_away_where_that_is_asked_for(
    away: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(redis_rate_limit, "time", SimpleNamespace(monotonic=lambda: now))
    limit = RedisRateLimit(2, 60, away, pass_when_away=False)
    for seconds, lines in ((0, 1), (30, 1), (31, 2)):
        now += seconds
        assert [limit("a"), limit("a")] == [30.0, 30.0]
        assert caplog.text.count("requests are refused") == lines
    limit.close()


def test_a_server_that_comes_back_counts_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_rate_limit, "AWAY_SECONDS", 0.0)
    with running("redis", tmp_path) as server:
        limit = RedisRateLimit(1, 3600, server.url)
        assert passed(limit, "a", 3) == 1
        server.kill()
        assert passed(limit, "a", 3) == 3
        server.start()
        assert passed(limit, "b", 3) == 1
        limit.close()


def test_no_password_appears(redis: Server, caplog: pytest.LogCaptureFixture) -> None:
    limit = RedisRateLimit(1, 60, redis.url.replace("//", "//user:swordfish@"))
    assert limit("a") is None
    assert "requests pass" in caplog.text
    assert "swordfish" not in caplog.text + repr(limit)
    limit.close()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((0, 60, "redis://127.0.0.1"), "count must be a whole number"),
        ((1, 0, "redis://127.0.0.1"), "seconds must be a number over 0"),
        ((1, 60, "127.0.0.1:6379"), "must begin with one of redis://"),
        ((1, 60, None), "not as NoneType"),
        ((1, 60, "redis://127.0.0.1?nonsense=1"), "unexpected keyword argument 'nonsense'"),
    ],
)
def test_what_cannot_be_used_is_refused(arguments: Any, problem: str) -> None:
    with pytest.raises((ValueError, SettingsError)) as raised:
        RedisRateLimit(*arguments)
    assert problem in str(raised.value)
