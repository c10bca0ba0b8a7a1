"""PublicKeyStore: which URLs it trusts, what it fetches, and when it refuses to fetch."""

from __future__ import annotations

import base64
import contextlib
import datetime
import hashlib
import itertools
import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import MD5, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from oss_wsgi.callback.public_keys import OSS_PUBLIC_KEY, OSS_PUBLIC_KEY_URLS, PublicKeyStore, load_public_key
from oss_wsgi.callback.verifier import CallbackVerifier
from oss_wsgi.exceptions import FetchError, KeyUnavailableError, UnverifiedError, VerificationError

KEY = json.loads((Path(__file__).parents[1] / "vectors" / "callbacks.json").read_text("utf-8"))["throwaway_key"]
PEM: str = KEY["pem"]
GOOD = PEM.encode()
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_PEM = OTHER.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
V2 = "https://gosspublic.alicdn.com/callback_pub_key_v2.pem"
DAY = 24 * 3600
GAP = 1
COOLDOWN = 10
LONG_COOLDOWN = 60
ABSENT = 300
NOT_FOUND = FetchError("The key's server answered 404.", 404)

UNTRUSTED = [
    "",
    "http://gosspublic.alicdn.com",
    "http://gosspublic.alicdn.com/",
    "http://gosspublic.alicdn.com/other.pem",
    "http://gosspublic.alicdn.com/callback_pub_key_v.pem",
    "http://gosspublic.alicdn.com/callback_pub_key_v1.pem.evil",
    "http://gosspublic.alicdn.com/callback_pub_key_v1.pem/",
    "http://gosspublic.alicdn.com/callback_pub_key_v1.pem?",
    "http://gosspublic.alicdn.com/callback_pub_key_v1.pem?x=1",
    "http://gosspublic.alicdn.com/callback_pub_key_v1.pem#",
    "http://gosspublic.alicdn.com/callback_pub_key_v1.pem#x",
    "http://gosspublic.alicdn.com/callback_pub_key_v1.pem\n",
    "http://gosspublic.alicdn.com/callback_pub_key_v1.pem\r\nX: y",
    "http://gosspublic.alicdn.com/callback_pub_key_v1.pem\0",
    "http://gosspublic.alicdn.com/callback_pub_key_v1.pem ",
    " http://gosspublic.alicdn.com/callback_pub_key_v1.pem",
    "\thttp://gosspublic.alicdn.com/callback_pub_key_v2.pem",
    "http://evil.example/http://gosspublic.alicdn.com/callback_pub_key_v1.pem",
    "http://evil.example/?http://gosspublic.alicdn.com/callback_pub_key_v1.pem",
    "http://evil.example/#http://gosspublic.alicdn.com/callback_pub_key_v1.pem",
    "http://gosspublic.alicdn.com.evil.example/callback_pub_key_v1.pem",
    "http://gosspublic.alicdn.comevil.example/callback_pub_key_v1.pem",
    "http://evilgosspublic.alicdn.com/callback_pub_key_v1.pem",
    "http://evil.gosspublic.alicdn.com/callback_pub_key_v1.pem",
    "http://gosspublicXalicdn.com/callback_pub_key_v1.pem",
    "http://gosspublic.alicdnXcom/callback_pub_key_v1.pem",
    "http://gosspublic.alicdn.com/callback_pub_key_v1Xpem",
    "https://gosspublic.alicdn.com@evil.example/callback_pub_key_v1.pem",
    "https://user@gosspublic.alicdn.com/callback_pub_key_v1.pem",
    "https://user:pass@gosspublic.alicdn.com/callback_pub_key_v1.pem",
    "https://evil.example\\@gosspublic.alicdn.com/callback_pub_key_v1.pem",
    "http://gosspublic.alicdn.com:80/callback_pub_key_v1.pem",
    "https://gosspublic.alicdn.com:443/callback_pub_key_v1.pem",
    "https://gosspublic.alicdn.com:8443/callback_pub_key_v2.pem",
    "https://gosspublic.alicdn.com:/callback_pub_key_v2.pem",
    "https://gosspublic.alicdn.com./callback_pub_key_v2.pem",
    "https://gosspublic.alicdn.com//callback_pub_key_v2.pem",
    "https://gosspublic.alicdn.com/./callback_pub_key_v2.pem",
    "https://gosspublic.alicdn.com/x/../callback_pub_key_v2.pem",
    "https://gosspublic.alicdn.com\\callback_pub_key_v2.pem",
    "https:/gosspublic.alicdn.com/callback_pub_key_v2.pem",
    "https:gosspublic.alicdn.com/callback_pub_key_v2.pem",
    "//gosspublic.alicdn.com/callback_pub_key_v2.pem",
    "gosspublic.alicdn.com/callback_pub_key_v2.pem",
    "ftp://gosspublic.alicdn.com/callback_pub_key_v2.pem",
    "file://gosspublic.alicdn.com/callback_pub_key_v2.pem",
    "httpss://gosspublic.alicdn.com/callback_pub_key_v2.pem",
    "HTTP://gosspublic.alicdn.com/callback_pub_key_v1.pem",
    "https://GOSSPUBLIC.alicdn.com/callback_pub_key_v2.pem",
    "https://gosspublic.alicdn.com/Callback_pub_key_v2.pem",
    "https://gosspublic.alicdn.com/callback_pub_key_V2.pem",
    "https://gosspublic.alicdn.com/callback_pub_key_v2.PEM",
    "https://gosspublic.alicdn.com/callback%5Fpub_key_v2.pem",
    "https://gosspublic.alicdn.com/callback_pub_key_v%32.pem",
    "https://gosspublic.alicdn.com%2Fcallback_pub_key_v2.pem",
    "https://gosspublic%2Ealicdn.com/callback_pub_key_v2.pem",
    "https://gosspublic.alicdn.com/callback_pub_key_v-2.pem",
    "https://gosspublic.alicdn.com/callback_pub_key_v+2.pem",
    "https://gosspublic.alicdn.com/callback_pub_key_v2.0.pem",
    "https://gosspublic.alicdn.com/callback_pub_key_v2a.pem",
    "https://gosspublic.alicdn.com/callback_pub_key_v２.pem",
    "https://gosspublic.alicdn.com/callback_pub_key_v٢.pem",
    "https://gosspublic.alicdn.com/callback_pub_key_v².pem",
    "https://gosspublic.alicdn.com/callback_pub_key_v123456789012345678901.pem",
    "https://gosspublic.alicdn.com/callback_pub_key_v" + "9" * 3000 + ".pem",
    "https://gosspublic。alicdn.com/callback_pub_key_v2.pem",
    "https://gоsspublic.alicdn.com/callback_pub_key_v2.pem",
    "https://xn--gsspublic-q9g.alicdn.com/callback_pub_key_v2.pem",
    "https://gosspublic.alicdn.com\u200b/callback_pub_key_v2.pem",
    "http://[::1]/callback_pub_key_v1.pem",
    "https://[fd00:ec2::254]/callback_pub_key_v2.pem",
    "https://[gosspublic.alicdn.com]/callback_pub_key_v2.pem",
    "file:///callback_pub_key_v1.pem",
    "file:///etc/ssl/callback_pub_key_v2.pem",
    "data:,-----BEGIN PUBLIC KEY-----",
    "https://100.100.100.200/latest/meta-data/",
    "http://127.0.0.1/callback_pub_key_v1.pem",
]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Fetcher:
    """Returns or raises ``answer``, and records the URLs."""

    def __init__(self, answer: bytes | BaseException = GOOD) -> None:
        self.answer = answer
        self.urls_fetched: list[str] = []

    def __call__(self, url: str) -> bytes:
        self.urls_fetched.append(url)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


