"""A dishonest page, and damage in storage, with uploads in parts: the official SDK asks the local OSS over HTTP.

The tests check what OSS stores and what the application gets. The refusals are in tests/parts and in
tests/endpoints/test_multipart.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import webob

from oss_wsgi import SDKBucket
from oss_wsgi.bucket import StoredObject
from oss_wsgi.testing.clients import get_response

from ..parts.site import CONTENT, PART, File, Site, granting
from ..support.closing import closing_fixture

pytestmark = pytest.mark.slow

make = closing_fixture(Site, sdk=True, authorize=granting(max_size=len(CONTENT)))


@pytest.fixture
def site(make: Callable[..., Site]) -> Site:
    return make()


def parked(site: Site) -> int:
    """Return how many bytes of parts OSS keeps."""
    bucket = site.oss.storage.bucket("examplebucket")
    return sum(part.size for upload in bucket.uploads() for part in bucket.parts(upload)[0])


class Swapping:
    """A bucket's client; between the check and the completion the page replaces a part."""

    def __init__(self, bucket: SDKBucket) -> None:
        self._bucket = bucket
        self.swap: Callable[[], object] = lambda: None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bucket, name)

    def complete(
        self, key: str, upload_id: str, parts: Sequence[tuple[int, str]], headers: Mapping[str, str]
    ) -> StoredObject:
        self.swap()
        return self._bucket.complete(key, upload_id, parts, headers)


def with_swapping(site: Site) -> Swapping:
    """Start the application again, with a bucket's client that a test may interrupt."""
    assert isinstance(site.bucket, SDKBucket)
    site.bucket = swapping = Swapping(site.bucket)
    site.application = site.start()
    return swapping


def test_the_content_cannot_be_swapped_afterwards(site: Site) -> None:
    file = site.upload()
    urls = [site.sign(file, number).json["url"] for number in (1, 2, 3)]
    assert site.complete(file).status_int == 200
    assert [site.put(url, bytes(PART)).status_int for url in urls] == [404] * 3
    for number in (1, 2, 3):
        site.put(site.sign(file, number).json["url"], bytes(PART))
    site.complete(file)
    assert site.content(file.key) == CONTENT
    assert (len(site.uploads), site.unfinished) == (1, 0)


@pytest.mark.parametrize("version", ["v1", "v4"])
def test_the_url_of_a_part_is_good_for_that_part_alone(make: Callable[..., Site], version: str) -> None:
    site = make({"signature_version": version})
    file, other = site.begin(), site.begin()
    url = site.sign(file, 1).json["url"]
    upload_id = re.findall(r"uploadId=([0-9A-Za-z]+)", url)[0]
    other_id = re.findall(r"uploadId=([0-9A-Za-z]+)", site.sign(other, 1).json["url"])[0]
    changed = [
        url.replace("partNumber=1", "partNumber=2"),
        url.replace(upload_id, other_id),
        url.replace(file.key, other.key),
        url.replace(file.key, "u/of-my-choice.html"),
        re.sub(r"partNumber=1&?", "", url),
        re.sub(r"&?uploadId=[0-9A-Za-z]+", "", url),
        url + "&x-oss-process=image/resize,w_9",
    ]
    for bad in changed:
        assert site.put(bad, CONTENT[:PART]).status_int == 403, bad
    for method in ("GET", "DELETE", "POST", "HEAD"):
        request = webob.Request.blank(url, method=method, body=b"")
        assert get_response(request, site.oss).status_int == 403, method
    headers = {"x-oss-object-acl": "public-read", "x-oss-meta-a": "b", "Content-Type": "text/html"}
    for name, value in headers.items():
        assert site.put(url, CONTENT[:PART], {name: value}).status_int == 403, name
    assert parked(site) == 0
    assert site.stored == []


# OSS joins something else than the parts.


def damaged(answer: webob.Response) -> bool:
    message = "The file was damaged in storage: send it again."
    members = answer.json
    return (answer.status_int, members["error"]["code"], members["message"]) == (500, "crc64_mismatch", message)


def event(site: Site, file: File) -> bytes:
    oss = {"bucket": {"name": "examplebucket"}, "object": {"key": file.key}}
    return json.dumps({"events": [{"eventName": "ObjectCreated:CompleteMultipartUpload", "oss": oss}]}).encode()


def test_a_damaged_object_is_refused_on_every_way_and_for_ever(make: Callable[..., Site], tmp_path: Path) -> None:
    orphans: list[Any] = []
    site = make({"ledger": str(tmp_path / "ledger.sqlite")}, on_orphan=orphans.append)
    file = site.upload()
    site.oss.fail_next("damaged_object")
    assert damaged(site.complete(file))
    assert damaged(site.complete(file)), "the list of parts is gone, and with it what they were"
    site.application.ledger.close()
    site.application = site.start()
    assert damaged(site.complete(file)), "another process"
    assert site.list(file).status_int == 200
    assert damaged(site.complete(file, site.list(file).json)), "a client that resumes"
    assert site.abort(file).json == {}
    report = site.application.reconcile(until=0)
    assert (report.refused, report.reasons) == (1, {"crc64_mismatch": 1})
    assert [(orphan.object, orphan.user) for orphan in orphans] == [(file.key, "eric")]
    assert [outcome[::2] for outcome in site.application.handle_event(event(site, file))] == [
        ("refused", "crc64_mismatch")
    ]
    assert site.uploads == []
    assert site.stored == [file.key], "nothing is deleted: whoever runs the site decides"
    assert site.complete(site.upload()).status_int == 200
    site.application.ledger.close()


def test_parts_that_were_sent_again_are_no_damage(site: Site) -> None:
    swapping = with_swapping(site)
    file = site.upload()
    url = site.sign(file, 3).json["url"]
    swapping.swap = lambda: site.put(url, b"!" * (len(CONTENT) - 2 * PART))
    assert site.complete(file).status_int == 409
    swapping.swap = lambda: None
    site.send(file, 3, b"?" * (len(CONTENT) - 2 * PART))
    assert site.complete(file).status_int == site.complete(file).status_int == 200
    assert len(site.uploads) == 1


# OSS fails while an upload is cancelled.


class Cancelling(Swapping):
    """A bucket's client; between the abort and the HEAD something happens to OSS."""

    def abort(self, key: str, upload_id: str) -> None:
        self._bucket.abort(key, upload_id)
        self.swap()


@pytest.mark.parametrize("completed", [False, True], ids=["begun", "completed"])
def test_a_cancel_whose_head_fails_is_503_and_can_be_repeated(site: Site, completed: bool) -> None:
    assert isinstance(site.bucket, SDKBucket)
    cancelling = Cancelling(site.bucket)
    site.bucket = cancelling
    site.errors.append(RuntimeError("the application is down"))
    site.application = site.start()
    file = site.upload()
    if completed:
        assert site.complete(file).status_int == 500
    cancelling.swap = lambda: site.oss.fail_next("slow_down")
    answer = site.abort(file)
    assert (answer.status_int, answer.headers["Retry-After"]) == (503, "10")
    assert site.uploads == []
    cancelling.swap = lambda: None
    site.errors.clear()
    assert (site.abort(file).status_int, site.abort(file).json) == (200, {})
    assert (site.unfinished, len(site.stored), len(site.uploads)) == (0, completed, completed)
