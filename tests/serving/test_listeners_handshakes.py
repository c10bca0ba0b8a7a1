"""What the kernel does with connections to a socket that is about to close."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from oss_wsgi.serving.listeners import HANDSHAKE_SECONDS, refuse_handshakes

from ..support.absent import linux_only
from ..support.server_thread import (
    REQUEST,
    SetClock,
    connect,
    has_ended,
    phases,
    read_all,
    read_response,
    running,
    wait_for_turn,
)
from ..support.waiting import wait_until

pytestmark = [
    pytest.mark.slow,
    linux_only("refusing handshakes before the close"),
]

# With this option the kernel keeps a handshake under way until the client sends something.
DEFER_ACCEPT = getattr(socket, "TCP_DEFER_ACCEPT", 9)


def listen(host: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, 0), family=family, dualstack_ipv6=host == "::")
    listener.settimeout(60)
    return listener


@pytest.mark.parametrize(("host", "peer"), [("127.0.0.1",) * 2, ("::1",) * 2, ("::", "127.0.0.1"), ("::", "::1")])
def test_new_connections_are_refused_and_those_there_go_on(host: str, peer: str) -> None:
    with listen(host) as listener:
        address = peer, listener.getsockname()[1]
        with socket.create_connection(address, 60) as open_before, socket.create_connection(address, 60) as waiting:
            server_side, _ = listener.accept()
            assert refuse_handshakes(listener)
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(address, 60)
            accepted, _ = listener.accept()
            with server_side, accepted:
                for client, server in ((open_before, server_side), (waiting, accepted)):
                    client.sendall(b"a")
                    assert server.recv(1) == b"a"
                    server.sendall(b"b")
                    assert client.recv(1) == b"b"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_handshake_under_way_is_completed(host: str) -> None:
    with listen(host) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, DEFER_ACCEPT, 30)
        with socket.create_connection((host, listener.getsockname()[1]), 60) as client:
            listener.setblocking(False)
            with pytest.raises(BlockingIOError):
                listener.accept()
            assert refuse_handshakes(listener)
            client.sendall(b"a")
            listener.settimeout(60)
            accepted, _ = listener.accept()
            with accepted:
                assert accepted.recv(1) == b"a"


def test_a_unix_socket_is_left_alone(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        assert not refuse_handshakes(listener)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "s"))


def test_a_system_that_cannot_says_so() -> None:
    with listen("127.0.0.1") as listener:
        listener.close()
        assert not refuse_handshakes(listener)


def test_a_server_that_owns_its_socket_takes_the_handshakes_under_way() -> None:
    clock = SetClock()
    with running(owns_listeners=True, clock=clock) as server:
        listener = server.listeners[0].socket
        listener.setsockopt(socket.IPPROTO_TCP, DEFER_ACCEPT, 30)
        with connect(server) as client:
            assert phases(server) == []
            server.drain(60)
            wait_for_turn(server)
            client.sendall(REQUEST)
            read_response(client)
            with pytest.raises(ConnectionRefusedError):
                connect(server)
            assert not server.is_stopping
            clock.advance(HANDSHAKE_SECONDS)
            assert read_all(client) == b""


def test_a_shared_socket_serves_others_after_the_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = other.getsockname()
        with running(listener=other.dup()) as server:
            server.drain(60)
            wait_until(lambda: has_ended(server))
        with socket.create_connection(address, 60) as client:
            accepted, _ = other.accept()
            with accepted:
                client.sendall(b"a")
                assert accepted.recv(1) == b"a"
