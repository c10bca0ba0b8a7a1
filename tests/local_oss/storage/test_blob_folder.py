import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ..stored import NOW, STRANGE_KEYS, content, put

ROOT = Path(__file__).parents[3]


def test_two_processes_see_each_others_objects(open_storage, directory):
    first, second = open_storage(), open_storage()
    stored = put(first.bucket("examplebucket"), "a/中.txt")
    assert second.bucket("examplebucket").get("a/中.txt") == stored
    put(second.bucket("examplebucket"), "a/中.txt", b"new")
    assert content(first.bucket("examplebucket"), "a/中.txt") == b"new"
    first.close()
    second.close()
    assert os.listdir(directory / ".incoming") == []


def test_a_starting_process_leaves_alone_what_another_receives(open_storage):
    bucket = open_storage().bucket("examplebucket")
    with bucket.incoming() as incoming:
        incoming.write(b"hi ")
        second = open_storage()
        incoming.write(b"oss")
        incoming.commit("a", "text/plain", {}, now=NOW)
    assert content(second.bucket("examplebucket"), "a") == b"hi oss"


def test_a_second_close_closes_nobody_elses_file(open_storage):
    storage = open_storage()
    storage.close()
    descriptors = [os.open(os.devnull, os.O_RDONLY) for _ in range(20)]
    storage.close()
    for descriptor in descriptors:
        os.close(descriptor)


@pytest.mark.parametrize("copied", ["nothing", "a piece", "all"])
def test_a_copy_is_whole_whatever_the_system_copies_itself(bucket, monkeypatch, copied):
    whole = bytes(range(256)) * 100
    put(bucket, "a", whole)

    def copy_file_range(source, target, size):
        if copied == "nothing" or (copied == "a piece" and os.lseek(source, 0, os.SEEK_CUR)):
            raise OSError("the file systems differ")
        return os.write(target, os.read(source, 1000 if copied == "a piece" else size))

    monkeypatch.setattr(os, "copy_file_range", copy_file_range, raising=False)
    stored, file = bucket.open("a")
    with file, bucket.incoming() as incoming:
        incoming.copy(stored, file)
        incoming.commit("b", "text/plain", {}, now=NOW)
    assert content(bucket, "b") == whole


def test_content_shorter_than_the_index_says_is_an_error(bucket, directory, files):
    put(bucket, "a")
    os.truncate(directory / "examplebucket" / files()[0], 3)
    stored, file = bucket.open("a")
    with file, bucket.incoming() as incoming, pytest.raises(EOFError, match="shorter than the index says"):
        incoming.copy(stored, file)


def test_what_a_dead_process_left_is_removed(open_storage, directory, files):
    storage = open_storage()
    stored = put(storage.bucket("examplebucket"), "a")
    storage.close()
    dead = directory / ".incoming" / "0123456789abcdef"
    dead.mkdir()
    (dead / "half").write_bytes(b"half")
    own = directory / "examplebucket" / "of a person.txt"
    for name in (own.name, "b-0123456789abcdef.txt"):
        (directory / "examplebucket" / name).write_bytes(b"x")
    assert content(open_storage().bucket("examplebucket"), "a") == b"hi oss"
    assert not dead.exists()
    assert files() == sorted([stored.file, own.name])


@pytest.mark.slow
@pytest.mark.parametrize("others", ["started", "running"])
def test_killed_at_any_step_it_leaves_whole_objects_and_no_garbage(tmp_path, others):
    command = [sys.executable, "-m", "tests.local_oss.killed_while_storing", tmp_path, others]
    run = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    reports = [json.loads(line) for line in run.stdout.splitlines()]
    assert reports[-1]["status"] == 0
    assert len(reports) > 40
    assert [report for report in reports if report["garbage"]] == []
    states = [state for report in reports for state in report["states"]]
    expected = [["old", "old", "parts"], ["new", "old", "parts"], ["new", None, "parts"], ["new", None, "new"]]
    assert all(state in expected for state in states)
    # The states come in the order of the work.
    assert sorted(states, key=expected.index) == states
    assert {tuple(state) for state in states} == {tuple(state) for state in expected}


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
def test_a_person_recognizes_the_file_of_an_object(bucket, directory, files, key, start, end):
    put(bucket, key)
    (name,) = files()
    assert name.startswith(start)
    assert name.endswith(end)
    assert (directory / "examplebucket" / name).read_bytes() == b"hi oss"


@pytest.mark.parametrize("key", STRANGE_KEYS, ids=range(len(STRANGE_KEYS)))
def test_no_key_leads_out_of_the_directory(bucket, directory, files, key):
    put(bucket, key)
    (name,) = [path.name for path in (directory / "examplebucket").iterdir()]
    assert files() == [name]
    assert not name.startswith(".")
    assert len(name.encode()) < 255
    assert list(directory.parent.iterdir()) == [directory]


def test_a_copy_of_an_object_made_of_parts_has_its_own_md5(bucket):
    upload = bucket.begin("a", "text/plain", {}, now=NOW)
    with bucket.incoming() as incoming:
        incoming.write(b"hi oss")
        incoming.commit_part(upload, 1, now=NOW)
    bucket.complete(upload, bucket.parts(upload)[0], now=NOW)
    stored, file = bucket.open("a")
    with file, bucket.incoming() as incoming:
        incoming.copy(stored, file)
        copy = incoming.commit("b", "text/plain", {}, now=NOW)
    assert (copy.etag, copy.crc64) == ("B22E0DC370A7F7067FACF5F75D7FA385", stored.crc64)
    assert content(bucket, "b") == b"hi oss"


def test_content_removed_while_it_is_written_cannot_be_opened(bucket, directory, files):
    with bucket.incoming() as incoming:
        incoming.write(b"hi oss")
        (path,) = directory.rglob(files()[0])
        path.unlink()
        with pytest.raises(FileNotFoundError):
            incoming.open()
