"""Credentials and their providers: they show no secret, mix no keys of two families, and use no expired key."""

from __future__ import annotations

import gc
import logging
import os
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

import pytest

from oss_wsgi.credentials import (
    Credentials,
    EnvironmentVariableCredentialsProvider,
    RefreshingCredentialsProvider,
    StaticCredentialsProvider,
    access_key_from,
)
from oss_wsgi.exceptions import CredentialsError
from oss_wsgi.testing import FrozenClock

START = 1_800_000_000.0
TIMEOUT = 30.0

OSS = {"OSS_ACCESS_KEY_ID": "id", "OSS_ACCESS_KEY_SECRET": "secret", "OSS_SESSION_TOKEN": "token"}
ALIBABA = {
    "ALIBABA_CLOUD_ACCESS_KEY_ID": "other-id",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "other-secret",
    "ALIBABA_CLOUD_SECURITY_TOKEN": "other-token",
}


def test_secret_and_token_are_in_no_repr() -> None:
    credentials = Credentials("the-id", "the-secret", "the-token")
    for shown in (repr(credentials), str(credentials), f"{credentials}", repr([credentials])):
        assert "the-secret" not in shown
        assert "the-token" not in shown
    assert "the-id" in repr(credentials)
    assert "the-secret" not in repr(StaticCredentialsProvider(credentials))
    assert "secret" not in repr(EnvironmentVariableCredentialsProvider(OSS)).lower()


@pytest.mark.parametrize(("key_id", "secret"), [("", "swordfish"), ("the-id", "")])
def test_half_a_key_is_refused_and_not_shown(key_id: str, secret: str) -> None:
    with pytest.raises(CredentialsError, match="needs both its ID and its secret") as caught:
        Credentials(key_id, secret)
    assert "swordfish" not in str(caught.value)


def test_an_expiration_must_be_aware() -> None:
    with pytest.raises(CredentialsError, match="aware"):
        Credentials("id", "secret", expiration=datetime(2030, 1, 1))
    aware = datetime(2030, 1, 1, tzinfo=timezone.utc)
    assert Credentials("id", "secret", expiration=aware).expiration == aware


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, (None, None, None)),
        (ALIBABA, ("other-id", "other-secret", "other-token")),
        ({**ALIBABA, **OSS}, ("id", "secret", "token")),
        ({**ALIBABA, **OSS, "OSS_SESSION_TOKEN": ""}, ("id", "secret", None)),
        ({**ALIBABA, "OSS_ACCESS_KEY_ID": "id"}, ("id", None, None)),
        ({**ALIBABA, "OSS_ACCESS_KEY_SECRET": "secret"}, (None, "secret", None)),
        ({**ALIBABA, "OSS_SESSION_TOKEN": "token"}, (None, None, "token")),
        ({**ALIBABA, **dict.fromkeys(OSS, " \n")}, ("other-id", "other-secret", "other-token")),
        ({"OSS_ACCESS_KEY_ID": " id\n", "OSS_ACCESS_KEY_SECRET": "secret\r\n"}, ("id", "secret", None)),
    ],
)
def test_id_secret_and_token_come_from_one_family(
    environ: dict[str, str], expected: tuple[str | None, str | None, str | None]
) -> None:
    assert access_key_from(environ) == expected


def test_the_environment_provider_returns_a_changed_key() -> None:
    environ = dict(OSS)
    provider = EnvironmentVariableCredentialsProvider(environ)
    assert provider.get_credentials() == Credentials("id", "secret", "token")
    environ.update(OSS_ACCESS_KEY_ID="id2", OSS_ACCESS_KEY_SECRET="secret2", OSS_SESSION_TOKEN="")
    assert provider.get_credentials() == Credentials("id2", "secret2", None)


@pytest.mark.parametrize(
    "environ",
    [{}, {"OSS_ACCESS_KEY_ID": "id"}, {"OSS_ACCESS_KEY_SECRET": "swordfish"}, {"OSS_SESSION_TOKEN": "swordfish"}],
    ids=["none", "id", "secret", "token"],
)
def test_the_environment_provider_names_the_missing_variables(environ: dict[str, str]) -> None:
    with pytest.raises(CredentialsError, match="set OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET") as caught:
        EnvironmentVariableCredentialsProvider(environ).get_credentials()
    assert "swordfish" not in str(caught.value)


def test_the_static_provider_always_returns_the_same() -> None:
    credentials = Credentials("id", "secret")
    provider = StaticCredentialsProvider(credentials)
    assert provider.get_credentials() is provider.get_credentials() is credentials


# RefreshingCredentialsProvider


