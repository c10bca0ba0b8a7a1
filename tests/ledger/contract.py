"""What every ledger must do: tests that run with each of ours.

class TestMyLedger(LedgerContract):
    def make_ledger(self, *, clock: Callable[[], float], wait_timeout: float) -> Ledger:
        return MyLedger(clock=clock, wait_timeout=wait_timeout)

The tests of faults need a store that can be brought to them: see ``unwritable``, ``failing`` and ``elsewhere``. A class
that does not define what a test needs does not have the test.
"""

from __future__ import annotations

import os
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from typing import Any, ClassVar

import pytest

from oss_wsgi.exceptions import LedgerUnavailableError, SweepRunningError, TicketUsedError
from oss_wsgi.ledger.base import Handle, Ledger, StoredResponse, UploadIdentity
from oss_wsgi.testing import FrozenClock

from ..support import forks
from ..support.waiting import wait_until

NOW = 1733227932
SUCCESS = StoredResponse("200 OK", "application/json", b'{"Status": "Ok"}')
FAILURE = StoredResponse("500 Internal Server Error", "application/json", b"{}")

#: Seconds after which a test gives up waiting; only a ledger that fails the contract takes so long.
DEADLINE = 60.0


def identity(
    ticket: str = "t1",
    object: str = "user/猫 1.png",  # noqa: A002
    etag: str = "5B3C",
    expires: int = NOW + 300,
    forbid_overwrite: bool = False,
    max_objects: int = 1,
    may_wait: bool = True,
) -> UploadIdentity:
    """Return the identity of an upload; what a test does not name is always the same."""
    return UploadIdentity(ticket, object, etag, expires, forbid_overwrite, max_objects, may_wait=may_wait)


class LedgerClock(FrozenClock):
    """A frozen clock that knows which threads have read it."""

    def __init__(self, now: float = NOW) -> None:
        super().__init__(now)
        self.readers: set[threading.Thread] = set()

    def __call__(self) -> float:
        self.readers.add(threading.current_thread())
        return super().__call__()


class Handler:
    """A handler that counts its calls, and returns a response or raises an error."""

    def __init__(self, result: StoredResponse | BaseException = SUCCESS) -> None:
        self.calls = 0
        self.result = result

    def __call__(self, transaction: object = None) -> StoredResponse:
        self.calls += 1
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


class BlockingHandler(Handler):
    """A handler that does not return before ``release`` is set."""

    def __init__(self, result: StoredResponse | BaseException = SUCCESS) -> None:
        super().__init__(result)
        self.started, self.release = threading.Event(), threading.Event()

    def __call__(self, transaction: object = None) -> StoredResponse:
        self.started.set()
        assert self.release.wait(DEADLINE)
        return super().__call__(transaction)


class Call(threading.Thread):
    """A call of ``run_once`` in a thread of its own."""

    def __init__(self, ledger: Ledger, upload: UploadIdentity, handle: Handle) -> None:
        super().__init__(daemon=True)
        self._ledger, self._upload, self._handler = ledger, upload, handle
        self._outcome: StoredResponse | BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._outcome = self._ledger.run_once(self._upload, self._handler)
        except BaseException as error:
            self._outcome = error

    def response(self) -> StoredResponse:
        """Wait for the end of the call, and return its response or raise its error."""
        outcome = self.outcome()
        if isinstance(outcome, BaseException):
            raise outcome
        assert outcome is not None
        return outcome

    def outcome(self) -> StoredResponse | BaseException | None:
        """Wait for the end of the call, and return its response or its error."""
        self.join(DEADLINE)
        assert not self.is_alive()
        return self._outcome


@contextmanager
def handling(ledger: Ledger, upload: UploadIdentity, handler: BlockingHandler) -> Iterator[Call]:
    """Handle an upload in another thread while the with block runs, then wait for it."""
    call = Call(ledger, upload, handler)
    assert handler.started.wait(DEADLINE)
    try:
        yield call
    finally:
        handler.release.set()
    call.outcome()


