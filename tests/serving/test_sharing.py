"""Share: each of several processes gets its share of the connections, and a stopped one delays nobody for long."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator

import pytest

from oss_wsgi.serving.sharing import Share

from ..support.server_thread import REQUEST, connect, read_response, running
from ..support.waiting import wait_until


@pytest.fixture
def parent() -> Iterator[Share]:
    share = Share(3)
    yield share
    share.close()


@pytest.fixture
def shares(parent: Share) -> list[Share]:
    """Return the shares of three processes that have had a turn at time 1000."""
    shares = [Share(3, number, parent.descriptors) for number in (1, 2, 3)]
    for share in shares:
        share.tell(0, 1000.0)
    return shares


def test_a_process_leaves_connections_to_those_that_have_fewer(shares: list[Share]) -> None:
    assert [share.room(0, 1000.0) for share in shares] == [1, 1, 1]
    shares[0].tell(1, 1000.0)
    assert shares[0].room(1, 1000.0) == 0
    assert shares[1].room(0, 1000.0) == 1
    for share, count in zip(shares, (80, 90, 100), strict=True):
        share.tell(count, 1000.0)
    assert shares[0].room(80, 1000.0) > 10
    assert shares[2].room(100, 1000.0) < 0


def test_where_connections_come_and_go_a_process_may_have_some_more(shares: list[Share]) -> None:
    first = shares[0]
    first.tell(5, 1000.0)
    assert first.room(5, 1000.0) < 0
    first.note_closed(100)
    assert first.room(5, 1000.0) == 27
    assert first.room(33, 1000.0) < 0
    first.note_closed(0)
    assert first.room(5, 1000.0) < 0


def test_the_bell_rings_where_the_fewest_connections_are(shares: list[Share]) -> None:
    for share, count in zip(shares, (9, 3, 5), strict=True):
        share.tell(count, 1000.0)
    for _ in range(3):
        shares[0].ring(1000.0)
    shares[2].hear()  # nothing to read is no error
    assert [has_rung(share) for share in shares] == [False, True, False]
    shares[1].hear()
    assert not has_rung(shares[1])


def test_the_end_closes_the_descriptors() -> None:
    share = Share(2)
    share.close()
    for descriptor in share.descriptors:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


def has_rung(share: Share) -> bool:
    return bool(select.select([share.bell], [], [], 0)[0])


def test_a_process_that_does_not_answer_its_bell_is_left_out_until_it_goes_on(shares: list[Share]) -> None:
    shares[1].tell(5, 1000.0)
    shares[0].ring(1000.01)  # the third one has none, as has the first
    for share in shares[:2]:
        share.tell(5, 1000.1)
    assert shares[0].room(5, 1000.1) == 1, "the third one no longer counts"
    shares[2].tell(0, 1000.2)
    assert shares[0].room(5, 1000.2) < 0


def test_who_has_left_or_has_no_turn_does_not_count(parent: Share, shares: list[Share]) -> None:
    for share, count in zip(shares, (7, 5, 3), strict=True):
        share.tell(count, 1000.0)
    shares[2].leave()
    assert shares[0].room(7, 1000.0) == 5 + 1 - 7
    parent.leave(2)
    assert shares[0].room(7, 1000.0) > 1000
    shares[0].ring(1000.0)  # there is nobody
    shares[1].tell(5, 1000.0)
    assert shares[0].room(7, 1003.0) > 1000


@pytest.mark.slow
def test_servers_that_share_a_listener_have_as_many_connections_each() -> None:
    parent = Share(2)
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        options = [{"share": Share(2, number, parent.descriptors), "listener": listener.dup()} for number in (1, 2)]
        with running(**options[0]) as first, running(**options[1]) as second:
            wait_until(lambda: all(option["share"].room(0, first.now) <= 1 for option in options))
            clients: list[socket.socket] = []
            for count in (100, 200, 300):  # on a busy machine one may sleep through a round, and catches up in the next
                clients += [connect(first) for _ in range(100)]
                wait_until(lambda count=count: len(first.connections) + len(second.connections) == count)
                fewest = min(len(first.connections), len(second.connections))
                if fewest >= 0.4 * count:
                    break
            assert fewest >= 0.4 * count
            for client in clients:
                client.sendall(REQUEST)
                assert read_response(client).startswith(b"HTTP/1.1 200 ")
                client.close()
            first.drain(0)
            wait_until(lambda: not first.listeners)
            with connect(second) as client:  # the other one takes all
                client.sendall(REQUEST)
                assert read_response(client).startswith(b"HTTP/1.1 200 ")
    parent.close()