class Source:
    """A provider of numbered credentials, which wait while the gate is closed."""

    def __init__(self, clock: Callable[[], float], lifetime: float | None = 3600) -> None:
        self._clock = clock
        self.lifetime = lifetime
        self.error: Exception | None = None
        self.calls = 0
        self.running = 0
        self.most_running = 0
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)

    def wait_for_call(self, number: int) -> None:
        """Wait for the call of this number; fail if there are more."""
        while self.calls < number:
            assert self.entered.acquire(timeout=TIMEOUT)
        assert self.calls == number

    def get_credentials(self) -> Credentials:
        self.calls += 1
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        number = self.calls
        self.entered.release()
        try:
            assert self.gate.wait(TIMEOUT)
            if self.error is not None:
                raise self.error
            until = None
            if self.lifetime is not None:
                until = datetime.fromtimestamp(self._clock() + self.lifetime, timezone.utc)
            return Credentials(f"id-{number}", "secret", "token", until)
        finally:
            self.running -= 1


class StoppedTimer:
    """A timer of the standard library's interface, which runs only when a test calls its function."""

    def __init__(
        self, started: list[StoppedTimer], seconds: float, function: Callable[..., None], arguments: list[Any]
    ) -> None:
        self._started = started
        self.seconds = seconds
        self.function = function
        self.arguments = arguments
        self.daemon = False

    def start(self) -> None:
        assert self.daemon, "or the process would not end before the timer"
        self._started.append(self)


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(START)


@pytest.fixture
def source(clock: FrozenClock) -> Source:
    return Source(clock)


def refreshing(source: Source, clock: FrozenClock, **options: float) -> RefreshingCredentialsProvider:
    return RefreshingCredentialsProvider(source, clock=clock, **{"wait_timeout": TIMEOUT, **options})


def wait_for_refresh() -> None:
    for thread in threading.enumerate():
        if thread.name == "oss_wsgi-credentials":
            thread.join(TIMEOUT)
            assert not thread.is_alive()


def key(provider: RefreshingCredentialsProvider) -> str:
    return provider.get_credentials().access_key_id


def test_valid_credentials_are_fetched_once(source: Source, clock: FrozenClock) -> None:
    provider = refreshing(source, clock)
    assert {key(provider) for _ in range(100)} == {"id-1"}
    clock.now += 3600 - 901
    assert key(provider) == "id-1"
    assert source.calls == 1


def test_the_old_credentials_serve_while_new_ones_are_fetched(source: Source, clock: FrozenClock) -> None:
    provider = refreshing(source, clock)
    assert key(provider) == "id-1"
    clock.now += 3600 - 900
    source.gate.clear()
    assert [key(provider) for _ in range(20)] == ["id-1"] * 20, "the gate is closed, and no request waits"
    source.wait_for_call(2)
    source.gate.set()
    wait_for_refresh()
    assert key(provider) == "id-2"


