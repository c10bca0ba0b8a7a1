import contextlib
import threading

import pytest

from local_oss.errors import OSSError
from local_oss.faults import Faults
from oss_wsgi.threads import call_within

from ..support.children import fork, forking


def names(faults, *wanted):
    """Pop all faults with these names and return their names, in order."""
    popped = []
    while (fault := faults.pop(*wanted)) is not None:
        popped.append(fault.name)
    return popped


def test_a_fault_strikes_once_by_default():
    faults = Faults()
    faults.add("slow_down")
    faults.add("slow_upload", times=2)
    assert names(faults, "slow_down", "slow_upload") == ["slow_down", "slow_upload", "slow_upload"]


def test_a_fault_waits_for_an_operation_that_it_can_strike():
    faults = Faults()
    faults.add("slow_upload")
    faults.add("callback_refused")
    assert faults.pop("callback_refused", "callback_timeout").name == "callback_refused"
    assert faults.pop("callback_refused") is None
    assert faults.pop("slow_upload").name == "slow_upload"


def test_a_fault_can_last_until_clear():
    faults = Faults()
    faults.add("slow_down", times=None)
    assert [faults.pop("slow_down").name for _ in range(5)] == ["slow_down"] * 5
    faults.clear()
    assert faults.pop("slow_down") is None


def test_details_have_defaults():
    faults = Faults()
    faults.add("callback_status", status=404)
    faults.add("callback_status", delivered=True)
    assert [faults.pop("callback_status").details for _ in range(2)] == [
        {"status": 404, "delivered": False},
        {"status": 500, "delivered": True},
    ]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("slowdown", {}, "there is no fault 'slowdown': use one of slow_down, "),
        ("slow_down", {"seconds": 1}, "the fault slow_down has no detail 'seconds', only none"),
        ("slow_upload", {"seconds": "1"}, "the seconds of slow_upload must be like 1.0, not '1'"),
        ("slow_upload", {"seconds": -1}, "not -1"),
        ("callback_status", {"status": 404.0}, "not 404.0"),
        ("callback_timeout", {"delivered": 1}, "the delivered of callback_timeout must be like False, not 1"),
        ("slow_down", {"times": 0}, "not 0 times"),
    ],
)
def test_an_unknown_fault_or_detail_is_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        Faults().add(name, **options)


def test_the_faults_of_a_header_come_first():
    shared = Faults()
    shared.add("callback_timeout")
    faults = shared.with_header(" callback_status; status=404; delivered=true;times=2 , slow_upload; seconds=0.5,")
    assert faults.pop("slow_upload").details == {"seconds": 0.5}
    assert [faults.pop("callback_status", "callback_timeout").name for _ in range(3)] == [
        "callback_status",
        "callback_status",
        "callback_timeout",
    ]
    assert shared.pop("callback_timeout") is None


@pytest.mark.parametrize(
    "header",
    [
        "nothing",
        "slow_upload; seconds=x",
        "slow_upload; seconds",
        "slow_upload; seconds=nan",
        "slow_down; a=1",
        "callback_timeout; delivered=yes",
        "slow_down; times=0",
    ],
)
def test_an_invalid_header_is_refused(header):
    with pytest.raises(OSSError) as caught:
        Faults().with_header(header)
    assert (caught.value.status, caught.value.code) == (400, "InvalidArgument")
    assert caught.value.members == {"ArgumentName": "x-oss-local-fault", "ArgumentValue": header}


class Meeting(str):
    """The name of a fault: who compares it with another one waits a moment for a second thread that does."""

    __hash__ = str.__hash__
    barrier = threading.Barrier(2)

    def __eq__(self, other):
        with contextlib.suppress(threading.BrokenBarrierError):
            self.barrier.wait(0.05)
        return str.__eq__(self, other)


def test_two_threads_cannot_pop_one_fault():
    faults = Faults()
    faults.add("slow_down", times=2)
    popped = []
    threads = [threading.Thread(target=lambda: popped.append(faults.pop(Meeting("slow_down")))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [fault.name for fault in popped] == ["slow_down", "slow_down"]
    assert faults.pop("slow_down") is None


@forking
def test_a_child_that_is_forked_while_a_fault_is_popped_pops_one():
    def is_popped():
        return call_within(60, lambda: faults.pop("slow_down"), thread_name="child") is not None

    class Forking(str):
        """The name of a fault: who compares it with another one forks."""

        __hash__ = str.__hash__

        def __eq__(self, other):
            fork(is_popped)
            return str.__eq__(self, other)

    faults = Faults()
    faults.add("slow_down")
    assert faults.pop(Forking("slow_down")) is not None