def waiting_call(ledger: Ledger, clock: LedgerClock, upload: UploadIdentity, handler: Handler) -> Call:
    """Start a call that must wait, and return it when it has come that far."""
    call = Call(ledger, upload, handler)
    wait_until_called([call], clock)
    return call


def wait_until_called(calls: list[Call], clock: LedgerClock) -> None:
    """Wait until a ledger has begun to work on calls: it then reads the clock.

    A ledger that does not read it is given a moment.
    """
    for _ in range(20):
        waiting = [call for call in calls if call.is_alive() and call not in clock.readers]
        if not waiting:
            break
        waiting[0].join(0.01)


def let_time_pass(ledger: Ledger, clock: LedgerClock, seconds: float) -> None:
    """Let time pass without a jump: while the clock goes on, the ledger looks at it every few minutes."""
    end = clock.now + seconds
    while clock.now < end:
        clock.advance(min(300.0, end - clock.now))
        ledger.run_once(identity("another ticket", expires=int(clock.now) + 900), Handler(FAILURE))


def assert_handled(ledger: Ledger, upload: UploadIdentity) -> None:
    """Assert that an upload counts as not handled, and is handled once now."""
    handler = Handler()
    assert (ledger.run_once(upload, handler), handler.calls) == (SUCCESS, 1)


def assert_used(ledger: Ledger, upload: UploadIdentity) -> TicketUsedError:
    """Assert that an upload is refused because its ticket was used, and return the error."""
    handler = Handler()
    with pytest.raises(TicketUsedError) as raised:
        ledger.run_once(upload, handler)
    assert (raised.value.reason, handler.calls) == ("ticket_used", 0)
    return raised.value


#: What another process does with the same store, until it gets a line.
_ELSEWHERE = """
import sys
from tests.ledger.contract import SUCCESS, identity
{ledger}
def handle(transaction=None):
    print("handling", flush=True)
    sys.stdin.readline()
    return SUCCESS
if {holds}:
    with ledger.hold("a"):
        handle()
else:
    print(ledger.run_once(identity(), handle).status, flush=True)
"""


def needs(hook: str) -> Callable[[Any], Any]:
    """Mark a test of the contract that needs a method which not every ledger's class of tests defines."""

    def mark(test: Any) -> Any:
        test.hook = hook
        return test

    return mark


def first_ended(calls: list[Call], number: int) -> list[Call]:
    """Wait until ``number`` of the calls have ended, and return those that have."""
    end = time.monotonic() + DEADLINE / 2
    while len(ended := [call for call in calls if not call.is_alive()]) < number and time.monotonic() < end:
        time.sleep(0.01)
    return ended