def test_a_timer_starts_the_refresh_without_a_request(
    source: Source, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    timers: list[StoppedTimer] = []
    monkeypatch.setattr(threading, "Timer", lambda *arguments: StoppedTimer(timers, *arguments))
    provider = refreshing(source, clock, ahead=900.0)
    assert key(provider) == "id-1"
    wait_for_refresh()
    (timer,) = timers
    assert timer.seconds == pytest.approx(3600 - 900, abs=1)
    clock.now += timer.seconds
    timer.function(*timer.arguments)
    wait_for_refresh()
    assert source.calls == 2
    assert key(provider) == "id-2"


def test_many_requests_wait_for_one_first_refresh(source: Source, clock: FrozenClock) -> None:
    provider = refreshing(source, clock)
    source.gate.clear()
    keys: list[str] = []
    threads = [threading.Thread(target=lambda: keys.append(key(provider))) for _ in range(20)]
    for thread in threads:
        thread.start()
    assert source.entered.acquire(timeout=TIMEOUT)
    source.gate.set()
    for thread in threads:
        thread.join(TIMEOUT)
    assert keys == ["id-1"] * 20
    assert (source.calls, source.most_running) == (1, 1)


def test_a_request_gives_up_after_the_wait_timeout(source: Source, clock: FrozenClock) -> None:
    provider = refreshing(source, clock, wait_timeout=0.01)
    source.gate.clear()
    for _ in range(3):
        with pytest.raises(CredentialsError, match="not returned the first credentials yet"):
            provider.get_credentials()
    source.wait_for_call(1)
    source.gate.set()
    wait_for_refresh()
    assert key(provider) == "id-1"


def test_after_a_failure_the_old_ones_serve_until_they_expire(
    source: Source, clock: FrozenClock, caplog: pytest.LogCaptureFixture
) -> None:
    provider = refreshing(source, clock)
    assert key(provider) == "id-1"
    source.error = CredentialsError("STS is away.")
    clock.now += 3600 - 900
    assert key(provider) == "id-1"
    wait_for_refresh()
    assert "until they expire: STS is away." in caplog.text
    clock.now = START + 3599
    assert key(provider) == "id-1"
    wait_for_refresh()
    clock.now = START + 3599.5
    with pytest.raises(CredentialsError, match="STS is away"):
        provider.get_credentials()
    source.error = None
    clock.now += 10
    assert key(provider).startswith("id-")
    assert key(provider) != "id-1"


def test_a_failed_refresh_is_retried_after_the_retry_time(source: Source, clock: FrozenClock) -> None:
    provider = refreshing(source, clock, retry=10.0)
    source.error = CredentialsError("No.")
    for _ in range(5):
        with pytest.raises(CredentialsError, match=r"No\."):
            provider.get_credentials()
    assert source.calls == 1
    clock.now += 9.9
    with pytest.raises(CredentialsError):
        provider.get_credentials()
    assert source.calls == 1
    clock.now += 0.2
    with pytest.raises(CredentialsError):
        provider.get_credentials()
    assert source.calls == 2


def test_a_provider_of_expired_credentials_fails(source: Source, clock: FrozenClock) -> None:
    source.lifetime = 0.5
    with pytest.raises(CredentialsError, match="have expired"):
        refreshing(source, clock).get_credentials()


def test_short_lived_credentials_are_fetched_at_each_retry_time(source: Source, clock: FrozenClock) -> None:
    source.lifetime = 60
    provider = refreshing(source, clock, retry=10.0)
    assert {key(provider) for _ in range(10)} == {"id-1"}
    clock.now += 10
    provider.get_credentials()
    wait_for_refresh()
    assert (key(provider), source.calls) == ("id-2", 2)


def test_credentials_that_expire_before_the_retry_time_are_used_no_longer(source: Source, clock: FrozenClock) -> None:
    source.lifetime = 5
    provider = refreshing(source, clock, retry=10.0)
    assert key(provider) == "id-1"
    clock.now += 5
    assert key(provider) == "id-2"


def test_credentials_without_an_expiration_are_rechecked(source: Source, clock: FrozenClock) -> None:
    source.lifetime = None
    provider = refreshing(source, clock)
    clock.now += 299
    assert key(provider) == "id-1"
    clock.now += 300
    provider.get_credentials()
    wait_for_refresh()
    assert key(provider) == "id-2"


def test_the_text_of_a_foreign_exception_is_not_shown(
    source: Source, clock: FrozenClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    source.error = RuntimeError("answer: AccessKeySecret=swordfish")
    with pytest.raises(CredentialsError, match="raised RuntimeError") as caught:
        refreshing(source, clock).get_credentials()
    assert "swordfish" not in caplog.text + str(caught.value)
    assert caught.value.__cause__ is None


def test_a_process_without_a_free_thread_retries(
    source: Source, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = refreshing(source, clock)

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        with pytest.raises(CredentialsError, match="RuntimeError"):
            provider.get_credentials()
    clock.now += 10
    assert key(provider) == "id-1"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_refresh_lost_by_a_fork_is_started_again(source: Source, clock: FrozenClock) -> None:
    provider = refreshing(source, clock, wait_timeout=0.01)
    source.gate.clear()
    with pytest.raises(CredentialsError):
        provider.get_credentials()
    source.wait_for_call(1)
    child = os.fork()
    if child == 0:
        with suppress(CredentialsError):
            provider.get_credentials()
        source.wait_for_call(2)
        os._exit(source.calls)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    source.gate.set()
    wait_for_refresh()
    assert key(provider) == "id-1"


@pytest.mark.slow
def test_an_unused_provider_is_collected(source: Source, clock: FrozenClock) -> None:
    provider = refreshing(source, clock)
    provider.get_credentials()
    wait_for_refresh()
    reference = weakref.ref(provider)
    del provider
    for thread in threading.enumerate():
        if thread.name == "oss_wsgi-credentials":
            thread.join(TIMEOUT)
    gc.collect()
    assert reference() is None


def test_a_provider_that_exits_is_heard_of_at_once() -> None:
    class Exiting:
        def get_credentials(self) -> Credentials:
            raise SystemExit

    provider = RefreshingCredentialsProvider(Exiting(), clock=lambda: 0.0, wait_timeout=60.0)
    with pytest.raises(CredentialsError, match="raised SystemExit"):
        provider.get_credentials()
