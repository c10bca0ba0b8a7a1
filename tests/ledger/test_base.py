"""Ledgers: each upload is handled once, whichever ledger keeps its answer."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from oss_wsgi.exceptions import LedgerUnavailableError, TicketUsedError
from oss_wsgi.ledger.base import Ledger, StoredResponse, UploadIdentity
from oss_wsgi.ledger.memory import MemoryLedger
from oss_wsgi.ledger.sqlite import SQLiteLedger
from oss_wsgi.testing import FrozenClock

NOW = 1733227932
GOOD = StoredResponse("200 OK", "application/json", b'{"Status": "Ok"}')
FAILED = StoredResponse("500 Internal Server Error", "application/json", b"{}")


def upload(
    ticket: str = "t1",
    object: str = "user/猫 1.png",  # noqa: A002
    etag: str = "5B3C",
    expires: int = NOW + 300,
) -> UploadIdentity:
    return UploadIdentity(ticket, object, etag, expires)


class Handler:
    """Counts how often it was called, and answers."""

    def __init__(self, answer: StoredResponse = GOOD) -> None:
        self.calls = 0
        self.answer = answer

    def __call__(self) -> StoredResponse:
        self.calls += 1
        return self.answer


class Blocking(Handler):
    """Handles until it is told to end."""

    def __init__(self, answer: StoredResponse = GOOD) -> None:
        super().__init__(answer)
        self.started, self.end = threading.Event(), threading.Event()

    def __call__(self) -> StoredResponse:
        self.started.set()
        assert self.end.wait(20)
        return super().__call__()


class Call(threading.Thread):
    """Calls a ledger in a thread of its own."""

    def __init__(self, ledger: Ledger, identity: UploadIdentity, handle: Callable[[], StoredResponse]) -> None:
        super().__init__(daemon=True)
        self._once = lambda: ledger.run_once(identity, handle)
        self._outcome: Any = None
        self.start()

    def run(self) -> None:
        try:
            self._outcome = self._once()
        except Exception as error:
            self._outcome = error

    def outcome(self) -> Any:
        self.join(20)
        assert not self.is_alive()
        return self._outcome


Make = Callable[..., Ledger]


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(NOW)


@pytest.fixture(params=["memory", "sqlite"])
def make(request: pytest.FixtureRequest, tmp_path: Path, clock: FrozenClock) -> Iterator[Make]:
    made: list[SQLiteLedger] = []

    def memory(**options: Any) -> Ledger:
        return MemoryLedger(clock=clock, **options)

    def sqlite(**options: Any) -> Ledger:
        made.append(SQLiteLedger(tmp_path / "ledger.db", clock=clock, **options))
        return made[-1]

    yield memory if request.param == "memory" else sqlite
    for ledger in made:
        ledger.close()


@pytest.fixture
def ledger(make: Make) -> Ledger:
    return make()


def test_an_upload_is_handled_and_its_answer_given(ledger: Ledger) -> None:
    handler = Handler()
    assert ledger.run_once(upload(), handler) == GOOD
    assert handler.calls == 1


@pytest.mark.parametrize("body", [b"", b'{"a": "\xe7\x8c\xab"}', bytes(range(256))])
def test_again_the_same_answer_without_the_handler(ledger: Ledger, body: bytes) -> None:
    first, second = Handler(StoredResponse("201 Made", "text/plain; charset=utf-8", body)), Handler(FAILED)
    assert ledger.run_once(upload(), first) == ledger.run_once(upload(), second) == first.answer
    assert (first.calls, second.calls) == (1, 0)


def test_of_calls_at_once_one_handles_and_all_get_its_answer(ledger: Ledger) -> None:
    together = threading.Barrier(8)
    handled: list[int] = []

    def call(number: int) -> StoredResponse:
        def handle() -> StoredResponse:
            handled.append(number)
            return StoredResponse("200 OK", "text/plain", str(number).encode())

        together.wait(20)
        return ledger.run_once(upload(), handle)

    outcomes: list[StoredResponse] = []
    threads = [threading.Thread(target=lambda n=n: outcomes.append(call(n))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(handled) == 1
    assert outcomes == [StoredResponse("200 OK", "text/plain", str(handled[0]).encode())] * 8


def test_other_uploads_go_on_while_one_is_handled(ledger: Ledger) -> None:
    slow = Blocking()
    waiting = Call(ledger, upload("t1"), slow)
    assert slow.started.wait(20)
    assert ledger.run_once(upload("t2"), Handler()) == GOOD
    slow.end.set()
    assert waiting.outcome() == GOOD


def test_who_waits_handles_when_the_first_has_failed(ledger: Ledger) -> None:
    failing, second = Blocking(FAILED), Handler()
    first = Call(ledger, upload(), failing)
    assert failing.started.wait(20)
    waiting = Call(ledger, upload(), second)
    failing.end.set()
    assert (first.outcome(), waiting.outcome()) == (FAILED, GOOD)
    assert second.calls == 1


def test_a_handler_that_raises_leaves_the_upload_unhandled(ledger: Ledger) -> None:
    def raises() -> StoredResponse:
        raise KeyError("its own")

    with pytest.raises(KeyError, match="its own"):
        ledger.run_once(upload(), raises)
    again = Handler()
    assert ledger.run_once(upload(), again) == GOOD
    assert again.calls == 1


@pytest.mark.parametrize("status", ["500 Internal Server Error", "302 Found", "404 Not Found", "", "1"])
def test_an_answer_that_is_not_good_is_given_but_not_kept(ledger: Ledger, status: str) -> None:
    failed = Handler(StoredResponse(status, "text/plain", b"no"))
    assert ledger.run_once(upload(), failed) == failed.answer
    assert ledger.run_once(upload(), failed) == failed.answer
    assert failed.calls == 2
    assert ledger.run_once(upload(object="another"), Handler()) == GOOD


@pytest.mark.parametrize("other", ["a", "z", "user/猫", "user/猫 1.png "])
def test_a_ticket_serves_one_object(ledger: Ledger, other: str) -> None:
    ledger.run_once(upload(), Handler())
    ledger.run_once(upload(etag="another"), Handler())
    handler = Handler()
    with pytest.raises(TicketUsedError) as caught:
        ledger.run_once(upload(object=other), handler)
    assert caught.value.reason == "ticket_used"
    assert handler.calls == 0
    assert ledger.run_once(upload(), handler) == GOOD


def test_the_same_object_with_another_etag_is_another_upload(ledger: Ledger) -> None:
    first, second = Handler(), Handler(StoredResponse("200 OK", "text/plain", b"second"))
    ledger.run_once(upload(etag="1"), first)
    assert ledger.run_once(upload(etag="2"), second) == second.answer
    assert ledger.run_once(upload(etag="1"), second) == GOOD
    assert (first.calls, second.calls) == (1, 1)


def test_another_etag_does_not_wait(ledger: Ledger) -> None:
    slow = Blocking()
    waiting = Call(ledger, upload(etag="1"), slow)
    assert slow.started.wait(20)
    assert ledger.run_once(upload(etag="2"), Handler()) == GOOD
    slow.end.set()
    assert waiting.outcome() == GOOD


@pytest.mark.parametrize(("first", "handled"), [(GOOD, 0), (FAILED, 1)], ids=["used", "failed"])
def test_the_outcome_decides_for_another_object_at_the_same_time(
    ledger: Ledger, first: StoredResponse, handled: int
) -> None:
    slow, other = Blocking(first), Handler()
    call = Call(ledger, upload(object="one"), slow)
    assert slow.started.wait(20)
    waiting = Call(ledger, upload(object="two"), other)
    slow.end.set()
    assert call.outcome() == first
    assert isinstance(waiting.outcome(), TicketUsedError if first is GOOD else StoredResponse)
    assert other.calls == handled


@pytest.mark.parametrize("object", ["user/猫 1.png", "another"])
def test_patience_ends(make: Make, object: str) -> None:  # noqa: A002
    ledger = make(wait_timeout=0.02)
    slow, handler = Blocking(), Handler()
    call = Call(ledger, upload(), slow)
    assert slow.started.wait(20)
    with pytest.raises(LedgerUnavailableError) as caught:
        ledger.run_once(upload(object=object), handler)
    assert caught.value.reason == "ledger_busy"
    slow.end.set()
    assert call.outcome() == GOOD
    assert handler.calls == 0
    assert ledger.run_once(upload(), handler) == GOOD


def test_what_has_expired_leaves(ledger: Ledger, clock: FrozenClock) -> None:
    ledger.run_once(upload("t1"), Handler())
    ledger.run_once(upload("t2", expires=NOW + 900), Handler())
    clock.advance(300)
    ledger.run_once(upload("t3", expires=NOW + 900), Handler())
    again = Handler()
    ledger.run_once(upload("t1"), again)
    assert again.calls == 0
    clock.advance(1)
    ledger.run_once(upload("t4", expires=NOW + 900), Handler())
    ledger.run_once(upload("t1", expires=NOW + 900), again)
    ledger.run_once(upload("t2"), again)
    assert again.calls == 1


def test_who_waits_in_memory_is_woken_and_does_not_wait_for_its_patience_to_end(clock: FrozenClock) -> None:
    ledger = MemoryLedger(clock=clock, wait_timeout=3600.0)
    slow = Blocking()
    call = Call(ledger, upload(), slow)
    assert slow.started.wait(20)
    waiting = Call(ledger, upload(), Handler(FAILED))
    while not ledger._changed._waiters:  # type: ignore[attr-defined]
        assert waiting.is_alive()
    slow.end.set()
    assert call.outcome() == waiting.outcome() == GOOD


def full(clock: FrozenClock, **options: int) -> MemoryLedger:
    ledger = MemoryLedger(clock=clock, **options)
    for number, expires in enumerate([NOW + 30, NOW + 10, NOW + 20, NOW + 40]):
        ledger.run_once(upload(f"t{number}", expires=expires), Handler())
    return ledger


@pytest.mark.parametrize("options", [{"max_uploads": 2}, {"max_bytes": 2 * len(GOOD.body)}])
def test_a_full_memory_loses_what_expires_soonest_and_says_so_once(
    clock: FrozenClock, options: dict[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    ledger = full(clock, **options)
    assert len(ledger) == 2
    kept = Handler()
    ledger.run_once(upload("t0"), kept)
    ledger.run_once(upload("t3"), kept)
    assert kept.calls == 0
    ledger.run_once(upload("t1"), kept)
    assert kept.calls == 1
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_full_memory_loses_nothing_that_is_being_handled(clock: FrozenClock) -> None:
    ledger = MemoryLedger(clock=clock, max_uploads=1)
    slow = Blocking()
    call = Call(ledger, upload("slow", expires=NOW + 900), slow)
    assert slow.started.wait(20)
    for number in range(3):
        ledger.run_once(upload(f"t{number}"), Handler())
    second = Call(ledger, upload("slow"), Handler(FAILED))
    slow.end.set()
    assert call.outcome() == second.outcome() == GOOD


def test_an_answer_larger_than_the_memory_drives_nothing_out(
    clock: FrozenClock, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = MemoryLedger(clock=clock, max_bytes=100)
    ledger.run_once(upload("t1"), Handler())
    large = Handler(StoredResponse("200 OK", "text/plain", bytes(101)))
    assert ledger.run_once(upload("t2"), large) == large.answer
    assert len(ledger) == 1
    assert len(caplog.records) == 1


def test_memory_forgets_all_that_has_expired(clock: FrozenClock) -> None:
    ledger = full(clock)
    clock.advance(41)
    ledger.run_once(upload("last"), Handler(FAILED))
    assert len(ledger) == 0
    assert (ledger._tickets, ledger._bytes) == ({}, 0)
