"""`make_server` and the releases of waitress that it knows."""

from __future__ import annotations

import importlib.metadata
import re
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from oss_wsgi import serving
from oss_wsgi.serving.server import Server


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Length", "0")])
    return []


def test_the_version_of_waitress_is_the_installed_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    installed = importlib.metadata.version("waitress")
    assert serving.waitress_version() == installed
    monkeypatch.setattr(serving.waitress, "__file__", str(tmp_path / "waitress" / "__init__.py"))
    assert serving.waitress_version() == installed


@pytest.mark.slow
def test_an_unknown_waitress_serves_without_our_parts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(serving, "waitress_version", lambda: "4.0.0")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = serving.make_server(application, listener, lambda method, path, headers: True)
        assert not isinstance(server, Server)
        server.task_dispatcher.shutdown()
        server.close()
    assert "4.0.0" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_drain_of_an_unknown_waitress_ends_it_from_another_thread(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(serving, "waitress_version", lambda: "4.0.0")
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [listener.getsockname() for listener in listeners]
    server = serving.make_server(application, listeners)
    thread = threading.Thread(target=server.run)
    thread.start()
    for address in addresses:
        with socket.create_connection(address, 60) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert client.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
    server.drain(10)
    thread.join(60)
    assert not thread.is_alive()
    for address in addresses:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, 60)
    server.task_dispatcher.shutdown()


@pytest.mark.slow
def test_internet_and_unix_sockets_are_served_together(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as internet, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "socket"))
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
