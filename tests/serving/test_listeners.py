"""Sockets that are opened, and those that a service manager hands over: what they are called, what is refused."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from oss_wsgi.serving import listeners
from oss_wsgi.serving.listeners import inherited_sockets, listening_socket, local_url
from oss_wsgi.serving.until_stopped import CannotStartError

from ..support.absent import INHERITED_SOCKETS
from ..support.running_server import SERVER, clean_environ, fetch

pytestmark = pytest.mark.slow

# Moves sockets to the descriptors from 3 on, and says for which process they are.
HAND_OVER = """
import fcntl, os, sys
fds = [fcntl.fcntl(int(text), fcntl.F_DUPFD, 20) for text in sys.argv[1].split(",")]
for number, fd in enumerate(fds):
    os.dup2(fd, 3 + number)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)))
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


@pytest.fixture
def handed_over(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A listening socket as the first descriptor that is handed over."""
    listener = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setattr(listeners, "FIRST_DESCRIPTOR", os.dup(listener.fileno()))
    with listener:
        yield listener


def test_a_taken_address_names_the_option() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotStartError, match=f"cannot listen on 127.0.0.1:{port}: .* with --there"):
            with listening_socket(("127.0.0.1", port), "--there"):
                pass


def test_the_url_is_one_that_this_machine_reaches() -> None:
    with listening_socket(("0.0.0.0", 0), "--listen") as listener:
        assert local_url(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_unix_socket_is_shown_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # on macOS the whole path is too long for a Unix socket
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s")
        assert local_url(listener) == "unix:s"


def test_nothing_is_taken_that_is_for_another_process() -> None:
    assert inherited_sockets({}, 7) == []
    assert inherited_sockets({"LISTEN_FDS": "1"}, 7) == []
    assert inherited_sockets({"LISTEN_PID": "7"}, 7) == []
    assert inherited_sockets({"LISTEN_FDS": "1", "LISTEN_PID": "8"}, 7) == []
    assert inherited_sockets({"LISTEN_FDS": "0", "LISTEN_PID": "7"}, 7) == []


@INHERITED_SOCKETS
@pytest.mark.parametrize(("names", "expected"), [(None, ""), ("metrics", "metrics"), ("a:b", "a")])
def test_a_socket_has_its_name_and_is_not_handed_on(
    handed_over: socket.socket, names: str | None, expected: str
) -> None:
    environ = {"LISTEN_FDS": "1", "LISTEN_PID": "7", **({"LISTEN_FDNAMES": names} if names else {})}
    ((name, listener),) = inherited_sockets(environ, 7)
    with listener:
        assert name == expected
        assert listener.getsockname() == handed_over.getsockname()
        assert not listener.get_inheritable()


@pytest.mark.parametrize("count", ["", "x", "-1"])
def test_a_number_that_is_none_is_refused(count: str) -> None:
    with pytest.raises(ValueError, match="LISTEN_FDS must be the number of sockets"):
        inherited_sockets({"LISTEN_FDS": count, "LISTEN_PID": "7"}, 7)


@INHERITED_SOCKETS
def test_a_descriptor_that_does_not_listen_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environ = {"LISTEN_FDS": "1", "LISTEN_PID": "7"}
    with socket.socket() as unbound, open(tmp_path / "file", "w") as file:
        for fd, problem in ((unbound.fileno(), "not a listening stream socket"), (file.fileno(), "is not a socket")):
            monkeypatch.setattr(listeners, "FIRST_DESCRIPTOR", fd)
            with pytest.raises(ValueError, match=problem):
                inherited_sockets(environ, 7)


@INHERITED_SOCKETS
def test_server_py_serves_the_application_and_the_metrics_on_inherited_sockets() -> None:
    with socket.create_server(("127.0.0.1", 0)) as own, socket.create_server(("127.0.0.1", 0)) as metrics:
        fds = [own.fileno(), metrics.fileno()]
        command = [
            sys.executable,
            "-c",
            HAND_OVER,
            ",".join(map(str, fds)),
            str(SERVER),
            "--local-listen",
            "127.0.0.1:0",
        ]
        environ = clean_environ(LISTEN_FDNAMES="web:metrics")
        with subprocess.Popen(command, env=environ, pass_fds=fds, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert re.match(rf"Open http://127\.0\.0\.1:{own.getsockname()[1]}/ ", line)
            for listener, path, text in ((own, "/oss/health", b"ok"), (metrics, "/metrics", b"# HELP ")):
                url = f"http://127.0.0.1:{listener.getsockname()[1]}{path}"
                assert text in fetch(url)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
        assert process.returncode == 0
        for listener in (own, metrics):  # they outlive the process
            socket.create_connection(listener.getsockname()[:2], 60).close()