def version(number: int) -> str:
    return f"https://gosspublic.alicdn.com/callback_pub_key_v{number}.pem"


def number_of(store: PublicKeyStore, url: str) -> int:
    return store.get(url).public_numbers().n


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize("url", OSS_PUBLIC_KEY_URLS)
def test_the_shipped_key_is_never_fetched(url: str, clock: Clock) -> None:
    fetcher = Fetcher(FetchError("must not be called"))
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    key = store.get(url)
    assert key.key_size == 512
    assert f"{key.public_numbers().n:x}".startswith("ab3f2411b3c1407669586de1cac1c77a083c12cd")
    assert f"{key.public_numbers().n:x}".endswith("1dd6f4b5f14361075c025f081fba1f6605d64f")
    assert key.public_numbers().e == 65537
    assert fetcher.urls_fetched == []


@pytest.mark.parametrize("url", UNTRUSTED, ids=lambda url: ascii(url[:90]))
def test_a_url_that_resembles_osss_is_refused_without_a_fetch(url: str, clock: Clock) -> None:
    fetcher = Fetcher()
    store = PublicKeyStore({"http://127.0.0.1:8081/own.pem": PEM}, fetcher=fetcher, clock=clock)
    with pytest.raises(UnverifiedError) as raised:
        store.get(url)
    assert raised.value.reason == "pub_key_url_untrusted"
    assert fetcher.urls_fetched == []


