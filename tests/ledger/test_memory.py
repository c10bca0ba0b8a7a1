"""MemoryLedger: the contract, and what it forgets when it is full."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from oss_wsgi.exceptions import LedgerUnavailableError, TicketUsedError
from oss_wsgi.ledger import base
from oss_wsgi.ledger.base import StoredResponse
from oss_wsgi.ledger.memory import MemoryLedger
from oss_wsgi.ledger.steady_time import MARGIN, MAX_STEP

from ..support.ledger_programs import POSIX, output, start
from .contract import (
    DEADLINE,
    FAILURE,
    NOW,
    SUCCESS,
    BlockingHandler,
    Call,
    Handler,
    LedgerClock,
    LedgerContract,
    handling,
    identity,
    let_time_pass,
    waiting_call,
)


@pytest.fixture
def clock() -> LedgerClock:
    return LedgerClock()


class TestContract(LedgerContract):
    def make_ledger(self, *, clock: Callable[[], float], wait_timeout: float) -> MemoryLedger:
        return MemoryLedger(clock=clock, wait_timeout=wait_timeout)


def test_a_call_that_waits_in_vain_says_for_how_long(clock: LedgerClock) -> None:
    ledger = MemoryLedger(clock=clock, wait_timeout=0.02)
    with handling(ledger, identity(), BlockingHandler(FAILURE)):
        with pytest.raises(LedgerUnavailableError, match=r"after 0\.02 s"):
            ledger.run_once(identity(), Handler())
    assert ledger.run_once(identity(), Handler()) == SUCCESS, "nobody waits, so the ticket is free"


@pytest.mark.parametrize("moment", ["too late", "interrupted", "interrupted too late"])
def test_however_a_wait_ends_the_ticket_is_free_afterwards(
    clock: LedgerClock, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    waits = threading.Event()

    class Lock:
        """A lock whose wait ends at a certain moment: too late is when it has just been acquired."""

        def __init__(self) -> None:
            self.lock = threading.Lock()
            self.release = self.lock.release

        def acquire(self, timeout: float = -1) -> None:
            if timeout < 0 or "late" in moment:
                waits.set()
                self.lock.acquire()
            if timeout >= 0 and "interrupted" in moment:
                waits.set()
                raise KeyboardInterrupt

    ledger = MemoryLedger(clock=clock, wait_timeout=DEADLINE)
    monkeypatch.setattr(base, "threading", SimpleNamespace(Lock=Lock))
    with handling(ledger, identity(), BlockingHandler(FAILURE)):
        call = Call(ledger, identity(), Handler())
        assert waits.wait(DEADLINE)
        if moment == "interrupted":
            call.outcome()
            assert ledger.begin_once(identity(), Handler()) is None, "the other call goes on"
    outcome = call.outcome()
    assert isinstance(outcome, KeyboardInterrupt) if "interrupted" in moment else outcome == SUCCESS
    assert ledger.run_once(identity(may_wait=False), Handler()) == SUCCESS


def test_a_turn_that_was_waited_for_is_taken(clock: LedgerClock) -> None:
    ledger = MemoryLedger(clock=clock, wait_timeout=DEADLINE)
    handler = BlockingHandler()
    with handling(ledger, identity(), BlockingHandler(FAILURE)):
        call = waiting_call(ledger, clock, identity(), handler)
    assert handler.started.wait(DEADLINE)
    assert ledger.begin_once(identity(), Handler()) is None
    handler.release.set()
    assert call.outcome() == SUCCESS


def fill(ledger: MemoryLedger) -> MemoryLedger:
    for number, expires in enumerate([NOW + 30, NOW + 10, NOW + 20, NOW + 40]):
        ledger.run_once(identity(f"t{number}", expires=expires), Handler())
    return ledger


@pytest.mark.parametrize("options", [{"max_uploads": 2}, {"max_bytes": 2 * len(SUCCESS.body)}], ids=str)
def test_a_full_ledger_forgets_what_expires_soonest_and_warns_once(
    clock: LedgerClock, options: dict[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    clock.advance(20)  # a ticket is still valid in its last second
    ledger = fill(MemoryLedger(clock=clock, **options))  # type: ignore[arg-type]
    assert (len(ledger), len(caplog.records)) == (2, 1)
    handler = Handler()
    ledger.run_once(identity("t0"), handler)
    ledger.run_once(identity("t3"), handler)
    assert handler.calls == 0
    ledger.run_once(identity("t1"), handler)
    assert handler.calls == 1
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_full_ledger_keeps_what_is_being_handled(clock: LedgerClock) -> None:
    ledger = MemoryLedger(clock=clock, max_uploads=1)
    with handling(ledger, identity("slow", expires=NOW + 900), BlockingHandler()) as call:
        for number in range(3):
            ledger.run_once(identity(f"t{number}"), Handler())
        waiting = waiting_call(ledger, clock, identity("slow"), Handler(FAILURE))
    assert call.outcome() == waiting.outcome() == SUCCESS


def test_a_response_larger_than_the_ledger_removes_nothing(
    clock: LedgerClock, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = MemoryLedger(clock=clock, max_bytes=100)
    ledger.run_once(identity("t1"), Handler())
    large = Handler(StoredResponse("200 OK", "text/plain", bytes(101)))
    for _ in range(2):
        assert ledger.run_once(identity("t2"), large) == large.result
    assert len(ledger) == 1
    assert len(caplog.records) == 1
    largest = MemoryLedger(clock=clock, max_bytes=100)
    largest.run_once(identity("t2"), Handler(StoredResponse("200 OK", "text/plain", bytes(100))))
    assert len(largest) == 1


@pytest.mark.parametrize("other", [{"etag": "another"}, {"object": "another"}], ids=str)
def test_a_response_stays_where_another_of_its_object_or_ticket_is_forgotten(
    clock: LedgerClock, other: dict[str, str]
) -> None:
    ledger = MemoryLedger(clock=clock, max_uploads=1)
    ledger.run_once(identity(expires=NOW + 10, max_objects=2), Handler())
    kept = identity(expires=NOW + 20, max_objects=2, **other)  # type: ignore[arg-type]
    assert ledger.run_once(kept, Handler()) == ledger.run_once(kept, Handler(FAILURE)) == SUCCESS


class Text(str):
    """A ticket that tells whether anything still refers to it."""


def test_everything_that_has_expired_leaves_the_memory(clock: LedgerClock) -> None:
    ledger = MemoryLedger(clock=clock)
    tickets: dict[int, weakref.ref[Text]] = {}
    for number, expires in enumerate([NOW + 30, NOW + 10, NOW + 20, NOW + 40]):
        ticket = Text(f"t{number}")
        tickets[number] = weakref.ref(ticket)
        ledger.run_once(identity(ticket, expires=expires), Handler())
        del ticket
    let_time_pass(ledger, clock, MARGIN)
    assert [ticket() for ticket in tickets.values()] == ["t0", "t1", "t2", "t3"]
    let_time_pass(ledger, clock, 300)
    assert len(ledger) == 0
    assert [ticket() for ticket in tickets.values()] == [None] * 4


@pytest.mark.parametrize("options", [{"max_uploads": 4}, {"max_bytes": 4 * len(SUCCESS.body)}], ids=str)
def test_a_full_ledger_forgets_expired_responses_without_a_warning(
    clock: LedgerClock, options: dict[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    ledger = fill(MemoryLedger(clock=clock, **options))  # type: ignore[arg-type]
    clock.advance(41)
    ledger.run_once(identity("valid"), Handler())
    assert len(ledger) == 4
    assert caplog.records == []


def test_by_default_it_holds_10_000_responses_and_16_mib(clock: LedgerClock) -> None:
    ledger = MemoryLedger(clock=clock)
    for number in range(10_001):
        assert len(ledger) == number
        ledger.run_once(identity(f"t{number}"), Handler())
    assert len(ledger) == 10_000
    ledger = MemoryLedger(clock=clock)
    for number in range(17):
        assert len(ledger) == number
        ledger.run_once(identity(f"t{number}"), Handler(StoredResponse("200 OK", "", b"x" * 1024 * 1024)))
    assert len(ledger) == 16


def test_notes_are_forgotten_some_time_after_they_expire(clock: LedgerClock) -> None:
    ledger = MemoryLedger(clock=clock)
    ledger.note([("a", "mark")], NOW + 300)
    ledger.note([("b", "mark")], NOW + 10 * MARGIN)
    assert ledger.known([("a", "mark"), ("b", "mark")]) == {("a", "mark"), ("b", "mark")}
    let_time_pass(ledger, clock, 2 * MARGIN)
    assert ledger.known([("a", "mark"), ("b", "mark")]) == {("b", "mark")}


def test_more_notes_than_fit_remove_no_response_and_no_later_note(clock: LedgerClock) -> None:
    ledger = MemoryLedger(clock=clock, max_uploads=2, max_notes=100)
    ledger.run_once(identity("t1"), Handler())
    ledger.note([("later", "mark")], NOW + 90_000)
    ledger.note([(f"{number}", "mark") for number in range(1000)], NOW + 300)
    assert len(ledger.known((f"{number}", "mark") for number in range(1000))) == 99
    assert ledger.known([("later", "mark")])
    ledger.note([(f"{number}", "much later") for number in range(1000)], NOW + 900_000)
    assert len(ledger.known((f"{number}", "much later") for number in range(1000))) == 100
    assert ledger.run_once(identity("t1"), Handler(FAILURE)) == SUCCESS


def test_no_object_of_a_ticket_for_several_is_overwritten_where_that_is_forbidden(clock: LedgerClock) -> None:
    ledger = MemoryLedger(clock=clock)
    upload = identity(object="a", max_objects=3)._replace(forbid_overwrite=True)
    assert ledger.run_once(upload, Handler()) == SUCCESS
    with pytest.raises(TicketUsedError):
        ledger.run_once(upload._replace(etag="another"), Handler())


def test_an_idle_ledger_holds_little_that_has_expired(clock: LedgerClock) -> None:
    """With an upload an hour the steady time lags, but each look at the clock stores one response at the most."""
    ledger = MemoryLedger(clock=clock)
    for number in range(2000):
        clock.advance(3600)
        ledger.run_once(identity(f"t{number}", expires=int(clock.now) + 12 * 3600), Handler())
    assert len(ledger) <= (12 * 3600 + MARGIN) / MAX_STEP + 2


def test_jumps_of_the_clock_cancel_out_however_many_there_are(clock: LedgerClock) -> None:
    ledger = MemoryLedger(clock=clock)
    ledger.run_once(identity(), Handler())
    for days in range(2 * MARGIN // MAX_STEP):
        for seconds in (days * 86_400, -days * 86_400):
            clock.advance(seconds)
            ledger.run_once(identity("another"), Handler(FAILURE))
    assert len(ledger) == 1


@pytest.mark.slow
@POSIX
def test_parent_and_child_of_a_fork_use_it(tmp_path: Path) -> None:
    code = """
