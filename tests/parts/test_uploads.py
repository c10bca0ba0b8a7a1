"""Completing while OSS does not answer, or while others ask it: what is done, and when the client must ask again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import pytest
import webob

from local_oss import LocalOSS
from oss_wsgi.bucket import ListedObject, StoredObject, StoredPart
from oss_wsgi.endpoints.multipart import step_of
from oss_wsgi.exceptions import BucketUnreachableError, SettingsError
from oss_wsgi.parts.uploads import BegunUpload
from oss_wsgi.testing.local_oss import InProcessBucket

from ..support.callbacks import without_signed_id
from .site import PART, Site

UNREACHABLE = BucketUnreachableError("bucket_unreachable", "OSS did not answer within 120 s")


class Bucket(InProcessBucket):
    """A bucket in which a test can do something after the request that completes an upload."""

    def __init__(self, oss: LocalOSS) -> None:
        super().__init__(oss)
        self.after: Callable[[StoredObject], StoredObject] = lambda stored: stored
        self.hidden = 0
        self.heads = 0
        self.silent_heads: Collection[int] = ()

    def complete(
        self, key: str, upload_id: str, parts: Sequence[tuple[int, str]], headers: Mapping[str, str]
    ) -> StoredObject:
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


def test_a_completion_without_an_answer_is_found_when_it_is_asked_for_again(site: Site, bucket: Bucket) -> None:
    """While OSS shows nothing yet, neither the page's list nor its next completion says that the upload is gone."""
    file = site.upload()
    bucket.after, bucket.hidden = lose, 2
    assert says(site.complete(file), 503, "10")
    assert says(site.list(file), 503, "1")
    assert says(site.complete(file), 503, "1")
    assert without_signed_id(site.complete(file).json["answer"]) == {"Status": "Ok", "number": 1}


def test_a_completed_upload_is_not_gone_while_oss_is_silent(site: Site, bucket: Bucket) -> None:
    file = site.upload()
    assert site.complete(file).status_int == 200
    bucket.heads, bucket.silent_heads = 0, {1}
    assert says(site.complete(file), 503, "10")
    assert without_signed_id(site.complete(file).json["answer"]) == {"Status": "Ok", "number": 1}
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
    assert without_signed_id(site.complete(file).json["answer"]) == {"Status": "Ok", "number": 1}


def test_whether_parts_are_missing_or_completed_nobody_can_tell_while_oss_is_silent(site: Site, bucket: Bucket) -> None:
    file = site.upload()
    bucket.silent_heads = {1}
    assert says(site.complete(file, []), 503, "10")
    assert site.complete(file, []).status_int == 409
    assert site.complete(file).status_int == 200


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
