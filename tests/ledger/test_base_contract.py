"""Each test of the contract fails for a ledger that breaks what it claims."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, ClassVar

import pytest

from oss_wsgi.exceptions import LedgerUnavailableError
from oss_wsgi.ledger.base import Handle, Ledger, StoredResponse, UploadIdentity, busy_error
from oss_wsgi.ledger.memory import MemoryLedger

from . import contract
from .contract import FAILURE, Handler, LedgerClock, LedgerContract, identity

pytestmark = pytest.mark.slow

TESTS = {name for name in vars(LedgerContract) if name.startswith("test_")}


class Broken:
    """A sound ledger in memory, of which each subclass breaks one claim and names the tests that must notice."""

    fails: ClassVar[set[str]] = set()

    def __init__(self, *, clock: Callable[[], float], wait_timeout: float) -> None:
        self.clock, self.wait_timeout = clock, wait_timeout
        self.forget()

    def forget(self) -> None:
        self.sound = MemoryLedger(clock=self.clock, wait_timeout=self.wait_timeout)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sound, name)

    def __len__(self) -> int:
        return len(self.sound)

    def run_once(self, upload: UploadIdentity, handle: Handle) -> StoredResponse:
        return self.sound.run_once(upload, handle)


class HandlesTwice(Broken):
    fails = {
        *("test_a_repeated_report_gets_the_stored_response", "test_another_etag_is_handled_too"),
        *("test_a_ticket_for_several_objects_handles_each_once", "test_one_of_many_concurrent_calls_handles"),
    }

    def run_once(self, upload: UploadIdentity, handle: Handle) -> StoredResponse:
        return super().run_once(upload, lambda transaction: (handle(transaction), handle(transaction))[1])


class StoresFailures(Broken):
    fails = {"test_a_failed_response_is_returned_but_not_stored", "test_failed_uploads_do_not_use_their_ticket"}

    def run_once(self, upload: UploadIdentity, handle: Handle) -> StoredResponse:
        return super().run_once(upload, lambda transaction: handle(transaction)._replace(status="200 OK"))


class ReplacesExceptions(Broken):
    fails = {"test_an_exception_propagates_and_leaves_nothing", "test_a_waiting_call_handles_after_a_failure"}

    def run_once(self, upload: UploadIdentity, handle: Handle) -> StoredResponse:
        try:
            return super().run_once(upload, handle)
        except KeyError:
            return FAILURE


class AllowsAnotherETag(Broken):
    fails = {
        "test_a_call_that_forbids_overwriting_is_refused_after_one_that_allows_it",
        "test_another_upload_of_the_ticket_waits_and_is_refused",
    }

    def run_once(self, upload: UploadIdentity, handle: Handle) -> StoredResponse:
        return super().run_once(upload._replace(forbid_overwrite=False), handle)


class RefusesAnotherETag(Broken):
    fails = {"test_another_etag_is_another_upload"}

    def run_once(self, upload: UploadIdentity, handle: Handle) -> StoredResponse:
        return super().run_once(upload._replace(forbid_overwrite=True), handle)


class CountsNoObjects(Broken):
    fails = {"test_a_used_ticket_refuses_another_object", "test_a_ticket_for_several_objects_refuses_one_more"}

    def run_once(self, upload: UploadIdentity, handle: Handle) -> StoredResponse:
        return super().run_once(upload._replace(max_objects=99), handle)


class AllowsOneObject(Broken):
    fails = {
        *("test_the_count_of_a_ticket_is_that_of_objects", "test_objects_of_one_ticket_do_not_wait_for_each_other"),
        *("test_each_object_of_a_ticket_may_have_a_waiting_call", "test_racing_objects_use_the_ticket_up"),
    }

    def run_once(self, upload: UploadIdentity, handle: Handle) -> StoredResponse:
        return super().run_once(upload._replace(max_objects=1), handle)


class LocksAllTickets(Broken):
    fails = {"test_another_ticket_does_not_wait"}

    def run_once(self, upload: UploadIdentity, handle: Handle) -> StoredResponse:
        return super().run_once(upload._replace(ticket="the only one"), handle)


class WaitsWithoutEnd(Broken):
    fails = {
        "test_one_call_waits_for_a_ticket_and_others_are_refused_at_once",
        "test_a_call_that_may_not_wait_is_refused_at_once",
        "test_a_waiting_call_ends_with_ledger_busy",
    }

    def run_once(self, upload: UploadIdentity, handle: Handle) -> StoredResponse:
        while True:
            try:
                return super().run_once(upload, handle)
            except LedgerUnavailableError:
                time.sleep(0.01)


class RefusesAThirdCall(Broken):
    fails = {"test_a_ticket_may_wait_again_after_its_waiting_call"}

    def forget(self) -> None:
        super().forget()
        self.calls = 0

    def run_once(self, upload: UploadIdentity, handle: Handle) -> StoredResponse:
        self.calls += 1
        if self.calls > 2:
            raise busy_error()
        return super().run_once(upload, handle)


class ReadsOneAtATime(Broken):
    fails = {"test_many_at_once_get_what_is_stored"}

    def forget(self) -> None:
        super().forget()
        self.reading, self.has_refused = threading.Lock(), threading.Event()

    def run_once(self, upload: UploadIdentity, handle: Handle) -> StoredResponse:
        if not self.reading.acquire(blocking=False):
            self.has_refused.set()
            raise busy_error()
        if len(self):  # a slow look: others ask meanwhile
            self.has_refused.wait(60)
        self.reading.release()
        return super().run_once(upload, handle)


class LetsManyHoldALock(Broken):
    fails = {"test_a_lock_is_held_by_one"}

    def hold(self, name: str) -> AbstractContextManager[None]:
        return nullcontext()


class HandlesNothingWhileALockIsHeld(Broken):
    fails = {"test_uploads_are_handled_while_a_lock_is_held"}

    is_held = False

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        with self.sound.hold(name):
            self.is_held = True
            yield
            self.is_held = False

    def run_once(self, upload: UploadIdentity, handle: Handle) -> StoredResponse:
        if self.is_held:
            raise busy_error()
        return super().run_once(upload, handle)


class ForgetsWhenClosed(Broken):
    fails = {
        *("test_a_closed_ledger_opens_again_with_its_responses", "test_a_closed_ledger_still_knows_the_count"),
        *("test_a_saved_text_survives", "test_what_is_noted_is_known_and_is_no_upload"),
    }

    def close(self) -> None:
        self.forget()


class KeepsTheLastExpiryOfANote(Broken):
    fails = {"test_a_note_is_kept_until_it_expires"}

    def note(self, pairs: Iterable[tuple[str, str]], expires: int) -> None:
        self.until = expires
        self.sound.note(pairs, expires)

    def known(self, pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        return self.sound.known(pairs) if self.clock() <= self.until else set()


class NoticesTooLateThatItCannotStore(Broken):
    fails = {"test_a_ledger_that_cannot_store_refuses_before_the_handler"}
    is_writable = True

    def run_once(self, upload: UploadIdentity, handle: Handle) -> StoredResponse:
        def store(transaction: object) -> StoredResponse:
            response = handle(transaction)
            self.check()
            return response

        return super().run_once(upload, store)

    def check(self) -> None:
        if not self.is_writable:
            raise LedgerUnavailableError("ledger_unavailable", "nothing can be written")


class ReturnsWhatItHasNotStored(Broken):
    fails = {"test_a_response_that_is_not_stored_is_not_returned_and_leaves_nothing_locked"}

    def run_once(self, upload: UploadIdentity, handle: Handle) -> StoredResponse:
        return handle(None)


class KnowsNoOtherProcess(Broken):
    fails = {"test_an_upload_that_another_process_handles_is_waited_for", "test_a_lock_ends_with_its_process"}


class BelievesThatAllOthersLive(Broken):
    fails = {"test_an_upload_whose_process_is_killed_is_handled_again"}

    def run_once(self, upload: UploadIdentity, handle: Handle) -> StoredResponse:
        raise busy_error()


class StoresNothingThatSeemsExpired(Broken):
    fails = {
        "test_a_response_is_stored_until_its_ticket_expires",
        "test_a_response_stored_by_a_wrong_clock_stays",
    }

    def run_once(self, upload: UploadIdentity, handle: Handle) -> StoredResponse:
        return handle(None) if self.clock() >= upload.expires else super().run_once(upload, handle)


class ForgetsByTheClock(Broken):
    fails = {"test_a_clock_that_jumps_and_comes_back_forgets_nothing"}
    latest = 0

    def run_once(self, upload: UploadIdentity, handle: Handle) -> StoredResponse:
        if self.clock() > self.latest:
            self.forget()
        self.latest = max(self.latest, upload.expires)
        return super().run_once(upload, handle)


class NeverForgets(Broken):
    fails = {"test_a_response_is_forgotten_some_time_after_its_ticket"}

    def forget(self) -> None:
        self.sound = MemoryLedger(clock=lambda: contract.NOW, wait_timeout=self.wait_timeout)


class CountsRoundly(Broken):
    fails = {"test_len_counts_the_stored_responses"}

    def __len__(self) -> int:
        return 10 * (len(self.sound) // 10)


class KnowsEverything(Broken):
    fails = {"test_known_returns_the_pairs_that_were_handled"}

    def known(self, pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        return set(pairs)


class ChecksByStoring(Broken):
    fails = {"test_check_succeeds_and_stores_nothing"}

    def check(self) -> None:
        self.run_once(identity("check"), Handler())


class Contract(LedgerContract):
    """The contract for a broken ledger."""

    def __init__(self, broken: type[Broken]) -> None:
        self.broken = broken

    def make_ledger(self, *, clock: Callable[[], float], wait_timeout: float) -> Any:
        return self.broken(clock=clock, wait_timeout=wait_timeout)

    @contextmanager
    def unwritable(self, ledger: Ledger) -> Iterator[None]:
        assert isinstance(ledger, NoticesTooLateThatItCannotStore)
        ledger.is_writable = False
        yield
        ledger.is_writable = True

    def failing(self, ledger: Ledger) -> AbstractContextManager[None]:
        return nullcontext()

    def elsewhere(self) -> str:
        return "from oss_wsgi.ledger.memory import MemoryLedger; ledger = MemoryLedger(clock=lambda: 1733227932.0)"


Contract.__test__ = False


def run(broken: type[Broken], name: str) -> None:
    """Run a test of the contract, each row of its table with a ledger of its own, and raise what it raises."""
    made = Contract(broken)
    test = getattr(made, name)
    rows: list[dict[str, Any]] = [{}]
    for mark in (mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"):
        column, values = mark.args
        rows = [{**row, column: value} for row in rows for value in values]
    for row in rows:
        clock = LedgerClock()
        patience = {"ledger": contract.DEADLINE, "impatient_ledger": 0.02}
        ledgers = {each: made.make_ledger(clock=clock, wait_timeout=seconds) for each, seconds in patience.items()}
        given = {"clock": clock, **ledgers, **row}
        test(**{parameter: given[parameter] for parameter in inspect.signature(test).parameters})


def test_each_test_of_the_contract_fails_for_a_ledger_that_breaks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract, "DEADLINE", 4.0)  # some wait for what never happens
    runs = [(broken, name) for broken in Broken.__subclasses__() for name in broken.fails]
    with ThreadPoolExecutor(len(runs)) as pool:
        ends = [pool.submit(run, *each) for each in runs]
    assert [each for each, end in zip(runs, ends, strict=True) if end.exception() is None] == []
    assert {name for _, name in runs} == TESTS
