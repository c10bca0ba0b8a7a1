"""PublicKeyStore: when it fetches a key of OSS, when it refuses to, and who waits."""

from __future__ import annotations

import base64
import contextlib
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import MD5

from oss_wsgi.callback.public_keys import OSS_PUBLIC_KEY_URLS, PublicKeyStore
from oss_wsgi.callback.verifier import CallbackVerifier
from oss_wsgi.exceptions import FetchError, KeyUnavailableError
from oss_wsgi.testing import FrozenClock

from .signing_keys import DAY, N512, OTHER, OTHER_PEM, PEM, PEM_BYTES, V2, Fetcher, number_of, version

PAUSE, LONG_PAUSE = 1, 10
NOT_FOUND = FetchError("The key's server answered 404.", 404)
DOWN = FetchError("down")


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(1000.0)


def refused(store: PublicKeyStore, url: str) -> str:
    with pytest.raises(KeyUnavailableError) as raised:
        store.get(url)
    return str(raised.value)


@pytest.mark.parametrize("url", [V2, V2.replace("https:", "http:")], ids=["https", "http"])
def test_a_newer_key_of_oss_is_fetched_once_over_https(url: str, clock: FrozenClock) -> None:
    fetcher = Fetcher()
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    assert number_of(store, url) == N512
    clock.now += 1000 * DAY
    fetcher.answer = DOWN
    assert number_of(store, V2) == number_of(store, V2.replace("https:", "http:")) == N512
    assert (fetcher.urls, store.fetches) == ([V2], {"fetched": 1, "failed": 0})


def test_a_newer_key_without_a_fetcher_is_unavailable_and_no_failed_fetch() -> None:
    store = PublicKeyStore()
    refused(store, V2)
    assert store.fetches == {"fetched": 0, "failed": 0}


@pytest.mark.slow
def test_a_key_is_at_hand_while_nobody_waits_for_a_fetch_of_it(clock: FrozenClock) -> None:
    fetching, release = threading.Event(), threading.Event()
    fetcher = Fetcher()

    def slow(url: str) -> bytes:
        fetching.set()
        assert release.wait(60)
        return fetcher(url)

    store = PublicKeyStore({"http://127.0.0.1/key": PEM}, fetcher=slow, clock=clock)
    assert store.is_at_hand("http://127.0.0.1/key")
    assert store.is_at_hand(OSS_PUBLIC_KEY_URLS[0])
    assert store.is_at_hand("http://example.com/key.pem")  # it is refused at once
    assert PublicKeyStore().is_at_hand(V2)  # it is refused at once, as there is no fetcher
    assert not store.is_at_hand(V2)
    thread = threading.Thread(target=store.get, args=[V2])
    thread.start()
    try:
        assert fetching.wait(60)
        assert not store.is_at_hand(V2)
    finally:
        release.set()
        thread.join()
    assert store.is_at_hand(V2)
    clock.now += DAY - 0.001
    assert store.is_at_hand(V2)
    clock.now += 0.001
    assert not store.is_at_hand(V2)  # where a signature does not fit, it is fetched again
    assert store.replacement(V2, store.get(V2)) is None
    assert store.is_at_hand(V2)
    assert fetcher.urls == [V2, V2]


@pytest.mark.parametrize(
    ("failure", "pause"),
    [
        (NOT_FOUND, PAUSE),
        (b"<html>not found</html>", PAUSE),
        (DOWN, LONG_PAUSE),
        (OSError("from a fetcher of the application's own"), LONG_PAUSE),
    ],
    ids=["404", "html", "down", "os-error"],
)
def test_a_fetch_that_brings_no_key_is_repeated_after_a_pause(
    failure: bytes | Exception, pause: int, clock: FrozenClock
) -> None:
    fetcher = Fetcher(failure)
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    problem = refused(store, V2)
    assert ("404" in problem) is (failure is NOT_FOUND)
    assert "of the application's own" not in problem, "what it says may be secret"
    clock.now += pause - 0.001
    assert "a moment ago" in refused(store, V2)
    assert fetcher.urls == [V2]
    clock.now += 0.001
    fetcher.answer = PEM_BYTES
    assert number_of(store, V2) == N512
    assert (fetcher.urls, store.fetches) == ([V2, V2], {"fetched": 1, "failed": 1})