@given(text=st.text(max_size=30))
@settings(max_examples=100, deadline=None)
def test_only_digits_after_the_v_lead_to_a_fetch(text: str) -> None:
    fetcher = Fetcher()
    store = PublicKeyStore(fetcher=fetcher, clock=Clock())
    url = f"http://gosspublic.alicdn.com/callback_pub_key_v{text}.pem"
    try:
        store.get(url)
    except VerificationError:
        assert fetcher.urls_fetched == []
    else:
        assert text.isascii() and text.isdigit()


def test_an_untrusted_url_is_refused_during_a_cooldown(clock: Clock) -> None:
    store = PublicKeyStore(fetcher=Fetcher(FetchError("down")), clock=clock)
    with pytest.raises(KeyUnavailableError):
        store.get(V2)
    with pytest.raises(UnverifiedError):
        store.get("http://evil.example/callback_pub_key_v2.pem")


@pytest.mark.parametrize("url", [V2, V2.replace("https:", "http:")], ids=["https", "http"])
def test_a_newer_key_of_oss_is_fetched_over_https_and_cached(url: str, clock: Clock) -> None:
    fetcher = Fetcher()
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    assert number_of(store, url) == int(KEY["n"], 16)
    assert number_of(store, V2) == number_of(store, V2.replace("https:", "http:"))
    assert fetcher.urls_fetched == [V2]


def test_a_newer_key_without_a_fetcher_is_unavailable() -> None:
    with pytest.raises(KeyUnavailableError) as raised:
        PublicKeyStore().get(V2)
    assert not isinstance(raised.value, UnverifiedError)


def test_a_cached_key_is_fetched_again_after_a_day(clock: Clock) -> None:
    fetcher = Fetcher()
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    store.get(V2)
    clock.now += DAY - 1
    store.get(V2)
    assert len(fetcher.urls_fetched) == 1
    clock.now += 1
    fetcher.answer = OTHER_PEM
    assert number_of(store, V2) == OTHER.public_key().public_numbers().n
    assert len(fetcher.urls_fetched) == 2


def test_an_expired_key_that_cannot_be_fetched_is_not_used(clock: Clock) -> None:
    fetcher = Fetcher()
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    store.get(V2)
    clock.now += DAY
    fetcher.answer = FetchError("down")
    with pytest.raises(KeyUnavailableError):
        store.get(V2)


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
def test_a_failed_fetch_is_not_cached_and_begins_a_cooldown(failure: bytes | Exception, clock: Clock) -> None:
    fetcher = Fetcher(failure)
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    for _ in range(3):
        with pytest.raises(KeyUnavailableError):
            store.get(V2)
    with pytest.raises(KeyUnavailableError):
        store.get(version(3))
    assert fetcher.urls_fetched == [V2]
    clock.now += COOLDOWN - 0.001
    with pytest.raises(KeyUnavailableError):
        store.get(V2)
    assert fetcher.urls_fetched == [V2]
    clock.now += 0.001
    fetcher.answer = PEM.encode()
    assert number_of(store, V2) == int(KEY["n"], 16)
    assert fetcher.urls_fetched == [V2, V2]


