"""RefreshingCredentialsProvider: no request waits while something holds, and nothing is used beyond its expiry."""

from __future__ import annotations

import gc
import logging
import os
import threading
import weakref
from collections.abc import Callable
from datetime import datetime, timezone

import pytest

from oss_wsgi.credentials import Credentials, RefreshingCredentialsProvider
from oss_wsgi.exceptions import CredentialsError
from oss_wsgi.testing import FrozenClock

START = 1_800_000_000.0
PATIENCE = 10.0


class Source:
    """A provider whose answers are numbered, and whose gate may be shut."""

    def __init__(self, clock: Callable[[], float], lifetime: float | None = 3600) -> None:
        self._clock = clock
        self.lifetime = lifetime
        self.error: Exception | None = None
        self.calls = 0
        self.at_once = 0
        self.most_at_once = 0
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.left = threading.Semaphore(0)

    def get_credentials(self) -> Credentials:
        self.calls += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        number = self.calls
        self.entered.release()
        try:
            assert self.gate.wait(PATIENCE)
            if self.error is not None:
                raise self.error
            until = None
            if self.lifetime is not None:
                until = datetime.fromtimestamp(self._clock() + self.lifetime, timezone.utc)
            return Credentials(f"id-{number}", "secret", "token", until)
        finally:
            self.at_once -= 1
            self.left.release()


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(START)


@pytest.fixture
def source(clock: FrozenClock) -> Source:
    return Source(clock)


def made(source: Source, clock: FrozenClock, **options: float) -> RefreshingCredentialsProvider:
    return RefreshingCredentialsProvider(source, clock=clock, **{"wait_timeout": PATIENCE, **options})


def landed(provider: RefreshingCredentialsProvider) -> None:
    """Wait until no refresh is under way."""
    flight = provider._flight
    if flight is not None:
        assert flight.done.wait(PATIENCE)


def key(provider: RefreshingCredentialsProvider) -> str:
    return provider.get_credentials().access_key_id


def test_what_holds_is_asked_for_once(source: Source, clock: FrozenClock) -> None:
    provider = made(source, clock)
    assert {key(provider) for _ in range(100)} == {"id-1"}
    clock.now += 3600 - 901
    assert key(provider) == "id-1"
    assert source.calls == 1


def test_ahead_of_expiry_the_old_ones_are_given_while_new_ones_come(source: Source, clock: FrozenClock) -> None:
    provider = made(source, clock)
    assert key(provider) == "id-1"
    clock.now += 3600 - 900
    source.gate.clear()
    assert [key(provider) for _ in range(20)] == ["id-1"] * 20, "the gate is shut, and nobody stands before it"
    assert source.calls == 2
    flight = provider._flight
    source.gate.set()
    assert flight is not None
    assert flight.done.wait(PATIENCE)
    assert key(provider) == "id-2"


def test_nobody_needs_to_ask_for_a_refresh_to_begin(source: Source, clock: FrozenClock) -> None:
    source.lifetime = 0.05 + 1
    provider = made(source, clock, ahead=1.0, retry=0.0)
    assert key(provider) == "id-1"
    assert source.entered.acquire(timeout=PATIENCE)
    clock.now += 0.06
    assert source.entered.acquire(timeout=PATIENCE), "the timer came, though nobody asked"
    landed(provider)


def test_many_who_find_nothing_wait_for_one_refresh(source: Source, clock: FrozenClock) -> None:
    provider = made(source, clock)
    source.gate.clear()
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(key(provider))) for _ in range(20)]
    for thread in threads:
        thread.start()
    assert source.entered.acquire(timeout=PATIENCE)
    source.gate.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert found == ["id-1"] * 20
    assert (source.calls, source.most_at_once) == (1, 1)


