"""OSSStorage against a local OSS: what Django's storages promise, and files that are copied within OSS."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured, SuspiciousFileOperation
from django.core.files.base import ContentFile, File
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import models, transaction
from django.test import override_settings

from oss_wsgi import Upload
from oss_wsgi.django import OSSStorage
from oss_wsgi.django.files import PostedFile
from oss_wsgi.exceptions import BucketRefusedError, BucketUnreachableError
from oss_wsgi.testing.clients import ask
from oss_wsgi.testing.local_oss import InProcessBucket, InProcessOSS, environ_for

from . import project

KB = 1024


class Media:
    """A storage, its bucket, and files that went straight to OSS."""

    def __init__(self, oss: InProcessOSS) -> None:
        self.oss = oss
        self.bucket = InProcessBucket(oss)

    def storage(self, **options: Any) -> OSSStorage:
        return OSSStorage(bucket_client=self.bucket, **options)

    def posted(self, data: bytes = b"meow", name: str = "cat.png", key: str = "uploads/1") -> PostedFile:
        self.bucket.put(key, data, {"Content-Type": "text/html", "x-oss-meta-receipt": "sealed"})
        stored = self.oss.storage.bucket(self.oss.bucket).get(key)
        assert stored is not None
        upload = Upload(bucket=self.oss.bucket, object=key, etag=stored.etag, size=len(data))

        def read(start: int) -> Any:
            return self.bucket.read(key, stored.etag, start)

        return PostedFile(upload, read, name=name, content_type="text/html")

    def data(self, key: str) -> bytes | None:
        opened = self.oss.storage.bucket(self.oss.bucket).open(key)
        if opened is None:
            return None
        with opened[1]:
            return opened[1].read()

    def asked(self, *methods: str) -> list[tuple[str, str]]:
        """Return what the bucket was asked by these methods."""
        return [request for request in self.bucket.requests if request[0] in methods]


class Stream(io.RawIOBase):
    """As an answer of urllib is: it cannot be read twice, and has no size."""

    def __init__(self, data: bytes) -> None:
        self.data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self.data.readinto(buffer)


@pytest.fixture
def media(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Media]:
    with InProcessOSS(key_bits=512) as oss:
        for name, value in environ_for(oss, tmp_path).items():
            monkeypatch.setenv(name, value)
        yield Media(oss)


def test_a_file_is_saved_and_opened_and_deleted(media: Media) -> None:
    storage = media.storage()
    name = storage.save("docs/a.txt", ContentFile(b"hello"))
    assert (name, storage.exists(name), storage.size(name)) == ("docs/a.txt", True, 5)
    with storage.open(name) as file:
        assert (file.name, file.size, file.read(), file.read()) == (name, 5, b"hello", b"")
    storage.delete(name)
    assert not storage.exists(name)
    storage.delete(name)


def test_a_taken_name_gets_another_one(media: Media) -> None:
    storage = media.storage()
    names = [storage.save("a.txt", ContentFile(text)) for text in "xyz"]
    assert names[0] == "a.txt" and len(set(names)) == 3
    assert all(name.startswith("a_") and name.endswith(".txt") for name in names[1:])
    assert [storage.open(name).read() for name in names] == [b"x", b"y", b"z"]


def test_a_name_that_another_process_takes_meanwhile_is_not_overwritten(media: Media) -> None:
    storage = media.storage()
    media.bucket.put("a.txt", b"theirs", {})
    contents: list[Any] = [ContentFile(b"ours"), media.posted(b"ours"), File(Stream(b"ours"))]
    for content in contents:
        first_answer = iter([False])  # given before the other process stored its file
        exists = storage.exists
        storage.exists = lambda name, exists=exists, first=first_answer: next(first, None) is None and exists(name)  # type: ignore[method-assign, misc]
        name = storage.save("a.txt", content)
        assert (media.data("a.txt"), media.data(name)) == (b"theirs", b"ours")


def test_allow_overwrite_replaces_a_file(media: Media) -> None:
    storage = media.storage(allow_overwrite=True)
    assert [storage.save("a.txt", ContentFile(text)) for text in "xy"] == ["a.txt", "a.txt"]
    assert media.data("a.txt") == b"y"
    storage.save("a.txt", media.posted(b"z"))
    assert media.data("a.txt") == b"z"
    assert storage.open("a.txt").read() == b"z"


def test_a_name_is_shortened_to_max_length(media: Media) -> None:
    storage = media.storage()
    media.bucket.put("photos/" + "a" * 20 + ".png", b"", {})
    name = storage.save("photos/" + "a" * 20 + ".png", ContentFile(b"x"), max_length=31)
    assert len(name) == 31 and name.startswith("photos/aaa") and name.endswith(".png")
    with pytest.raises(SuspiciousFileOperation, match="available filename"):
        storage.save("photos/a.png", ContentFile(b"x"), max_length=5)


@pytest.mark.parametrize("name", ["..", "../a", "a/../../b", "/etc/passwd", "\\etc\\passwd", "..\\a", "a\\..\\..\\b"])
def test_a_name_that_leaves_the_storage_is_refused(media: Media, name: str) -> None:
    storage = media.storage(location="media")
    for act in (storage.exists, storage.open, storage.size, storage.delete, storage.url, storage.listdir):
        with pytest.raises(SuspiciousFileOperation):
            act(name)
    with pytest.raises(SuspiciousFileOperation):
        storage.save(name, ContentFile(b"x"))
    assert media.bucket.requests == []


def test_a_name_that_oss_does_not_take_is_refused(media: Media) -> None:
    for name in ("a" * 1024, "\udcff.txt"):
        with pytest.raises(SuspiciousFileOperation):
            media.storage().save(name, ContentFile(b"x"))


@pytest.mark.parametrize(
    ("name", "saved"),
    [
        ("a\\b\\c.txt", "a/b/c.txt"),
        ("C:猫 照片.png", "C:猫 照片.png"),
        ("a/./b//c.txt", "a/b/c.txt"),
        (Path("a/b.txt"), "a/b.txt"),
        ("~!*()'@#$%^&*abc`+ =.file", "~!*()'@#$%^&*abc`+ =.file"),
    ],
)
def test_other_names_are_kept_with_slashes(media: Media, name: Any, saved: str) -> None:
    storage = media.storage(location="media/")
    assert storage.save(name, ContentFile(b"x")) == saved
    assert media.data(f"media/{saved}") == b"x"
    assert storage.exists(name) and storage.exists(saved)
    assert ask(media.oss, storage.url(name)).body == b"x"
    storage.delete(name)
    assert not storage.exists(saved)


def test_content_without_a_size_and_text_and_nothing_are_saved(media: Media) -> None:
    storage = media.storage()
    contents: list[Any] = [File(Stream(b"stream")), ContentFile("español"), ContentFile(b""), io.BytesIO(b"plain")]
    names = [storage.save("a.txt", content) for content in contents]
    assert [media.data(name) for name in names] == [b"stream", "español".encode(), b"", b"plain"]
    nameless = ContentFile(b"x", name="own.txt")
    assert storage.save(None, nameless) == "own.txt"
    assert not nameless.closed


def test_a_large_file_is_sent_in_parts(media: Media) -> None:
    data = bytes(range(256)) * 70_000  # 17 MiB
    storage = media.storage()
    storage.save("big.bin", ContentFile(data))
    assert media.data("big.bin") == data
    assert len(media.asked("put_part")) == 3
    exactly = b"x" * (8 << 20)
    storage.save("exactly.bin", ContentFile(exactly))
    assert media.data("exactly.bin") == exactly
    assert len(media.asked("put_part")) == 3


def test_an_upload_in_parts_that_fails_leaves_no_parts(media: Media) -> None:
    class Failing(InProcessBucket):
        def put_part(self, *arguments: Any) -> str:
            raise BucketUnreachableError("bucket_unreachable", "test")

    with pytest.raises(BucketUnreachableError):
        OSSStorage(bucket_client=Failing(media.oss)).save("big.bin", ContentFile(b"x" * (9 << 20)))
    assert media.oss.storage.bucket(media.oss.bucket).uploads() == []


def test_a_large_file_does_not_replace_one_that_was_stored_meanwhile(media: Media) -> None:
    class Slow(InProcessBucket):
        def complete(self, key: str, *arguments: Any) -> Any:
            if key == "big.bin":
                self.put(key, b"theirs", {})
            return super().complete(key, *arguments)

    data = b"x" * (9 << 20)
    name = OSSStorage(bucket_client=Slow(media.oss)).save("big.bin", ContentFile(data))
    assert (media.data("big.bin"), media.data(name)) == (b"theirs", data)


def test_the_type_of_an_object_is_that_of_its_name(media: Media) -> None:
    storage = media.storage()
    for name, expected, disposition in [
        ("a.png", "image/png", None),
        ("a.tar.gz", "application/gzip", None),
        ("a.txt.br", "application/x-brotli", None),
        ("a.html", "text/html", "attachment"),
        ("a.svg", "image/svg+xml", "attachment"),
        ("a", "application/octet-stream", None),
    ]:
        for content in (SimpleUploadedFile("a", b"<script>", content_type="text/html"), media.posted(b"<script>")):
            response = ask(media.oss, storage.url(storage.save(name, content)))
            assert response.content_type == expected
            assert response.headers.get("Content-Disposition") == disposition, name


def test_files_are_opened_for_reading_and_writing_bytes_and_text(media: Media) -> None:
    storage = media.storage()
    with storage.open("a.txt", "w") as file:
        file.write("one\ntwo 猫\n")
        assert not storage.exists("a.txt")
    assert media.data("a.txt") == "one\ntwo 猫\n".encode()
    with storage.open("a.txt", "r") as file:
        assert file.readlines() == ["one\n", "two 猫\n"]
    with storage.open("a.txt", "wb") as file:
        file.write(b"bytes")
    assert media.data("a.txt") == b"bytes"
    with pytest.raises(ValueError, match="'r', 'rb', 'w' or 'wb', not 'a'"):
        storage.open("a.txt", "a")


def test_a_file_is_read_from_oss_as_far_as_it_is_read_and_once(media: Media) -> None:
    data = bytes(range(256)) * 4000
    media.bucket.put("a.bin", data, {})
    file = media.storage().open("a.bin")
    assert file.size == len(data) and media.asked("read") == []
    assert file.seek(-1000, io.SEEK_END) == len(data) - 1000
    assert file.tell() == len(data) - 1000 and media.asked("read") == []
    assert file.read() == data[-1000:]
    file.seek(5)
    assert file.read(10) == data[5:15] and file.tell() == 15
    assert b"".join(file.chunks()) == data
    assert len(media.asked("read")) == 1
    file.seek(1000)
    assert file.read() == data[1000:]
    file.close()
    assert file.closed
    assert file.open().read() == data
    assert len(media.asked("read")) == 2


def test_a_file_that_is_replaced_while_it_is_read_is_an_error(media: Media) -> None:
    media.bucket.put("a.txt", b"one", {})
    file = media.storage().open("a.txt")
    media.bucket.put("a.txt", b"two", {})
    with pytest.raises(OSError, match=r"reading 'a.txt' from OSS stopped at byte 0 of 3"):
        file.read()


def test_a_missing_file_is_a_file_not_found_error(media: Media) -> None:
    storage = media.storage()
    for act in (storage.open, storage.size, storage.get_modified_time):
        with pytest.raises(FileNotFoundError, match="OSS holds no file 'none'"):
            act("none")
    with pytest.raises(ValueError, match="needs the name"):
        storage.delete("")
    with pytest.raises(NotImplementedError):
        storage.path("a.txt")


def test_the_time_of_a_file_is_aware_with_use_tz_and_naive_without(media: Media) -> None:
    storage = media.storage()
    storage.save("a.txt", ContentFile(b"x"))
    aware = storage.get_modified_time("a.txt")
    assert abs(datetime.now(timezone.utc) - aware) < timedelta(minutes=5)
    assert aware == storage.get_created_time("a.txt")
    with override_settings(USE_TZ=False):
        naive = storage.get_modified_time("a.txt")
    assert naive.tzinfo is None and naive.astimezone() == aware


def test_a_folder_lists_its_folders_and_files(media: Media) -> None:
    storage = media.storage(location="media")
    for key in ("media/a.txt", "media/b/c.txt", "media/b/d/e.txt", "media/b/", "media/猫/x", "other/y", "mediator"):
        media.bucket.put(key, b"", {})
    assert storage.listdir("") == storage.listdir(".") == (["b", "猫"], ["a.txt"])
    assert storage.listdir("b") == storage.listdir("b/") == (["d"], ["c.txt"])
    assert storage.listdir("none") == ([], [])
    assert OSSStorage(bucket_client=media.bucket).listdir("")[0] == ["media", "other"]
    assert not storage.exists("") and not storage.exists("b")


def test_a_url_is_signed_for_some_time(media: Media) -> None:
    storage = media.storage(location="media", expires=60)
    storage.save("猫 1.txt", ContentFile(b"x"))
    url = storage.url("猫 1.txt")
    assert "x-oss-expires=60&" in url
    assert ask(media.oss, url).body == b"x"
    assert "x-oss-expires=7&" in storage.url("猫 1.txt", expires=7)


def test_a_url_may_be_public(media: Media) -> None:
    assert media.storage(location="m", public=True).url("猫 1.txt") == f"{media.oss.host}/m/%E7%8C%AB%201.txt"
    storage = media.storage(location="m", base_url="https://cdn.example.com/files")
    assert storage.url("a/b\\c.txt") == "https://cdn.example.com/files/a/b/c.txt"
    assert "x-oss-signature" in storage.url("a.txt", expires=7)


def test_a_posted_file_is_copied_within_oss_and_its_upload_deleted(media: Media) -> None:
    storage = media.storage()
    posted = media.posted()
    media.bucket.requests.clear()
    assert storage.save("photos/cat.png", posted) == "photos/cat.png"
    assert media.data("photos/cat.png") == b"meow" and media.data("uploads/1") is None
    assert media.asked("read", "put", "begin") == []
    stored = media.bucket.head("photos/cat.png")
    assert stored is not None and stored.metadata == {}, "no receipt: it is of the upload"
    posted.seek(0)
    assert posted.read() == b"meow", "the file can be read again"
    assert storage.save("photos/other.png", posted) == "photos/other.png"
    assert media.data("photos/other.png") == b"meow" and media.data("photos/cat.png") == b"meow"


def test_an_upload_may_stay_for_a_lifecycle_rule(media: Media) -> None:
    media.storage(delete_uploads=False).save("cat.png", media.posted())
    assert media.data("cat.png") == media.data("uploads/1") == b"meow"


def test_an_upload_is_deleted_when_the_transaction_is_committed(media: Media, tmp_path: Path) -> None:
    project.use(project.sqlite(tmp_path / "database"))
    storage, posted = media.storage(), media.posted()
    with transaction.atomic():
        storage.save("cat.png", posted)
        assert media.data("uploads/1") == b"meow"
    assert media.data("uploads/1") is None
    with transaction.atomic():
        storage.save("cat.png", media.posted())
        transaction.set_rollback(True)
    assert media.data("uploads/1") == b"meow", "the form can be sent again"


@pytest.mark.parametrize("error", [BucketRefusedError("bucket_refused", "no right"), RuntimeError("secret")])
def test_an_upload_that_cannot_be_deleted_stays(
    media: Media, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(InProcessBucket):
        def delete(self, key: str) -> None:
            raise error

    OSSStorage(bucket_client=Failing(media.oss)).save("cat.png", media.posted())
    assert media.data("cat.png") == b"meow"
    assert "the upload 'uploads/1' was copied, and cannot be deleted: " in caplog.text
    assert "secret" not in caplog.text


def test_an_upload_that_is_saved_under_its_own_name_stays(media: Media) -> None:
    posted = media.posted()
    assert media.storage(allow_overwrite=True).save("uploads/1", posted) == "uploads/1"
    assert media.data("uploads/1") == b"meow"


def test_a_large_posted_file_is_copied_in_parts(media: Media) -> None:
    data = bytes(range(256)) * 1000
    storage = media.storage(max_copy=100 * KB)
    storage.save("big.bin", media.posted(data))
    assert media.data("big.bin") == data and media.data("uploads/1") is None
    assert len(media.asked("copy_part")) == 3 and media.asked("copy", "put_part", "read") == []
    media.posted(data[: 100 * KB])
    storage.save("small.bin", media.posted(data[: 100 * KB]))
    assert len(media.asked("copy")) == 1


def test_an_empty_posted_file_is_copied(media: Media) -> None:
    storage, posted = media.storage(), media.posted(b"", name="空.txt")
    assert storage.save(posted.name, posted) == "空.txt"
    assert media.data("空.txt") == b"" == storage.open("空.txt").read() == posted.read()


def test_a_wrapped_posted_file_is_copied_and_a_changed_one_is_sent(media: Media) -> None:
    storage = media.storage()
    storage.save("wrapped.png", File(media.posted(), name="x"))
    assert media.asked("read") == []
    changed = media.posted()
    changed.file = io.BytesIO(b"resized")
    storage.save("changed.png", changed)
    assert media.data("wrapped.png") == b"meow" and media.data("changed.png") == b"resized"
    storage.save("again.png", storage.open("wrapped.png"))
    assert media.data("again.png") == media.data("wrapped.png") == b"meow"
    assert media.asked("read") == []


def test_a_posted_file_of_another_bucket_is_sent(media: Media) -> None:
    posted = media.posted()
    media.oss.storage.create_bucket("another-bucket", now=time.time())
    storage = OSSStorage(
        bucket_client=InProcessBucket(media.oss, "another-bucket"),
        bucket="another-bucket",
        host=media.oss.host.replace(media.oss.bucket, "another-bucket"),
    )
    storage.save("cat.png", posted)
    assert media.data("uploads/1") == b"meow"
    assert storage.open("cat.png").read() == b"meow"


def test_an_object_that_was_replaced_since_is_not_copied(media: Media) -> None:
    posted = media.posted()
    media.bucket.put("uploads/1", b"other", {})
    with pytest.raises(Exception, match="another ETag"):
        media.storage().save("cat.png", posted)
    assert media.data("cat.png") is None


def test_what_was_read_and_saved_is_not_read_again(media: Media) -> None:
    storage, posted = media.storage(), media.posted(b"x" * 1000)
    posted.read(10)
    storage.save("cat.png", posted)
    for _ in range(2):
        with storage.open("cat.png") as file:
            assert file.read() == b"x" * 1000
    assert len(media.asked("read")) == 1
    posted.close()
    assert storage.open("cat.png").read() == posted.open().read() == b"x" * 1000
    assert len(media.asked("read")) == 3


def test_what_was_replaced_or_deleted_since_is_not_what_was_read(media: Media) -> None:
    storage, posted = media.storage(allow_overwrite=True), media.posted()
    posted.read()
    storage.save("cat.png", posted)
    storage.save("cat.png", ContentFile(b"another"))
    assert storage.open("cat.png").read() == b"another"
    posted = media.posted()
    posted.read()
    storage.save("dog.png", posted)
    storage.delete("dog.png")
    with pytest.raises(FileNotFoundError):
        storage.open("dog.png")


def test_a_file_whose_reading_failed_can_be_read_again(media: Media) -> None:
    media.bucket.put("a.txt", b"hello", {})
    file = media.storage().open("a.txt")
    media.bucket.fail_next(BucketRefusedError("bucket_refused", "for a moment"))
    with pytest.raises(OSError, match="for a moment"):
        file.read()
    assert file.read() == b"hello"
    with file.open("r") as text:
        assert text.read() == "hello"


def test_options_come_before_the_environment(media: Media, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OSS_HOST")
    url = OSSStorage(bucket="other-bucket", region="cn-beijing", public=True).url("a.txt")
    assert url == "https://other-bucket.oss-cn-beijing.aliyuncs.com/a.txt"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"locations": "media"}, "has no option 'locations'"),
        ({"bucket": 7}, "'bucket' must be a text, not int"),
        ({"expires": 0}, "expires must be 1 to 604800 seconds, not 0"),
        ({"max_copy": 1}, "max_copy must be 102400 to 1073741824 bytes, not 1"),
        ({"location": "../x"}, "location"),
    ],
)
def test_wrong_options_are_improperly_configured(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=message):
        OSSStorage(**options)


def test_missing_settings_are_improperly_configured_at_the_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OSS_BUCKET", "OSS_REGION", "OSS_HOST", "OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET"):
        monkeypatch.delenv(name, raising=False)
    storage = OSSStorage()
    for act in (storage.exists, storage.url):
        with pytest.raises(ImproperlyConfigured, match=r"OSSStorage: .*OSS_BUCKET"):
            act("a.txt")


def test_a_migration_names_the_storage_as_the_settings_do() -> None:
    class Work(models.Model):
        file: Any = models.FileField(storage=OSSStorage(location="media"))

        class Meta:
            app_label = "oss_wsgi_storage"

    assert Work._meta.get_field("file").storage.deconstruct() == (
        "oss_wsgi.django.OSSStorage",
        (),
        {"location": "media"},
    )