from oss_wsgi.ledger.memory import MemoryLedger
sys.unraisablehook = lambda problem: os._exit(1)
ledger = MemoryLedger(clock=clock)
ledger.run_once(identity(1), lambda _: success("before"))
def handle(transaction):
    child = os.fork()
    assert ledger.run_once(identity(1), None) == success("before")
    if not child:
        assert ledger.run_once(identity(2), lambda _: success("child")) == success("child")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert ledger.begin_once(identity(2), None) is None, "this call has its turn"
    return success("parent")
assert ledger.run_once(identity(2), handle) == success("parent")
"""
    assert output(start(code, tmp_path)) == ""


def test_looks_at_the_clock_within_a_second_add_up(clock: LedgerClock) -> None:
    ledger = MemoryLedger(clock=clock)
    ledger.run_once(identity("first", expires=NOW + 1), Handler())
    for _ in range(MARGIN // 300 + 1):
        for seconds in (298.5, *[0.25] * 6):
            clock.advance(seconds)
            ledger.run_once(identity("another"), Handler(FAILURE))
    assert len(ledger) == 0


def test_a_full_ledger_removes_responses_of_one_second_in_the_order_they_came(clock: LedgerClock) -> None:
    ledger = MemoryLedger(clock=clock, max_uploads=2)
    for number in range(5):
        ledger.run_once(identity(f"t{number}", expires=NOW + 30), Handler())
    again = Handler(FAILURE)
    assert [ledger.run_once(identity(ticket), again) for ticket in ("t3", "t4")] == [SUCCESS] * 2
    assert again.calls == 0