def test_the_pause_counts_from_the_end_of_a_slow_failure(clock: FrozenClock) -> None:
    fetched: list[str] = []

    def slow(url: str) -> bytes:
        fetched.append(url)
        clock.now += 60
        raise DOWN

    store = PublicKeyStore(fetcher=slow, clock=clock)
    for _ in range(2):
        refused(store, V2)
    assert fetched == [V2]


@pytest.mark.parametrize("failure", [NOT_FOUND, DOWN], ids=["404", "down"])
@pytest.mark.parametrize("new", [2, 10])
def test_a_stranger_who_names_wrong_versions_delays_a_new_one_by_nothing(
    failure: Exception, new: int, clock: FrozenClock
) -> None:
    fetcher = Fetcher(failure)
    store = PublicKeyStore(fetcher=fetcher, clock=clock)

    def name_others(second: int) -> None:
        for number in (*range(2, 100), 10**19 + second):
            if number != new:
                with contextlib.suppress(KeyUnavailableError):
                    store.get(version(number))

    for second in range(60):
        name_others(second)
        clock.now += 0.25
    name_others(-1)
    fetcher.answer = PEM_BYTES
    assert number_of(store, version(new)) == N512


def test_versions_that_are_no_next_ones_share_one_fetch_a_second(clock: FrozenClock) -> None:
    fetcher = Fetcher(NOT_FOUND)
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    for second in range(100):
        fetcher.answer = PEM_BYTES if second == 98 else NOT_FOUND
        for number in range(11, 40):
            with contextlib.suppress(KeyUnavailableError):
                store.get(version(100 * second + number))
        clock.now += PAUSE
    assert fetcher.urls == [version(100 * second + 11) for second in range(100)], "after a success too"


@pytest.mark.parametrize("proven", [True, False])
def test_a_version_is_next_to_one_that_has_verified_a_callback(proven: bool, clock: FrozenClock) -> None:
    fetcher = Fetcher()
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    store.get(version(10))
    if proven:
        store.has_verified(version(10))
    store.get(version(50))
    fetcher.urls.clear()
    with contextlib.suppress(KeyUnavailableError):
        store.get(version(11))
    assert fetcher.urls == ([version(11)] if proven else [])


def test_the_versions_after_a_pinned_one_are_next(clock: FrozenClock) -> None:
    fetcher = Fetcher(DOWN)
    store = PublicKeyStore({version(41): PEM}, fetcher=fetcher, clock=clock)
    for url in (*map(version, (40, 42, 50, 51, 2)), version(41).replace("https:", "http:")):
        refused(store, url)
    assert fetcher.urls == [version(40), version(42), version(50), version(2)], "the others share a lane"


@pytest.mark.parametrize("digits", ["0", "02"])
def test_versions_that_begin_with_zero_are_never_fetched(digits: str, clock: FrozenClock) -> None:
    fetcher = Fetcher()
    refused(PublicKeyStore(fetcher=fetcher, clock=clock), V2.replace("v2", f"v{digits}"))
    assert fetcher.urls == []


def test_keys_that_have_verified_stay_and_of_the_others_eight(clock: FrozenClock) -> None:
    fetcher = Fetcher()
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    for number in range(2, 22):
        store.get(version(number))
        store.has_verified(version(number))
    for number in range(100, 160):
        clock.now += PAUSE
        store.get(version(number))
    fetcher.answer = DOWN
    for number in (*range(2, 22), *range(152, 160)):
        assert number_of(store, version(number)) == N512
        assert store.is_at_hand(version(number))
    refused(store, version(151))


def test_a_next_key_that_was_forgotten_is_fetched_again_at_once(clock: FrozenClock) -> None:
    fetcher = Fetcher()
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    for number in (*range(2, 11), 2):
        assert number_of(store, version(number)) == N512
    assert fetcher.urls.count(V2) == 2


