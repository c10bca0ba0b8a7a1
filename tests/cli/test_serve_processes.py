"""`server.py --processes` and `serve --processes`: restarts, the end of all together, and what they share."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from oss_wsgi.serving.inheritance import Inheritance
from oss_wsgi.serving.sharing import Share

from ..serving.test_listeners import HAND_OVER
from ..support.absent import PROCESSES
from ..support.callbacks import without_signed_id
from ..support.forks import run
from ..support.ports import free_port, listens
from ..support.running_server import (
    FREE_PORTS,
    REAL_BUCKET,
    SERVER,
    RunningServer,
    clean_environ,
    fetch,
    running_server,
    serving,
    upload,
)
from ..support.waiting import wait_until
from .command import oss_wsgi
from .test_serve_application import ROOT, children_of, is_gone

pytestmark = [pytest.mark.slow, PROCESSES]

LEDGER_LINE = "    export OSS_LEDGER=/var/lib/oss-wsgi/ledger.sqlite3\n"
SECRET_LINE = "    export OSS_TICKET_SECRET=$(python3 -c 'import secrets; print(secrets.token_hex(32))')\n"

WHO = """
import os, pathlib, time

folder = pathlib.Path(__file__).parent
if (folder / "broken").exists():
    os._exit(7)

def application(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        (folder / "slow").touch()
        while not (folder / "go").exists():
            time.sleep(0.01)
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""
LATE = """
try:
    (folder / "first").touch(exist_ok=False)
except FileExistsError:
    time.sleep(1)
"""
UPLOADS = """
import os
from oss_wsgi import DirectUpload, MemoryLedger, Settings

application = DirectUpload(lambda environ, start_response: [], Settings.from_environ(os.environ))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "who.py").write_text(WHO)
    (tmp_path / "uploads.py").write_text(UPLOADS)
    return tmp_path


@contextlib.contextmanager
def processes(folder: Path, *arguments: str) -> Iterator[tuple[RunningServer, list[int]]]:
    """Serve with two processes; yield the server and the process IDs."""
    command = [sys.executable, "-m", "oss_wsgi", "serve", *FREE_PORTS, "--app", "who:application"]
    command += ["--processes", "2", *arguments]
    with serving(command, clean_environ(PYTHONPATH=str(ROOT)), folder) as server:
        server.log("Ctrl-C ends it.")
        yield server, children_of(server.process.pid)


def answering(url: str) -> Counter[int]:
    """Return how many requests each process has answered; each request had its own connection."""
    return Counter(int(fetch(url)) for _ in range(8))


def refused(*arguments: str, **environ: str) -> str:
    ended = run([str(SERVER), *FREE_PORTS, "--processes", "2", *arguments], clean_environ(**environ))
    assert ended.returncode == 2, ended.stderr
    return ended.stderr


def metrics(server: RunningServer) -> dict[str, float]:
    (line,) = (line for line in server.lines if line.startswith("Metrics at "))
    lines = fetch(line.removeprefix("Metrics at ").rstrip(".\n")).decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def test_one_command_serves_with_a_local_oss_and_each_line_names_its_process() -> None:
    with running_server("--processes", "2", "--access-log") as server:
        output = server.log("Ctrl-C ends it.")
        pids = ", ".join(map(str, sorted(children_of(server.process.pid))))
        assert f"2 processes serve: {pids}.\n" in output
        assert output.count("Open http://") == 1
        assert without_signed_id(upload(server.url)) == {"Status": "Ok"}
        wait_until(lambda: fetches(server, " process=1\n", " process=2\n"))


def fetches(server: RunningServer, *parts: str) -> bool:
    """Make a request, and return whether the log has each of these texts."""
    assert fetch(f"{server.url}/oss/health")
    return all(part in "".join(server.lines) for part in parts)


def test_a_process_leaves_new_connections_to_one_with_fewer(folder: Path) -> None:
    environ = clean_environ(PYTHONPATH=str(ROOT))
    share = Share(2, 2)  # this test is the parent, and a second process that accepts nothing
    parents, childs = socket.socketpair()
    with contextlib.closing(share), socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as stack:
        inherited = Inheritance(
            [listener], [], processes=2, number=1, lifeline=childs.fileno(), share=share.descriptors
        )
        inherited.to_environ(environ)
        descriptors = [childs.fileno(), listener.fileno(), *share.descriptors]
        command = [sys.executable, "-m", "oss_wsgi", "serve", "--app", "who:application", "--processes", "2"]
        child = stack.enter_context(subprocess.Popen(command, cwd=folder, env=environ, pass_fds=descriptors))
        stack.enter_context(parents)  # the child ends when this is closed
        childs.close()
        parents.sendall(b'{"accept": true}\n')

        def is_rung() -> bool:
            assert child.poll() is None
            share.tell(0, time.monotonic())
            stack.enter_context(socket.create_connection(listener.getsockname()))
            return bool(select.select([share.bell], [], [], 0.05)[0])

        wait_until(is_rung)


def test_connections_that_come_while_the_second_process_starts_are_shared_too(folder: Path) -> None:
    (folder / "who.py").write_text(WHO + LATE)

    def early() -> Counter[int]:
        (folder / "first").unlink(missing_ok=True)
        port = free_port()

        def counted() -> Counter[int]:
            wait_until(lambda: listens(f"http://127.0.0.1:{port}"))
            return kept_by(port)

        with ThreadPoolExecutor() as pool:
            counting = pool.submit(counted)
            with processes(folder, "--listen", f"127.0.0.1:{port}"):
                return counting.result()

    assert any(min(counts.values()) >= 15 and len(counts) == 2 for counts in (early() for _ in range(10)))


def kept_by(port: int) -> Counter[int]:
    """Open 60 connections, then ask on each; return how many each process has answered."""
    counts: Counter[int] = Counter()
    clients = [socket.create_connection(("127.0.0.1", port), 60) for _ in range(60)]
    for client in clients:
        with contextlib.suppress(ConnectionError, ValueError):  # closed, as nothing came for 10 s
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            with client.makefile("rb") as answer:
                counts[int(answer.read().rpartition(b"\r\n\r\n")[2])] += 1
        client.close()
    return counts


def test_a_ledger_and_a_secret_are_asked_for_in_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:  # the port is tried afterwards
        assert refused("--listen", f"127.0.0.1:{taken.getsockname()[1]}", **REAL_BUCKET) == (
            "server.py: --processes: 2 processes need a ledger and a ticket secret that they share; set, for example:\n"
            f"{LEDGER_LINE}{SECRET_LINE}"
        )
    assert refused(**REAL_BUCKET, OSS_TICKET_SECRET="t" * 32).endswith(
        f"need a ledger that they share; set, for example:\n{LEDGER_LINE}"
    )
    assert refused("--ledger", "x", **REAL_BUCKET).endswith(
        f"need a ticket secret that they share; set, for example:\n{SECRET_LINE}"
    )


def test_a_ledger_of_the_applications_own_must_be_shared_too(folder: Path) -> None:
    serve = ["serve", *FREE_PORTS, "--processes", "2", "--app", "uploads:application"]
    environ = {"PYTHONPATH": str(ROOT), "OSS_ALLOW_ANONYMOUS": "on", **REAL_BUCKET}
    errors = oss_wsgi(*serve, status=2, cwd=folder, **environ).stderr
    assert errors.count("need a ledger and a ticket secret that they share") == 1
    assert errors.endswith(f"{LEDGER_LINE}{SECRET_LINE}")
    (folder / "uploads.py").write_text(UPLOADS.replace("os.environ)", "os.environ), ledger=MemoryLedger(clock=None)"))
    environ |= {"OSS_LEDGER": str(folder / "ledger"), "OSS_TICKET_SECRET": "t" * 32}
    errors = oss_wsgi(*serve, status=2, cwd=folder, **environ).stderr
    assert errors.endswith(f"need a ledger that they share; set, for example:\n{LEDGER_LINE}")


def test_reload_and_processes_are_refused_together(folder: Path) -> None:
    errors = oss_wsgi("serve", "--app", "who:application", "--reload", "--processes", "2", status=2, cwd=folder).stderr
    assert errors == ("oss-wsgi serve: --reload restarts one process, for development: leave --processes out.\n")


def test_metrics_of_all_are_added_up_and_outlive_a_process() -> None:
    with running_server("--processes", "2", "--metrics-listen", "127.0.0.1:0") as server:
        server.log("Ctrl-C ends it.")
        for _ in range(6):
            fetch(f"{server.url}/oss/signature?filename=a.txt")
        # A process that does not tell its counts within a second is left out.
        wait_until(lambda: metrics(server)["oss_wsgi_signatures_issued_total"] == 6)
        assert metrics(server)["oss_wsgi_processes"] == 2
        os.kill(children_of(server.process.pid)[0], signal.SIGKILL)
        wait_until(lambda: metrics(server)["oss_wsgi_process_restarts_total"] == 1)
        wait_until(lambda: metrics(server)["oss_wsgi_processes"] == 2)
        assert metrics(server)["oss_wsgi_signatures_issued_total"] == 6


def test_a_killed_process_is_restarted_and_cuts_no_more_than_what_it_has(folder: Path) -> None:
    stop = threading.Event()
    failed: list[Exception] = []
    answered: Counter[int] = Counter()

    def load(url: str) -> None:
        while not stop.is_set():
            try:
                answered[int(fetch(url))] += 1
            except OSError as error:
                failed.append(error)

    with processes(folder) as (server, pids):
        clients = [threading.Thread(target=load, args=(server.url,)) for _ in range(4)]
        for client in clients:
            client.start()
        wait_until(lambda: all(answered[pid] for pid in pids))
        os.kill(pids[1], signal.SIGKILL)  # the last that has started
        assert f"process 2 (pid {pids[1]}) was ended by SIGKILL; it starts again now" in server.log("starts again")
        wait_until(lambda: len(answered) == 3)
        stop.set()
        for client in clients:
            client.join()
        assert len(failed) <= len(clients)
        assert pids[0] in children_of(server.process.pid)


def test_one_that_is_told_to_end_answers_what_it_has_and_another_takes_its_place(folder: Path) -> None:
    with processes(folder) as (server, pids):
        with slow_request(server, folder) as responses:
            for pid in pids:
                os.kill(pid, signal.SIGTERM)
            (folder / "go").touch()
        assert int(responses[0]) in pids
        assert "ended with status 0; it starts again" in server.log("starts again")
        wait_until(lambda: len(answering(server.url)) == 2)


@contextlib.contextmanager
def slow_request(server: RunningServer, folder: Path) -> Iterator[list[Any]]:
    """Yield the list for the response to a request that has begun, and that ends once the file `go` exists."""
    responses: list[Any] = []

    def ask() -> None:
        try:
            responses.append(fetch(f"{server.url}/slow"))
        except OSError as error:
            responses.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    wait_until((folder / "slow").exists)
    try:
        yield responses
    finally:
        asking.join(60)


def test_one_that_cannot_start_again_is_tried_with_growing_pauses(folder: Path) -> None:
    with processes(folder) as (server, pids):
        (folder / "broken").touch()
        os.kill(pids[1], signal.SIGKILL)
        output = server.log("in 2 s")
        pauses = ", ".join(re.findall("starts again (.*)", output))
        # Half a second comes first after a long life, and 4 s follow if this process was late.
        assert re.match("now, (in 0.5 s, )?in 1 s, in 2 s", pauses)
        assert "ended with status 7; it starts again in 1 s" in output
        assert set(answering(server.url)) == {pids[0]}
        (folder / "broken").unlink()
        wait_until(lambda: len(answering(server.url)) == 2)


def test_when_none_can_start_the_error_is_said_once_and_ends_it(folder: Path) -> None:
    serve = ["serve", *FREE_PORTS, "--processes", "3", "--app", "who:application"]
    (folder / "broken").touch()
    errors = oss_wsgi(*serve, status=2, cwd=folder, PYTHONPATH=str(ROOT)).stderr
    assert errors.endswith("oss-wsgi serve: none of the processes could start: the lines above say why.\n")
    (folder / "who.py").write_text("import prices\n")
    errors = oss_wsgi(*serve, status=2, cwd=folder, PYTHONPATH=str(ROOT)).stderr
    assert errors.count("No module named 'prices'") == 1


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "all SIGINT"])
def test_a_signal_ends_all_in_order(folder: Path, name: str) -> None:
    command = [sys.executable, "-m", "oss_wsgi", "serve", *FREE_PORTS, "--app", "who:application", "--processes", "2"]
    environ = clean_environ(PYTHONPATH=str(ROOT), TMPDIR=str(folder / "tmp"))
    (folder / "tmp").mkdir()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environ, cwd=folder,
        start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        lines = [""]
        while "Ctrl-C" not in lines[-1]:
            lines.append(process.stdout.readline())
        url = next(line.split()[1].rstrip("/") for line in lines if line.startswith("Open "))
        pids = children_of(process.pid)
        with slow_request(RunningServer(process, url, lines), folder) as responses:
            number = getattr(signal, name.removeprefix("all "))
            if name.startswith("all"):  # as a terminal and systemd do
                os.killpg(process.pid, number)
            else:
                process.send_signal(number)
            wait_until(lambda: not listens(url))
            (folder / "go").touch()
            rest, _ = process.communicate(timeout=60)
        assert responses and int(responses[0]) in pids
    assert (process.returncode, rest) == (0, "")
    assert all(map(is_gone, pids))
    assert list((folder / "tmp").iterdir()) == []


def test_a_second_signal_ends_all_at_once(folder: Path) -> None:
    with processes(folder, "--drain", "3600") as (server, pids):
        with slow_request(server, folder) as responses:
            for number in (signal.SIGINT, signal.SIGTERM):
                server.process.send_signal(number)
                wait_until(lambda: not listens(server.url))
            assert server.process.wait(60) == 0
        assert isinstance(responses[0], OSError)
        assert all(map(is_gone, pids))


def test_all_say_that_they_drain(folder: Path) -> None:
    with running_server("--processes", "2", "--drain-delay", "3600") as server:
        server.log("Ctrl-C ends it.")
        assert fetch(f"{server.url}/oss/health/ready")
        server.process.send_signal(signal.SIGTERM)
        # The parent tells one after another; connections go to all in turn.
        wait_until(lambda: all(is_draining(server.url) for _ in range(4)))


def is_draining(url: str) -> bool:
    try:
        fetch(f"{url}/oss/health/ready")
    except urllib.error.HTTPError as error:
        with error:
            return error.code == 503 and b"draining" in error.read()
    return False


def test_no_process_outlives_a_killed_parent(folder: Path) -> None:
    command = [sys.executable, "-m", "oss_wsgi", "serve", *FREE_PORTS, "--app", "who:application", "--processes", "2"]
    environ = clean_environ(PYTHONPATH=str(ROOT), TMPDIR=str(folder))
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environ, cwd=folder
    ) as process:
        assert process.stdout is not None
        while "Ctrl-C" not in process.stdout.readline():
            assert process.poll() is None
        pids = children_of(process.pid)
        process.kill()
        process.wait(60)
        assert len(pids) == 2
        wait_until(lambda: all(map(is_gone, pids)))
        process.stdout.close()


def test_inherited_sockets_serve_the_application_and_the_metrics(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        urls = [f"http://127.0.0.1:{each.getsockname()[1]}" for each in sockets]
        fds = ",".join(str(each.fileno()) for each in sockets)
        command = [sys.executable, "-c", HAND_OVER, fds, str(SERVER), "--processes", "2"]
        environ = clean_environ(
            LISTEN_FDNAMES="web:metrics", OSS_LEDGER=str(tmp_path / "ledger"), OSS_TICKET_SECRET="t" * 32,
            OSS_ALLOW_ANONYMOUS="on", **REAL_BUCKET,
        )  # fmt: skip
        process = stack.enter_context(
            subprocess.Popen(
                command, stdout=subprocess.PIPE, text=True, env=environ, pass_fds=[each.fileno() for each in sockets]
            )
        )
        assert process.stdout is not None
        lines = [""]
        while "processes serve" not in lines[-1]:
            lines.append(process.stdout.readline())
            assert lines[-1], lines
        for _ in range(4):
            fetch(f"{urls[0]}/oss/signature?filename=a.txt")
        wait_until(lambda: b"oss_wsgi_signatures_issued_total 4.0\n" in fetch(f"{urls[1]}/metrics"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        socket.create_connection(("127.0.0.1", sockets[0].getsockname()[1])).close()
        process.stdout.close()


def test_too_many_connections_are_said_once() -> None:
    with running_server("--processes", "2", "--connections", "900000000") as server:
        log = server.log("Ctrl-C ends it.")
    assert log.count("connections were asked for") == 1


@pytest.mark.parametrize("app", [(), ("--app", "uploads:application")], ids=["page", "application"])
def test_a_warning_of_the_start_is_said_once_for_all(folder: Path, app: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "oss_wsgi", "serve", *FREE_PORTS, *app, "--processes", "2"]
    environ = clean_environ(PYTHONPATH=str(ROOT), OSS_SIGNATURE_VERSION="v1")
    with serving(command, environ, folder) as server:
        server.log("Ctrl-C ends it.")
        wait_until(lambda: "".join(server.lines).count("OSS_SIGNATURE_VERSION is v1") > 0)
        wait_until(lambda: fetches(server, "") and len(children_of(server.process.pid)) == 2)
    assert "".join(server.lines).count("OSS_SIGNATURE_VERSION is v1") == 1


def test_a_region_without_callbacks_is_warned_of_once_for_all_processes(folder: Path) -> None:
    environ = {**REAL_BUCKET, "OSS_REGION": "cn-nanjing", "OSS_ALLOW_ANONYMOUS": "on", "OSS_TICKET_SECRET": "t" * 32}
    environ |= {
        "OSS_LEDGER": str(folder / "ledger"),
        "OSS_CALLBACK_URL": "https://app.example.com",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "oss_wsgi", "serve", *FREE_PORTS, "--processes", "2", "--access-log"]
    for more, warned in (({}, 1), ({"OSS_REPORT_BY": "page"}, 0)):
        with serving(command, clean_environ(**environ, **more), folder) as server:
            wait_until(lambda: fetches(server, " process=1\n", " process=2\n"))
            lines = [line for line in server.lines if "OSS sends no callbacks from the region cn-nanjing" in line]
            assert [("OSS_REPORT_BY=page" in line, "process=1" in line) for line in lines] == [(True, True)] * warned
