import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from oss_wsgi.private_file import UnsafeFileError

from ...support.foreign_files import KINDS, plant, victim_of
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


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_in_the_place_of_content_is_not_read(bucket, directory, files, tmp_path, kind):
    put(bucket, "a")
    path, victim = directory / "examplebucket" / files()[0], victim_of(tmp_path)
    path.unlink()
    plant(kind, path, victim)
    before = victim.state()
    with pytest.raises(UnsafeFileError, match=KINDS[kind]):
        bucket.open("a")
    assert victim.state() == before


def test_content_shorter_than_the_index_says_is_an_error(bucket, directory, files):
    put(bucket, "a")
    os.truncate(directory / "examplebucket" / files()[0], 3)
    stored, file = bucket.open("a")
    with file, bucket.incoming() as incoming, pytest.raises(EOFError, match="shorter than the index says"):
        incoming.copy(stored, file)


#: Names as bundlers and backups write them, which end as those of the local OSS do.
OF_A_PERSON = (
    *("dist/app-0123456789abcdef.js", "backup/photos-fedcba9876543210.tar", "examplebucket/a-0123456789abcdef.txt"),
    *("examplebucket/-0123456789abcdef", ".parts/-0123456789abcdef", "dist/-0123456789abcdef"),
)


@pytest.fixture
def of_a_person(directory):
    """Files that a person keeps beside the objects; they must stay."""
    for name in OF_A_PERSON:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(b"of a person")
    yield
    assert [name for name in OF_A_PERSON if not (directory / name).exists()] == []


def die(directory, *notes):
    """Leave what a killed process leaves that noted files."""
    dead = directory / ".incoming" / "0123456789abcdef"
    dead.mkdir(mode=0o700)
    (dead / "2123456789abcdef").write_bytes(b"half")
    owner = dead / ".owner"
    owner.write_text("".join(notes))
    owner.chmod(0o600)
    return dead


def test_what_a_dead_process_left_is_removed_and_nothing_else(open_storage, directory, files, of_a_person):
    storage = open_storage()
    stored = put(storage.bucket("examplebucket"), "a")
    storage.close()
    noted = directory / "examplebucket" / "b-1123456789abcdef.txt"
    noted.write_bytes(b"moved, and not yet named")
    dead = die(directory, f"examplebucket/{noted.name}\n", f"examplebucket/{stored.file}\n\0")
    assert content(open_storage().bucket("examplebucket"), "a") == b"hi oss"
    assert not dead.exists()
    assert not noted.exists()


@pytest.mark.parametrize(
    "note",
    [
        "../objects-0123456789abcdef.txt\n",
        "./a-0123456789abcdef.txt\n",
        "examplebucket/../../objects-0123456789abcdef.txt\n",
        "examplebucket/of a person.txt\n",
        "\0examplebucket/a-0123456789abcdef.txt\n",
        "examplebucket/a-0123456789abc",
    ],
)
def test_a_note_that_names_no_file_of_ours_removes_nothing(open_storage, directory, of_a_person, note):
    open_storage().close()
    beside = directory.parent / "objects-0123456789abcdef.txt"
    for path in (beside, directory / "examplebucket" / "of a person.txt", directory / "a-0123456789abcdef.txt"):
        path.write_bytes(b"x")
    dead = die(directory, note)
    open_storage()
    assert not dead.exists()
    assert beside.exists()
    assert (directory / "examplebucket" / "of a person.txt").exists()
    assert (directory / "a-0123456789abcdef.txt").exists()


@pytest.mark.parametrize("name", [".owner", ".owner-0123456789abcdef"])
def test_a_note_that_another_user_may_have_written_removes_nothing(open_storage, directory, name):
    open_storage().close()
    (directory / "examplebucket").mkdir()
    noted = directory / "examplebucket" / "b-1123456789abcdef.txt"
    noted.write_bytes(b"x")
    dead = die(directory)
    (dead / name).write_text(f"examplebucket/{noted.name}\n")
    (dead / name).chmod(0o622)
    with pytest.raises(UnsafeFileError, match=f"{name}' can be changed by other users"):
        open_storage()
    assert noted.exists()


