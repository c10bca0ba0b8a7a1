"""The life of a server process: sockets, URLs, clean-up and exit statuses."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator

import pytest

from oss_wsgi.cli.process import CannotStartError, listening_socket, local_url, run_until_stopped
from oss_wsgi.exceptions import SettingsError


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """Restore the handlers that the server replaces."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
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


@pytest.mark.slow
def test_a_taken_address_names_the_option() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            CannotStartError, match=f"cannot listen on 127.0.0.1:{port}: .* with --there"
        ):
            with listening_socket(("127.0.0.1", port), "--there"):
                pass


@pytest.mark.slow
def test_the_url_is_one_that_this_machine_reaches() -> None:
    with listening_socket(("0.0.0.0", 0), "--listen") as listener:
        assert local_url(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"
