"""Copies of MemoryLedger that each break one claim of the contract, for test_ledger_contract.py.

That test runs the contract on each class here in a process of its own; pytest does not collect this file by itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import ClassVar

import pytest

from oss_wsgi.exceptions import LedgerUnavailableError
from oss_wsgi.ledger.base import Handle, Ledger, StoredResponse, UploadIdentity, ledger_busy_error, ticket_used_error
from oss_wsgi.ledger.memory import MemoryLedger
from oss_wsgi.testing import ledger_contract
from oss_wsgi.testing.ledger_contract import LedgerContract

# What a broken ledger never does is waited for in vain.
ledger_contract.DEADLINE = 20.0


class Broken(LedgerContract):
    """The contract on ``ledger_class``; the tests ``failing`` must fail, and no others."""

    ledger_class: ClassVar[type[MemoryLedger]]
    failing: ClassVar[set[str]]

    def make_ledger(self, *, clock: Callable[[], float], wait_timeout: float) -> MemoryLedger:
        return self.ledger_class(clock=clock, wait_timeout=wait_timeout)


Broken.__test__ = False


class NoticesTooLateThatItCannotStore(MemoryLedger):
    is_unwritable = False

    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        def handle_in_vain(transaction: object) -> StoredResponse:
            response = handle(transaction)
            self.check()
            return response

        return super().run_once(identity, handle_in_vain)

    def check(self) -> None:
        if self.is_unwritable:
            raise LedgerUnavailableError("ledger_unavailable", "nothing can be written")


class TestNoticesTooLateThatItCannotStore(Broken):
    ledger_class = NoticesTooLateThatItCannotStore
    failing: ClassVar = {"test_a_ledger_that_cannot_store_refuses_before_the_handler"}

    @contextmanager
    def unwritable(self, ledger: Ledger) -> Iterator[None]:
        assert isinstance(ledger, NoticesTooLateThatItCannotStore)
        ledger.is_unwritable = True
        yield
        ledger.is_unwritable = False


class HandlesEverythingTwice(MemoryLedger):
    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        def handle_twice(transaction: object) -> StoredResponse:
            handle(None)
            return handle(None)

        return super().run_once(identity, handle_twice)


class TestHandlesEverythingTwice(Broken):
    ledger_class = HandlesEverythingTwice
    failing: ClassVar = {
        "test_an_upload_is_handled_and_gets_its_response",
        "test_a_failed_response_is_returned_but_not_stored",
        "test_an_exception_propagates_and_leaves_nothing",
        "test_a_failed_upload_does_not_use_its_ticket",
        "test_one_of_many_concurrent_calls_handles",
        "test_a_waiting_call_handles_after_a_failure",
        "test_another_object_of_the_ticket_is_handled_after_a_failure",
        "test_a_response_is_forgotten_some_time_after_its_ticket",
        "test_a_ticket_for_several_objects_handles_each_once",
        "test_failed_uploads_do_not_count",
        "test_one_object_more_is_handled_after_a_failure",
        "test_racing_objects_never_exceed_the_count",
        "test_the_count_of_a_ticket_is_that_of_objects",
    }


class LosesParametersOfTheContentType(MemoryLedger):
    def _finish(self, identity: UploadIdentity, response: StoredResponse | None) -> None:
        if response is not None:
            response = response._replace(content_type=response.content_type.partition(";")[0])
        super()._finish(identity, response)


class TestLosesParametersOfTheContentType(Broken):
    ledger_class = LosesParametersOfTheContentType
    failing: ClassVar = {"test_a_repeated_report_gets_the_stored_response"}


class StoresTextOnly(MemoryLedger):
    def _finish(self, identity: UploadIdentity, response: StoredResponse | None) -> None:
        if response is not None:
            response = response._replace(body=response.body.decode("utf-8", "replace").encode())
        super()._finish(identity, response)


class TestStoresTextOnly(Broken):
    ledger_class = StoresTextOnly
    failing: ClassVar = {"test_a_repeated_report_gets_the_stored_response"}


class StoresRedirects(MemoryLedger):
    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        original: list[StoredResponse] = []

        def handle_as_success(transaction: object) -> StoredResponse:
            original.append(handle(None))
            return original[0]._replace(status="200 OK") if original[0].status[:1] == "3" else original[0]

        response = super().run_once(identity, handle_as_success)
        return original[0] if original else response


class TestStoresRedirects(Broken):
    ledger_class = StoresRedirects
    failing: ClassVar = {"test_a_failed_response_is_returned_but_not_stored"}


class ReplacesExceptions(MemoryLedger):
    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        try:
            return super().run_once(identity, handle)
        except KeyError:
            return ledger_contract.FAILURE


class TestReplacesExceptions(Broken):
    ledger_class = ReplacesExceptions
    failing: ClassVar = {
        "test_an_exception_propagates_and_leaves_nothing",
        "test_a_failed_upload_does_not_use_its_ticket",
        "test_a_waiting_call_handles_after_a_failure",
    }


class KeepsTheClaimAfterSystemExit(MemoryLedger):
    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        def handle_in_vain(transaction: object) -> StoredResponse:
            try:
                return handle(None)
            except SystemExit:
                failed.append(True)
                raise

        failed: list[bool] = []
        try:
            return super().run_once(identity, handle_in_vain)
        finally:
            if failed:
                self._response_or_claim(identity)


class TestKeepsTheClaimAfterSystemExit(Broken):
    ledger_class = KeepsTheClaimAfterSystemExit
    failing: ClassVar = {"test_an_exception_propagates_and_leaves_nothing"}

    @pytest.fixture(autouse=True)
    def short_deadline(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ledger_contract, "DEADLINE", 5.0)


class StoresASuccessAfterAnException(MemoryLedger):
    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        failed: list[bool] = []

        def watched(transaction: object) -> StoredResponse:
            try:
                return handle(None)
            except KeyError:
                failed.append(True)
                raise

        try:
            return super().run_once(identity, watched)
        finally:
            if failed:
                super().run_once(identity, lambda _: ledger_contract.SUCCESS)


class TestStoresASuccessAfterAnException(Broken):
    ledger_class = StoresASuccessAfterAnException
    failing: ClassVar = {
        "test_an_exception_propagates_and_leaves_nothing",
        "test_a_failed_upload_does_not_use_its_ticket",
        "test_a_waiting_call_handles_after_a_failure",
    }


class IgnoresTheETag(MemoryLedger):
    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        return super().run_once(identity._replace(etag=""), handle)


class TestIgnoresTheETag(Broken):
    ledger_class = IgnoresTheETag
    failing: ClassVar = {
        "test_a_call_that_forbids_overwriting_is_refused_after_one_that_allows_it",
        "test_another_etag_is_another_upload",
        "test_another_etag_does_not_wait",
        "test_len_counts_the_stored_responses",
        "test_a_ticket_that_forbids_overwriting_refuses_another_etag",
        "test_another_etag_waits_and_is_refused_where_overwriting_is_forbidden",
        "test_a_ticket_may_wait_again_after_its_waiting_call",
        "test_the_count_of_a_ticket_is_that_of_objects",
        "test_known_returns_the_pairs_that_were_handled",
    }


class AllowsOtherObjects(MemoryLedger):
    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        return super().run_once(identity._replace(ticket=f"{identity.ticket} {identity.object}"), handle)


class TestAllowsOtherObjects(Broken):
    ledger_class = AllowsOtherObjects
    failing: ClassVar = {
        "test_a_call_that_may_not_wait_is_refused_at_once",
        "test_a_used_ticket_refuses_another_object",
        "test_another_object_of_the_ticket_waits_and_is_refused",
        "test_a_waiting_call_ends_with_ledger_busy",
        "test_one_call_waits_for_a_ticket_and_others_are_refused_at_once",
        "test_a_closed_ledger_still_knows_the_count",
        "test_a_ticket_for_several_objects_refuses_one_more",
        "test_one_object_more_than_a_ticket_allows_waits_and_is_refused",
        "test_racing_objects_never_exceed_the_count",
        "test_the_count_of_a_ticket_is_that_of_objects",
    }


class UsesTheTicketAtOnce(MemoryLedger):
    def __init__(self, *, clock: Callable[[], float], wait_timeout: float) -> None:
        super().__init__(clock=clock, wait_timeout=wait_timeout)
        self._objects: dict[str, set[str]] = {}

    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        objects = self._objects.setdefault(identity.ticket, set())
        objects.add(identity.object)
        if len(objects) > identity.max_objects:
            raise ticket_used_error(identity.max_objects)
        return super().run_once(identity, handle)


class TestUsesTheTicketAtOnce(Broken):
    ledger_class = UsesTheTicketAtOnce
    failing: ClassVar = {
        "test_a_call_that_may_not_wait_is_refused_at_once",
        "test_a_failed_upload_does_not_use_its_ticket",
        "test_another_object_of_the_ticket_is_handled_after_a_failure",
        "test_a_waiting_call_ends_with_ledger_busy",
        "test_one_call_waits_for_a_ticket_and_others_are_refused_at_once",
        "test_a_ticket_for_several_objects_refuses_one_more",
        "test_a_used_ticket_refuses_another_object",
        "test_failed_uploads_do_not_count",
        "test_one_object_more_is_handled_after_a_failure",
    }


class AllowsOneObject(MemoryLedger):
    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        return super().run_once(identity._replace(max_objects=1), handle)


class TestAllowsOneObject(Broken):
    ledger_class = AllowsOneObject
    failing: ClassVar = {
        "test_a_closed_ledger_still_knows_the_count",
        "test_a_ticket_for_several_objects_handles_each_once",
        "test_a_ticket_for_several_objects_refuses_one_more",
        "test_each_object_of_a_ticket_may_have_a_waiting_call",
        "test_failed_uploads_do_not_count",
        "test_objects_of_one_ticket_do_not_wait_for_each_other",
        "test_one_object_more_is_handled_after_a_failure",
        "test_one_object_more_than_a_ticket_allows_waits_and_is_refused",
        "test_racing_objects_never_exceed_the_count",
        "test_the_count_of_a_ticket_is_that_of_objects",
    }


class AllowsAnyNumberOfObjects(MemoryLedger):
    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        max_objects = 1 if identity.max_objects == 1 else 1_000_000
        return super().run_once(identity._replace(max_objects=max_objects), handle)


class TestAllowsAnyNumberOfObjects(Broken):
    ledger_class = AllowsAnyNumberOfObjects
    failing: ClassVar = {
        "test_a_closed_ledger_still_knows_the_count",
        "test_a_ticket_for_several_objects_refuses_one_more",
        "test_one_object_more_than_a_ticket_allows_waits_and_is_refused",
        "test_racing_objects_never_exceed_the_count",
        "test_the_count_of_a_ticket_is_that_of_objects",
    }


class CountsETags(MemoryLedger):
    """A ledger that counts the uploads of a ticket for several objects, not the objects."""

    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        if identity.max_objects > 1:
            identity = identity._replace(object=f"{identity.object} {identity.etag}")
        return super().run_once(identity, handle)


class TestCountsETags(Broken):
    ledger_class = CountsETags
    failing: ClassVar = {"test_the_count_of_a_ticket_is_that_of_objects"}


class CountsWhatIsStored(MemoryLedger):
    """A ledger that does not count what is being handled."""

    def _response_or_claim(self, identity: UploadIdentity) -> StoredResponse | bool | None:
        outcome = super()._response_or_claim(identity)
        use = self._tickets[identity.ticket]
        if outcome is None and identity.max_objects > 1 and identity.object not in use.objects:
            return super()._response_or_claim(identity._replace(max_objects=1_000_000))
        return outcome


class TestCountsWhatIsStored(Broken):
    ledger_class = CountsWhatIsStored
    failing: ClassVar = {
        "test_one_object_more_than_a_ticket_allows_waits_and_is_refused",
        "test_racing_objects_never_exceed_the_count",
    }


class HandlesOneObjectOfATicketAtATime(MemoryLedger):
    def _response_or_claim(self, identity: UploadIdentity) -> StoredResponse | bool | None:
        use = self._tickets.get(identity.ticket)
        is_new = use is not None and identity.object not in use.objects
        if is_new and use is not None and use.handling and identity.max_objects > 1:
            return None
        return super()._response_or_claim(identity)


class TestHandlesOneObjectOfATicketAtATime(Broken):
    ledger_class = HandlesOneObjectOfATicketAtATime
    failing: ClassVar = {
        "test_each_object_of_a_ticket_may_have_a_waiting_call",
        "test_objects_of_one_ticket_do_not_wait_for_each_other",
        "test_racing_objects_never_exceed_the_count",
    }

    @pytest.fixture(autouse=True)
    def short_deadline(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ledger_contract, "DEADLINE", 5.0)


class LetsOneCallWaitForATicket(MemoryLedger):
    def _wait(self, identity: UploadIdentity) -> StoredResponse | bool | None:
        if identity.ticket in self._waiting:
            raise ledger_busy_error(0)
        return super()._wait(identity)


class TestLetsOneCallWaitForATicket(Broken):
    ledger_class = LetsOneCallWaitForATicket
    failing: ClassVar = {"test_each_object_of_a_ticket_may_have_a_waiting_call"}


class MakesBrowsersWait(MemoryLedger):
    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        return super().run_once(identity._replace(may_wait=True), handle)


class TestMakesBrowsersWait(Broken):
    ledger_class = MakesBrowsersWait
    failing: ClassVar = {"test_a_call_that_may_not_wait_is_refused_at_once"}


class HandlesConcurrently(MemoryLedger):
    def _response_or_claim(self, identity: UploadIdentity) -> StoredResponse | bool | None:
        outcome = super()._response_or_claim(identity)
        use = self._tickets[identity.ticket]
        if outcome is None and identity.object in use.objects:
            use.objects[identity.object].responses.setdefault(identity.etag, None)
            use.handling += 1
            return True
        return outcome

    def _finish(self, identity: UploadIdentity, response: StoredResponse | None) -> None:
        use = self._tickets.get(identity.ticket)
        entry = None if use is None else use.objects.get(identity.object)
        if entry is not None and identity.etag in entry.responses and entry.responses[identity.etag] is None:
            super()._finish(identity, response)


class TestHandlesConcurrently(Broken):
    ledger_class = HandlesConcurrently
    failing: ClassVar = {
        "test_a_call_that_may_not_wait_is_refused_at_once",
        "test_one_of_many_concurrent_calls_handles",
        "test_a_concurrent_call_waits_for_the_response",
        "test_a_waiting_call_ends_with_ledger_busy",
        "test_one_call_waits_for_a_ticket_and_others_are_refused_at_once",
        "test_another_etag_waits_and_is_refused_where_overwriting_is_forbidden",
        "test_a_ticket_may_wait_again_after_its_waiting_call",
        "test_each_object_of_a_ticket_may_have_a_waiting_call",
    }


class DoesNotWait(MemoryLedger):
    def __init__(self, *, clock: Callable[[], float], wait_timeout: float) -> None:
        super().__init__(clock=clock, wait_timeout=0.0)


class TestDoesNotWait(Broken):
    ledger_class = DoesNotWait
    failing: ClassVar = {
        "test_a_concurrent_call_waits_for_the_response",
        "test_a_waiting_call_handles_after_a_failure",
        "test_another_object_of_the_ticket_waits_and_is_refused",
        "test_another_object_of_the_ticket_is_handled_after_a_failure",
        "test_one_call_waits_for_a_ticket_and_others_are_refused_at_once",
        "test_another_etag_waits_and_is_refused_where_overwriting_is_forbidden",
        "test_a_ticket_may_wait_again_after_its_waiting_call",
        "test_each_object_of_a_ticket_may_have_a_waiting_call",
        "test_one_object_more_is_handled_after_a_failure",
        "test_one_object_more_than_a_ticket_allows_waits_and_is_refused",
    }


class HandlesAgainAfterWaiting(MemoryLedger):
    def __init__(self, *, clock: Callable[[], float], wait_timeout: float) -> None:
        super().__init__(clock=clock, wait_timeout=wait_timeout)
        self._have_waited: set[threading.Thread] = set()

    def _response_or_claim(self, identity: UploadIdentity) -> StoredResponse | bool | None:
        outcome = super()._response_or_claim(identity)
        if outcome is None:
            self._have_waited.add(threading.current_thread())
        return outcome

    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        handled: list[bool] = []
        response = super().run_once(identity, lambda _: handled.append(True) or handle(None))  # type: ignore[func-returns-value]
        return handle(None) if threading.current_thread() in self._have_waited and not handled else response


class TestHandlesAgainAfterWaiting(Broken):
    ledger_class = HandlesAgainAfterWaiting
    failing: ClassVar = {
        "test_one_of_many_concurrent_calls_handles",
        "test_a_concurrent_call_waits_for_the_response",
        "test_one_call_waits_for_a_ticket_and_others_are_refused_at_once",
        "test_a_ticket_may_wait_again_after_its_waiting_call",
        "test_each_object_of_a_ticket_may_have_a_waiting_call",
    }


class LetsEveryCallWait(MemoryLedger):
    def __init__(self, *, clock: Callable[[], float], wait_timeout: float) -> None:
        super().__init__(clock=clock, wait_timeout=wait_timeout)
        self._waiting = Waiting()


class Waiting(dict[str, int]):
    """A dict that says of each ticket that nobody waits for it."""

    def get(self, key: str, default: int = 0) -> int:  # type: ignore[override]
        return default

    def __delitem__(self, key: str) -> None:
        """Do nothing."""


class TestLetsEveryCallWait(Broken):
    ledger_class = LetsEveryCallWait
    failing: ClassVar = {"test_one_call_waits_for_a_ticket_and_others_are_refused_at_once"}

    @pytest.fixture(autouse=True)
    def short_deadline(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ledger_contract, "DEADLINE", 5.0)


class NeverLetsATicketWaitAgain(MemoryLedger):
    def __init__(self, *, clock: Callable[[], float], wait_timeout: float) -> None:
        super().__init__(clock=clock, wait_timeout=wait_timeout)
        self._waiting = Unforgetting()


class Unforgetting(dict[str, int]):
    """A dict whose numbers never become smaller."""

    def __setitem__(self, key: str, value: int) -> None:
        super().__setitem__(key, max(value, self.get(key, 0)))


class TestNeverLetsATicketWaitAgain(Broken):
    ledger_class = NeverLetsATicketWaitAgain
    failing: ClassVar = {"test_a_ticket_may_wait_again_after_its_waiting_call"}


class AllowsAnotherETagAlways(MemoryLedger):
    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        return super().run_once(identity._replace(forbid_overwrite=False), handle)


class TestAllowsAnotherETagAlways(Broken):
    ledger_class = AllowsAnotherETagAlways
    failing: ClassVar = {
        "test_a_ticket_that_forbids_overwriting_refuses_another_etag",
        "test_a_call_that_forbids_overwriting_is_refused_after_one_that_allows_it",
        "test_another_etag_waits_and_is_refused_where_overwriting_is_forbidden",
    }


class WaitsWithoutEnd(MemoryLedger):
    def __init__(self, *, clock: Callable[[], float], wait_timeout: float) -> None:
        super().__init__(clock=clock, wait_timeout=threading.TIMEOUT_MAX)


class TestWaitsWithoutEnd(Broken):
    ledger_class = WaitsWithoutEnd
    failing: ClassVar = {"test_a_waiting_call_ends_with_ledger_busy"}

    @pytest.fixture(autouse=True)
    def short_deadline(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ledger_contract, "DEADLINE", 5.0)


class GivesAnotherReason(MemoryLedger):
    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        try:
            return super().run_once(identity, handle)
        except LedgerUnavailableError as error:
            raise LedgerUnavailableError("ledger_unavailable", error.hint) from error


class TestGivesAnotherReason(Broken):
    ledger_class = GivesAnotherReason
    failing: ClassVar = {
        "test_a_call_that_may_not_wait_is_refused_at_once",
        "test_a_waiting_call_ends_with_ledger_busy",
        "test_one_call_waits_for_a_ticket_and_others_are_refused_at_once",
    }


class HandlesOneUploadAtATime(MemoryLedger):
    def __init__(self, *, clock: Callable[[], float], wait_timeout: float) -> None:
        super().__init__(clock=clock, wait_timeout=wait_timeout)
        self._handling = threading.Lock()

    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        self._clock()
        if not self._handling.acquire(timeout=self._wait_timeout):
            raise ledger_busy_error(self._wait_timeout)
        try:
            return super().run_once(identity, handle)
        finally:
            self._handling.release()


class TestHandlesOneUploadAtATime(Broken):
    ledger_class = HandlesOneUploadAtATime
    failing: ClassVar = {
        "test_another_ticket_does_not_wait",
        "test_another_etag_does_not_wait",
        "test_one_call_waits_for_a_ticket_and_others_are_refused_at_once",
        "test_each_object_of_a_ticket_may_have_a_waiting_call",
        "test_objects_of_one_ticket_do_not_wait_for_each_other",
    }

    @pytest.fixture(autouse=True)
    def short_deadline(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ledger_contract, "DEADLINE", 5.0)


class ForgetsByTheClock(MemoryLedger):
    """A ledger that forgets a response as soon as the clock says that its ticket has expired."""

    _early = 0

    def _remove_expired(self) -> None:
        now = self._look_at_clock().clock
        for queue in list(self._by_expiry.values()):
            for identity in [identity for identity in queue if identity.expires - self._early < now]:
                queue.remove(identity)
                self._count -= 1
                self._forget(identity)
        self._by_expiry = {expiry: queue for expiry, queue in self._by_expiry.items() if queue}
        self._expiries = sorted(self._by_expiry)


class TestForgetsByTheClock(Broken):
    ledger_class = ForgetsByTheClock
    failing: ClassVar = {"test_a_clock_that_jumps_and_comes_back_forgets_nothing"}


class ForgetsTooEarly(ForgetsByTheClock):
    _early = 1


class TestForgetsTooEarly(Broken):
    ledger_class = ForgetsTooEarly
    failing: ClassVar = {
        "test_a_response_is_stored_until_its_ticket_expires",
        "test_a_clock_that_jumps_and_comes_back_forgets_nothing",
    }


class TrustsItsFirstLook(MemoryLedger):
    """A ledger that counts the life of a response from a clock that may be wrong, and forgets without a margin."""

    def _finish(self, identity: UploadIdentity, response: StoredResponse | None) -> None:
        super()._finish(identity, response)
        self._left = {
            **getattr(self, "_left", {}),
            identity: self._look_at_clock().seconds + identity.expires - self._clock(),
        }

    def _remove_expired(self) -> None:
        time = self._look_at_clock()
        for queue in list(self._by_expiry.values()):
            for identity in [identity for identity in queue if self._left[identity] < time.seconds]:
                queue.remove(identity)
                self._count -= 1
                self._forget(identity)
        self._by_expiry = {expiry: queue for expiry, queue in self._by_expiry.items() if queue}
        self._expiries = sorted(self._by_expiry)


class TestTrustsItsFirstLook(Broken):
    ledger_class = TrustsItsFirstLook
    failing: ClassVar = {
        "test_a_response_stored_by_a_wrong_clock_stays",
        "test_a_clock_that_jumps_and_comes_back_forgets_nothing",
    }


class NeverForgets(MemoryLedger):
    def _remove_expired(self) -> None:
        self._clock()


class TestNeverForgets(Broken):
    ledger_class = NeverForgets
    failing: ClassVar = {"test_a_response_is_forgotten_some_time_after_its_ticket"}


class ForgetsEverythingAtAnExpiry(MemoryLedger):
    def _remove_expired(self) -> None:
        time = self._look_at_clock()
        if self._expiries and self._expiries[0] < time.seconds and self._soonest().expires < time.clock:
            while self._expiries:
                self._remove_soonest()


class TestForgetsEverythingAtAnExpiry(Broken):
    ledger_class = ForgetsEverythingAtAnExpiry
    failing: ClassVar = {"test_a_response_is_forgotten_some_time_after_its_ticket"}


class CountsTickets(MemoryLedger):
    def __len__(self) -> int:
        return len(self._tickets)


class TestCountsTickets(Broken):
    ledger_class = CountsTickets
    failing: ClassVar = {"test_len_counts_the_stored_responses"}


class ChecksByStoring(MemoryLedger):
    def check(self) -> None:
        self.run_once(ledger_contract.identity("check"), lambda _: ledger_contract.SUCCESS)


class TestChecksByStoring(Broken):
    ledger_class = ChecksByStoring
    failing: ClassVar = {"test_check_succeeds_and_stores_nothing"}


class FailsTheCheck(MemoryLedger):
    def check(self) -> None:
        raise LedgerUnavailableError("ledger_unavailable", "the check fails")


class TestFailsTheCheck(Broken):
    ledger_class = FailsTheCheck
    failing: ClassVar = {"test_check_succeeds_and_stores_nothing"}


class ForgetsWhenClosed(MemoryLedger):
    def close(self) -> None:
        while self._expiries:
            self._remove_soonest()


class TestForgetsWhenClosed(Broken):
    ledger_class = ForgetsWhenClosed
    failing: ClassVar = {
        "test_a_closed_ledger_opens_again_with_its_responses",
        "test_a_closed_ledger_still_knows_the_count",
    }


class KnowsWhatIsBeingHandled(MemoryLedger):
    def known(self, pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        claimed = {
            (name, etag)
            for use in self._tickets.values()
            for name, entry in use.objects.items()
            for etag in entry.responses
        }
        return claimed.intersection(pairs)


class TestKnowsWhatIsBeingHandled(Broken):
    ledger_class = KnowsWhatIsBeingHandled
    failing: ClassVar = {"test_known_returns_the_pairs_that_were_handled"}


class KnowsByTheObjectAlone(MemoryLedger):
    def known(self, pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        objects = {name for use in self._tickets.values() for name, entry in use.objects.items() if entry.stored_count}
        return {pair for pair in pairs if pair[0] in objects}


class TestKnowsByTheObjectAlone(Broken):
    ledger_class = KnowsByTheObjectAlone
    failing: ClassVar = {"test_known_returns_the_pairs_that_were_handled"}