@pytest.mark.parametrize("answer", [PEM_BYTES, NOT_FOUND, DOWN], ids=["success", "404", "down"])
def test_a_thousand_urls_leave_little_behind(answer: bytes | FetchError, clock: FrozenClock) -> None:
    store = PublicKeyStore(fetcher=Fetcher(answer), clock=clock)
    for number in range(1000):
        clock.now += LONG_PAUSE
        with contextlib.suppress(KeyUnavailableError):
            store.get(version(number))
    sizes = {name: len(value) for name, value in vars(store).items() if hasattr(value, "__len__")}
    assert sum(sizes.values()) < 40, sizes


def test_the_first_callback_signed_with_a_new_key_is_verified(clock: FrozenClock) -> None:
    fetcher = Fetcher(OTHER_PEM)
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    verifier = CallbackVerifier(store)
    for unknown in (V2, "http://127.0.0.1/own.pem"):
        store.has_verified(unknown)
    assert not verifier.is_valid(**signed_callback(V2, b"/x\n"))
    assert not store.in_use, "it has verified nothing"
    for _ in range(2):
        assert verifier.is_valid(**signed_callback(V2))
        assert not verifier.is_valid(**signed_callback(V2, b"/x\n"))
    assert (V2 in store.in_use, fetcher.urls) == (True, [V2])


def signed_callback(url: str, signed: bytes = b"/\n") -> dict[str, Any]:
    """Return the arguments of ``verify`` for a callback to / of which ``signed`` was signed."""
    authorization = base64.b64encode(OTHER.sign(signed, PKCS1v15(), MD5())).decode()
    named = base64.b64encode(url.encode()).decode()
    return {"target": b"/", "body": b"", "pub_key_url": named, "authorization": authorization}


@pytest.mark.parametrize("signed", [b"/\n", b"/another\n"])
def test_the_key_that_replaces_another_verifies_only_what_it_signed(signed: bytes, clock: FrozenClock) -> None:
    fetcher = Fetcher()
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    verifier = CallbackVerifier(store)
    assert not verifier.is_valid(**signed_callback(V2))
    fetcher.answer = OTHER_PEM
    clock.now += DAY
    assert verifier.is_valid(**signed_callback(V2, signed)) is (signed == b"/\n")
    assert (V2 in store.in_use) is (signed == b"/\n")


def test_a_pinned_key_is_never_replaced(clock: FrozenClock) -> None:
    fetcher = Fetcher(OTHER_PEM)
    trusted = {"http://127.0.0.1/own.pem": PEM, V2.replace("https:", "http:"): PEM}
    verifier = CallbackVerifier(PublicKeyStore(trusted, fetcher=fetcher, clock=clock))
    assert verifier.is_valid(**signed_callback(V2)), "this one is not pinned"
    for url in trusted:
        assert not verifier.is_valid(**signed_callback(url))
        clock.now += DAY
        assert not verifier.is_valid(**signed_callback(url))
    assert fetcher.urls == [V2]


def test_a_key_that_oss_has_replaced_is_fetched_again_after_a_day(clock: FrozenClock) -> None:
    fetcher = Fetcher()
    verifier = CallbackVerifier(PublicKeyStore(fetcher=fetcher, clock=clock))

    def verify(url: str) -> bool:
        return verifier.is_valid(**signed_callback(url))

    assert not verify(V2)
    fetcher.answer = OTHER_PEM
    for _ in range(100):
        clock.now += DAY / 101
        assert not verify(V2), "wrong signatures make nobody fetch"
    fetcher.answer = DOWN
    clock.now += DAY
    assert not verify(V2)
    fetcher.answer = OTHER_PEM
    assert not verify(V2)
    assert fetcher.urls == [V2, V2]
    clock.now += LONG_PAUSE
    assert verify(V2)
    assert verify(V2.replace("https:", "http:"))
    assert fetcher.urls == [V2, V2, V2]


class Hanging:
    """A fetcher that hangs at one URL until it is released, and then fails or returns a key."""

    def __init__(self, answer: bytes | Exception = PEM_BYTES, *, at: str = V2) -> None:
        self.urls: list[str] = []
        self.inside, self.release = threading.Event(), threading.Event()
        self._answer, self._at = answer, at

    def __call__(self, url: str) -> bytes:
        self.urls.append(url)
        if url == self._at:
            self.inside.set()
            assert self.release.wait(60)
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def ask(store: PublicKeyStore, url: str) -> None:
    with contextlib.suppress(KeyUnavailableError):
        store.get(url)