def test_each_failure_begins_the_cooldown_again(clock: Clock) -> None:
    fetcher = Fetcher(FetchError("down"))
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    for count in (1, 2, 3):
        with pytest.raises(KeyUnavailableError):
            store.get(V2)
        assert len(fetcher.urls_fetched) == count
        clock.now += COOLDOWN


def test_the_cooldown_counts_from_the_end_of_a_slow_failure(clock: Clock) -> None:
    def slow(url: str) -> bytes:
        clock.now += 60
        raise FetchError("too slow")

    fetched: list[str] = []
    store = PublicKeyStore(fetcher=lambda url: (fetched.append(url), slow(url))[1], clock=clock)
    for _ in range(2):
        with pytest.raises(KeyUnavailableError):
            store.get(V2)
    assert fetched == [V2]


def test_a_cached_key_is_returned_during_a_cooldown(clock: Clock) -> None:
    fetcher = Fetcher()
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    store.get(V2)
    fetcher.answer = FetchError("down")
    with pytest.raises(KeyUnavailableError):
        store.get(version(3))
    assert number_of(store, V2) == int(KEY["n"], 16)
    assert number_of(store, OSS_PUBLIC_KEY_URLS[0]) != int(KEY["n"], 16)


def test_at_most_eight_fetched_keys_are_cached(clock: Clock) -> None:
    fetcher = Fetcher()
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    for number in range(2, 11):
        store.get(version(number))
        clock.now += GAP
    assert len(fetcher.urls_fetched) == 9
    for number in range(3, 11):
        store.get(version(number))
    assert len(fetcher.urls_fetched) == 9, "the last eight are there"
    store.get(V2)
    assert fetcher.urls_fetched[9:] == [V2], "the first had to go"
    clock.now += GAP
    store.get(version(3))
    assert fetcher.urls_fetched[10:] == [version(3)], "and then the next"


def test_the_key_fetched_last_leaves_the_cache_last(clock: Clock) -> None:
    fetcher = Fetcher()
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    for number in range(2, 10):
        store.get(version(number))
        clock.now += GAP
    clock.now += DAY
    for number in (3, 10, 11):
        store.get(version(number))
        clock.now += GAP
    fetcher.urls_fetched.clear()
    store.get(version(3))
    assert fetcher.urls_fetched == []


def test_a_key_that_oss_replaces_is_fetched_after_a_day(clock: Clock) -> None:
    fetcher = Fetcher()
    verifier = CallbackVerifier(PublicKeyStore(fetcher=fetcher, clock=clock))
    callback = {"target": b"/", "body": b"", "pub_key_url": base64.b64encode(V2.encode()).decode()}
    signed = base64.b64encode(OTHER.sign(b"/\n", PKCS1v15(), MD5())).decode()
    assert not verifier.is_valid(**callback, authorization=signed)
    fetcher.answer = OTHER_PEM
    for _ in range(100):
        clock.now += DAY / 101
        assert not verifier.is_valid(**callback, authorization=signed), "a wrong signature makes nobody fetch"
    assert fetcher.urls_fetched == [V2]
    clock.now += DAY / 101
    assert verifier.is_valid(**callback, authorization=signed)
    assert fetcher.urls_fetched == [V2, V2]


def test_an_outage_costs_one_fetch_in_ten_seconds(clock: Clock) -> None:
    fetcher = Fetcher(FetchError("down"))
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    for _ in range(3600):
        with pytest.raises(KeyUnavailableError):
            store.get(V2)
        clock.now += 1
    assert len(fetcher.urls_fetched) == 360
    fetcher.answer = GOOD
    assert number_of(store, V2) == N512


