"""PublicKeyStore: when it fetches a key of OSS, when it refuses to, and who waits."""

from __future__ import annotations

import base64
import contextlib
import itertools
import threading
import time

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import MD5
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from oss_wsgi.callback import public_keys
from oss_wsgi.callback.public_keys import OSS_PUBLIC_KEY_URLS, PublicKeyStore
from oss_wsgi.callback.verifier import CallbackVerifier
from oss_wsgi.exceptions import FetchError, KeyUnavailableError, UnverifiedError
from oss_wsgi.testing import FrozenClock

from .signing_keys import DAY, N512, OTHER, OTHER_PEM, PEM, PEM_BYTES, V2, Fetcher, number_of, version

COOLDOWN = 10
LONG_VERSION_GAP = 1
LONG_VERSION_COOLDOWN = 60
FIRST_COOLDOWN = 1
MAX_COOLDOWN = 60
NOT_FOUND_COOLDOWN = 300
NOT_FOUND = FetchError("The key's server answered 404.", 404)


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(1000.0)


@pytest.mark.parametrize("url", [V2, V2.replace("https:", "http:")], ids=["https", "http"])
def test_a_newer_key_of_oss_is_fetched_over_https_and_cached(url: str, clock: FrozenClock) -> None:
    fetcher = Fetcher()
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    assert number_of(store, url) == N512
    assert number_of(store, V2) == number_of(store, V2.replace("https:", "http:"))
    assert fetcher.urls == [V2]


def test_a_newer_key_without_a_fetcher_is_unavailable() -> None:
    with pytest.raises(KeyUnavailableError) as raised:
        PublicKeyStore().get(V2)
    assert not isinstance(raised.value, UnverifiedError)


def refreshed(store: PublicKeyStore, number: int) -> None:
    """Wait until a store has ended this many fetches, and the threads of refreshes have ended with them."""
    deadline = time.monotonic() + 60
    while sum(store.fetches.values()) < number or refreshing():
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert sum(store.fetches.values()) == number


def refreshing() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "oss_wsgi-key"]


def test_a_key_serves_for_a_day_without_another_fetch(clock: FrozenClock) -> None:
    fetcher = Fetcher()
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    store.get(V2)
    clock.now += DAY - 1
    store.get(V2)
    assert (fetcher.urls, refreshing()) == ([V2], [])


@pytest.mark.slow
def test_after_a_day_a_key_is_refreshed_and_serves_meanwhile(clock: FrozenClock) -> None:
    release = threading.Event()
    fetcher = Fetcher()

    def slow(url: str) -> bytes:
        assert not fetcher.urls or release.wait(60)
        return fetcher(url)

    store = PublicKeyStore(fetcher=slow, clock=clock)
    store.get(V2)
    clock.now += DAY
    fetcher.answer = OTHER_PEM
    try:
        assert [number_of(store, V2) for _ in range(5)] == [N512] * 5
        assert len(refreshing()) == 1
    finally:
        release.set()
    refreshed(store, 2)
    assert number_of(store, V2) == OTHER.public_key().public_numbers().n
    assert fetcher.urls == [V2, V2]


@pytest.mark.slow
@pytest.mark.parametrize("failure", [NOT_FOUND, FetchError("down"), b"<html>"], ids=["404", "down", "html"])
def test_a_key_that_cannot_be_refreshed_serves_for_seven_days_more(
    failure: bytes | Exception, clock: FrozenClock, caplog: pytest.LogCaptureFixture
) -> None:
    fetcher = Fetcher()
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    store.get(V2)
    fetcher.answer = failure
    for number in range(7):
        clock.now += DAY - (0.001 if number == 6 else 0)
        assert number_of(store, V2) == N512
        refreshed(store, 2 + number)
    assert "not refreshed" in caplog.text
    clock.now += DAY + 0.001
    with pytest.raises(KeyUnavailableError):
        store.get(V2)
    clock.now += MAX_COOLDOWN
    fetcher.answer = PEM_BYTES
    assert number_of(store, V2) == N512


@pytest.mark.slow
def test_refreshes_that_fail_have_a_cooldown(clock: FrozenClock) -> None:
    fetcher = Fetcher()
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    store.get(V2)
    fetcher.answer = NOT_FOUND
    clock.now += DAY
    store.get(V2)
    refreshed(store, 2)
    clock.now += MAX_COOLDOWN - 0.001
    store.get(V2)
    assert refreshing() == []
    clock.now += 0.001
    store.get(V2)
    refreshed(store, 3)


