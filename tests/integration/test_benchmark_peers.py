"""The benchmarks' like-for-like peers accept and refuse the same callbacks as server.py."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from ..benchmarks.callbacks import Report, Reporter
from ..benchmarks.peer_servers import peers, running
from ..support.absent import skip_or_fail
from ..support.ports import free_port
from ..support.running_server import clean_environ

Post = Callable[[Report], tuple[int, bytes]]

SERVERS = {server.name: server for server in peers() if server.name == "server.py" or "like for like" in server.name}
NAME = "filename=user-dir-prefix%2F"
#: What is changed in a good report's body, and the answer's status.
CHANGES = {
    "another bucket": ("bucket=examplebucket", "bucket=otherbucket", 403),
    "another object": (NAME, f"{NAME}a", 403),
    "another size": ("size=5", "size=6", 403),
    "another type": ("mimeType=image%2Fpng", "mimeType=text%2Fhtml", 403),
    "a member twice": ("size=5", "size=5&size=5", 400),
    "no ticket": ("ticket=", "tocket=", 403),
}


@pytest.fixture(scope="module")
def reporter() -> Reporter:
    return Reporter()


@pytest.fixture(scope="module", params=SERVERS)
def post(
    request: pytest.FixtureRequest, reporter: Reporter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Post]:
    """Run a server, and yield a function that posts a report to it and returns status and body."""
    program = {"node": "node", "go": "go"}.get(request.param.partition(",")[0])
    if program and not shutil.which(program):
        skip_or_fail(program)
    folder: Path = tmp_path_factory.mktemp("peer")
    port = free_port()

    def post(report: Report) -> tuple[int, bytes]:
        with socket.create_connection(("127.0.0.1", port), 60) as connection:
            connection.sendall(report.request(closed=True))
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head[9:12]), body

    with running(SERVERS[request.param], port, clean_environ(**reporter.environ(folder)), folder):
        yield post


def is_ok(answer: tuple[int, bytes]) -> bool:
    """Return whether a report was taken; our server adds a signed ID to the answer."""
    status, body = answer
    return status == 200 and body.startswith(b'{"Status": "Ok"')


def changed(report: Report, reporter: Reporter, old: str, new: str) -> Report:
    """Return a report with another body, signed as OSS would sign it."""
    text = report.body.decode()
    assert text.count(old) == 1
    return reporter.signed(text.replace(old, new).encode())


def test_a_real_callback_is_taken_and_taken_again(post: Post, reporter: Reporter) -> None:
    report = reporter.report()
    answers = [post(report), post(report), post(reporter.report())]
    assert [is_ok(answer) for answer in answers] == [True] * 3


@pytest.mark.parametrize("position", [0, 6, 12, 40, -1], ids=["secret", "day", "nonce", "content", "tag"])
def test_a_ticket_with_a_changed_byte_is_refused(post: Post, reporter: Reporter, position: int) -> None:
    report = reporter.report()
    ticket = parse_qs(report.body.decode())["ticket"][0]
    letters = list(ticket)
    letters[position] = "B" if letters[position] == "A" else "A"
    assert post(changed(report, reporter, ticket, "".join(letters)))[0] == 403
    assert is_ok(post(report))


@pytest.mark.parametrize("change", CHANGES)
def test_a_report_that_its_ticket_does_not_allow_is_refused(post: Post, reporter: Reporter, change: str) -> None:
    old, new, status = CHANGES[change]
    assert post(changed(reporter.report(), reporter, old, new))[0] == status


def test_a_report_that_oss_did_not_sign_is_refused(post: Post, reporter: Reporter) -> None:
    report = reporter.report()
    assert post(Report(report.body + b" ", report.authorization))[0] == 403
    assert post(Report(report.body, reporter.report().authorization))[0] == 403