def test_after_a_success_long_versions_wait_a_second(clock: Clock) -> None:
    fetcher = Fetcher()
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    store.get(V2)
    clock.now += GAP - 0.001
    with pytest.raises(KeyUnavailableError):
        store.get(version(33))
    assert fetcher.urls_fetched == [V2]
    clock.now += 0.001
    assert number_of(store, version(33)) == N512
    assert number_of(store, version(3)) == N512, "of the ten of one digit each may come at once"


@pytest.mark.parametrize("failure", [NOT_FOUND, FetchError("down")], ids=["404", "down"])
def test_after_a_failure_long_versions_wait_a_minute(failure: FetchError, clock: Clock) -> None:
    fetcher = Fetcher(failure)
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    with pytest.raises(KeyUnavailableError):
        store.get(version(10))
    clock.now += LONG_COOLDOWN - 0.001
    with pytest.raises(KeyUnavailableError):
        store.get(version(11))
    assert fetcher.urls_fetched == [version(10)]
    clock.now += 0.001
    fetcher.answer = GOOD
    assert number_of(store, version(10)) == N512


def test_a_key_that_was_not_found_is_not_fetched_for_five_minutes(clock: Clock) -> None:
    fetcher = Fetcher(NOT_FOUND)
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    with pytest.raises(KeyUnavailableError):
        store.get(V2)
    fetcher.answer = GOOD
    clock.now += ABSENT - 0.001
    with pytest.raises(KeyUnavailableError):
        store.get(V2)
    assert number_of(store, version(3)) == N512, "it is that URL alone"
    clock.now += GAP
    assert number_of(store, V2) == N512
    assert fetcher.urls_fetched == [V2, version(3), V2]


@pytest.mark.parametrize(
    ("digits", "bound"),
    [([f"{number:04}" for number in range(1000)], COOLDOWN), ([str(number) for number in range(10)], 9 * COOLDOWN)],
    ids=["four-digits", "one-digit"],
)
def test_a_new_key_is_found_soon_among_endless_forged_urls(digits: list[str], bound: int, clock: Clock) -> None:
    """Each second a callback names every forged URL, and then the new key's."""
    urls_fetched: list[float] = []

    def fetcher(url: str) -> bytes:
        urls_fetched.append(clock.now)
        if url == V2:
            return GOOD
        raise NOT_FOUND

    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    began = clock.now
    key = None
    while key is None:
        for number in digits:
            url = version(0).replace("v0", f"v{number}")
            if url not in (V2, *OSS_PUBLIC_KEY_URLS):
                with pytest.raises(KeyUnavailableError):
                    store.get(url)
        try:
            key = store.get(V2)
        except KeyUnavailableError:
            clock.now += 1
        assert clock.now - began <= bound
    assert all(later - earlier >= COOLDOWN for earlier, later in itertools.pairwise(urls_fetched))


@pytest.mark.parametrize("answer", [GOOD, NOT_FOUND, FetchError("down")], ids=["success", "404", "down"])
def test_ten_thousand_urls_leave_little_behind(answer: bytes | FetchError, clock: Clock) -> None:
    store = PublicKeyStore(fetcher=Fetcher(answer), clock=clock)
    for number in range(10_000):
        clock.now += LONG_COOLDOWN
        with contextlib.suppress(KeyUnavailableError):
            store.get(version(number))
    sizes = {name: len(value) for name, value in vars(store).items() if isinstance(value, dict)}
    assert all(size <= 10 for size in sizes.values()), sizes
    assert set(sizes) == {"_pinned", "in_use", "_fetched", "_not_found_until", "fetches"}


@pytest.mark.parametrize("failing", [False, True], ids=["success", "failure"])
def test_a_thousand_concurrent_urls_cause_one_fetch_and_no_waiting(failing: bool, clock: Clock) -> None:
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
        return GOOD

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


