import threading

import pytest

from oss_wsgi.local.inspector import events
from oss_wsgi.local.inspector.events import Events
from oss_wsgi.local.inspector.journal import Journal
from oss_wsgi.local.inspector.story import Story


@pytest.fixture
def journal():
    return Journal()


@pytest.fixture(autouse=True)
def no_pace(monkeypatch):
    monkeypatch.setattr(events.time, "sleep", lambda seconds: None)


def test_a_stream_begins_with_the_count_and_tells_of_each_story(journal):
    stream = Events(journal).stream()
    assert next(stream) == b"retry: 500\nevent: story\ndata: 0\n\n"
    journal.add(Story(id="1"))
    assert next(stream) == b"event: story\ndata: 1\n\n"


def test_a_quiet_stream_gives_signs_of_life(journal, monkeypatch):
    monkeypatch.setattr(events, "HEARTBEAT", 0)
    stream = Events(journal).stream()
    next(stream)
    assert next(stream) == b":\n\n"


def test_a_stream_ends_with_the_journal(journal):
    stream = Events(journal).stream()
    next(stream)
    journal.close()
    assert list(stream) == []


def test_a_stream_ends_after_its_lifetime(journal, monkeypatch):
    monkeypatch.setattr(events, "LIFETIME", 0)
    assert len(list(Events(journal).stream())) == 1


def test_one_stream_too_many_ends_the_oldest(journal, monkeypatch):
    monkeypatch.setattr(events, "HEARTBEAT", 0)
    both = Events(journal)
    streams = [both.stream() for _ in range(events.MAX_STREAMS + 1)]
    for stream in streams:
        next(stream)
    assert list(streams[0]) == []
    assert next(streams[1])
    assert both.count == events.MAX_STREAMS


def test_one_stream_too_many_ends_the_oldest_at_once(journal, monkeypatch):
    monkeypatch.setattr(events, "HEARTBEAT", 3600)
    both = Events(journal)
    streams = [both.stream() for _ in range(events.MAX_STREAMS + 1)]
    for stream in streams[:-1]:
        next(stream)
    thread = threading.Thread(target=lambda: list(streams[0]), daemon=True)
    thread.start()
    next(streams[-1])
    thread.join(60)
    assert not thread.is_alive()


def test_a_closed_stream_counts_no_more(journal):
    both = Events(journal)
    stream = both.stream()
    next(stream)
    stream.close()
    assert both.count == 0
