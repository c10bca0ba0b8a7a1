"""`make_server`, and the releases of waitress with which these tests ran."""

from __future__ import annotations

import importlib.metadata
import re
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from oss_wsgi import serving

#: The releases with which these tests ran; `.ci/run` runs them with the oldest again.
TESTED = {"3.0.1", "3.0.2"}


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Length", "0")])
    return []


def test_the_installed_waitress_is_one_that_was_checked() -> None:
    todo = "docs/serving.md, 'When waitress makes a release', says what to check before its number goes into TESTED."
    assert importlib.metadata.version("waitress") in TESTED, todo


def test_setup_cfg_installs_the_releases_of_waitress_that_were_checked_and_their_fixes() -> None:
    lines = (Path(__file__).parents[2] / "setup.cfg").read_text(encoding="utf-8").splitlines()
    (requirement,) = (Requirement(line) for line in lines if line.strip().startswith("waitress "))
    assert all(release in requirement.specifier for release in TESTED)
    assert "3.0.0" not in requirement.specifier
    assert "3.1" not in requirement.specifier and "4" not in requirement.specifier


@pytest.mark.slow
def test_internet_and_unix_sockets_are_served_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # on macOS the whole path is too long for a Unix socket
    with socket.create_server(("127.0.0.1", 0)) as internet, socket.socket(socket.AF_UNIX) as unix:
        unix.bind("socket")
        unix.listen()
        listeners = [internet, unix]
        server = serving.make_server(application, listeners)
        addresses = [(each.family, each.getsockname()) for each in listeners]
        thread = threading.Thread(target=server.run)
        thread.start()
        for family, address in addresses:
            with socket.socket(family) as client:
                client.settimeout(60)
                client.connect(address)
                client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                assert client.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
        server.drain(0)
        thread.join(60)


@pytest.mark.slow
def test_sockets_that_are_no_streams_are_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as stream, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        with pytest.raises(ValueError, match="stream"):
            serving.make_server(application, [stream, datagrams])


def test_no_listener_is_refused() -> None:
    with pytest.raises(ValueError, match="listener must be one or more listening sockets; there is none"):
        serving.make_server(application, [])


@pytest.mark.slow
def test_options_may_be_texts_as_in_a_file() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = serving.make_server(application, listener, connection_limit="20", channel_timeout="7", threads="1")
        assert (server.connection_limit, server.limits.idle_timeout) == (20, 7)
        server.task_dispatcher.shutdown()
        server.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"header_timeout": "10"}, "header_timeout must be a number, more than 0, not '10'."),
        ({"body_timeout": None}, "body_timeout must be a number, more than 0, not None."),
        ({"write_timeout": float("nan")}, "write_timeout must be a number, more than 0, not nan."),
        ({"idle_timeout": 0}, "idle_timeout must be a number, more than 0, not 0."),
        ({"connections_per_address": 0}, "connections_per_address must be a whole number, at least 1, not 0."),
        ({"connections_per_address": 1.5}, "connections_per_address must be a whole number, at least 1, not 1.5."),
        ({"connection_limit": 0}, "connection_limit must be at least 1, not 0."),
    ],
)
def test_bounds_that_make_no_sense_are_refused(options: dict[str, Any], sentence: str) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    with listener, pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        serving.make_server(application, listener, **options)