def test_waiting_for_an_endless_fetch_ends(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oss_wsgi.callback.public_keys._WAIT_TIMEOUT", 0.01)
    inside = threading.Event()
    release = threading.Event()

    def fetcher(url: str) -> bytes:
        inside.set()
        assert release.wait(60)
        return GOOD

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


def test_an_interrupted_fetch_does_not_block_later_ones(clock: Clock) -> None:
    fetcher = Fetcher(KeyboardInterrupt())
    store = PublicKeyStore(fetcher=fetcher, clock=clock)
    with pytest.raises(KeyboardInterrupt):
        store.get(V2)
    fetcher.answer = GOOD
    assert number_of(store, V2) == N512


@pytest.mark.parametrize("failing", [False, True], ids=["success", "failure"])
def test_many_threads_cause_one_fetch(failing: bool, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
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
        return PEM.encode()

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
    assert answers == ["key_unavailable" if failing else int(KEY["n"], 16)] * threads


def test_pinned_keys_are_returned_while_a_fetch_hangs(clock: Clock) -> None:
    inside = threading.Event()
    release = threading.Event()

    def fetcher(url: str) -> bytes:
        inside.set()
        assert release.wait(60)
        return PEM.encode()

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


def test_a_trusted_key_serves_exactly_its_url() -> None:
    store = PublicKeyStore({"http://127.0.0.1:8081/own.pem": OTHER_PEM.decode()})
    assert number_of(store, "http://127.0.0.1:8081/own.pem") == OTHER.public_key().public_numbers().n
    for url in ("http://127.0.0.1:8081/own.pem?", "https://127.0.0.1:8081/own.pem", "http://127.0.0.1:8081/OWN.pem"):
        with pytest.raises(UnverifiedError):
            store.get(url)


def test_the_trusted_mapping_is_copied() -> None:
    trusted = {"http://a/own.pem": PEM}
    store = PublicKeyStore(trusted)
    trusted["http://evil.example/own.pem"] = PEM
    with pytest.raises(UnverifiedError):
        store.get("http://evil.example/own.pem")


def test_an_invalid_trusted_key_is_refused_with_its_url() -> None:
    with pytest.raises(ValueError, match=r"The trusted key for http://a/own\.pem: it is not a public key in PEM\."):
        PublicKeyStore({"http://a/own.pem": "nonsense"})


def test_a_fetcher_without_a_clock_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a clock"):
        PublicKeyStore(fetcher=Fetcher())


@pytest.mark.parametrize(
    ("exponent", "message"),
    [
        (1, "."),
        (3, r"The trusted key for http://a/own\.pem: its exponent is 3, not an odd number of at least 65537\."),
    ],
)
def test_a_trusted_key_with_a_small_exponent_is_refused(exponent: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PublicKeyStore({"http://a/own.pem": pem_of(N512, exponent).decode()})


def lines_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "oss_wsgi.callback.public_keys"]


def test_each_key_is_logged_once_with_its_size_and_fingerprint(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "oss_wsgi")
    fetcher = Fetcher()
    trusted = {"http://a/own.pem": OTHER_PEM.decode(), "http://a/copy.pem": OTHER_PEM.decode()}
    store = PublicKeyStore(trusted, fetcher=fetcher, clock=clock)
    assert lines_of(caplog) == [], "what is never used is not worth a line"
    for _ in range(3):
        for url in (*OSS_PUBLIC_KEY_URLS, *trusted, V2):
            store.get(url)
    for _ in range(2):
        clock.now += DAY
        store.get(V2)
    der = OTHER.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert lines_of(caplog) == [
        f"callback key {OSS_PUBLIC_KEY_URLS[0]}: 512 bits, the size that OSS itself has chosen, "
        "SHA-256 a1f54d0fb9263a14276c9e890f99cdeae986265b3985e6b1aa4603631c5bc9cf",
        f"callback key http://a/own.pem: 2048 bits, SHA-256 {hashlib.sha256(der).hexdigest()}",
        f"callback key {V2}: 512 bits, SHA-256 d6d68871960ba22356bba893178cb62df04fa69cd6cb53c8d07531187a59b437",
    ]
    assert {record.levelname for record in caplog.records} == {"INFO"}
    clock.now += DAY
    fetcher.answer = OTHER_PEM
    store.get(V2)
    assert lines_of(caplog)[3:] == [f"callback key {V2}: 2048 bits, SHA-256 {hashlib.sha256(der).hexdigest()}"]


def test_a_key_that_is_refused_is_not_logged(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    store = PublicKeyStore(fetcher=Fetcher(pem_of(N512, 3)), clock=clock)
    caplog.set_level("INFO", "oss_wsgi")
    with pytest.raises(KeyUnavailableError):
        store.get(V2)
    assert lines_of(caplog) == []


def pem_of(n: int, e: int) -> bytes:
    """Return an RSA public key in PEM that the library would not make."""

    def der(tag: int, data: bytes) -> bytes:
        size = len(data).to_bytes(2, "big").lstrip(b"\0") or b"\0"
        return bytes([tag]) + (size if len(data) < 128 else bytes([0x80 | len(size)]) + size) + data

    def integer(value: int) -> bytes:
        return der(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))

    numbers = der(0x30, integer(n) + integer(e))
    algorithm = der(0x30, bytes.fromhex("06092a864886f70d0101010500"))
    text = base64.encodebytes(der(0x30, algorithm + der(3, b"\0" + numbers)))
    return b"-----BEGIN PUBLIC KEY-----\n" + text + b"-----END PUBLIC KEY-----\n"


N512 = int(KEY["n"], 16)


@pytest.mark.parametrize(
    ("n", "e", "message"),
    [
        (N512, 1, None),
        (N512, 3, "its exponent is 3,"),
        (N512, 65536, None),
        (65521, 17, None),
        (N512 >> 1 | 1, 65537, "511 bits"),
        (1 << 8192 | 1, 65537, None),
        (1 << 16383 | 1, 65537, "16384 bits|not a public key"),
    ],
    ids=["e=1", "e=3", "e-even", "16-bits", "511-bits", "8193-bits", "16384-bits"],
)
def test_a_weak_or_huge_key_is_refused(n: int, e: int, message: str | None) -> None:
    with pytest.raises(ValueError, match=message or "."):
        load_public_key(pem_of(n, e))


def test_the_pem_made_here_is_valid() -> None:
    assert load_public_key(pem_of(N512, 65537)).public_numbers().n == N512
    assert load_public_key(OSS_PUBLIC_KEY).key_size == load_public_key(PEM.encode()).key_size == 512


def private_pem() -> bytes:
    return OTHER.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def certificate_pem() -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gosspublic.alicdn.com")])
    day = datetime.datetime(2020, 1, 1)
    certificate = x509.CertificateBuilder(name, name, OTHER.public_key(), 1, day, day).sign(OTHER, SHA256())
    return certificate.public_bytes(Encoding.PEM)


def elliptic_pem() -> bytes:
    return (
        ec.generate_private_key(ec.SECP256R1())
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (private_pem, "not a public key in PEM"),
        (certificate_pem, "not a public key in PEM"),
        (elliptic_pem, "not an RSA key"),
        (lambda: OSS_PUBLIC_KEY.replace("MFww", "MFwx"), "not a public key in PEM"),
        (lambda: OSS_PUBLIC_KEY.replace("-----BEGIN PUBLIC KEY-----\n", ""), "not a public key in PEM"),
        (lambda: "", "not a public key in PEM"),
        (lambda: "\ud800", "not a public key in PEM"),
    ],
    ids=["private", "certificate", "elliptic", "damaged", "headless", "empty", "surrogate"],
)
def test_anything_but_an_rsa_public_key_is_a_value_error(make: Callable[[], str | bytes], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_public_key(make())


@given(data=st.binary(max_size=200))
@settings(max_examples=50, deadline=None)
def test_invalid_bytes_raise_only_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="it is not a public key"):
        load_public_key(data)
