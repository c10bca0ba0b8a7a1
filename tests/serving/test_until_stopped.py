"""The life of a server process: sockets, URLs, clean-up and exit statuses."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

import pytest

from oss_wsgi.exceptions import SettingsError
from oss_wsgi.serving.until_stopped import (
    CannotStartError,
    drain_on_signals,
    is_urgent,
    run_until_stopped,
    signals_deferred,
    wait_for_signal,
)


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """Restore the handlers that the server replaces, and forget what signals have said."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    yield
    run_until_stopped("test", lambda stack: None)
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_sigterm_undoes_what_is_on_the_stack() -> None:
    undone: list[str] = []

    def serve(stack: contextlib.ExitStack) -> None:
        stack.callback(undone.append, "socket")
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()

    assert run_until_stopped("test", serve) == 0
    assert undone == ["socket"]


@pytest.mark.parametrize("error", [CannotStartError("no disk"), SettingsError("no disk"), ValueError("no disk")])
def test_an_error_is_printed_under_the_programs_name(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    def serve(stack: contextlib.ExitStack) -> None:
        raise error

    assert run_until_stopped("test", serve) == 2
    assert capsys.readouterr().err == "test: no disk\n"


class DrainedServer:
    def __init__(self) -> None:
        self.drains: list[tuple[float, ...]] = []

    def drain(self, *seconds: float) -> None:
        self.drains.append(seconds)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_drains_and_a_second_one_ends_at_once(number: int) -> None:
    server = DrainedServer()
    drain_on_signals(server, 10, 3)
    os.kill(os.getpid(), number)
    assert server.drains == [(10, 3)]
    os.kill(os.getpid(), number)
    assert server.drains == [(10, 3), (0,)]


def test_a_signal_that_is_ignored_stays_so() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    server = DrainedServer()
    drain_on_signals(server, 10, 0)
    os.kill(os.getpid(), signal.SIGHUP)
    assert server.drains == []


@pytest.mark.parametrize("name", ["SIGHUP", "SIGINT"])
def test_nohup_and_background_jobs_keep_their_signals_ignored(name: str) -> None:
    number = getattr(signal, name)
    signal.signal(number, signal.SIG_IGN)
    assert run_until_stopped("test", lambda stack: os.kill(os.getpid(), number)) == 0
    assert signal.getsignal(number) is signal.SIG_IGN


def test_sigterm_ends_a_server_even_where_it_was_ignored() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    server = DrainedServer()
    drain_on_signals(server, 10, 0)
    os.kill(os.getpid(), signal.SIGTERM)
    assert server.drains == [(10, 0)]


def test_a_signal_that_something_swallows_at_start_ends_the_server_all_the_same() -> None:
    server = DrainedServer()

    def serve(stack: contextlib.ExitStack) -> None:
        with contextlib.suppress(BaseException):
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
        drain_on_signals(server, 10, 0)
        wait_for_signal()

    assert run_until_stopped("test", serve) == 0
    assert server.drains == [(0,)]


def test_signals_do_not_interrupt_the_clean_up_and_make_it_urgent() -> None:
    steps: list[object] = []

    def clean_up() -> None:
        steps.append(is_urgent())
        os.kill(os.getpid(), signal.SIGINT)
        steps.append(is_urgent())

    def serve(stack: contextlib.ExitStack) -> None:
        stack.callback(steps.append, "last")
        stack.callback(clean_up)
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
        finally:  # a second one on the way out
            os.kill(os.getpid(), signal.SIGHUP)
            steps.append("way out")

    assert run_until_stopped("test", serve) == 0
    assert steps == ["way out", True, True, "last"]


def test_one_signal_leaves_the_clean_up_its_time() -> None:
    urgent: list[bool] = []

    def serve(stack: contextlib.ExitStack) -> None:
        stack.callback(lambda: urgent.append(is_urgent()))
        drain_on_signals(DrainedServer(), 3600, 0)
        os.kill(os.getpid(), signal.SIGTERM)

    assert run_until_stopped("test", serve) == 0
    assert urgent == [False]


def test_a_deferred_signal_ends_the_process_after_the_block() -> None:
    undone: list[str] = []

    def serve(stack: contextlib.ExitStack) -> None:
        with signals_deferred():
            os.kill(os.getpid(), signal.SIGTERM)
            stack.callback(undone.append, "folder")
        undone.append("never")

    assert run_until_stopped("test", serve) == 0
    assert undone == ["folder"]
