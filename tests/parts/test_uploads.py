"""Completing while OSS does not answer, or while others ask it: what is done, and when the client must ask again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import pytest
import webob

from oss_wsgi.bucket import ListedObject, StoredObject, StoredPart
from oss_wsgi.endpoints.multipart import step_of
from oss_wsgi.exceptions import BucketRefusedError, BucketUnreachableError, SettingsError
from oss_wsgi.local import LocalOSS
from oss_wsgi.parts.uploads import BegunUpload
from oss_wsgi.testing.local_oss import InProcessBucket

from .site import CONTENT, PART, File, Site

UNREACHABLE = BucketUnreachableError("bucket_unreachable", "OSS did not answer within 120 s")


class Bucket(InProcessBucket):
    """A bucket in which a test can do something before or after the request that completes an upload."""

    def __init__(self, oss: LocalOSS) -> None:
        super().__init__(oss)
        self.before: Callable[[str, str, Sequence[tuple[int, str]]], None] = lambda *arguments: None
        self.after: Callable[[StoredObject], StoredObject] = lambda stored: stored
        self.hidden = 0
        self.heads = 0
        self.silent_heads: Collection[int] = ()

    def complete(
        self, key: str, upload_id: str, parts: Sequence[tuple[int, str]], headers: Mapping[str, str]
    ) -> StoredObject:
        self.before(key, upload_id, parts)
        return self.after(super().complete(key, upload_id, parts, headers))

    def head(self, key: str) -> StoredObject | None:
        self.heads += 1
        if self.heads in self.silent_heads:
            raise UNREACHABLE
        if self.hidden:
            self.hidden -= 1
            return None
        return super().head(key)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Return a site whose requests fail where they sleep."""

    def sleep(seconds: float) -> None:
        raise AssertionError(f"a request sleeps {seconds} s in its thread")

    monkeypatch.setattr("time.sleep", sleep)
    site = Site()
    site.bucket = Bucket(site.oss)
    site.application = site.start()
    yield site
    site.close()


@pytest.fixture
def bucket(site: Site) -> Bucket:
    assert isinstance(site.bucket, Bucket)
    return site.bucket


def lose(stored: StoredObject) -> StoredObject:
    raise UNREACHABLE


def says(answer: webob.Response, status: int, retry_after: str | None = None) -> bool:
    return (answer.status_int, answer.headers.get("Retry-After")) == (status, retry_after)


@pytest.mark.parametrize("hidden", [0, 2])
def test_a_completion_without_an_answer_is_found_when_it_is_asked_for_again(
    site: Site, bucket: Bucket, hidden: int
) -> None:
    """While OSS shows nothing yet, neither the page's list nor its next completion says that the upload is gone."""
    file = site.upload()
    bucket.after, bucket.hidden = lose, hidden
    assert says(site.complete(file), 503, "10")
    if hidden:
        assert says(site.list(file), 503, "1")
        assert says(site.complete(file), 503, "1")
    assert site.complete(file).json["answer"] == {"Status": "Ok", "number": 1}


def test_a_completed_upload_is_not_gone_while_oss_is_silent(site: Site, bucket: Bucket) -> None:
    file = site.upload()
    assert site.complete(file).status_int == 200
    bucket.heads, bucket.silent_heads = 0, {1}
    assert says(site.complete(file), 503, "10")
    assert site.complete(file).json["answer"] == {"Status": "Ok", "number": 1}
    assert len(site.uploads) == 1


def test_parts_that_another_page_takes_away_by_completing_are_not_missing(
    site: Site, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = site.upload()

    def list_parts(key: str, upload_id: str) -> Sequence[StoredPart]:
        parts = InProcessBucket.list_parts(bucket, key, upload_id)
        bucket.complete(key, upload_id, [(part.number, part.etag) for part in parts], {})
        return ()

    monkeypatch.setattr(bucket, "list_parts", list_parts)
    assert site.complete(file).json["answer"] == {"Status": "Ok", "number": 1}


def test_whether_parts_are_missing_or_completed_nobody_can_tell_while_oss_is_silent(site: Site, bucket: Bucket) -> None:
    file = site.upload()
    bucket.silent_heads = {1}
    assert says(site.complete(file, []), 503, "10")
    assert site.complete(file, []).status_int == 409
    assert site.complete(file).status_int == 200


def test_a_part_that_is_swapped_after_the_check_is_not_joined(site: Site, bucket: Bucket) -> None:
    file = site.upload()

    def swap(*arguments: Any) -> None:
        bucket.before = lambda *arguments: None
        site.put(url, bytes(len(CONTENT)))

    url = site.sign(file, 2).json["url"]
    bucket.before = swap
    answer = site.complete(file)
    assert (answer.status_int, answer.json["error"]["code"]) == (409, "parts_missing")
    assert (site.stored, site.unfinished, site.uploads) == ([], 1, [])


@pytest.mark.parametrize("code", ["EntityTooSmall", "InvalidPart", "AccessDenied"])
def test_what_oss_refuses_is_said(site: Site, bucket: Bucket, code: str) -> None:
    def refuse(*arguments: Any) -> None:
        raise BucketRefusedError("bucket_refused", "no", code=code)

    bucket.before = refuse
    expected = {"EntityTooSmall": (409, "part_too_small"), "InvalidPart": (409, "parts_missing")}
    answer = site.complete(site.upload())
    assert (answer.status_int, answer.json["error"]["code"]) == expected.get(code, (503, "service_unavailable"))


def test_another_object_of_that_name_is_not_taken_for_the_upload(site: Site, bucket: Bucket) -> None:
    file = site.begin()
    with site.oss.storage.bucket("examplebucket").incoming() as incoming:
        incoming.write(b"somebody else's")
        incoming.commit(file.key, "text/plain", {}, now=site.clock())
    site.abort(file)
    answer = site.complete(File(file.id, file.key, {}), [])
    assert (answer.status_int, answer.json["error"]["code"]) == (404, "upload_gone")
    assert site.uploads == []


def test_an_object_deleted_after_the_upload_is_gone(site: Site) -> None:
    file = site.upload()
    site.complete(file)
    site.oss.storage.bucket("examplebucket").delete(file.key)
    assert site.list(file).status_int == 404
    assert len(site.uploads) == 1


def test_a_client_that_knows_no_parts_is_refused_at_the_start() -> None:
    class HeadAndList:
        def head(self, key: str) -> StoredObject | None:
            return None

        def list(self, prefix: str, start_after: str, limit: int) -> Sequence[ListedObject]:
            return ()

    client: Any = HeadAndList()
    with pytest.raises(SettingsError, match="HeadAndList has no method begin, list_parts, complete, abort"):
        Site(bucket_client=client)
    Site({"multipart": False, "recover": True}, bucket_client=client).close()


def test_no_repr_has_the_ticket() -> None:
    begun = BegunUpload("sealed-ticket", "u/film.mp4", PART, 3, 5)
    step = step_of("GET", "/multipart/sealed-ticket/7")
    assert "sealed-ticket" not in f"{begun!r} {begun} {step!r}"
    assert "u/film.mp4" in repr(begun)
    assert "7" in repr(step)
