import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from oss_wsgi.local.errors import OSSError
from oss_wsgi.local.storage.incoming import IncomingContent
from oss_wsgi.local.storage.indexed import directory_storage, memory_storage
from oss_wsgi.testing.storage_contract import NOW, STRANGE_KEYS, StorageContract, content, put

ROOT = Path(__file__).parents[3]


class TestDirectory(StorageContract):
    @pytest.fixture(autouse=True)
    def _directory(self, tmp_path):
        self.directory = tmp_path / "objects"

    def make_storage(self):
        return directory_storage(self.directory)


class TestMemory(StorageContract):
    def make_storage(self):
        return memory_storage()


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "objects"


@pytest.fixture
def open_storage(directory):
    opened = []

    def make():
        opened.append(directory_storage(directory))
        opened[-1].create_bucket("examplebucket", now=NOW)
        return opened[-1]

    yield make
    for storage in opened:
        storage.close()


@pytest.fixture
def bucket(open_storage):
    return open_storage().bucket("examplebucket")


def files(directory):
    """All content there is, in place and on its way."""
    own = (".index.", ".owner", ".starting")
    return sorted(path.name for path in directory.rglob("*") if path.is_file() and not path.name.startswith(own))


@pytest.mark.parametrize("key", STRANGE_KEYS, ids=range(len(STRANGE_KEYS)))
def test_no_key_leaves_the_directory(bucket, directory, key):
    put(bucket, key)
    ((name,),) = [os.listdir(directory / "examplebucket")]
    assert files(directory) == [name]
    assert not name.startswith(".")
    assert len(os.fsencode(name)) < 255
    assert list(directory.parent.iterdir()) == [directory]


@pytest.mark.parametrize(
    ("key", "start", "end"),
    [
        ("users/eric/照片 1.png", "照片 1-", ".png"),
        ("users/eric/archive.tar.gz", "archive.tar-", ".gz"),
        ("README", "README-", ""),
        (".profile", "profile-", ""),
        ("a/b/", "b-", ""),
    ],
)
def test_a_person_recognises_the_file(bucket, directory, key, start, end):
    put(bucket, key)
    (name,) = files(directory)
    assert name.startswith(start)
    assert name.endswith(end)
    assert (directory / "examplebucket" / name).read_bytes() == b"hi oss"


def test_what_was_replaced_deleted_or_given_up_leaves_no_file(bucket, directory):
    put(bucket, "a", b"old")
    put(bucket, "a", b"new")
    put(bucket, "b")
    bucket.delete("b")
    upload = bucket.begin("c", "text/plain", {}, now=NOW)
    for number in (1, 1, 2):
        with bucket.incoming() as incoming:
            incoming.write(b"x")
            incoming.commit_part(upload, number, now=NOW)
    assert len(files(directory)) == 3
    bucket.complete(upload, bucket.parts(upload)[0], now=NOW)
    with bucket.incoming() as incoming:
        incoming.write(b"half")
    assert len(files(directory)) == 2


def test_another_process_finds_it_and_a_clean_end_leaves_no_folder(open_storage, directory):
    first, second = open_storage(), open_storage()
    stored = put(first.bucket("examplebucket"), "a/中.txt")
    assert second.bucket("examplebucket").get("a/中.txt") == stored
    put(second.bucket("examplebucket"), "a/中.txt", b"new")
    assert content(first.bucket("examplebucket"), "a/中.txt") == b"new"
    first.close()
    second.close()
    assert os.listdir(directory / ".incoming") == [".starting"]


def test_a_process_that_starts_leaves_alone_what_another_is_receiving(open_storage):
    with open_storage().bucket("examplebucket").incoming() as incoming:
        incoming.write(b"hi ")
        second = open_storage()
        incoming.write(b"oss")
        incoming.commit("a", "text/plain", {}, now=NOW)
    assert content(second.bucket("examplebucket"), "a") == b"hi oss"


def test_an_object_whose_file_somebody_removed_is_gone(bucket, directory):
    put(bucket, "a")
    (directory / "examplebucket" / files(directory)[0]).unlink()
    assert bucket.open("a") is None
    put(bucket, "a", b"again")
    assert content(bucket, "a") == b"again"


