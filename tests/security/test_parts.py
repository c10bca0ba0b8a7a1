"""A dishonest page, or a thief, with uploads in parts: against the local OSS, asked over HTTP by the official SDK.

The tests check what OSS stores and what the application gets; a refusal alone proves nothing.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import webob

from oss_wsgi import Grant, RateLimit, SDKBucket
from oss_wsgi.bucket import StoredObject
from oss_wsgi.testing.clients import get_response

from ..parts.site import CONTENT, PART, File, Site, granting

pytestmark = pytest.mark.slow

EXACT = {"size": len(CONTENT), "part_size": PART}


@pytest.fixture
def make() -> Iterator[Callable[..., Site]]:
    sites: list[Site] = []

    def make(*arguments: Any, **options: Any) -> Site:
        sites.append(Site(*arguments, sdk=True, **{"authorize": granting(max_size=len(CONTENT)), **options}))
        return sites[-1]

    yield make
    for site in sites:
        site.close()


@pytest.fixture
def site(make: Callable[..., Site]) -> Site:
    return make()


def nothing(site: Site) -> bool:
    """Return whether OSS keeps nothing and the application got no upload."""
    return not (site.stored or site.unfinished or site.uploads)


def parked(site: Site) -> int:
    """Return how many bytes of parts OSS keeps."""
    bucket = site.oss.storage.bucket("examplebucket")
    return sum(part.size for upload in bucket.uploads() for part in bucket.parts(upload)[0])


def test_an_honest_upload_arrives(site: Site) -> None:
    file = site.upload(**EXACT)
    assert site.complete(file).json["answer"] == {"Status": "Ok", "number": 1}
    assert site.content(file.key) == CONTENT
    assert (site.uploads[0].size, site.uploads[0].confirmed) == (len(CONTENT), True)


# It asks for parts beyond its grant.


def test_parts_beyond_the_grant_get_no_url(site: Site) -> None:
    assert site.sign(site.begin(**EXACT), 4).status_int == 403
    assert site.sign(site.begin(), 4).status_int == 403, "max_size allows three parts of 100 KB"


def test_a_part_of_another_length_than_the_signed_one_is_refused_by_oss(site: Site) -> None:
    file = site.begin(**EXACT)
    for number in (1, 2, 3):
        url = site.sign(file, number).json["url"]
        assert site.put(url, bytes(2 * PART)).status_int == 403
    assert parked(site) == 0


def test_more_than_the_grant_allows_is_caught_at_the_end_and_removed(site: Site) -> None:
    file = site.begin()
    for number in (1, 2, 3):
        assert site.send(file, number, bytes(PART)).status_int == 200
    assert site.complete(file).status_int == 403
    assert nothing(site)


def test_a_claim_of_fewer_parts_does_not_hide_the_others(site: Site) -> None:
    file = site.begin()
    for number in (1, 2, 3):
        site.send(file, number, bytes(PART))
    del file.etags[3]
    assert site.complete(file).status_int == 403
    assert nothing(site)


# It parks terabytes and never completes.


def test_what_can_be_parked_is_the_signed_length_times_the_parts(site: Site) -> None:
    file = site.begin(**EXACT)
    urls = {number: site.sign(file, number).json["url"] for number in (1, 2, 3)}
    for _ in range(3):
        for number, url in urls.items():
            site.put(url, bytes(PART))
            site.put(url, bytes(len(CONTENT) - 2 * PART))
            site.put(url.replace(f"partNumber={number}", f"partNumber={number + 3}"), bytes(PART))
    assert parked(site) == len(CONTENT)


def test_the_rate_limits_how_many_uploads_begin(make: Callable[..., Site]) -> None:
    site = make(rate_limit=RateLimit(3, 3600, clock=lambda: 0.0))
    answers = [site.ask("POST", "/s3/multipart", {"filename": "film.mp4"}) for _ in range(10)]
    assert [answer.status_int for answer in answers] == [200] * 3 + [429] * 7
    assert site.unfinished == 3


# It swaps a part after the check, or the content afterwards.


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


@pytest.mark.parametrize("length", [len(CONTENT) - 2 * PART, 3 * PART], ids=["same", "longer"])
def test_a_part_swapped_after_the_check_does_not_get_in(site: Site, length: int) -> None:
    swapping = with_swapping(site)
    file = site.upload()
    url = site.sign(file, 3).json["url"]
    swapping.swap = lambda: site.put(url, b"!" * length)
    assert site.complete(file).status_int == 409
    assert (site.stored, site.uploads) == ([], [])


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


# It uses the URL of a part for something else.


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


def test_a_ticket_is_good_for_one_name(site: Site) -> None:
    file, other = site.upload(), site.upload()
    mixed = File(file.id, other.key, {}, file.etags)
    answers = [site.sign(mixed, 1), site.list(mixed), site.complete(mixed), site.abort(mixed)]
    assert [answer.status_int for answer in answers] == [403] * 4
    assert (site.unfinished, site.stored) == (2, [])


def test_a_ticket_is_good_for_one_bucket(make: Callable[..., Site]) -> None:
    """Applications of two buckets may share their ticket secrets."""
    site, other = make(), make({"bucket": "other-bucket"})
    file = site.upload()
    answers = [other.sign(file, 1), other.list(file), other.complete(file), other.abort(file)]
    assert [answer.status_int for answer in answers] == [403] * 4
    assert site.complete(file).status_int == 200


# Two tabs.


def test_two_tabs_that_end_one_upload_both_get_the_answer_of_one_handler_call(site: Site) -> None:
    file = site.upload(**EXACT)
    barrier = threading.Barrier(2)
    answers: list[bytes] = []

    def tab() -> None:
        barrier.wait(60)
        answers.append(site.complete(file).body)

    threads = [threading.Thread(target=tab) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(set(answers)) == len(site.uploads) == 1
    assert answers[0] == answers[1]
    assert b'"number": 1' in answers[0]


# A stolen ticket.


def test_a_thief_without_the_session_does_not_get_the_upload_completed(make: Callable[..., Site]) -> None:
    def authorize(request: webob.Request, user: str | None = None) -> Grant | None:
        session = request.headers.get("X-Session", "eric")
        return Grant(user=session, dir="u/") if user in (None, session) else None

    site = make(authorize=authorize)
    file = site.begin()
    for number in (1, 2, 3):
        site.send(file, number, CONTENT[(number - 1) * PART : number * PART])
    for session in ("mallory", "", "Eric"):
        assert site.complete(file, headers={"X-Session": session}).status_int == 403
    assert (site.stored, site.uploads) == ([], [])
    assert site.complete(file).status_int == 200
    assert site.uploads[0].user == "eric"


def test_a_thief_learns_no_more_than_the_parts_of_that_one_upload(site: Site) -> None:
    stolen, other = site.upload(), site.upload()
    assert [part["PartNumber"] for part in site.list(stolen).json] == [1, 2, 3]
    assert site.list(File(stolen.id, other.key, {})).status_int == 403
    forged = stolen.id[:60] + ("A" if stolen.id[60] != "A" else "B") + stolen.id[61:]
    assert site.list(File(forged, stolen.key, {})).status_int == 403


# A page of another site.


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example.com"},
        {"Sec-Fetch-Site": "same-site", "Origin": "https://evil.app.example.com"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://evil.example.com"},
        {"Origin": "null"},
    ],
    ids=str,
)
def test_a_page_of_another_site_neither_completes_nor_cancels(site: Site, headers: dict[str, str]) -> None:
    file = site.upload()
    body = {"parts": file.parts}
    path = f"/s3/multipart/{file.id}"
    assert site.ask("POST", f"{path}/complete?key={file.key}", body, headers=headers).status_int == 403
    assert site.ask("DELETE", f"{path}?key={file.key}", headers=headers).status_int == 403
    assert site.ask("POST", "/s3/multipart", {"filename": "a"}, headers=headers).status_int == 403
    assert (site.unfinished, site.stored, site.uploads) == (1, [], [])


# HTML as a film.


@pytest.mark.parametrize("content_type", ["video/mp4", "text/html", "image/svg+xml", ""])
def test_the_type_is_that_of_the_beginning_and_what_browsers_run_is_a_download(site: Site, content_type: str) -> None:
    html = b"<script>alert(1)</script>".ljust(PART)
    file = site.begin(content_type=content_type)
    url = site.sign(file, 1).json["url"]
    assert site.put(url, html, {"Content-Type": "text/html"}).status_int == 403
    site.send(file, 1, html)
    assert site.complete(file, headers={"X-Content-Type": "text/html"}).status_int == 200
    response = get_response(webob.Request.blank(site.oss.signed_url(file.key)), site.oss)
    assert response.headers["Content-Type"] == (content_type or "application/octet-stream")
    runs = content_type in ("text/html", "image/svg+xml")
    assert response.headers.get("Content-Disposition") == ("attachment" if runs else None)


def test_types_that_are_not_granted_do_not_begin(make: Callable[..., Site]) -> None:
    site = make(authorize=granting(content_types=["video/mp4"]))
    for content_type in ("text/html", ""):
        answer = site.ask("POST", "/s3/multipart", {"filename": "film.mp4", "type": content_type})
        assert answer.status_int == 403
    assert site.complete(site.upload()).status_int == 200


# OSS joins something else than the parts.


def damaged(answer: webob.Response) -> bool:
    message = "The file was damaged in storage: send it again."
    members = answer.json
    return (answer.status_int, members["error"]["code"], members["message"]) == (500, "crc64_mismatch", message)


def event(site: Site, file: File) -> bytes:
    oss = {"bucket": {"name": "examplebucket"}, "object": {"key": file.key}}
    return json.dumps({"events": [{"eventName": "ObjectCreated:CompleteMultipartUpload", "oss": oss}]}).encode()


@pytest.mark.parametrize("members", [{}, EXACT], ids=["any", "exact"])
def test_a_damaged_object_is_refused_on_every_way_and_for_ever(
    make: Callable[..., Site], members: dict[str, Any], tmp_path: Path
) -> None:
    orphans: list[Any] = []
    site = make({"ledger": str(tmp_path / "ledger.sqlite")}, on_orphan=orphans.append)
    file = site.upload(**members)
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
    assert site.complete(site.upload(**members)).status_int == 200
    site.application.ledger.close()


def test_a_damaged_object_is_refused_although_the_process_died_as_oss_joined_it(site: Site) -> None:
    """Another page then finds the object and no list of parts."""
    file = site.upload()
    site.oss.fail_next("damaged_object")
    swapping = Swapping(site.bucket)  # type: ignore[arg-type]

    def die(*arguments: Any) -> StoredObject:
        site.bucket.complete(*arguments)
        raise SystemExit

    swapping.complete = die  # type: ignore[method-assign]
    inner, site.bucket = site.bucket, swapping
    site.application = site.start()
    site.bucket = inner
    with pytest.raises(SystemExit):
        site.complete(file)
    assert site.stored == [file.key]
    site.options["ledger"] = site.application.ledger
    site.application = site.start()
    assert damaged(site.complete(file))
    assert site.application.reconcile(until=0).refused == 1
    assert site.uploads == []


def test_what_was_remembered_of_parts_that_were_sent_again_refuses_nothing(site: Site) -> None:
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
@pytest.mark.parametrize("asked", ["abort", "head"])
def test_a_cancel_of_which_oss_says_503_is_503_and_can_be_repeated(site: Site, asked: str, completed: bool) -> None:
    assert isinstance(site.bucket, SDKBucket)
    cancelling = Cancelling(site.bucket)
    site.bucket = cancelling
    site.errors.append(RuntimeError("the application is down"))
    site.application = site.start()
    file = site.upload()
    if completed:
        assert site.complete(file).status_int == 500
    if asked == "abort":
        site.oss.fail_next("slow_down")
    else:
        cancelling.swap = lambda: site.oss.fail_next("slow_down")
    answer = site.abort(file)
    assert (answer.status_int, answer.headers["Retry-After"]) == (503, "10")
    assert site.uploads == []
    cancelling.swap = lambda: None
    site.errors.clear()
    assert (site.abort(file).status_int, site.abort(file).json) == (200, {})
    assert (site.unfinished, len(site.stored), len(site.uploads)) == (0, completed, completed)


def test_a_cancel_while_oss_cannot_be_reached_is_503(site: Site) -> None:
    file = site.upload()
    site.stop_oss()
    answer = site.abort(file)
    assert (answer.status_int, answer.headers["Retry-After"]) == (503, "10")


# Two tabs, and one of them dies or gives up.


def test_two_tabs_at_once_of_which_one_dies_after_oss_has_joined(make: Callable[..., Site], tmp_path: Path) -> None:
    site = make({"ledger": str(tmp_path / "ledger.sqlite")})
    file = site.upload(**EXACT)
    joined, dead = threading.Event(), threading.Event()
    real = site.bucket

    class Dying(Swapping):
        def complete(self, *arguments: Any) -> StoredObject:
            real.complete(*arguments)
            joined.set()
            assert dead.wait(60)
            raise SystemExit

    site.bucket = Dying(real)  # type: ignore[arg-type]
    dying = site.start()
    site.bucket = real
    killed: list[BaseException] = []

    def first_tab() -> None:
        request = webob.Request.blank(f"/oss/s3/multipart/{file.id}/complete?key={file.key}", method="POST")
        request.body = json.dumps({"parts": file.parts}).encode()
        try:
            get_response(request, dying)
        except SystemExit as error:
            killed.append(error)

    thread = threading.Thread(target=first_tab)
    thread.start()
    assert joined.wait(60)
    second = site.complete(file)
    dead.set()
    thread.join(60)
    assert len(killed) == 1
    assert second.json["answer"] == {"Status": "Ok", "number": 1}
    assert site.complete(file).body == second.body
    assert site.application.reconcile(until=0).recovered == 0
    assert len(site.uploads) == 1
    dying.ledger.close()
    site.application.ledger.close()


@pytest.mark.parametrize("cancelled", ["before", "after"])
def test_a_tab_that_cancels_while_another_completes_leaves_all_or_nothing(site: Site, cancelled: str) -> None:
    assert isinstance(site.bucket, SDKBucket)
    real = site.bucket
    file = site.upload()

    class Cancelled(Swapping):
        def complete(self, *arguments: Any) -> StoredObject:
            if cancelled == "before":
                assert site.abort(file).status_int == 200
            stored = real.complete(*arguments)
            assert site.abort(file).status_int == 200
            return stored

    site.options["ledger"] = site.application.ledger
    site.bucket = Cancelled(real)
    completing = site.start()
    request = webob.Request.blank(f"/oss/s3/multipart/{file.id}/complete?key={file.key}", method="POST")
    request.body = json.dumps({"parts": file.parts}).encode()
    answer = get_response(request, completing)
    expected = (404, 0) if cancelled == "before" else (200, 1)
    assert (answer.status_int, len(site.uploads)) == expected
    assert (len(site.stored), site.unfinished) == (expected[1], 0)


def test_after_a_cancel_nothing_can_be_sent_or_completed(site: Site) -> None:
    file = site.upload()
    url = site.sign(file, 1).json["url"]
    for _ in range(2):
        assert site.abort(file).json == {}
    assert site.put(url, CONTENT[:PART]).status_int == 404
    assert site.put(site.sign(file, 1).json["url"], CONTENT[:PART]).status_int == 404
    for _ in range(2):
        assert site.complete(file).status_int == 404
    assert nothing(site)