def test_who_finds_nothing_waits_no_longer_than_his_patience(source: Source, clock: FrozenClock) -> None:
    provider = made(source, clock, wait_timeout=0.01)
    source.gate.clear()
    for _ in range(3):
        with pytest.raises(CredentialsError, match="being asked for"):
            provider.get_credentials()
    assert source.calls == 1
    flight = provider._flight
    source.gate.set()
    assert flight is not None
    assert flight.done.wait(PATIENCE)
    assert key(provider) == "id-1"


def test_while_it_fails_the_old_ones_are_given_until_they_expire_and_never_longer(
    source: Source, clock: FrozenClock, caplog: pytest.LogCaptureFixture
) -> None:
    provider = made(source, clock)
    assert key(provider) == "id-1"
    source.error = CredentialsError("STS is away.")
    clock.now += 3600 - 900
    assert key(provider) == "id-1"
    landed(provider)
    assert "until they expire: STS is away." in caplog.text
    clock.now = START + 3599
    assert key(provider) == "id-1"
    landed(provider)
    clock.now = START + 3599.5
    with pytest.raises(CredentialsError, match="STS is away"):
        provider.get_credentials()
    source.error = None
    clock.now += 10
    assert key(provider).startswith("id-")
    assert key(provider) != "id-1"


def test_after_a_failure_it_is_not_asked_again_before_its_time(source: Source, clock: FrozenClock) -> None:
    provider = made(source, clock, retry=10.0)
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


def test_credentials_that_have_expired_already_are_a_failure(source: Source, clock: FrozenClock) -> None:
    source.lifetime = 0.5
    with pytest.raises(CredentialsError, match="have expired"):
        made(source, clock).get_credentials()


def test_short_lived_ones_are_asked_for_again_at_each_retry_and_not_at_each_call(
    source: Source, clock: FrozenClock
) -> None:
    source.lifetime = 60
    provider = made(source, clock, retry=10.0)
    assert {key(provider) for _ in range(10)} == {"id-1"}
    clock.now += 10
    provider.get_credentials()
    landed(provider)
    assert (key(provider), source.calls) == ("id-2", 2)


def test_those_without_an_expiry_are_looked_at_again(source: Source, clock: FrozenClock) -> None:
    source.lifetime = None
    provider = made(source, clock, recheck=300.0)
    clock.now += 299
    assert key(provider) == "id-1"
    clock.now += 300
    provider.get_credentials()
    landed(provider)
    assert key(provider) == "id-2"


def test_what_another_exception_says_is_kept_from_log_and_error(
    source: Source, clock: FrozenClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    source.error = RuntimeError("answer: AccessKeySecret=swordfish")
    with pytest.raises(CredentialsError, match="raised RuntimeError") as caught:
        made(source, clock).get_credentials()
    assert "swordfish" not in caplog.text + str(caught.value)
    assert caught.value.__cause__ is None


def test_a_process_without_another_thread_says_so_and_tries_again(
    source: Source, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = made(source, clock)

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        with pytest.raises(CredentialsError, match="RuntimeError"):
            provider.get_credentials()
    clock.now += 10
    assert key(provider) == "id-1"


def test_a_refresh_that_a_fork_cut_off_is_begun_anew(
    source: Source, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = made(source, clock, wait_timeout=0.01)
    source.gate.clear()
    with pytest.raises(CredentialsError):
        provider.get_credentials()
    cut_off = provider._flight
    with monkeypatch.context() as patched:
        patched.setattr(os, "getpid", lambda: -1)
        with pytest.raises(CredentialsError):
            provider.get_credentials()
    assert source.calls == 2
    assert provider._flight is not cut_off
    source.gate.set()
    landed(provider)


def test_nothing_holds_a_provider_that_nobody_needs(source: Source, clock: FrozenClock) -> None:
    provider = made(source, clock)
    provider.get_credentials()
    landed(provider)
    seen = weakref.ref(provider)
    del provider
    for thread in threading.enumerate():
        if thread.name == "oss_wsgi-credentials":
            thread.join(PATIENCE)
    gc.collect()
    assert seen() is None
