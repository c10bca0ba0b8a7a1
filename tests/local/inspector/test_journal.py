import tracemalloc

import pytest

from oss_wsgi.local.inspector.journal import MAX_BYTES, MAX_STORIES, Journal
from oss_wsgi.local.inspector.story import MAX_VALUE, Story


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
