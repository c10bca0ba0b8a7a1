import threading
import tracemalloc

import pytest

from oss_wsgi.local.inspector import journal as journals
from oss_wsgi.local.inspector.journal import MAX_BYTES, MAX_STORIES, Journal
from oss_wsgi.local.inspector.story import MAX_VALUE, Story


@pytest.fixture
def journal():
    return Journal()


@pytest.fixture(autouse=True)
def no_pace(monkeypatch):
    monkeypatch.setattr(journals.time, "sleep", lambda seconds: None)


def test_the_newest_thousand_are_kept():
    journal = Journal()
    for number in range(MAX_STORIES + 5):
        journal.add(Story(id=f"{number}"))
    stories = journal.stories()
    assert len(stories) == MAX_STORIES
    assert (stories[0].id, stories[-1].id) == (f"{MAX_STORIES + 4}", "5")
    assert journal.story("4") is None
    assert journal.story("5") is stories[-1]


def test_a_story_that_goes_on_keeps_its_place_and_counts_once():
    journal = Journal()
    first, second = Story(id="1", is_under_way=True), Story(id="2")
    journal.add(first)
    journal.add(second)
    first.note_form({"key": "a" * 5000}, "", "")
    first.finish(200, [], b"", 0.1)
    journal.add(first)
    assert journal.stories() == [second, first]
    assert journal.bytes == first.cost() + second.cost()
    assert journal.count == 3


def test_a_thousand_are_the_most_with_those_under_way():
    journal = Journal()
    stories = [Story(id=f"{number}", is_under_way=True) for number in range(MAX_STORIES + 1)]
    for story in stories:
        journal.add(story)
    assert journal.story("0") is None
    stories[0].finish(200, [], b"", 0.1)
    journal.add(stories[0])
    assert journal.stories()[0] is stories[0]
    assert len(journal.stories()) == MAX_STORIES


def test_what_is_under_way_grows_within_8_mib():
    journal = Journal()
    for number in range(100):
        story = Story(id=f"{number}", is_under_way=True, changed=journal.add)
        journal.add(story)
        story.note_form({f"x:{name}": "a" * MAX_VALUE for name in range(7)}, "", "")
        assert journal.bytes <= MAX_BYTES
    assert len(journal.stories()) < 100


@pytest.mark.slow
def test_8_mib_are_the_most_and_that_is_what_the_memory_takes():
    journal = Journal()
    tracemalloc.start()
    try:
        for number in range(600):
            story = Story(id=f"{number}")
            story.note_form({f"x:{name}": f"{number}{name}" + "中" * (MAX_VALUE - 10) for name in range(8)}, "", "")
            journal.add(story)
        memory, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0 < journal.bytes <= MAX_BYTES
    assert memory < MAX_BYTES * 1.1
    assert journal.stories()[0].id == "599"


def test_clearing_keeps_what_is_under_way():
    journal = Journal()
    story = Story(id="1", is_under_way=True)
    journal.add(story)
    journal.add(Story(id="2"))
    journal.clear()
    assert journal.stories() == [story]
    assert journal.bytes == story.cost()


def test_clearing_is_news():
    journal = Journal()
    journal.add(Story(id="1"))
    journal.clear()
    assert journal.stories() == []
    assert journal.bytes == 0
    assert journal.count == 2


def test_a_stream_begins_with_the_count_and_tells_of_each_story(journal):
    stream = journal.stream()
    assert next(stream) == b"retry: 500\nevent: story\ndata: 0\n\n"
    journal.add(Story(id="1"))
    assert next(stream) == b"event: story\ndata: 1\n\n"


def test_a_quiet_stream_gives_signs_of_life(journal, monkeypatch):
    monkeypatch.setattr(journals, "HEARTBEAT", 0)
    stream = journal.stream()
    next(stream)
    assert next(stream) == b":\n\n"


def test_a_stream_ends_with_the_journal(journal):
    stream = journal.stream()
    next(stream)
    journal.close()
    assert list(stream) == []
    assert len(list(journal.stream())) == 1
    journal.open()
    opened = journal.stream()
    next(opened)
    journal.add(Story(id="1"))
    assert next(opened) == b"event: story\ndata: 1\n\n"


def test_a_stream_ends_after_its_lifetime(journal, monkeypatch):
    monkeypatch.setattr(journals, "LIFETIME", 0)
    assert len(list(journal.stream())) == 1


def test_one_stream_too_many_ends_the_oldest(journal, monkeypatch):
    monkeypatch.setattr(journals, "HEARTBEAT", 0)
    streams = [journal.stream() for _ in range(journals.MAX_STREAMS + 1)]
    for stream in streams:
        next(stream)
    assert list(streams[0]) == []
    assert next(streams[1])
    assert journal.streams == journals.MAX_STREAMS


def test_one_stream_too_many_ends_the_oldest_at_once(journal, monkeypatch):
    monkeypatch.setattr(journals, "HEARTBEAT", 3600)
    streams = [journal.stream() for _ in range(journals.MAX_STREAMS + 1)]
    for stream in streams[:-1]:
        next(stream)
    thread = threading.Thread(target=lambda: list(streams[0]), daemon=True)
    thread.start()
    next(streams[-1])
    thread.join(60)
    assert not thread.is_alive()


def test_a_closed_stream_counts_no_more(journal):
    stream = journal.stream()
    next(stream)
    stream.close()
    assert journal.streams == 0
