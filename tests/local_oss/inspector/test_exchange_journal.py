import tracemalloc

import pytest

from local_oss.inspector.exchange import MAX_BYTES, MAX_EXCHANGES, MAX_VALUE, Exchange, Journal
from oss_wsgi.threads import call_within

from ...support.children import fork, forking


def test_the_newest_thousand_are_kept():
    journal = Journal()
    for number in range(MAX_EXCHANGES + 5):
        journal.add(Exchange(id=f"{number}"))
    exchanges = journal.exchanges()
    assert len(exchanges) == MAX_EXCHANGES
    assert (exchanges[0].id, exchanges[-1].id) == (f"{MAX_EXCHANGES + 4}", "5")
    assert journal.exchange("4") is None
    assert journal.exchange("5") is exchanges[-1]


def test_an_exchange_that_goes_on_keeps_its_place_and_counts_once():
    journal = Journal()
    first, second = Exchange(id="1", is_under_way=True), Exchange(id="2")
    journal.add(first)
    journal.add(second)
    first.note_form({"key": "a" * 5000}, "", "")
    first.finish(200)
    journal.add(first)
    assert journal.exchanges() == [second, first]
    assert journal.bytes == first.cost() + second.cost()
    assert journal.count == 3


def test_a_thousand_are_the_most_with_those_under_way():
    journal = Journal()
    exchanges = [Exchange(id=f"{number}", is_under_way=True) for number in range(MAX_EXCHANGES + 1)]
    for exchange in exchanges:
        journal.add(exchange)
    assert journal.exchange("0") is None
    exchanges[0].finish(200)
    journal.add(exchanges[0])
    assert journal.exchanges()[0] is exchanges[0]
    assert len(journal.exchanges()) == MAX_EXCHANGES


def test_what_is_under_way_grows_within_8_mib():
    journal = Journal()
    for number in range(100):
        exchange = Exchange(id=f"{number}", is_under_way=True, changed=journal.add)
        journal.add(exchange)
        exchange.note_form({f"x:{name}": "a" * MAX_VALUE for name in range(7)}, "", "")
        assert journal.bytes <= MAX_BYTES
    assert len(journal.exchanges()) < 100


@pytest.mark.slow
def test_8_mib_are_the_most_and_that_is_what_the_memory_takes():
    journal = Journal()
    tracemalloc.start()
    try:
        for number in range(600):
            exchange = Exchange(id=f"{number}")
            exchange.note_form({f"x:{name}": f"{number}{name}" + "中" * (MAX_VALUE - 10) for name in range(8)}, "", "")
            journal.add(exchange)
        memory, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0 < journal.bytes <= MAX_BYTES
    assert memory < MAX_BYTES * 1.1
    assert journal.exchanges()[0].id == "599"


def test_clearing_keeps_what_is_under_way():
    journal = Journal()
    exchange = Exchange(id="1", is_under_way=True)
    journal.add(exchange)
    journal.add(Exchange(id="2"))
    journal.clear()
    assert journal.exchanges() == [exchange]
    assert journal.bytes == exchange.cost()


def test_clearing_is_news():
    journal = Journal()
    journal.add(Exchange(id="1"))
    journal.clear()
    assert journal.exchanges() == []
    assert journal.bytes == 0
    assert journal.count == 2


@forking
def test_a_child_that_is_forked_while_an_exchange_is_added_adds_one():
    def is_added():
        call_within(60, lambda: journal.add(Exchange(id="2")), thread_name="child")
        return len(journal.exchanges()) == 1

    class Forking(str):
        """The id of an exchange: who looks for it forks."""

        def __hash__(self):
            fork(is_added)
            return str.__hash__(self)

    journal = Journal()
    journal.add(Exchange(id=Forking("1")))
    assert journal.exchange("1") is not None
