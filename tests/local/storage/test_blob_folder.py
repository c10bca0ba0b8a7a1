import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from oss_wsgi.local.storage.blob_folder import LOCK_NAME, STARTING, write_all
from oss_wsgi.private_file import file_lock

from ..stored import NOW, content, put

ROOT = Path(__file__).parents[3]


def test_two_processes_see_each_others_objects(open_storage, directory):
    first, second = open_storage(), open_storage()
    stored = put(first.bucket("examplebucket"), "a/中.txt")
    assert second.bucket("examplebucket").get("a/中.txt") == stored
    put(second.bucket("examplebucket"), "a/中.txt", b"new")
    assert content(first.bucket("examplebucket"), "a/中.txt") == b"new"
    first.close()
    second.close()
    assert os.listdir(directory / ".incoming") == [".starting"]


def test_a_starting_process_leaves_alone_what_another_receives(open_storage):
    with open_storage().bucket("examplebucket").incoming() as incoming:
        incoming.write(b"hi ")
        second = open_storage()
        incoming.write(b"oss")
        incoming.commit("a", "text/plain", {}, now=NOW)
    assert content(second.bucket("examplebucket"), "a") == b"hi oss"


def test_a_process_that_ends_waits_for_one_that_starts(open_storage, directory):
    """It would find the folder of a dead process, and lose it while it looks."""
    storage = open_storage()
    with file_lock(directory / ".incoming" / STARTING):
        ending = threading.Thread(target=storage.close)
        ending.start()
        ending.join(0.1)
        assert ending.is_alive()
        assert (storage.blobs.process_folder / LOCK_NAME).exists()
    ending.join(60)
    assert os.listdir(directory / ".incoming") == [STARTING]


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


def test_a_chunk_is_written_whole_to_a_file_that_takes_it_in_pieces():
    class TwoBytesAtOnce(io.BytesIO):
        def write(self, data):
            return super().write(bytes(data[:2]))

    file = TwoBytesAtOnce()
    write_all(file, b"hi oss")
    assert file.getvalue() == b"hi oss"


@pytest.mark.slow
@pytest.mark.parametrize("others", ["started", "running"])
def test_killed_at_any_step_it_leaves_whole_objects_and_no_garbage(tmp_path, others):
    command = [sys.executable, "-m", "tests.local.killed_while_storing", tmp_path, others]
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
