"""Slots: how many requests of browsers hold a thread, and for whom; which do is in test_gate_contract."""

from __future__ import annotations

import base64
import contextlib
import json
import os
from collections.abc import Callable
from typing import Any

import pytest
import webob

from oss_wsgi import Grant
from oss_wsgi.callback.ticket import TicketBook
from oss_wsgi.endpoints.slots import SLOTS, Slots
from oss_wsgi.exceptions import SlotsTakenError
from oss_wsgi.wsgi.responses import THREADS_KEY

from ..parts.site import SECRET, Site
from ..support.closing import closing_fixture
from .test_gate_contract import slots_are_free


def environ(address: str = "", threads: object = None) -> dict[str, Any]:
    return {"REMOTE_ADDR": address, **({} if threads is None else {THREADS_KEY: threads})}


@pytest.mark.parametrize(("threads", "most"), [(1, 1), (2, 1), (3, 1), (4, 2), (8, 4), (9, 4), (None, 2)])
def test_half_of_the_threads_and_at_least_one(threads: int | None, most: int) -> None:
    slots = Slots()
    for _ in range(2):  # what was held is free again
        with contextlib.ExitStack() as stack:
            for number in range(most):
                stack.enter_context(slots.hold(environ(str(number), threads)))
            with pytest.raises(SlotsTakenError):
                stack.enter_context(slots.hold(environ("another", threads)))


@pytest.mark.parametrize("caller", ["address", "user:eric", "ticket:1"])
def test_one_caller_holds_two_at_most_and_others_hold_the_rest(caller: str) -> None:
    slots = Slots()
    threads = 6 if caller == "address" else 8  # a request that its address refuses holds no slot

    def hold(number: int) -> None:
        slot = stack.enter_context(slots.hold(environ("one" if caller == "address" else str(number), threads)))
        if caller != "address":
            slot.share(caller)

    with contextlib.ExitStack() as stack:
        for number in range(2):
            hold(number)
        with pytest.raises(SlotsTakenError, match=caller.partition(":")[0]) as raised:
            hold(2)
        assert raised.value.reason == "slots_taken"
        stack.enter_context(slots.hold(environ("another", threads))).share("user:frida")
    with contextlib.ExitStack() as stack:
        hold(0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_holds_no_slot_and_its_parent_keeps_its_own() -> None:
    slots = Slots()
    with slots.hold(environ("1", 2)):
        child = os.fork()
        if child == 0:
            with contextlib.suppress(SlotsTakenError), slots.hold(environ("1", 2)):
                os._exit(0)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        with pytest.raises(SlotsTakenError), slots.hold(environ("2", 2)):
            pass


make = closing_fixture(Site)


def test_what_a_ticket_holds_counts_for_whoever_has_it(make: Callable[..., Site]) -> None:
    site = make({"recover": True})  # its grants name no user
    file = site.upload()
    site.complete(file)
    form = site.ask("GET", "/signature?filename=a.png").json["fields"]
    ticket = json.loads(base64.b64decode(form["callback"]))["callbackBody"].rpartition("ticket=")[2]
    proof = {"ticket": ticket, "object": form["key"]}
    inner, environ = site.application, {THREADS_KEY: 8}
    site.application = lambda env, start: inner({**env, **environ}, start)  # type: ignore[assignment]
    for ticket_id, ask in (
        (site.uploads[0].ticket_id, lambda: site.list(file)),
        (TicketBook((SECRET,), clock=site.clock).open(ticket).id, lambda: site.ask("POST", "/recover", proof)),
    ):
        with SLOTS.hold({"REMOTE_ADDR": "1", **environ}) as one, SLOTS.hold({"REMOTE_ADDR": "2", **environ}) as two:
            for slot in (one, two):
                slot.share(f"ticket:{ticket_id}")
            assert ask().status_int == 503


def test_the_slot_is_held_while_callables_run_and_oss_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    free: list[bool] = []

    def authorize(request: webob.Request) -> Grant:
        free.append(slots_are_free())
        return Grant(user="eric")

    def may_complete(user: str | None) -> bool:
        free.append(slots_are_free())
        return True

    site = Site(authorize=authorize, may_complete=may_complete)
    file = site.upload()
    original = site.bucket.list_parts

    def list_parts(key: str, upload_id: str) -> Any:
        free.append(slots_are_free())
        return original(key, upload_id)

    monkeypatch.setattr(site.bucket, "list_parts", list_parts)
    assert site.complete(file).status_int == 200
    site.close()
    assert free == [False] * 3
    assert slots_are_free()