@contextlib.contextmanager
def fetching(store: PublicKeyStore, fetcher: Hanging, url: str = V2) -> Iterator[None]:
    """Have a thread fetch a key while the with block runs."""
    worker = threading.Thread(target=ask, args=[store, url])
    worker.start()
    try:
        assert fetcher.inside.wait(60)
        yield
    finally:
        fetcher.release.set()
        worker.join(60)


def test_nobody_waits_for_a_fetch_of_another_url(clock: FrozenClock, waited: list[float]) -> None:
    fetcher = Hanging(at=version(77))
    store = PublicKeyStore({"http://a/own.pem": PEM}, fetcher=fetcher, clock=clock)
    with fetching(store, fetcher, version(77)):
        for number in range(11, 40):
            assert "being fetched" in refused(store, version(number))
        for url in ("http://a/own.pem", *OSS_PUBLIC_KEY_URLS):
            assert store.get(url).key_size == 512
        assert number_of(store, V2) == N512, "the next version has a fetch of its own"
    assert fetcher.urls == [version(77), V2]
    assert 0.01 not in waited


@pytest.mark.parametrize("answer", [PEM_BYTES, NOT_FOUND], ids=["success", "failure"])
def test_many_threads_cause_one_fetch(
    answer: bytes | Exception, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oss_wsgi.callback.public_keys.WAIT_TIMEOUT", 3600.0)
    fetcher = Hanging(answer)
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    outcomes: list[object] = []

    def work() -> None:
        try:
            outcomes.append(number_of(store, V2))
        except KeyUnavailableError as error:
            outcomes.append(error.reason)

    workers = [threading.Thread(target=work, daemon=True) for _ in range(16)]
    with fetching(store, fetcher):
        for worker in workers:
            worker.start()
    deadline = time.monotonic() + 60
    for worker in workers:
        worker.join(max(0, deadline - time.monotonic()))
    assert fetcher.urls == [V2]
    assert outcomes == [N512 if answer is PEM_BYTES else "key_unavailable"] * 16


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return for how long events are waited for; a fetch of another thread is waited for by 0.01 seconds."""
    waited: list[float] = []
    wait = threading.Event.wait

    def noting(event: threading.Event, timeout: float | None = None) -> bool:
        waited.append(timeout or 0)
        return wait(event, timeout)

    monkeypatch.setattr(threading.Event, "wait", noting)
    monkeypatch.setattr("oss_wsgi.callback.public_keys.WAIT_TIMEOUT", 0.01)
    return waited


def test_waiting_for_an_endless_fetch_ends(clock: FrozenClock, waited: list[float]) -> None:
    fetcher = Hanging()
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    with fetching(store, fetcher):
        assert "being fetched" in refused(store, V2)
    assert 0.01 in waited
    assert number_of(store, V2) == N512


@pytest.mark.parametrize("answer", [DOWN, NOT_FOUND], ids=["no answer", "no key"])
def test_after_no_answer_nobody_waits_for_the_next_try(
    answer: Exception, clock: FrozenClock, waited: list[float]
) -> None:
    fetcher = Hanging(answer)
    fetcher.release.set()
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    refused(store, V2)
    fetcher.inside.clear()
    fetcher.release.clear()
    clock.now += LONG_PAUSE
    with fetching(store, fetcher):
        refused(store, V2)
    assert (0.01 in waited) is (answer is NOT_FOUND)


def test_an_interrupted_fetch_does_not_block_later_ones(clock: FrozenClock) -> None:
    fetcher = Fetcher(KeyboardInterrupt())
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    with pytest.raises(KeyboardInterrupt):
        store.get(V2)
    fetcher.answer = PEM_BYTES
    assert number_of(store, V2) == N512


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_that_was_forked_during_a_fetch_fetches_itself(clock: FrozenClock, waited: list[float]) -> None:
    fetcher = Hanging()
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    with fetching(store, fetcher):
        child = os.fork()
        if child == 0:
            fetcher.release.set()
            ask(store, V2)
            os._exit(store.fetches["fetched"])
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
        assert "being fetched" in refused(store, V2), "the parent's thread still fetches it"
    assert number_of(store, V2) == N512
