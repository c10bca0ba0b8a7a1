"""Copies of a plain ledger that each break one claim of the contract, for test_ledger_contract.py."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, ClassVar, NamedTuple

from oss_wsgi.exceptions import LedgerUnavailableError
from oss_wsgi.ledger import base
from oss_wsgi.ledger.base import (
    Found,
    Handle,
    StoredResponse,
    UploadIdentity,
    busy_error,
    decide,
    held_error,
    ticket_used_error,
)
from oss_wsgi.ledger.steady_time import MARGIN, SteadyTime
from oss_wsgi.testing import ledger_contract
from oss_wsgi.testing.ledger_contract import LedgerContract


class Gate(base.Gate):
    """A gate that knows which calls are at it."""

    def __init__(self, wait_timeout: float) -> None:
        super().__init__(wait_timeout)
        self.calls: list[threading.Thread] = []

    def enter(self, place: Hashable, patience: float) -> bool:
        self.calls.append(threading.current_thread())
        try:
            return self.take(place, patience)
        finally:
            self.calls.remove(threading.current_thread())

    def take(self, place: Hashable, patience: float) -> bool:
        return super().enter(place, patience)


class Entry(NamedTuple):
    """What is remembered of an upload, and until when."""

    value: Any
    expires: int
    forget_after: int


class PlainLedger:
    """A ledger in memory, as plain as the contract allows; each step is a method that a copy may break."""

    def __init__(self, *, clock: Callable[[], float], wait_timeout: float) -> None:
        self.clock, self.wait_timeout = clock, wait_timeout
        self.gate = Gate(wait_timeout)
        self.responses: dict[tuple[str, str, str], Entry] = {}
        self.notes: dict[tuple[str, str], Entry] = {}
        self.texts: dict[str, str] = {}
        self.held: set[str] = set()
        self.time = SteadyTime.started(clock())
        self.lock = threading.RLock()

    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        place = self.place(identity)
        try:
            has_waited = self.gate.enter(place, self.wait_timeout if identity.may_wait else 0.0)
        except LedgerUnavailableError:
            response = self.response_beside_another(identity)
            if response is None:
                raise
            return response
        try:
            return self.run(identity, handle, has_waited)
        finally:
            self.gate.leave(place)

    def place(self, identity: UploadIdentity) -> Hashable:
        return identity.ticket if identity.max_objects == 1 else (identity.ticket, identity.object)

    def response_beside_another(self, identity: UploadIdentity) -> StoredResponse | None:
        return self.find(identity).response

    def run(self, identity: UploadIdentity, handle: Handle, has_waited: bool) -> StoredResponse:
        response = decide(identity, self.find(identity))
        if response is None:
            response = handle(None)
            if response.is_success:
                self.store(identity, response)
        return response

    def find(self, identity: UploadIdentity) -> Found:
        with self.lock:
            self.forget_expired()
            entry = self.responses.get(identity[:3])
            objects = {name for ticket, name, _ in self.responses if ticket == identity.ticket}
            return Found(entry and entry.value, identity.object in objects, len(objects))

    def store(self, identity: UploadIdentity, response: StoredResponse) -> None:
        with self.lock:
            entry = Entry(response, identity.expires, self.time.forget_after(identity.expires))
            self.responses[identity[:3]] = entry

    def forget_expired(self) -> None:
        self.time = self.time.at(self.clock())
        for entries in (self.responses, self.notes):
            for key in [key for key, entry in entries.items() if self.is_over(entry)]:
                del entries[key]  # type: ignore[attr-defined]

    def is_over(self, entry: Entry) -> bool:
        return entry.forget_after < self.time.seconds and entry.expires < self.time.clock

    def known(self, pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        with self.lock:
            return set(pairs) & {*self.notes, *((name, etag) for _, name, etag in self.responses)}

    def note(self, pairs: Iterable[tuple[str, str]], expires: int) -> None:
        with self.lock:
            for pair in pairs:
                before = self.notes.get(pair, Entry(None, 0, 0))
                until = self.time.forget_after(expires)
                self.notes[pair] = Entry(None, max(expires, before.expires), max(until, before.forget_after))

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        with self.lock:
            if name in self.held:
                raise held_error()
            self.held.add(name)
        try:
            yield
        finally:
            self.held.remove(name)

    def load(self, name: str) -> str | None:
        return self.texts.get(name)

    def save(self, name: str, text: str) -> None:
        self.texts[name] = text

    def check(self) -> None:
        return

    def close(self) -> None:
        return

    def __len__(self) -> int:
        return len(self.responses)


class ArrivingCall(ledger_contract.Call):
    """A call whose ``start`` returns once it has come as far as it can, also on a busy machine."""

    def __init__(self, ledger: PlainLedger, upload: UploadIdentity, handle: Handle) -> None:
        self.ledger, self.handler = ledger, handle
        self.has_begun = threading.Event()
        super().__init__(ledger, upload, handle)

    def run(self) -> None:
        self.has_begun.set()
        super().run()

    def start(self) -> None:
        super().start()
        assert self.has_begun.wait(60)
        for _ in range(200):
            time.sleep(0.01)
            if self.has_arrived():
                break

    def has_arrived(self) -> bool:
        is_handling = isinstance(self.handler, ledger_contract.BlockingHandler) and self.handler.started.is_set()
        return is_handling or self in self.ledger.gate.calls or not self.is_alive()


class Broken(LedgerContract):
    """The contract for ``Ledger`` with its ``Gate``; the tests in ``failing`` must fail."""

    Ledger: ClassVar[type[PlainLedger]] = PlainLedger
    Gate: ClassVar[type[Gate]] = Gate
    failing: ClassVar[set[str]]
    #: Seconds for which calls of ``ledger`` wait: longer than any test looks at them.
    patience: ClassVar = ledger_contract.DEADLINE

    def make_ledger(self, *, clock: Callable[[], float], wait_timeout: float) -> PlainLedger:
        ledger = self.Ledger(clock=clock, wait_timeout=wait_timeout)
        ledger.gate = self.Gate(wait_timeout)
        return ledger


Broken.__test__ = False

#: The contract with each copy of the ledger, or of its gate, that breaks a claim.
BROKEN: list[type[Broken]] = []


def fails(*tests: str, **members: Any) -> Callable[[type], type]:
    """Return a decorator that adds a copy to ``BROKEN``, with the tests that it must fail and members of their own."""

    def add(copy: type) -> type:
        part = "Gate" if issubclass(copy, Gate) else "Ledger"
        BROKEN.append(type(copy.__name__, (Broken,), {part: copy, "failing": set(tests), **members}))
        return copy

    return add


# One upload.


@fails("test_a_ticket_for_several_objects_refuses_one_more", "test_another_etag_is_handled_too")
class HandlesEverythingTwice(PlainLedger):
    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        return super().run_once(identity, lambda transaction: (handle(transaction), handle(transaction))[1])


@fails("test_a_repeated_report_gets_the_stored_response")
class LosesParametersOfTheContentType(PlainLedger):
    def store(self, identity: UploadIdentity, response: StoredResponse) -> None:
        super().store(identity, response._replace(content_type=response.content_type.partition(";")[0]))


@fails("test_a_repeated_report_gets_the_stored_response")
class StoresTextOnly(PlainLedger):
    def store(self, identity: UploadIdentity, response: StoredResponse) -> None:
        super().store(identity, response._replace(body=response.body.decode("utf-8", "replace").encode()))


@fails("test_a_failed_response_is_returned_but_not_stored")
class StoresRedirects(PlainLedger):
    def run(self, identity: UploadIdentity, handle: Handle, has_waited: bool) -> StoredResponse:
        response = super().run(identity, handle, has_waited)
        if response.status[:1] == "3":
            self.store(identity, response)
        return response


@fails("test_an_exception_propagates_and_leaves_nothing", "test_a_waiting_call_handles_after_a_failure")
class ReplacesExceptions(PlainLedger):
    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        try:
            return super().run_once(identity, handle)
        except KeyError:
            return ledger_contract.FAILURE


@fails("test_an_exception_propagates_and_leaves_nothing")
class StoresASuccessAfterAnException(PlainLedger):
    def run(self, identity: UploadIdentity, handle: Handle, has_waited: bool) -> StoredResponse:
        try:
            return super().run(identity, handle, has_waited)
        except KeyError:
            self.store(identity, ledger_contract.SUCCESS)
            raise


@fails("test_an_exception_propagates_and_leaves_nothing", patience=1.0)  # the test itself waits so long
class StaysLockedAfterSystemExit(PlainLedger):
    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        try:
            return super().run_once(identity, handle)
        except SystemExit:
            self.gate.enter(self.place(identity), 0.0)
            raise


# Several uploads of a ticket.


@fails("test_a_call_that_forbids_overwriting_is_refused_after_one_that_allows_it")
class IgnoresTheETag(PlainLedger):
    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        return super().run_once(identity._replace(etag=""), handle)


@fails("test_a_call_that_forbids_overwriting_is_refused_after_one_that_allows_it")
class AllowsAnotherETagAlways(PlainLedger):
    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        return super().run_once(identity._replace(forbid_overwrite=False), handle)


@fails("test_another_etag_is_another_upload")
class RefusesAnotherETagAlways(PlainLedger):
    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        return super().run_once(identity._replace(forbid_overwrite=True), handle)


@fails("test_a_used_ticket_refuses_another_object", "test_a_closed_ledger_still_knows_the_count")
class DoesNotCount(PlainLedger):
    def find(self, identity: UploadIdentity) -> Found:
        return super().find(identity)._replace(objects=0)


@fails("test_the_count_of_a_ticket_is_that_of_objects")
class CountsETags(PlainLedger):
    def find(self, identity: UploadIdentity) -> Found:
        return super().find(identity)._replace(objects=sum(key[0] == identity.ticket for key in self.responses))


@fails("test_failed_uploads_do_not_use_their_ticket")
class CountsFailures(PlainLedger):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.begun: dict[str, set[str]] = {}

    def run(self, identity: UploadIdentity, handle: Handle, has_waited: bool) -> StoredResponse:
        begun = self.begun.setdefault(identity.ticket, set())
        if len(begun | {identity.object}) > identity.max_objects:
            raise ticket_used_error(identity.max_objects)
        begun.add(identity.object)
        return super().run(identity, handle, has_waited)


@fails("test_a_ticket_for_several_objects_handles_each_once", "test_racing_objects_use_the_ticket_up")
class AllowsOneObject(PlainLedger):
    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        return super().run_once(identity._replace(max_objects=1), handle)


# Concurrent calls.


@fails("test_one_of_many_concurrent_calls_handles")
class HandlesConcurrently(PlainLedger):
    def place(self, identity: UploadIdentity) -> Hashable:
        return object()


@fails("test_another_upload_of_the_ticket_waits_and_is_refused")
class HandlesObjectsOfATicketConcurrently(PlainLedger):
    def place(self, identity: UploadIdentity) -> Hashable:
        return identity.ticket, identity.object


@fails("test_objects_of_one_ticket_do_not_wait_for_each_other")
class HandlesOneObjectOfATicketAtATime(PlainLedger):
    def place(self, identity: UploadIdentity) -> Hashable:
        return identity.ticket


@fails("test_another_ticket_does_not_wait")
class HandlesOneUploadAtATime(PlainLedger):
    def place(self, identity: UploadIdentity) -> Hashable:
        return "the only place"


@fails("test_a_ticket_may_wait_again_after_its_waiting_call")
class DoesNotWait(PlainLedger):
    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        return super().run_once(identity._replace(may_wait=False), handle)


@fails("test_a_call_that_may_not_wait_is_refused_at_once")
class MakesBrowsersWait(PlainLedger):
    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        return super().run_once(identity._replace(may_wait=True), handle)


@fails("test_a_waiting_call_ends_with_ledger_busy")
class WaitsWithoutEnd(Gate):
    def take(self, place: Hashable, patience: float) -> bool:
        return super().take(place, threading.TIMEOUT_MAX if patience else 0.0)


@fails("test_one_call_waits_for_a_ticket_and_others_are_refused_at_once")
class LetsEveryCallWait(Gate):
    def take(self, place: Hashable, patience: float) -> bool:
        end = time.monotonic() + patience
        while True:
            try:
                return super().take(place, patience)
            except LedgerUnavailableError:
                if time.monotonic() >= end:
                    raise
                time.sleep(0.01)


@fails("test_each_object_of_a_ticket_may_have_a_waiting_call")
class LetsOneCallWait(Gate):
    def take(self, place: Hashable, patience: float) -> bool:
        return super().take(place, 0.0 if len(self.calls) > 1 else patience)


@fails("test_a_ticket_may_wait_again_after_its_waiting_call")
class NeverLetsATicketWaitAgain(Gate):
    def __init__(self, wait_timeout: float) -> None:
        super().__init__(wait_timeout)
        self.waited_for: set[Hashable] = set()

    def take(self, place: Hashable, patience: float) -> bool:
        has_waited = super().take(place, 0.0 if place in self.waited_for else patience)
        if has_waited:
            self.waited_for.add(place)
        return has_waited


@fails("test_one_of_many_concurrent_calls_handles")
class HandlesAgainAfterWaiting(PlainLedger):
    def run(self, identity: UploadIdentity, handle: Handle, has_waited: bool) -> StoredResponse:
        return handle(None) if has_waited else super().run(identity, handle, has_waited)


@fails("test_a_call_that_may_not_wait_is_refused_at_once")
class GivesAnotherReason(PlainLedger):
    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        try:
            return super().run_once(identity, handle)
        except LedgerUnavailableError as error:
            raise LedgerUnavailableError("ledger_unavailable", error.hint) from error


@fails("test_many_at_once_get_what_is_stored")
class RefusesWhatIsStoredWhereOthersAsk(PlainLedger):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.is_refusing = threading.Event()

    def find(self, identity: UploadIdentity) -> Found:
        if not identity.may_wait:  # a slow look: others ask meanwhile
            self.is_refusing.wait(60)
        return super().find(identity)

    def response_beside_another(self, identity: UploadIdentity) -> StoredResponse | None:
        self.is_refusing.set()
        return None


# Sweeps.


@fails("test_a_lock_is_held_by_one")
class LetsManyHoldALock(PlainLedger):
    def hold(self, name: str) -> AbstractContextManager[None]:
        return nullcontext()


@fails("test_uploads_are_handled_while_a_lock_is_held")
class HandlesNothingWhileALockIsHeld(PlainLedger):
    def run(self, identity: UploadIdentity, handle: Handle, has_waited: bool) -> StoredResponse:
        if self.held:
            raise busy_error()
        return super().run(identity, handle, has_waited)


@fails("test_a_saved_text_survives")
class ForgetsTextsWhenClosed(PlainLedger):
    def close(self) -> None:
        self.texts.clear()


# A store that cannot be written to.


@contextmanager
def unwritable(contract: Broken, ledger: base.Ledger) -> Iterator[None]:
    assert isinstance(ledger, NoticesTooLateThatItCannotStore)
    ledger.is_writable = False
    yield
    ledger.is_writable = True


@fails("test_a_ledger_that_cannot_store_refuses_before_the_handler", unwritable=unwritable)
class NoticesTooLateThatItCannotStore(PlainLedger):
    is_writable = True

    def store(self, identity: UploadIdentity, response: StoredResponse) -> None:
        self.check()
        super().store(identity, response)

    def check(self) -> None:
        if not self.is_writable:
            raise LedgerUnavailableError("ledger_unavailable", "nothing can be written")


# Expiry.


@fails("test_a_clock_that_jumps_and_comes_back_forgets_nothing")
class ForgetsByTheClock(PlainLedger):
    def is_over(self, entry: Entry) -> bool:
        return entry.expires < self.time.clock


@fails("test_a_response_is_stored_until_its_ticket_expires")
class ForgetsTooEarly(PlainLedger):
    def is_over(self, entry: Entry) -> bool:
        return entry.expires - 1 < self.time.clock


@fails("test_a_response_stored_by_a_wrong_clock_stays")
class ForgetsWithoutAMargin(PlainLedger):
    def is_over(self, entry: Entry) -> bool:
        return entry.forget_after - MARGIN < self.time.seconds


@fails("test_a_response_is_forgotten_some_time_after_its_ticket")
class NeverForgets(PlainLedger):
    def is_over(self, entry: Entry) -> bool:
        return False


@fails("test_a_response_is_forgotten_some_time_after_its_ticket")
class ForgetsEverythingAtAnExpiry(PlainLedger):
    def forget_expired(self) -> None:
        before = len(self)
        super().forget_expired()
        if len(self) < before:
            self.responses.clear()


# What operators use.


@fails("test_len_counts_the_stored_responses")
class CountsTickets(PlainLedger):
    def __len__(self) -> int:
        return len({key[0] for key in self.responses})


@fails("test_known_returns_the_pairs_that_were_handled")
class KnowsWhatIsBeingHandled(PlainLedger):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.handling: set[tuple[str, str]] = set()

    def known(self, pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        asked = set(pairs)
        return super().known(asked) | (asked & self.handling)

    def run(self, identity: UploadIdentity, handle: Handle, has_waited: bool) -> StoredResponse:
        self.handling.add((identity.object, identity.etag))
        try:
            return super().run(identity, handle, has_waited)
        finally:
            self.handling.remove((identity.object, identity.etag))


@fails("test_known_returns_the_pairs_that_were_handled")
class KnowsByTheObjectAlone(PlainLedger):
    def known(self, pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        objects = {key[1] for key in self.responses}
        return {pair for pair in pairs if pair[0] in objects}


@fails("test_what_is_noted_is_known_and_is_no_upload")
class CountsNotes(PlainLedger):
    def __len__(self) -> int:
        return super().__len__() + len(self.notes)


@fails("test_what_is_noted_is_known_and_is_no_upload")
class NotesUseTicketsUp(PlainLedger):
    def note(self, pairs: Iterable[tuple[str, str]], expires: int) -> None:
        for name, mark in pairs:
            self.store(UploadIdentity("t1", name, mark, expires), ledger_contract.SUCCESS)


@fails("test_a_note_is_kept_until_it_expires")
class KeepsTheLastExpiryOfANote(PlainLedger):
    def note(self, pairs: Iterable[tuple[str, str]], expires: int) -> None:
        for pair in pairs:
            self.notes[pair] = Entry(None, expires, expires)


@fails("test_check_succeeds_and_stores_nothing")
class ChecksByStoring(PlainLedger):
    def check(self) -> None:
        self.store(ledger_contract.identity("check"), ledger_contract.SUCCESS)


@fails("test_a_closed_ledger_opens_again_with_its_responses")
class ForgetsWhenClosed(PlainLedger):
    def close(self) -> None:
        self.notes.clear()
        self.responses.clear()