class LedgerContract:
    """Inherit from it in a class that pytest collects, and define ``make_ledger``.

    A ledger that needs a folder or a server takes it from a fixture of the subclass with ``autouse=True``.
    """

    __test__: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        cls.__test__ = True
        for name, test in vars(LedgerContract).items():
            hook = getattr(test, "hook", None)
            if hook is not None and getattr(cls, hook) is getattr(LedgerContract, hook):
                setattr(cls, name, None)  # pytest does not collect it

    @abstractmethod
    def make_ledger(self, *, clock: Callable[[], float], wait_timeout: float) -> Ledger:
        """Return a ledger without uploads; ``clock`` returns Unix seconds, ``wait_timeout`` is in seconds."""

    def unwritable(self, ledger: Ledger) -> AbstractContextManager[None]:
        """Let the store of ``ledger`` refuse to be written to during the with block, as on a full disk or a standby.

        What is stored stays, and can be written to afterwards.
        """
        raise NotImplementedError

    def failing(self, ledger: Ledger) -> AbstractContextManager[None]:
        """Let the store lose what it has not committed, and refuse or end what it is asked during the with block.

        It is entered while a handler runs.
        """
        raise NotImplementedError

    def elsewhere(self) -> str:
        """Return Python that assigns ``ledger`` one of the same store, for another process."""
        raise NotImplementedError

    @contextmanager
    def another_process(self, *, holds: bool = False) -> Iterator[forks.Fork | Any]:
        """Handle ``identity()`` in another process, or hold the lock "a", until it gets a line or is killed."""
        code = _ELSEWHERE.format(ledger=self.elsewhere(), holds=holds)
        with forks.start(["-c", code], os.environ, forks.ROOT, stdin=forks.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "handling\n"
            try:
                yield process
            finally:
                process.kill()
                process.wait()

    @pytest.fixture
    def clock(self) -> LedgerClock:
        return LedgerClock()

    @pytest.fixture
    def ledger(self, clock: LedgerClock) -> Iterator[Ledger]:
        """Make a ledger whose calls wait for each other as long as needed."""
        ledger = self.make_ledger(clock=clock, wait_timeout=DEADLINE)
        yield ledger
        ledger.close()

    @pytest.fixture
    def impatient_ledger(self, clock: LedgerClock) -> Iterator[Ledger]:
        """Make a ledger whose calls hardly wait for each other."""
        ledger = self.make_ledger(clock=clock, wait_timeout=0.02)
        yield ledger
        ledger.close()

    # One upload.

    @pytest.mark.parametrize(
        "body", [b"", b'{"a": "\xe7\x8c\xab"}', bytes(range(256))], ids=["empty", "utf-8", "bytes"]
    )
    def test_a_repeated_report_gets_the_stored_response(self, ledger: Ledger, body: bytes) -> None:
        response = StoredResponse("201 Made", "text/plain; charset=utf-8", body)
        first, repeated = Handler(response), Handler(FAILURE)
        assert [ledger.run_once(identity(), handler) for handler in (first, repeated)] == [response, response]
        assert (first.calls, repeated.calls) == (1, 0)

    @pytest.mark.parametrize("status", ["500 Internal Server Error", "302 Found", "404 Not Found", "", "1"])
    def test_a_failed_response_is_returned_but_not_stored(self, ledger: Ledger, status: str) -> None:
        failing = Handler(StoredResponse(status, "text/plain", b"no"))
        assert ledger.run_once(identity(), failing) == failing.result
        assert ledger.run_once(identity(), failing) == failing.result
        assert failing.calls == 2

    @pytest.mark.parametrize("kind", [KeyError, SystemExit, KeyboardInterrupt, GeneratorExit])
    def test_an_exception_propagates_and_leaves_nothing(self, ledger: Ledger, kind: type[BaseException]) -> None:
        with pytest.raises(kind, match="its own"):
            ledger.run_once(identity(), Handler(kind("its own")))
        assert_handled(ledger, identity())

    # Several uploads.

    def test_another_etag_is_another_upload(self, ledger: Ledger) -> None:
        first, second = Handler(), Handler(StoredResponse("200 OK", "text/plain", b"second"))
        ledger.run_once(identity(etag="1"), first)
        assert ledger.run_once(identity(etag="2"), second) == second.result
        assert ledger.run_once(identity(etag="1"), Handler(FAILURE)) == first.result
        assert ledger.run_once(identity(etag="2"), Handler(FAILURE)) == second.result

    def test_a_call_that_forbids_overwriting_is_refused_after_one_that_allows_it(self, ledger: Ledger) -> None:
        """Recovered uploads forbid it always, also under a ticket whose reports may have other ETags."""
        ledger.run_once(identity(etag="1"), Handler())
        assert_used(ledger, identity(etag="2", forbid_overwrite=True))
        assert ledger.run_once(identity(etag="1", forbid_overwrite=True), Handler(FAILURE)) == SUCCESS
        assert_handled(ledger, identity(etag="2"))

    @pytest.mark.parametrize("other", ["a", "z", "user/猫", "user/猫 1.png "])
    def test_a_used_ticket_refuses_another_object(self, ledger: Ledger, other: str) -> None:
        ledger.run_once(identity(), Handler())
        ledger.run_once(identity(etag="another"), Handler())
        assert_used(ledger, identity(object=other))
        assert ledger.run_once(identity(), Handler(FAILURE)) == SUCCESS

    @pytest.mark.parametrize("max_objects", [1, 2])
    @pytest.mark.parametrize("result", [FAILURE, KeyError("its own")], ids=["failure", "exception"])
    def test_failed_uploads_do_not_use_their_ticket(
        self, ledger: Ledger, result: StoredResponse | Exception, max_objects: int
    ) -> None:
        for number in range(max_objects + 1):
            with pytest.raises(KeyError) if isinstance(result, Exception) else nullcontext():
                ledger.run_once(identity(object=f"failed {number}", max_objects=max_objects), Handler(result))
        for number in range(max_objects):
            assert_handled(ledger, identity(object=f"user/{number}", max_objects=max_objects))

    # A ticket for several objects.

    def test_a_ticket_for_several_objects_handles_each_once(self, ledger: Ledger) -> None:
        uploads = [identity(object=f"user/{number}", max_objects=3) for number in range(3)]
        handlers = [Handler(StoredResponse("200 OK", "text/plain", b"%d" % number)) for number in range(3)]
        for _ in range(2):
            responses = [ledger.run_once(upload, handler) for upload, handler in zip(uploads, handlers, strict=True)]
            assert responses == [handler.result for handler in handlers]
        assert [handler.calls for handler in handlers] == [1, 1, 1]

    def test_a_ticket_for_several_objects_refuses_one_more(self, ledger: Ledger) -> None:
        for number in range(3):
            ledger.run_once(identity(object=f"user/{number}", max_objects=3), Handler())
        for name in ("user/3", "a", "z"):
            assert "3 objects" in assert_used(ledger, identity(object=name, max_objects=3)).hint
        assert_handled(ledger, identity("t2", object="user/3", max_objects=3))
        assert ledger.run_once(identity(object="user/1", max_objects=3), Handler(FAILURE)) == SUCCESS

    def test_the_count_of_a_ticket_is_that_of_objects(self, ledger: Ledger) -> None:
        for etag in ("1", "2", "3"):
            ledger.run_once(identity(object="one", etag=etag, max_objects=2), Handler())
        ledger.run_once(identity(object="two", max_objects=2), Handler())
        assert_handled(ledger, identity(object="two", etag="another", max_objects=2))
        assert_used(ledger, identity(object="three", max_objects=2))

    def test_a_closed_ledger_still_knows_the_count(self, ledger: Ledger) -> None:
        for number in range(2):
            ledger.run_once(identity(object=f"user/{number}", max_objects=2), Handler())
        ledger.close()
        assert_used(ledger, identity(object="user/2", max_objects=2))

    def test_objects_of_one_ticket_do_not_wait_for_each_other(self, clock: LedgerClock) -> None:
        uploads = [identity(object=f"user/{number}", max_objects=9) for number in range(8)]
        handlers = [BlockingHandler() for _ in uploads]
        # Longer than a loaded machine holds the locks that end by themselves, and shorter than the handlers run.
        ledger = self.make_ledger(clock=clock, wait_timeout=DEADLINE / 10)
        calls = [Call(ledger, upload, handler) for upload, handler in zip(uploads, handlers, strict=True)]
        try:
            assert all(handler.started.wait(DEADLINE / 2) for handler in handlers)
        finally:
            for handler in handlers:
                handler.release.set()
        outcomes = [call.outcome() for call in calls]
        ledger.close()
        assert outcomes == [SUCCESS] * 8

    def test_each_object_of_a_ticket_may_have_a_waiting_call(self, ledger: Ledger, clock: LedgerClock) -> None:
        uploads = [identity(object=name, max_objects=2) for name in ("one", "two")]
        with handling(ledger, uploads[0], BlockingHandler()), handling(ledger, uploads[1], BlockingHandler()):
            waiting = [waiting_call(ledger, clock, upload, Handler(FAILURE)) for upload in uploads]
        assert [call.outcome() for call in waiting] == [SUCCESS] * 2

    def test_racing_objects_use_the_ticket_up(self, ledger: Ledger) -> None:
        """Objects that race may exceed the count, which is checked when a handler begins."""
        handlers = [BlockingHandler() for _ in range(5)]
        calls = [
            Call(ledger, identity(object=f"user/{number}", max_objects=3), handler)
            for number, handler in enumerate(handlers)
        ]
        for handler in handlers:
            handler.release.set()
        outcomes = [call.outcome() for call in calls]
        assert sum(handler.calls for handler in handlers) == outcomes.count(SUCCESS) >= 3
        assert_used(ledger, identity(object="user/5", max_objects=3))

    # Concurrent calls.

    def test_one_of_many_concurrent_calls_handles(self, ledger: Ledger, clock: LedgerClock) -> None:
        handlers = [BlockingHandler(StoredResponse("200 OK", "text/plain", b"%d" % number)) for number in range(8)]
        calls = [Call(ledger, identity(), handler) for handler in handlers]
        wait_until_called(calls, clock)
        for handler in handlers:
            handler.release.set()
        outcomes = [call.outcome() for call in calls]
        responses = {outcome for outcome in outcomes if isinstance(outcome, StoredResponse)}
        assert responses == {handler.result for handler in handlers if handler.calls}
        assert sum(handler.calls for handler in handlers) == 1
        assert all(isinstance(outcome, (StoredResponse, LedgerUnavailableError)) for outcome in outcomes)

    def test_one_call_waits_for_a_ticket_and_others_are_refused_at_once(self, ledger: Ledger) -> None:
        first = BlockingHandler()
        others = [Handler(FAILURE) for _ in range(4)]
        with handling(ledger, identity(), first) as call:
            uploads = [identity(), identity(), identity(object="another"), identity()]
            calls = [Call(ledger, upload, other) for upload, other in zip(uploads, others, strict=True)]
            refused = first_ended(calls, 3)
            assert len(refused) == 3
            errors = [call.outcome() for call in refused]
            assert all(isinstance(error, LedgerUnavailableError) for error in errors)
            assert {getattr(error, "reason", None) for error in errors} == {"ledger_busy"}
        (waiting,) = (call for call in calls if call not in refused)
        assert call.outcome() == SUCCESS
        assert waiting.outcome() == SUCCESS or isinstance(waiting.outcome(), TicketUsedError)
        assert [other.calls for other in others] == [0] * 4
        assert ledger.run_once(identity(), Handler(FAILURE)) == SUCCESS

    @pytest.mark.parametrize("object", ["user/猫 1.png", "another"], ids=["same-object", "another-object"])
    def test_a_call_that_may_not_wait_is_refused_at_once(self, ledger: Ledger, object: str) -> None:  # noqa: A002
        other = Handler(FAILURE)
        with handling(ledger, identity(), BlockingHandler()) as call:
            error = first_ended([Call(ledger, identity(object=object, may_wait=False), other)], 1)[0].outcome()
            assert isinstance(error, LedgerUnavailableError)
            assert error.reason == "ledger_busy"
        assert (call.outcome(), other.calls) == (SUCCESS, 0)
        assert ledger.run_once(identity(may_wait=False), other) == SUCCESS

    def test_a_ticket_may_wait_again_after_its_waiting_call(self, ledger: Ledger, clock: LedgerClock) -> None:
        for etag in ("1", "2"):
            with handling(ledger, identity(etag=etag), BlockingHandler()):
                waiting = waiting_call(ledger, clock, identity(etag=etag), Handler(FAILURE))
            assert waiting.outcome() == SUCCESS

    @pytest.mark.parametrize("object", ["user/猫 1.png", "another"], ids=["same-object", "another-object"])
    @pytest.mark.parametrize("result", [FAILURE, KeyError("its own")], ids=["failure", "exception"])
    def test_a_waiting_call_handles_after_a_failure(
        self,
        ledger: Ledger,
        clock: LedgerClock,
        result: StoredResponse | Exception,
        object: str,  # noqa: A002
    ) -> None:
        first, second = BlockingHandler(result), Handler()
        with handling(ledger, identity(), first) as call:
            waiting = waiting_call(ledger, clock, identity(object=object), second)
        assert (call.outcome(), waiting.outcome()) == (result, SUCCESS)
        assert second.calls == 1

    @pytest.mark.parametrize(
        "other",
        [identity(object="another", forbid_overwrite=True), identity(etag="another", forbid_overwrite=True)],
        ids=["another-object", "another-etag"],
    )
    def test_another_upload_of_the_ticket_waits_and_is_refused(
        self, ledger: Ledger, clock: LedgerClock, other: UploadIdentity
    ) -> None:
        first, second = BlockingHandler(), Handler()
        with handling(ledger, identity(forbid_overwrite=True), first):
            waiting = waiting_call(ledger, clock, other, second)
        assert isinstance(waiting.outcome(), TicketUsedError)
        assert second.calls == 0

    @pytest.mark.parametrize("object", ["user/猫 1.png", "another"], ids=["same-object", "another-object"])
    def test_a_waiting_call_ends_with_ledger_busy(self, impatient_ledger: Ledger, object: str) -> None:  # noqa: A002
        second = Handler()
        with handling(impatient_ledger, identity(), BlockingHandler()) as call:
            error = Call(impatient_ledger, identity(object=object), second).outcome()
        assert isinstance(error, LedgerUnavailableError)
        assert error.reason == "ledger_busy"
        assert call.outcome() == SUCCESS
        assert second.calls == 0
        assert impatient_ledger.run_once(identity(), Handler(FAILURE)) == SUCCESS

    def test_many_at_once_get_what_is_stored(self, ledger: Ledger) -> None:
        ledger.run_once(identity(), Handler())
        calls = [Call(ledger, identity(may_wait=number % 2 == 0), Handler(FAILURE)) for number in range(12)]
        assert [call.outcome() for call in calls] == [SUCCESS] * 12

    def test_another_ticket_does_not_wait(self, impatient_ledger: Ledger) -> None:
        with handling(impatient_ledger, identity("t1"), BlockingHandler()):
            assert Call(impatient_ledger, identity("t2"), Handler()).outcome() == SUCCESS

    def test_another_etag_is_handled_too(self, ledger: Ledger) -> None:
        second = Handler()
        with handling(ledger, identity(etag="1"), BlockingHandler()) as first:
            call = Call(ledger, identity(etag="2"), second)
        assert (first.outcome(), call.outcome(), second.calls) == (SUCCESS, SUCCESS, 1)

    # Sweeps.

    def test_a_lock_is_held_by_one(self, ledger: Ledger) -> None:
        with ledger.hold("a"), ledger.hold("b"):
            for name in ("a", "b"):
                with pytest.raises(SweepRunningError), ledger.hold(name):
                    pytest.fail("another one holds it")
        with pytest.raises(KeyError), ledger.hold("a"):
            raise KeyError
        with ledger.hold("a"):
            pass

    def test_uploads_are_handled_while_a_lock_is_held(self, ledger: Ledger) -> None:
        with ledger.hold("a"):
            assert ledger.run_once(identity(), Handler()) == SUCCESS

    def test_a_saved_text_survives(self, ledger: Ledger) -> None:
        assert ledger.load("a") is None
        for text in ("first", '{"猫": "\\u0000"}', "x" * 65_536, ""):
            ledger.save("a", text)
            assert ledger.load("a") == text
        ledger.save("b", "other")
        ledger.close()
        assert (ledger.load("a"), ledger.load("b"), len(ledger)) == ("", "other", 0)

    def test_what_is_noted_is_known_and_is_no_upload(self, ledger: Ledger) -> None:
        pairs = {("user/猫 1.png", f"mark {number}") for number in range(1000)}
        ledger.note(pairs, NOW + 300)
        ledger.note(pairs, NOW + 300)
        ledger.note([], NOW + 300)
        assert set(ledger.known(pairs)) == pairs
        assert set(ledger.known([("user/猫 1.png", "5B3C"), ("user/猫", "mark 1"), ("user/猫 1.png", "mark")])) == set()
        assert len(ledger) == 0
        assert_handled(ledger, identity())
        ledger.close()
        assert set(ledger.known([("user/猫 1.png", "5B3C"), ("user/猫 1.png", "mark 7")])) == {
            ("user/猫 1.png", "5B3C"), ("user/猫 1.png", "mark 7"),
        }  # fmt: skip

    def test_a_note_is_kept_until_it_expires(self, ledger: Ledger, clock: LedgerClock) -> None:
        for expires in (NOW + 100_000, NOW + 100):
            ledger.note([("a", "mark")], expires)
        let_time_pass(ledger, clock, 100_000)
        assert set(ledger.known([("a", "mark")])) == {("a", "mark")}

    # A store that cannot be written to.

    @needs("unwritable")
    @pytest.mark.parametrize("max_objects", [1, 3])
    def test_a_ledger_that_cannot_store_refuses_before_the_handler(self, ledger: Ledger, max_objects: int) -> None:
        """If the report were refused after the handler ran, the next one would make it do its work twice."""
        ledger.run_once(identity("before"), Handler())
        upload, handler = identity(max_objects=max_objects), Handler()
        with self.unwritable(ledger):
            for may_wait in (True, False, True):
                with pytest.raises(LedgerUnavailableError):
                    ledger.run_once(upload._replace(may_wait=may_wait), handler)
            assert handler.calls <= 1, (
                "only the first report may reach the handler before the store shows that it cannot be written to"
            )
            in_vain = handler.calls
            with pytest.raises(LedgerUnavailableError):
                ledger.check()
        assert ledger.run_once(upload, handler) == SUCCESS
        assert handler.calls == in_vain + 1
        assert ledger.run_once(identity("before"), Handler(FAILURE)) == SUCCESS

    @needs("failing")
    def test_a_response_that_is_not_stored_is_not_returned_and_leaves_nothing_locked(
        self, ledger: Ledger, impatient_ledger: Ledger
    ) -> None:
        ledger.run_once(identity("before"), Handler())
        handler = Handler()
        with ExitStack() as fault:

            def handle(transaction: object) -> StoredResponse:
                fault.enter_context(self.failing(ledger))
                return handler()

            with pytest.raises(LedgerUnavailableError) as raised:
                ledger.run_once(identity(), handle)
            assert raised.value.reason == "ledger_unavailable"
        assert impatient_ledger.run_once(identity(may_wait=False), handler) == SUCCESS
        assert handler.calls == 2
        for upload in identity(), identity("before"):
            assert ledger.run_once(upload, Handler(FAILURE)) == SUCCESS

    # Other processes.

    @pytest.mark.slow
    @needs("elsewhere")
    def test_an_upload_that_another_process_handles_is_waited_for(
        self, ledger: Ledger, impatient_ledger: Ledger, clock: LedgerClock
    ) -> None:
        with self.another_process() as process:
            impatient = Call(impatient_ledger, identity(), Handler(FAILURE))
            at_once = Call(ledger, identity(may_wait=False), Handler(FAILURE))
            assert len(first_ended([impatient, at_once], 2)) == 2
            for call, says in (impatient, "after 0.02 s"), (at_once, "ask again"):
                with pytest.raises(LedgerUnavailableError, match=f"ledger_busy: .*{says}"):
                    call.response()
            assert Call(ledger, identity("t2", may_wait=False), Handler()).outcome() == SUCCESS
            waiting = waiting_call(ledger, clock, identity(), Handler(FAILURE))
            assert process.communicate("\n", DEADLINE)[0] == f"{SUCCESS.status}\n"
            assert waiting.outcome() == SUCCESS

    @pytest.mark.slow
    @needs("elsewhere")
    def test_an_upload_whose_process_is_killed_is_handled_again(self, ledger: Ledger) -> None:
        with self.another_process() as process:
            process.kill()
            assert_handled(ledger, identity())

    @pytest.mark.slow
    @needs("elsewhere")
    def test_a_lock_ends_with_its_process(self, ledger: Ledger) -> None:
        def is_free() -> bool:
            with suppress(SweepRunningError), ledger.hold("a"):
                return True
            return False

        with self.another_process(holds=True) as process:
            assert not is_free()
            process.kill()
            wait_until(is_free)  # until the server has noticed

    # Expiry.

    def test_a_response_is_stored_until_its_ticket_expires(self, ledger: Ledger, clock: LedgerClock) -> None:
        ledger.run_once(identity("t1"), Handler())
        clock.advance(300)
        ledger.run_once(identity("t2", expires=NOW + 900), Handler())
        assert ledger.run_once(identity("t1"), Handler(FAILURE)) == SUCCESS

    @pytest.mark.parametrize("jump", [86_400, -86_400, 86_400 * 365, -86_400 * 365], ids="{:+}".format)
    def test_a_clock_that_jumps_and_comes_back_forgets_nothing(
        self, ledger: Ledger, clock: LedgerClock, jump: int
    ) -> None:
        """Other uploads come meanwhile; the last ticket is old, so that it expires soon."""
        lives = [300 * number for number in range(10, 0, -1)]
        uploads = [identity(f"t{life}", expires=NOW + life) for life in lives]
        for upload in uploads:
            ledger.run_once(upload, Handler())
        for _ in range(3):
            clock.advance(jump)
            for number in range(10):
                clock.advance(1)
                later = identity(f"{clock.now}", expires=int(clock.now) + 900)
                ledger.run_once(later, Handler(FAILURE if number % 2 else SUCCESS))
            clock.advance(-jump)
        again = Handler()
        assert [ledger.run_once(upload, again) for upload in uploads] == [SUCCESS] * 10
        assert again.calls == 0

    @pytest.mark.parametrize("wrong", [10 * 86_400, -7200], ids="{:+}".format)
    def test_a_response_stored_by_a_wrong_clock_stays(self, ledger: Ledger, clock: LedgerClock, wrong: int) -> None:
        upload = identity(expires=NOW + 100_000)
        clock.advance(wrong)
        ledger.run_once(upload, Handler())
        clock.advance(-wrong)
        let_time_pass(ledger, clock, 100_000)
        assert ledger.run_once(upload, Handler(FAILURE)) == SUCCESS

    def test_a_response_is_forgotten_some_time_after_its_ticket(self, ledger: Ledger, clock: LedgerClock) -> None:
        valid = identity("valid", expires=NOW + 10 * 86_400)
        ledger.run_once(identity("expired"), Handler())
        ledger.run_once(valid, Handler())
        let_time_pass(ledger, clock, 2 * 86_400)
        again = Handler()
        ledger.run_once(valid, again)
        assert again.calls == 0
        ledger.run_once(identity("expired", expires=NOW + 10 * 86_400), again)
        assert again.calls == 1

    # What operators use.

    def test_len_counts_the_stored_responses(self, ledger: Ledger) -> None:
        assert len(ledger) == 0
        ledger.run_once(identity(), Handler())
        ledger.run_once(identity(), Handler())
        ledger.run_once(identity(etag="another"), Handler())
        ledger.run_once(identity("failed"), Handler(FAILURE))
        assert len(ledger) == 2

    def test_known_returns_the_pairs_that_were_handled(self, ledger: Ledger) -> None:
        ledger.run_once(identity(), Handler())
        ledger.run_once(identity("t2", etag="another"), Handler())
        ledger.run_once(identity("failed", object="failed"), Handler(FAILURE))
        handled = {("user/猫 1.png", "5B3C"), ("user/猫 1.png", "another")}
        asked = [("user/猫 1.png", "5B3D"), ("user/猫", "5B3C"), ("failed", "5B3C"), *handled]
        asked += [(f"user/{number}", "5B3C") for number in range(995)]
        with handling(ledger, identity("t3", object="user/7"), BlockingHandler()):
            assert set(ledger.known(asked)) == handled
        assert set(ledger.known(asked)) == {*handled, ("user/7", "5B3C")}
        assert set(ledger.known(asked[:1])) == set(), "only pairs that were asked for are returned"
        assert set(ledger.known([])) == set()

    def test_check_succeeds_and_stores_nothing(self, ledger: Ledger) -> None:
        ledger.run_once(identity(), Handler())
        ledger.check()
        ledger.check()
        assert len(ledger) == 1

    def test_a_closed_ledger_opens_again_with_its_responses(self, ledger: Ledger) -> None:
        ledger.run_once(identity(), Handler())
        ledger.close()
        ledger.close()
        assert ledger.run_once(identity(), Handler(FAILURE)) == SUCCESS
