"""The server: batches, bounds and the end in order."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from oss_wsgi.serving import make_server
from oss_wsgi.serving.connection import Connection

pytestmark = pytest.mark.slow


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]


@pytest.fixture
def server() -> Iterator[Any]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = make_server(application, listener, lambda method, path, headers: True, threads=1)
        yield server
        server.task_dispatcher.shutdown()
        server.close()


class RecordingConnection:
    """A connection that records what the loop does with it, and fails at one step."""

    #: The loop itself answers what cannot be read.
    request = SimpleNamespace(error=True)

    def __init__(self, name: str, notes: list[str], fails: str = "", error: type[BaseException] = OSError) -> None:
        self.name, self.notes, self.fails, self.error = name, notes, fails, error

    def note(self, done: str) -> None:
        self.notes.append(f"{self.name} {done}")
        if done == self.fails:
            raise self.error

    def answer(self) -> None:
        self.note("made")

    def send_answer(self) -> None:
        self.note("sent")

    def abort(self) -> None:
        self.note("failed")


MADE = ["one made", "two made", "three made"]
SENT = ["one sent", "two sent", "three sent"]


@pytest.mark.parametrize(
    ("fails", "error", "expected"),
    [
        ("", OSError, [*MADE, *SENT]),
        ("made", OSError, [*MADE[:2], "two failed", MADE[2], *SENT]),
        ("sent", OSError, [*MADE, *SENT[:2], "two failed", SENT[2]]),
        ("made", SystemExit, [*MADE[:2], *SENT]),
        ("sent", SystemExit, [*MADE, *SENT]),
        ("sent", KeyboardInterrupt, [*MADE, *SENT]),
    ],
)
def test_all_responses_are_made_before_the_first_is_sent(
    server: Any, monkeypatch: pytest.MonkeyPatch, fails: str, error: type[BaseException], expected: list[str]
) -> None:
    for name in ("answer", "send_answer"):
        monkeypatch.setattr(Connection, name, getattr(RecordingConnection, name))
    notes: list[str] = []
    server.dispatch(RecordingConnection("one", notes))
    server.dispatch(RecordingConnection("two", notes, fails, error))
    server.dispatch(RecordingConnection("three", notes))
    server.drain(0)
    server.run()
    assert notes == expected