def test_what_a_person_put_into_the_folder_of_a_dead_process_stays(open_storage, directory):
    open_storage().close()
    dead = die(directory)
    (dead / "of a person.txt").write_bytes(b"x")
    open_storage()
    assert os.listdir(dead) == ["of a person.txt"]


def test_no_folder_but_that_of_a_process_is_removed(open_storage, directory):
    open_storage().close()
    beside = directory.parent / "beside"
    beside.mkdir()
    (directory / ".incoming" / "0123456789abcdef").symlink_to(beside)
    (directory / ".incoming" / "of a person").mkdir()
    open_storage()
    assert os.listdir(beside) == []
    assert (directory / ".incoming" / "of a person").is_dir()


def test_a_note_ends_with_what_it_is_about(open_storage, directory):
    storage = open_storage()
    bucket = storage.bucket("examplebucket")
    (note,) = directory.rglob(".owner")
    with storage.blobs.noted([("a", "first")]):
        with storage.blobs.noted([("a", "second"), ("b", "third")]):
            assert note.read_bytes() == b"a/first\na/second\nb/third\n\0"
        with storage.blobs.noted([("a", "fourth")]):
            assert note.read_bytes().startswith(b"a/first\n"), "it is still under way"
    assert note.read_bytes()[:1] == b"\0"
    put(bucket, "a")
    put(bucket, "a")
    bucket.delete("a")
    assert note.read_bytes()[:1] == b"\0"
    assert note.stat().st_size < 200, "it does not grow"


@pytest.mark.slow
def test_a_forked_child_notes_in_a_file_of_its_own(open_storage, directory):
    storage = open_storage()
    with storage.blobs.noted([("a", "of the parent")]):
        child = os.fork()
        if not child:
            put(storage.bucket("examplebucket"), "a")
            with storage.blobs.noted([("a", "of the child")]):
                notes = sorted(path.read_bytes().partition(b"\0")[0] for path in directory.rglob(".owner*"))
            storage.close()
            os._exit(notes != [b"a/of the child\n", b"a/of the parent\n"])
        assert os.waitpid(child, 0)[1] == 0
        (note,) = directory.rglob(".owner*")
        assert note.read_bytes().startswith(b"a/of the parent\n")
    assert content(open_storage().bucket("examplebucket"), "a") == b"hi oss"
    assert note.exists(), "the child left it to its parent"


@pytest.mark.parametrize("kind", ["dangling link", "hard link"])
def test_what_is_no_regular_file_with_one_name_is_no_index(open_storage, directory, tmp_path, kind):
    victim = victim_of(tmp_path)
    before = victim.state()
    directory.mkdir()
    plant(kind, directory / ".index.sqlite3", victim)
    with pytest.raises(UnsafeFileError, match=KINDS[kind]):
        open_storage()
    assert victim.state() == before


def test_a_link_in_the_place_of_a_buckets_folder_is_not_followed(open_storage, directory, tmp_path):
    target = tmp_path / "target"
    target.mkdir(mode=0o755)
    bucket = open_storage().bucket("examplebucket")
    (directory / "examplebucket").symlink_to(target)
    with pytest.raises(UnsafeFileError, match="not a folder"):
        put(bucket, "a")
    with pytest.raises(UnsafeFileError, match="not a folder"):
        open_storage()
    assert (os.listdir(target), target.stat().st_mode & 0o777) == ([], 0o755)


@pytest.mark.slow
@pytest.mark.parametrize("others", ["started", "running"])
def test_killed_at_any_step_it_leaves_whole_objects_and_no_garbage(tmp_path, others):
    command = [sys.executable, "-m", "tests.local_oss.killed_while_storing", tmp_path, others]
    run = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    reports = [json.loads(line) for line in run.stdout.splitlines()]
    assert reports[-1]["status"] == 0
    assert len(reports) > 40
    assert [report for report in reports if report["garbage"] or report["lost"]] == []
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