def test_a_refresh_without_a_thread_counts_as_failed(clock: FrozenClock, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    store = PublicKeyStore(fetcher=Fetcher(), clock=clock)
    store.get(V2)
    clock.now += DAY
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert number_of(store, V2) == N512
    assert store.fetches == {"fetched": 1, "failed": 1}
    assert store._running == {}


def test_a_fork_during_a_refresh_does_not_stop_later_ones(clock: FrozenClock, monkeypatch: pytest.MonkeyPatch) -> None:
    store = PublicKeyStore(fetcher=Fetcher(), clock=clock)
    store._running["2"] = public_keys._RunningFetch(1, threading.Event(), False)  # another process's
    assert number_of(store, V2) == N512


@pytest.mark.parametrize(
    "failure",
    [
        FetchError("The key's server answered 404."),
        b"",
        b"<html>not found</html>",
        b"\xff" * 100,
        OTHER.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        OSError("from a fetcher of the application's own"),
        RuntimeError("can't start new thread"),
    ],
    ids=["fetch-error", "empty", "html", "bytes", "private-key", "os-error", "runtime-error"],
)
def test_a_failed_fetch_is_not_cached_and_begins_a_cooldown(failure: bytes | Exception, clock: FrozenClock) -> None:
    fetcher = Fetcher(failure)
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    for _ in range(3):
        with pytest.raises(KeyUnavailableError):
            store.get(V2)
    with pytest.raises(KeyUnavailableError):
        store.get(version(3))
    assert fetcher.urls == [V2]
    clock.now += FIRST_COOLDOWN - 0.001
    with pytest.raises(KeyUnavailableError):
        store.get(V2)
    assert fetcher.urls == [V2]
    clock.now += 0.001
    fetcher.answer = PEM_BYTES
    assert number_of(store, V2) == N512
    assert fetcher.urls == [V2, V2]


@pytest.mark.parametrize("number", [2, 5, 77], ids=["next", "one digit", "two digits"])
def test_the_cooldown_grows_to_a_minute_and_no_more(number: int, clock: FrozenClock) -> None:
    store = PublicKeyStore(fetcher=Fetcher(FetchError("down")), clock=clock)
    waits = []
    for count in range(1, 10):
        with pytest.raises(KeyUnavailableError):
            store.get(version(number))
        assert store.fetches["failed"] == count
        failure = store._failures[str(number)]
        waits.append(failure.until - clock.now)
        clock.now += 60
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_success_begins_the_cooldowns_anew(clock: FrozenClock) -> None:
    fetcher = Fetcher(FetchError("down"))
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    for _ in range(5):
        with pytest.raises(KeyUnavailableError):
            store.get(V2)
        clock.now += MAX_COOLDOWN
    fetcher.answer = PEM_BYTES
    store.get(V2)
    assert store._failures == {}


def test_the_cooldown_counts_from_the_end_of_a_slow_failure(clock: FrozenClock) -> None:
    def slow(url: str) -> bytes:
        clock.now += 60
        raise FetchError("too slow")

    fetched: list[str] = []
    store = PublicKeyStore(fetcher=lambda url: (fetched.append(url), slow(url))[1], clock=clock)
    for _ in range(2):
        with pytest.raises(KeyUnavailableError):
            store.get(V2)
    assert fetched == [V2]


def test_a_cached_key_is_returned_during_a_cooldown(clock: FrozenClock) -> None:
    fetcher = Fetcher()
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    store.get(V2)
    fetcher.answer = FetchError("down")
    with pytest.raises(KeyUnavailableError):
        store.get(version(3))
    assert number_of(store, V2) == N512
    assert number_of(store, OSS_PUBLIC_KEY_URLS[0]) != N512


@pytest.mark.parametrize(
    "numbers", [range(3, 60), range(2, 60), range(100, 160)], ids=["one digit first", "in a row", "made up"]
)
@pytest.mark.parametrize("proven", [True, False])
def test_made_up_versions_never_evict_a_known_key(numbers: range, proven: bool, clock: FrozenClock) -> None:
    fetcher = Fetcher()
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    store.get(V2)
    if proven:
        store.has_verified(V2)
    for number in numbers:
        clock.now += LONG_VERSION_GAP
        store.get(version(number))
        assert len(store._fetched) <= 8 + proven
    fetcher.answer = FetchError("down")
    assert number_of(store, V2) == N512


def test_any_number_of_keys_that_have_verified_stays(clock: FrozenClock) -> None:
    fetcher = Fetcher()
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    for number in range(2, 22):
        store.get(version(number))
        store.has_verified(version(number))
    fetcher.urls.clear()
    assert [number_of(store, version(number)) for number in range(2, 22)] == [N512] * 20
    assert fetcher.urls == []


@pytest.mark.slow
@pytest.mark.parametrize("failure", [FetchError("down"), b"<html>", NOT_FOUND], ids=["down", "html", "404"])
def test_a_stranger_who_names_the_next_key_first_delays_it_for_a_minute(
    failure: bytes | Exception, clock: FrozenClock
) -> None:
    """Each second a stranger names the next version, and all others of one digit and many of several."""
    fetcher = Fetcher(failure)
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    for second in range(7200):
        clock.now += 1
        for number in (2, *range(3, 10), 10 + second):
            with pytest.raises(KeyUnavailableError):
                store.get(version(number))
    fetcher.answer = PEM_BYTES
    for _ in range(60):
        clock.now += 1
        for number in (*range(3, 10), 77):
            with contextlib.suppress(KeyUnavailableError):
                store.get(version(number))
        with contextlib.suppress(KeyUnavailableError):
            assert number_of(store, V2) == N512
            break
    else:
        pytest.fail("the next key is kept out")


def test_a_version_that_gets_near_waits_no_longer_than_a_minute(clock: FrozenClock) -> None:
    fetcher = Fetcher(NOT_FOUND)
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    with pytest.raises(KeyUnavailableError):
        store.get(version(3))
    clock.now += MAX_COOLDOWN
    fetcher.answer = PEM_BYTES
    with pytest.raises(KeyUnavailableError):
        store.get(version(3))
    store.get(V2)
    assert number_of(store, version(3)) == N512


def test_the_version_next_to_a_pinned_one_is_near(clock: FrozenClock) -> None:
    fetcher = Fetcher(FetchError("down"))
    store = PublicKeyStore({version(41): PEM}, fetcher=fetcher, clock=clock)
    for number in (40, 42, 43, 2):
        with pytest.raises(KeyUnavailableError):
            store.get(version(number))
    assert fetcher.urls == [version(40), version(42), version(2)]


def test_version_zero_is_never_fetched(clock: FrozenClock) -> None:
    fetcher = Fetcher()
    with pytest.raises(KeyUnavailableError):
        PublicKeyStore(fetcher=fetcher, clock=clock).get(version(0))
    assert fetcher.urls == []


def test_the_next_version_is_fetched_while_a_made_up_one_hangs(clock: FrozenClock) -> None:
    inside, release = threading.Event(), threading.Event()

    def fetcher(url: str) -> bytes:
        if url != V2:
            inside.set()
            assert release.wait(60)
        return PEM_BYTES

    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    worker = threading.Thread(target=store.get, args=[version(7)])
    worker.start()
    try:
        assert inside.wait(60)
        assert number_of(store, V2) == N512
        with pytest.raises(KeyUnavailableError, match="being fetched"):
            store.get(version(8))
    finally:
        release.set()
        worker.join(60)


@pytest.mark.slow
def test_the_first_callback_signed_with_a_replaced_key_is_verified(clock: FrozenClock) -> None:
    fetcher = Fetcher()
    verifier = CallbackVerifier(PublicKeyStore(fetcher=fetcher, clock=clock))
    callback = {"target": b"/", "body": b"", "pub_key_url": base64.b64encode(V2.encode()).decode()}
    signed = base64.b64encode(OTHER.sign(b"/\n", PKCS1v15(), MD5())).decode()
    assert not verifier.is_valid(**callback, authorization=signed)
    fetcher.answer = OTHER_PEM
    for _ in range(100):
        clock.now += DAY / 101
        assert not verifier.is_valid(**callback, authorization=signed), "a wrong signature makes nobody fetch"
    assert fetcher.urls == [V2]
    clock.now += DAY / 101
    assert verifier.is_valid(**callback, authorization=signed)
    assert fetcher.urls == [V2, V2]


def test_an_outage_costs_one_fetch_a_minute(clock: FrozenClock) -> None:
    fetcher = Fetcher(FetchError("down"))
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    for _ in range(3600):
        with pytest.raises(KeyUnavailableError):
            store.get(V2)
        clock.now += 1
    assert len(fetcher.urls) == 65
    fetcher.answer = PEM_BYTES
    clock.now += MAX_COOLDOWN
    assert number_of(store, V2) == N512


def test_after_a_success_long_versions_wait_a_second(clock: FrozenClock) -> None:
    fetcher = Fetcher()
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    store.get(V2)
    clock.now += LONG_VERSION_GAP - 0.001
    with pytest.raises(KeyUnavailableError):
        store.get(version(33))
    assert fetcher.urls == [V2]
    clock.now += 0.001
    assert number_of(store, version(33)) == N512
    assert number_of(store, version(3)) == N512, "of the ten of one digit each may come at once"


@pytest.mark.parametrize("failure", [NOT_FOUND, FetchError("down")], ids=["404", "down"])
def test_after_a_failure_long_versions_wait_a_minute(failure: FetchError, clock: FrozenClock) -> None:
    fetcher = Fetcher(failure)
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    with pytest.raises(KeyUnavailableError):
        store.get(version(10))
    clock.now += LONG_VERSION_COOLDOWN - 0.001
    with pytest.raises(KeyUnavailableError):
        store.get(version(11))
    assert fetcher.urls == [version(10)]
    clock.now += 0.001
    fetcher.answer = PEM_BYTES
    assert number_of(store, version(11)) == N512


@pytest.mark.parametrize(
    ("number", "seconds"), [(2, MAX_COOLDOWN), (5, NOT_FOUND_COOLDOWN), (55, NOT_FOUND_COOLDOWN)], ids=str
)
def test_a_key_that_was_not_found_is_not_fetched_for_a_time(number: int, seconds: int, clock: FrozenClock) -> None:
    fetcher = Fetcher(NOT_FOUND)
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    with pytest.raises(KeyUnavailableError):
        store.get(version(number))
    fetcher.answer = PEM_BYTES
    clock.now += seconds - 0.001
    with pytest.raises(KeyUnavailableError):
        store.get(version(number))
    assert number_of(store, version(8)) == N512, "it is that URL alone"
    clock.now += LONG_VERSION_GAP
    assert number_of(store, version(number)) == N512
    assert fetcher.urls == [version(number), version(8), version(number)]


@pytest.mark.parametrize(
    ("digits", "new", "bound"),
    [
        ([f"{number:04}" for number in range(1000)], 2, 0),
        ([str(number) for number in range(10)], 2, 0),
        ([f"{number:04}" for number in range(1000)], 9, COOLDOWN),
        ([str(number) for number in range(10)], 9, 9 * COOLDOWN),
    ],
    ids=["four digits, next", "one digit, next", "four digits, later", "one digit, later"],
)
def test_a_new_key_is_found_soon_among_endless_forged_urls(
    digits: list[str], new: int, bound: int, clock: FrozenClock
) -> None:
    """Each second a callback names every forged URL, and then the new key's."""
    urls_fetched: list[float] = []

    def fetcher(url: str) -> bytes:
        if url != V2:
            urls_fetched.append(clock.now)
        if url == version(new):
            return PEM_BYTES
        raise NOT_FOUND

    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    began = clock.now
    key = None
    while key is None:
        for number in digits:
            url = version(0).replace("v0", f"v{number}")
            if url not in (version(new), *OSS_PUBLIC_KEY_URLS):
                with pytest.raises(KeyUnavailableError):
                    store.get(url)
        try:
            key = store.get(version(new))
        except KeyUnavailableError:
            clock.now += 1
        assert clock.now - began <= bound
    assert all(later - earlier >= COOLDOWN for earlier, later in itertools.pairwise(urls_fetched))


@pytest.mark.slow
@pytest.mark.parametrize("answer", [PEM_BYTES, NOT_FOUND, FetchError("down")], ids=["success", "404", "down"])
def test_ten_thousand_urls_leave_little_behind(answer: bytes | FetchError, clock: FrozenClock) -> None:
    store = PublicKeyStore(fetcher=Fetcher(answer), clock=clock)
    for number in range(10_000):
        clock.now += LONG_VERSION_COOLDOWN
        with contextlib.suppress(KeyUnavailableError):
            store.get(version(number))
    sizes = {name: len(value) for name, value in vars(store).items() if isinstance(value, dict)}
    assert all(size <= 32 for size in sizes.values()), sizes
    assert set(sizes) == {"_pinned", "in_use", "_fetched", "_failures", "_running", "fetches"}


@pytest.mark.slow
@pytest.mark.parametrize("failing", [False, True], ids=["success", "failure"])
def test_a_thousand_concurrent_urls_cause_one_fetch_and_no_waiting(failing: bool, clock: FrozenClock) -> None:
    inside = threading.Event()
    release = threading.Event()
    urls_fetched: list[str] = []
    answers: list[str] = []

    def fetcher(url: str) -> bytes:
        urls_fetched.append(url)
        inside.set()
        assert release.wait(60)
        if failing:
            raise FetchError("down")
        return PEM_BYTES

    store = PublicKeyStore({"http://a/own.pem": PEM}, fetcher=fetcher, clock=clock)
    urls = [version(0).replace("v0", f"v{number:04}") for number in range(1000)]

    def work(some: list[str]) -> None:
        for url in some:
            try:
                store.get(url)
            except KeyUnavailableError as error:
                answers.append(error.reason)
            assert store.get("http://a/own.pem").key_size == 512
            assert store.get(OSS_PUBLIC_KEY_URLS[0]).key_size == 512

    def flood(some: list[str]) -> list[threading.Thread]:
        started = [threading.Thread(target=work, args=[some[part::50]]) for part in range(50)]
        for thread in started:
            thread.start()
        return started

    slow = threading.Thread(target=work, args=[urls[:1]])
    slow.start()
    try:
        assert inside.wait(60)
        for thread in flood(urls[1:]):
            thread.join(60)
            assert not thread.is_alive(), "it waits for a URL that is not its own"
        assert answers == ["key_unavailable"] * 999
    finally:
        release.set()
        slow.join(60)
    for thread in flood(urls[1:]):
        thread.join(60)
    assert urls_fetched == urls[:1]
    assert len(answers) == 999 * 2 + failing


def test_waiting_for_an_endless_fetch_ends(clock: FrozenClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oss_wsgi.callback.public_keys._WAIT_TIMEOUT", 0.01)
    inside = threading.Event()
    release = threading.Event()

    def fetcher(url: str) -> bytes:
        inside.set()
        assert release.wait(60)
        return PEM_BYTES

    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    worker = threading.Thread(target=store.get, args=[V2])
    worker.start()
    try:
        assert inside.wait(60)
        with pytest.raises(KeyUnavailableError, match="being fetched"):
            store.get(V2)
    finally:
        release.set()
        worker.join(60)
    assert number_of(store, V2) == N512


def test_an_interrupted_fetch_does_not_block_later_ones(clock: FrozenClock) -> None:
    fetcher = Fetcher(KeyboardInterrupt())
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    with pytest.raises(KeyboardInterrupt):
        store.get(V2)
    fetcher.answer = PEM_BYTES
    assert number_of(store, V2) == N512


@pytest.mark.parametrize("failing", [False, True], ids=["success", "failure"])
def test_many_threads_cause_one_fetch(failing: bool, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oss_wsgi.callback.public_keys._WAIT_TIMEOUT", 60.0)
    threads = 16
    inside = threading.Event()
    release = threading.Event()
    urls_fetched: list[str] = []
    answers: list[object] = []

    def fetcher(url: str) -> bytes:
        urls_fetched.append(url)
        inside.set()
        assert release.wait(60)
        if failing:
            raise FetchError("down")
        return PEM_BYTES

    store = PublicKeyStore(fetcher=fetcher, clock=clock)

    def work() -> None:
        try:
            answers.append(number_of(store, V2))
        except KeyUnavailableError as error:
            answers.append(error.reason)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    workers[0].start()
    assert inside.wait(60)
    for worker in workers[1:]:
        worker.start()
    release.set()
    for worker in workers:
        worker.join(60)
    assert urls_fetched == [V2]
    assert answers == ["key_unavailable" if failing else N512] * threads


def test_pinned_keys_are_returned_while_a_fetch_hangs(clock: FrozenClock) -> None:
    inside = threading.Event()
    release = threading.Event()

    def fetcher(url: str) -> bytes:
        inside.set()
        assert release.wait(60)
        return PEM_BYTES

    store = PublicKeyStore({"http://a/own.pem": PEM}, fetcher=fetcher, clock=clock)
    worker = threading.Thread(target=store.get, args=[V2])
    worker.start()
    try:
        assert inside.wait(60)
        assert store.get("http://a/own.pem").key_size == 512
        assert store.get(OSS_PUBLIC_KEY_URLS[1]).key_size == 512
    finally:
        release.set()
        worker.join(60)