def test_a_failed_transaction_leaves_the_old_object(open_storage, directory, monkeypatch):
    bucket = open_storage().bucket("examplebucket")
    put(bucket, "a", b"old")
    monkeypatch.setattr("oss_wsgi.local.storage.bucket.object_row", lambda stored: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        put(bucket, "a", b"new")
    monkeypatch.undo()
    assert content(bucket, "a") == b"old"
    assert len(files(directory)) == 1
    put(bucket, "a", b"new")
    assert len(files(directory)) == 1


@pytest.mark.parametrize("others", ["started", "running"])
def test_killed_at_any_step_it_leaves_whole_objects_and_no_garbage(tmp_path, others):
    command = [sys.executable, "-m", "tests.local.killed_while_storing", tmp_path, others]
    run = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    reports = [json.loads(line) for line in run.stdout.splitlines()]
    assert reports[-1]["status"] == 0
    assert len(reports) > 40
    assert [report for report in reports if report["left"]] == []
    states = [state for report in reports for state in report["states"]]
    expected = [["old", "old", "parts"], ["new", "old", "parts"], ["new", None, "parts"], ["new", None, "new"]]
    assert all(state in expected for state in states)
    # In the order of the work, which never goes back.
    assert sorted(states, key=expected.index) == states
    assert {tuple(state) for state in states} == {tuple(state) for state in expected}


def test_a_forked_child_writes_too(bucket):
    before = [bucket._index._connection(number) for number in (0, -1)]
    child = os.fork()
    if not child:
        put(bucket, "a", b"child")
        # SQLite forbids to use them, though it often goes well.
        os._exit(any(bucket._index._connection(number) in before for number in (0, -1)))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert content(bucket, "a") == b"child"


def test_what_is_replaced_while_it_is_opened_is_opened_anew(bucket, monkeypatch):
    put(bucket, "a", b"old")
    opened = bucket._contents.open

    def replaced_meanwhile(place, name):
        monkeypatch.undo()
        put(bucket, "a", b"new")
        return opened(place, name)

    monkeypatch.setattr(bucket._contents, "open", replaced_meanwhile)
    assert content(bucket, "a") == b"new"


def test_what_is_replaced_before_it_came_to_its_place_leaves_no_file(open_storage, directory, monkeypatch):
    storage = open_storage()
    storage.create_bucket("b", now=NOW)
    bucket, keep, late = storage.bucket("b"), storage.contents.keep, []

    def keep_late(place, name):
        late.append((place, name))
        if len(late) == 1:  # the thread that stores this one is held up, while another replaces it
            put(bucket, "a", b"new")
            return
        for each in late:
            keep(*each)

    monkeypatch.setattr(storage.contents, "keep", keep_late)
    put(bucket, "a", b"old")
    assert [path.name for path in (directory / "b").iterdir()] == [bucket.get("a").file]
    assert content(bucket, "a") == b"new"


def test_an_upload_that_is_aborted_while_it_is_completed_makes_no_object(bucket, directory, monkeypatch):
    upload = bucket.begin("a", "text/plain", {}, now=NOW)
    with bucket.incoming() as incoming:
        incoming.write(b"x")
        incoming.commit_part(upload, 1, now=NOW)
    append = IncomingContent.append

    def aborted_meanwhile(incoming, part, file):
        append(incoming, part, file)
        bucket.abort(upload)

    monkeypatch.setattr(IncomingContent, "append", aborted_meanwhile)
    with pytest.raises(OSSError, match="NoSuchUpload"):
        bucket.complete(upload, bucket.parts(upload)[0], now=NOW)
    assert bucket.get("a") is None
    assert files(directory) == []


def test_a_page_does_not_read_the_rest_of_the_bucket(bucket):
    index = bucket._index
    with index.transaction() as database:
        for number in range(5000):
            row = ("examplebucket", f"a/{number:05}".encode(), 0, "", "0", "", NOW, "{}", str(number), "")
            database.execute(f"INSERT INTO objects VALUES ({', '.join('?' * len(row))})", row)
    steps = []
    index._connection(-1).set_progress_handler(lambda: steps.append(1), 100)
    assert len(bucket.page(after="a/02500", limit=10)[0]) == 10
    assert len(bucket.page(delimiter="/")[0]) == 1
    assert len(steps) < 20
