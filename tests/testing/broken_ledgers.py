"""Copies of MemoryLedger that each break one claim of the contract, for test_ledger_contract.py.

That test runs the contract on each class here in a process of its own; pytest does not collect this file by itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, ClassVar

import pytest

from oss_wsgi.exceptions import LedgerUnavailableError
from oss_wsgi.ledger import base
from oss_wsgi.ledger.base import Found, Handle, StoredResponse, UploadIdentity, busy_error, ticket_used_error
from oss_wsgi.ledger.memory import MemoryLedger
from oss_wsgi.ledger.steady_time import MARGIN
from oss_wsgi.testing import ledger_contract
from oss_wsgi.testing.ledger_contract import LedgerContract


class ArrivingCall(ledger_contract.Call):
    """A call whose ``start`` returns once it has come as far as it can, also on a busy machine."""

    def start(self) -> None:
        super().start()
        for _ in range(200):
            if self._has_arrived():
                break
            time.sleep(0.01)

    def _has_arrived(self) -> bool:
        ledger = self._ledger
        assert isinstance(ledger, MemoryLedger)
        is_handling = isinstance(self._handler, ledger_contract.BlockingHandler) and self._handler.started.is_set()
        is_waiting = ledger._gate._taken.get(ledger._place(self._upload)) is not None
        return is_handling or is_waiting or not self.is_alive()


class Broken(LedgerContract):
    """The contract for ``Ledger`` with its ``Gate``; the tests in ``failing`` must fail, and no others."""

    Ledger: ClassVar[type[MemoryLedger]] = MemoryLedger
    Gate: ClassVar[type[base.Gate]] = base.Gate
    failing: ClassVar[set[str]]

    @pytest.fixture(autouse=True)
    def calls_arrive(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ledger_contract, "Call", ArrivingCall)
        # What a broken ledger never does is waited for in vain.
        monkeypatch.setattr(ledger_contract, "DEADLINE", 10.0)

    def make_ledger(self, *, clock: Callable[[], float], wait_timeout: float) -> MemoryLedger:
        ledger = self.Ledger(clock=clock, wait_timeout=wait_timeout)
        ledger._gate = self.Gate(wait_timeout)
        return ledger


Broken.__test__ = False


# One upload.


class TestHandlesEverythingTwice(Broken):
    failing: ClassVar = {
        "test_a_repeated_report_gets_the_stored_response",
        "test_a_failed_response_is_returned_but_not_stored",
        "test_an_exception_propagates_and_leaves_nothing",
        "test_a_call_that_forbids_overwriting_is_refused_after_one_that_allows_it",
        "test_failed_uploads_do_not_use_their_ticket",
        "test_a_ticket_for_several_objects_handles_each_once",
        "test_a_ticket_for_several_objects_refuses_one_more",
        "test_the_count_of_a_ticket_is_that_of_objects",
        "test_racing_objects_use_the_ticket_up",
        "test_one_of_many_concurrent_calls_handles",
        "test_a_waiting_call_handles_after_a_failure",
        "test_another_etag_is_handled_too",
        "test_an_upload_in_parts_must_have_an_expected_checksum",
        "test_a_response_is_forgotten_some_time_after_its_ticket",
    }

    class Ledger(MemoryLedger):
        def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
            return super().run_once(identity, lambda transaction: (handle(transaction), handle(transaction))[1])


class TestLosesParametersOfTheContentType(Broken):
    failing: ClassVar = {"test_a_repeated_report_gets_the_stored_response"}

    class Ledger(MemoryLedger):
        def _store(self, identity: UploadIdentity, response: StoredResponse) -> None:
            super()._store(identity, response._replace(content_type=response.content_type.partition(";")[0]))


class TestStoresTextOnly(Broken):
    failing: ClassVar = {"test_a_repeated_report_gets_the_stored_response"}

    class Ledger(MemoryLedger):
        def _store(self, identity: UploadIdentity, response: StoredResponse) -> None:
            super()._store(identity, response._replace(body=response.body.decode("utf-8", "replace").encode()))


class TestStoresRedirects(Broken):
    failing: ClassVar = {"test_a_failed_response_is_returned_but_not_stored"}

    class Ledger(MemoryLedger):
        def _run(self, identity: UploadIdentity, handle: Handle, patience: float) -> StoredResponse:
            response = super()._run(identity, handle, patience)
            if response.status[:1] == "3":
                self._store(identity, response)
            return response


class TestReplacesExceptions(Broken):
    failing: ClassVar = {
        "test_an_exception_propagates_and_leaves_nothing",
        "test_failed_uploads_do_not_use_their_ticket",
        "test_a_waiting_call_handles_after_a_failure",
    }

    class Ledger(MemoryLedger):
        def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
            try:
                return super().run_once(identity, handle)
            except KeyError:
                return ledger_contract.FAILURE


class TestStoresASuccessAfterAnException(Broken):
    failing: ClassVar = {
        "test_an_exception_propagates_and_leaves_nothing",
        "test_failed_uploads_do_not_use_their_ticket",
        "test_a_waiting_call_handles_after_a_failure",
    }

    class Ledger(MemoryLedger):
        def _run(self, identity: UploadIdentity, handle: Handle, patience: float) -> StoredResponse:
            try:
                return super()._run(identity, handle, patience)
            except KeyError:
                self._store(identity, ledger_contract.SUCCESS)
                raise


class TestStaysLockedAfterSystemExit(Broken):
    failing: ClassVar = {"test_an_exception_propagates_and_leaves_nothing"}

    class Ledger(MemoryLedger):
        def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
            try:
                return super().run_once(identity, handle)
            except SystemExit:
                self._gate.enter(self._place(identity), 0.0)
                raise


# Several uploads of a ticket.


class TestIgnoresTheETag(Broken):
    failing: ClassVar = {
        "test_another_etag_is_another_upload",
        "test_a_ticket_that_forbids_overwriting_refuses_another_etag",
        "test_a_call_that_forbids_overwriting_is_refused_after_one_that_allows_it",
        "test_the_count_of_a_ticket_is_that_of_objects",
        "test_a_ticket_may_wait_again_after_its_waiting_call",
        "test_another_upload_of_the_ticket_waits_and_is_refused",
        "test_another_etag_is_handled_too",
        "test_len_counts_the_stored_responses",
        "test_known_returns_the_pairs_that_were_handled",
    }

    class Ledger(MemoryLedger):
        def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
            return super().run_once(identity._replace(etag=""), handle)


class TestAllowsAnotherETagAlways(Broken):
    failing: ClassVar = {
        "test_a_ticket_that_forbids_overwriting_refuses_another_etag",
        "test_a_call_that_forbids_overwriting_is_refused_after_one_that_allows_it",
        "test_another_upload_of_the_ticket_waits_and_is_refused",
    }

    class Ledger(MemoryLedger):
        def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
            return super().run_once(identity._replace(forbid_overwrite=False), handle)


class TestRefusesAnotherETagAlways(Broken):
    failing: ClassVar = {
        "test_another_etag_is_another_upload",
        "test_a_call_that_forbids_overwriting_is_refused_after_one_that_allows_it",
        "test_a_used_ticket_refuses_another_object",
        "test_the_count_of_a_ticket_is_that_of_objects",
        "test_a_ticket_may_wait_again_after_its_waiting_call",
        "test_another_etag_is_handled_too",
        "test_len_counts_the_stored_responses",
        "test_nothing_is_expected_of_a_ticket_that_was_handled",
    }

    class Ledger(MemoryLedger):
        def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
            return super().run_once(identity._replace(forbid_overwrite=True), handle)


class TestDoesNotCount(Broken):
    failing: ClassVar = {
        "test_a_used_ticket_refuses_another_object",
        "test_a_ticket_for_several_objects_refuses_one_more",
        "test_the_count_of_a_ticket_is_that_of_objects",
        "test_a_closed_ledger_still_knows_the_count",
        "test_racing_objects_use_the_ticket_up",
        "test_another_upload_of_the_ticket_waits_and_is_refused",
    }

    class Ledger(MemoryLedger):
        def _find(self, identity: UploadIdentity) -> Found:
            return super()._find(identity)._replace(objects=0)


class TestCountsETags(Broken):
    failing: ClassVar = {"test_the_count_of_a_ticket_is_that_of_objects"}

    class Ledger(MemoryLedger):
        def _find(self, identity: UploadIdentity) -> Found:
            stored = self._use(identity.ticket).objects.values()
            return super()._find(identity)._replace(objects=sum(len(responses) for responses in stored))


class TestCountsFailures(Broken):
    failing: ClassVar = {
        "test_failed_uploads_do_not_use_their_ticket",
        "test_a_waiting_call_handles_after_a_failure",
    }

    class Ledger(MemoryLedger):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self._begun: dict[str, set[str]] = {}

        def _run(self, identity: UploadIdentity, handle: Handle, patience: float) -> StoredResponse:
            begun = self._begun.setdefault(identity.ticket, set())
            if len(begun | {identity.object}) > identity.max_objects:
                raise ticket_used_error(identity.max_objects)
            begun.add(identity.object)
            return super()._run(identity, handle, patience)


class TestAllowsOneObject(Broken):
    failing: ClassVar = {
        "test_a_ticket_for_several_objects_handles_each_once",
        "test_a_ticket_for_several_objects_refuses_one_more",
        "test_the_count_of_a_ticket_is_that_of_objects",
        "test_failed_uploads_do_not_use_their_ticket",
        "test_a_closed_ledger_still_knows_the_count",
        "test_objects_of_one_ticket_do_not_wait_for_each_other",
        "test_each_object_of_a_ticket_may_have_a_waiting_call",
        "test_racing_objects_use_the_ticket_up",
    }

    class Ledger(MemoryLedger):
        def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
            return super().run_once(identity._replace(max_objects=1), handle)


# Concurrent calls.


class TestHandlesConcurrently(Broken):
    failing: ClassVar = {
        "test_each_object_of_a_ticket_may_have_a_waiting_call",
        "test_one_of_many_concurrent_calls_handles",
        "test_one_call_waits_for_a_ticket_and_others_are_refused_at_once",
        "test_a_call_that_may_not_wait_is_refused_at_once",
        "test_a_ticket_may_wait_again_after_its_waiting_call",
        "test_a_concurrent_call_waits_for_the_response",
        "test_another_upload_of_the_ticket_waits_and_is_refused",
        "test_a_waiting_call_ends_with_ledger_busy",
    }

    class Ledger(MemoryLedger):
        def _place(self, identity: UploadIdentity) -> Hashable:
            return object()


class TestHandlesObjectsOfATicketConcurrently(Broken):
    failing: ClassVar = {
        "test_one_call_waits_for_a_ticket_and_others_are_refused_at_once",
        "test_a_call_that_may_not_wait_is_refused_at_once",
        "test_another_upload_of_the_ticket_waits_and_is_refused",
        "test_a_waiting_call_ends_with_ledger_busy",
    }

    class Ledger(MemoryLedger):
        def _place(self, identity: UploadIdentity) -> Hashable:
            return identity.ticket, identity.object


class TestHandlesOneObjectOfATicketAtATime(Broken):
    failing: ClassVar = {
        "test_objects_of_one_ticket_do_not_wait_for_each_other",
        "test_each_object_of_a_ticket_may_have_a_waiting_call",
        "test_racing_objects_use_the_ticket_up",
    }

    class Ledger(MemoryLedger):
        def _place(self, identity: UploadIdentity) -> Hashable:
            return identity.ticket


class TestHandlesOneUploadAtATime(Broken):
    failing: ClassVar = {
        "test_objects_of_one_ticket_do_not_wait_for_each_other",
        "test_each_object_of_a_ticket_may_have_a_waiting_call",
        "test_racing_objects_use_the_ticket_up",
        "test_another_ticket_does_not_wait",
    }

    class Ledger(MemoryLedger):
        def _place(self, identity: UploadIdentity) -> Hashable:
            return "the only place"


class TestDoesNotWait(Broken):
    failing: ClassVar = {
        "test_each_object_of_a_ticket_may_have_a_waiting_call",
        "test_one_call_waits_for_a_ticket_and_others_are_refused_at_once",
        "test_a_ticket_may_wait_again_after_its_waiting_call",
        "test_a_concurrent_call_waits_for_the_response",
        "test_a_waiting_call_handles_after_a_failure",
        "test_another_upload_of_the_ticket_waits_and_is_refused",
        "test_another_etag_is_handled_too",
    }

    class Ledger(MemoryLedger):
        def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
            return super().run_once(identity._replace(may_wait=False), handle)


class TestMakesBrowsersWait(Broken):
    failing: ClassVar = {"test_a_call_that_may_not_wait_is_refused_at_once"}

    class Ledger(MemoryLedger):
        def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
            return super().run_once(identity._replace(may_wait=True), handle)


class TestWaitsWithoutEnd(Broken):
    failing: ClassVar = {"test_a_waiting_call_ends_with_ledger_busy"}

    class Gate(base.Gate):
        def enter(self, place: Hashable, patience: float) -> bool:
            return super().enter(place, threading.TIMEOUT_MAX if patience else 0.0)


class TestLetsEveryCallWait(Broken):
    failing: ClassVar = {"test_one_call_waits_for_a_ticket_and_others_are_refused_at_once"}

    class Gate(base.Gate):
        def enter(self, place: Hashable, patience: float) -> bool:
            end = time.monotonic() + patience
            while True:
                try:
                    return super().enter(place, patience)
                except LedgerUnavailableError:
                    if time.monotonic() >= end:
                        raise
                    time.sleep(0.01)


class TestLetsOneCallWait(Broken):
    failing: ClassVar = {"test_each_object_of_a_ticket_may_have_a_waiting_call"}

    class Gate(base.Gate):
        def enter(self, place: Hashable, patience: float) -> bool:
            return super().enter(place, 0.0 if any(list(self._taken.values())) else patience)


class TestNeverLetsATicketWaitAgain(Broken):
    failing: ClassVar = {"test_a_ticket_may_wait_again_after_its_waiting_call"}

    class Gate(base.Gate):
        def __init__(self, wait_timeout: float) -> None:
            super().__init__(wait_timeout)
            self._waited_for: set[Hashable] = set()

        def enter(self, place: Hashable, patience: float) -> bool:
            has_waited = super().enter(place, 0.0 if place in self._waited_for else patience)
            if has_waited:
                self._waited_for.add(place)
            return has_waited


class TestHandlesAgainAfterWaiting(Broken):
    failing: ClassVar = {
        "test_each_object_of_a_ticket_may_have_a_waiting_call",
        "test_one_of_many_concurrent_calls_handles",
        "test_one_call_waits_for_a_ticket_and_others_are_refused_at_once",
        "test_a_ticket_may_wait_again_after_its_waiting_call",
        "test_a_concurrent_call_waits_for_the_response",
        "test_another_upload_of_the_ticket_waits_and_is_refused",
    }

    class Ledger(MemoryLedger):
        def _run(self, identity: UploadIdentity, handle: Handle, patience: float) -> StoredResponse:
            has_waited = 0.0 < patience < self._wait_timeout
            return handle(None) if has_waited else super()._run(identity, handle, patience)


class TestGivesAnotherReason(Broken):
    failing: ClassVar = {
        "test_one_call_waits_for_a_ticket_and_others_are_refused_at_once",
        "test_a_call_that_may_not_wait_is_refused_at_once",
        "test_a_waiting_call_ends_with_ledger_busy",
    }

    class Ledger(MemoryLedger):
        def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
            try:
                return super().run_once(identity, handle)
            except LedgerUnavailableError as error:
                raise LedgerUnavailableError("ledger_unavailable", error.hint) from error


class TestRefusesWhatIsStoredWhereOthersAsk(Broken):
    failing: ClassVar = {"test_many_at_once_get_what_is_stored"}

    class Ledger(MemoryLedger):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self._is_refusing = threading.Event()

        def _find(self, identity: UploadIdentity) -> Found:
            if not identity.may_wait:  # a slow look: others ask meanwhile
                self._is_refusing.wait(5)
            return super()._find(identity)

        def _stored_response(self, identity: UploadIdentity) -> StoredResponse | None:
            self._is_refusing.set()
            return None


# Uploads in parts.


class TestIgnoresChecksums(Broken):
    failing: ClassVar = {
        "test_an_upload_in_parts_must_have_an_expected_checksum",
        "test_a_damaged_object_stays_refused_after_a_failure",
    }

    class Ledger(MemoryLedger):
        def expect(self, ticket: str, checksum: int, expires: int) -> None:
            return


class TestExpectsTheLastChecksumAlone(Broken):
    failing: ClassVar = {"test_an_upload_in_parts_must_have_an_expected_checksum"}

    class Ledger(MemoryLedger):
        def expect(self, ticket: str, checksum: int, expires: int) -> None:
            self._use(ticket).checksums.clear()
            super().expect(ticket, checksum, expires)


class TestExpectsForEver(Broken):
    failing: ClassVar = {"test_nothing_is_expected_of_a_ticket_that_was_handled"}

    class Ledger(MemoryLedger):
        def _store(self, identity: UploadIdentity, response: StoredResponse) -> None:
            expected = set(self._use(identity.ticket).checksums)
            super()._store(identity, response)
            self._use(identity.ticket).checksums |= expected


class TestCutsChecksumsTo63Bits(Broken):
    failing: ClassVar = {"test_an_upload_in_parts_must_have_an_expected_checksum"}

    class Ledger(MemoryLedger):
        def expect(self, ticket: str, checksum: int, expires: int) -> None:
            super().expect(ticket, checksum % 2**63, expires)


class TestExpectsTheSameOfAllTickets(Broken):
    failing: ClassVar = {"test_what_is_expected_of_one_ticket_is_not_expected_of_another"}

    class Ledger(MemoryLedger):
        def _find(self, identity: UploadIdentity) -> Found:
            expected = [use.checksums for use in self._tickets.values()]
            return super()._find(identity)._replace(checksums=set().union(*expected))


class TestExpectsNothingAfterAFailure(Broken):
    failing: ClassVar = {"test_a_damaged_object_stays_refused_after_a_failure"}

    class Ledger(MemoryLedger):
        def _run(self, identity: UploadIdentity, handle: Handle, patience: float) -> StoredResponse:
            response = super()._run(identity, handle, patience)
            self._use(identity.ticket).checksums.clear()
            return response


# Sweeps.


class TestLetsManyHoldALock(Broken):
    failing: ClassVar = {"test_a_lock_is_held_by_one"}

    class Ledger(MemoryLedger):
        def hold(self, name: str) -> AbstractContextManager[None]:
            return nullcontext()


class TestHandlesNothingWhileALockIsHeld(Broken):
    failing: ClassVar = {"test_uploads_are_handled_while_a_lock_is_held"}

    class Ledger(MemoryLedger):
        def _run(self, identity: UploadIdentity, handle: Handle, patience: float) -> StoredResponse:
            if ("held", "a") in self._gate._taken:
                raise busy_error()
            return super()._run(identity, handle, patience)


class TestForgetsTextsWhenClosed(Broken):
    failing: ClassVar = {"test_a_saved_text_survives"}

    class Ledger(MemoryLedger):
        def close(self) -> None:
            self._texts.clear()


# A store that cannot be written to.


class TestNoticesTooLateThatItCannotStore(Broken):
    failing: ClassVar = {"test_a_ledger_that_cannot_store_refuses_before_the_handler"}

    class Ledger(MemoryLedger):
        is_writable = True

        def _store(self, identity: UploadIdentity, response: StoredResponse) -> None:
            self.check()
            super()._store(identity, response)

        def check(self) -> None:
            if not self.is_writable:
                raise LedgerUnavailableError("ledger_unavailable", "nothing can be written")

    @contextmanager
    def unwritable(self, ledger: base.Ledger) -> Iterator[None]:
        assert isinstance(ledger, self.Ledger)
        ledger.is_writable = False
        yield
        ledger.is_writable = True


# Expiry.


class TestForgetsByTheClock(Broken):
    failing: ClassVar = {"test_a_clock_that_jumps_and_comes_back_forgets_nothing"}

    class Ledger(MemoryLedger):
        early = 0

        def _remove_expired(self) -> None:
            while self._expiries and self._soonest().expires - self.early < self._clock():
                self._remove_soonest()


class TestForgetsTooEarly(Broken):
    failing: ClassVar = {
        "test_a_response_is_stored_until_its_ticket_expires",
        "test_a_clock_that_jumps_and_comes_back_forgets_nothing",
    }

    class Ledger(TestForgetsByTheClock.Ledger):
        early = 1


class TestForgetsWithoutAMargin(Broken):
    failing: ClassVar = {
        "test_a_clock_that_jumps_and_comes_back_forgets_nothing",
        "test_a_response_stored_by_a_wrong_clock_stays",
    }

    class Ledger(MemoryLedger):
        def _remove_expired(self) -> None:
            while self._expiries and self._expiries[0] - MARGIN < self._look_at_clock().seconds:
                self._remove_soonest()


class TestNeverForgets(Broken):
    failing: ClassVar = {"test_a_response_is_forgotten_some_time_after_its_ticket"}

    class Ledger(MemoryLedger):
        def _remove_expired(self) -> None:
            return


class TestForgetsEverythingAtAnExpiry(Broken):
    failing: ClassVar = {"test_a_response_is_forgotten_some_time_after_its_ticket"}

    class Ledger(MemoryLedger):
        def _remove_expired(self) -> None:
            before = len(self)
            super()._remove_expired()
            while len(self) < before and self._expiries:
                self._remove_soonest()


# What operators use.


class TestCountsTickets(Broken):
    failing: ClassVar = {"test_len_counts_the_stored_responses"}

    class Ledger(MemoryLedger):
        def __len__(self) -> int:
            return sum(bool(use.objects) for use in self._tickets.values())


class TestKnowsWhatIsBeingHandled(Broken):
    failing: ClassVar = {"test_known_returns_the_pairs_that_were_handled"}

    class Ledger(MemoryLedger):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self._handling: set[tuple[str, str]] = set()

        def known(self, pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
            asked = set(pairs)
            return super().known(asked) | (asked & self._handling)

        def _run(self, identity: UploadIdentity, handle: Handle, patience: float) -> StoredResponse:
            self._handling.add((identity.object, identity.etag))
            try:
                return super()._run(identity, handle, patience)
            finally:
                self._handling.remove((identity.object, identity.etag))


class TestKnowsByTheObjectAlone(Broken):
    failing: ClassVar = {"test_known_returns_the_pairs_that_were_handled"}

    class Ledger(MemoryLedger):
        def known(self, pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
            objects = {name for use in self._tickets.values() for name in use.objects}
            return {pair for pair in pairs if pair[0] in objects}


class TestChecksByStoring(Broken):
    failing: ClassVar = {"test_check_succeeds_and_stores_nothing"}

    class Ledger(MemoryLedger):
        def check(self) -> None:
            self._store(ledger_contract.identity("check"), ledger_contract.SUCCESS)


class TestForgetsWhenClosed(Broken):
    failing: ClassVar = {
        "test_a_closed_ledger_still_knows_the_count",
        "test_a_damaged_object_stays_refused_after_a_failure",
        "test_a_closed_ledger_opens_again_with_its_responses",
    }

    class Ledger(MemoryLedger):
        def close(self) -> None:
            while self._expiries:
                self._remove_soonest()
