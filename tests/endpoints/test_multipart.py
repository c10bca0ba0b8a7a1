"""{prefix}/s3: uploads in parts in the shape of Companion, each request as Uppy's clients send and read it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote, urlencode

import pytest
import webob
import webob.exc

from oss_wsgi import Grant, MemoryLedger, Metrics, RateLimit, Upload
from oss_wsgi.bucket import StoredObject
from oss_wsgi.callback.ticket import RECEIPT_NAME
from oss_wsgi.endpoints.multipart import multipart_is_off
from oss_wsgi.exceptions import BucketUnreachableError, ConfirmationUnavailableError
from oss_wsgi.testing.local_oss import InProcessBucket

from ..parts.site import CONTENT, KB, NOW, PART, File, Site, granting
from ..support.callbacks import without_signed_id
from ..support.closing import closing_fixture

PAGES = "https://pages.example.com"
GIGABYTE = 1024**3


make = closing_fixture(Site)


@pytest.fixture
def site(make: Callable[..., Site]) -> Site:
    return make(authorize=granting())


def reason(caplog: pytest.LogCaptureFixture) -> str:
    refusals = [record for record in caplog.records if record.getMessage().startswith("refused:")]
    return str(refusals[-1].args[1]) if isinstance(refusals[-1].args, tuple) else ""


def refused(answer: webob.Response, status: int, code: str) -> bool:
    """Check that a refusal has its code, and its message where Uppy looks for it."""
    members = answer.json
    assert (answer.status_int, members["error"]["code"]) == (status, code), answer.text
    assert members["message"] == members["error"]["message"] != ""
    assert answer.content_length == len(answer.body)
    return True


# Small files: a form.


def test_params_are_a_form_that_is_stored_and_reported(site: Site) -> None:
    query = urlencode(
        {"filename": "猫.png", "type": "image/png", "metadata[name]": "猫.png", "metadata[relativePath]": ""}
    )
    answer = site.ask("GET", f"/s3/params?{query}")
    assert answer.json.keys() == {"method", "url", "fields", "headers", "expires"}
    assert (answer.json["method"], answer.json["url"], answer.json["headers"]) == ("POST", site.oss.host, {})
    assert answer.json["expires"] == 300
    fields = answer.json["fields"]
    assert fields["key"].startswith("u/") and fields["key"].endswith(".png")
    assert fields["x-oss-content-type"] == "image/png"
    assert not fields.keys() & {"file", "success_action_redirect"}


def test_params_have_the_ticket_where_the_page_reports_what_it_sends_so(make: Callable[..., Site]) -> None:
    site = make({"report_by": "page"})
    params = site.ask("GET", "/s3/params?filename=a.png").json
    assert not [name for name in params["fields"] if "callback" in name]
    body = {"ticket": params["ticket"], "object": params["fields"]["key"]}
    assert site.ask("POST", "/recover", body).json["error"]["code"] == "not_stored"
    assert "ticket" not in make().ask("GET", "/s3/params?filename=a.png").json


def test_the_size_of_params_is_pinned_where_the_page_tells_it(site: Site) -> None:
    import base64

    fields = site.ask("GET", "/s3/params?filename=a&type=&metadata[size]=5&other=1&other=2").json["fields"]
    assert ["content-length-range", 5, 5] in json.loads(base64.b64decode(fields["policy"]))["conditions"]
    fields = site.ask("GET", "/s3/params?filename=a&metadata[size]=XL").json["fields"]
    assert ["content-length-range", 0, 1048576000] in json.loads(base64.b64decode(fields["policy"]))["conditions"]


def test_params_of_an_exact_name_need_no_filename(make: Callable[..., Site]) -> None:
    site = make(authorize=lambda request: Grant(key="u/a.png"))
    assert site.ask("GET", "/s3/params").json["fields"]["key"] == "u/a.png"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("type=image/png", "filename_required"),
        *((f"filename=a&{name}=a/b&{name}=a/b", "query_malformed") for name in ("filename", "type", "key")),
    ],
)
def test_params_need_one_filename(site: Site, query: str, code: str) -> None:
    assert refused(site.ask("GET", f"/s3/params?{query}"), 400, code)


# Begin.


def test_an_upload_begins_with_key_and_id_and_what_our_own_page_needs(site: Site) -> None:
    file = site.begin("film.mp4", size=len(CONTENT), part_size=PART)
    assert file.answer == {
        "key": file.key,
        "uploadId": file.id,
        "bucket": "examplebucket",
        "part_size": PART,
        "parts": 3,
        "headers": {},
        "expire": int(NOW) + 7 * 24 * 3600,
    }
    assert file.key.startswith("u/") and file.key.endswith(".mp4")
    assert set(file.id) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert len(file.id) < 400


def test_what_uppy_sends_is_enough(site: Site) -> None:
    file = site.begin()
    assert (file.answer["part_size"], file.answer["parts"]) == (16 * KB * KB, None)


@pytest.mark.parametrize(
    ("size", "parts"),
    [(0, 1), ("0", 1), *((other, None) for other in (-1, 10**15, "9" * 16, "XL", "-1", "٣", "", True, 5.0, None))],
)
def test_the_size_in_a_pages_own_metadata_counts_if_it_is_one(site: Site, size: Any, parts: int | None) -> None:
    assert site.begin(metadata={"size": size}).answer["parts"] == parts


def test_the_object_is_what_the_grant_says(make: Callable[..., Site]) -> None:
    grant = granting(
        acl="public-read", storage_class="IA", metadata={"album": "7"}, custom={"mood": "a b&c"}, data={"album": 7}
    )
    site = make(authorize=grant)
    file = site.upload(content_type="text/html")
    assert site.complete(file).status_int == 200
    stored = site.oss.storage.bucket("examplebucket").get(file.key)
    assert stored is not None
    assert stored.content_type == "text/html"
    assert stored.headers["Content-Disposition"] == "attachment"
    assert stored.headers["x-oss-meta-album"] == "7"
    assert stored.headers["x-oss-storage-class"] == "IA"
    assert stored.headers["x-oss-object-acl"] == "public-read"
    (upload,) = site.uploads
    assert (upload.user, upload.data, upload.custom) == ("eric", {"album": 7}, {"mood": "a b&c"})


def test_of_two_uploads_of_one_name_the_second_to_end_is_refused(make: Callable[..., Site]) -> None:
    site = make({"upload_names": "original"})
    first, second = (site.upload(filename="猫 1.mp4", relative_path="holidays/猫 1.mp4") for _ in range(2))
    location = site.complete(first).json["location"]
    assert location == f"{site.oss.host}/user-dir-prefix/holidays/%E7%8C%AB%201.mp4"
    assert refused(site.complete(second), 409, "file_exists")
    assert len(site.uploads) == 1


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "multipart_malformed"),
        (b"[]", 400, "multipart_malformed"),
        (b"[" * 100_000, 400, "multipart_malformed"),
        ({"type": "image/png"}, 400, "filename_required"),
        ({"filename": ""}, 400, "filename_malformed"),
        ({"filename": 5}, 400, "multipart_malformed"),
        ({"filename": "a", "type": 5}, 400, "multipart_malformed"),
        (b'{"filename": "\\ud800"}', 400, "multipart_malformed"),
        ({"filename": "a", "type": "png"}, 400, "content_type_malformed"),
        ({"filename": "a", "size": "5"}, 400, "size_malformed"),
        ({"filename": "a", "size": True}, 400, "size_malformed"),
        ({"filename": "a", "size": -1}, 400, "size_malformed"),
        ({"filename": "a", "size": 10**15}, 400, "size_malformed"),
        ({"filename": "a", "size": 10**9, "part_size": 5}, 400, "part_size_malformed"),
        ({"filename": "a", "size": 5, "part_size": 6 * GIGABYTE}, 400, "part_size_malformed"),
        ({"filename": "a", "size": 10**15 - 1}, 403, "size_not_allowed"),
        ({"filename": "a", "metadata": {"size": 10**15 - 1}}, 403, "size_not_allowed"),
        ({"filename": "a", "metadata": {"size": "9" * 15}}, 403, "size_not_allowed"),
    ],
)
def test_a_beginning_that_is_malformed_or_not_granted_is_refused(site: Site, body: Any, status: int, code: str) -> None:
    assert refused(site.ask("POST", "/s3/multipart", body), status, code)
    assert site.unfinished == 0


def test_a_body_without_a_length_or_over_a_megabyte_is_refused(site: Site) -> None:
    request = webob.Request.blank("/oss/s3/multipart", method="POST", environ={"CONTENT_LENGTH": "2000000"})
    assert refused(request.get_response(site.application), 413, "request_entity_too_large")
    request = webob.Request.blank("/oss/s3/multipart", method="POST", environ={"CONTENT_LENGTH": ""})
    assert refused(request.get_response(site.application), 411, "length_required")


def test_no_byte_is_read_for_an_upload_whose_id_is_not_valid(site: Site) -> None:
    class Unread:
        def read(self, size: int = -1) -> bytes:
            raise AssertionError("the body is read")

    file = site.upload()
    path = f"/oss/s3/multipart/{file.id}/complete"
    for target, status in ((f"{path}?key={quote(file.key)}x", 403), (path, 400), (f"{path}x?key=a", 404)):
        request = webob.Request.blank(target, method="POST", environ={"CONTENT_LENGTH": "9", "wsgi.input": Unread()})
        assert not site.application.reads_body(request.environ)
        assert request.get_response(site.application).status_int == status
    request = webob.Request.blank(f"{path}?key={quote(file.key)}", method="POST", environ={"CONTENT_LENGTH": "9"})
    assert site.application.reads_body(request.environ)


# Who may.


def test_authorize_reads_what_is_asked_for(make: Callable[..., Site]) -> None:
    seen: list[Any] = []

    def authorize(request: webob.Request) -> Grant:
        # webob itself would go back to the beginning of a body that was read already, which no server can.
        body = request.environ["wsgi.input"].read(int(request.environ.get("CONTENT_LENGTH") or 0))
        seen.append((request.path, json.loads(body) if request.method == "POST" else request.GET["filename"]))
        return Grant()

    site = make(authorize=authorize)
    request = webob.Request.blank("/oss/s3/multipart", method="POST", body=b'{"filename": "a.mp4"}')
    without_length = {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
    for changes in ({}, without_length):
        request.environ.update(changes)
        assert request.get_response(site.application).status_int == 200
    site.ask("GET", "/s3/params?filename=b")
    assert seen == [*[("/oss/s3/multipart", {"filename": "a.mp4"})] * 2, ("/oss/s3/params", "b")]


def test_authorize_is_asked_for_a_beginning_only(make: Callable[..., Site]) -> None:
    calls: list[str] = []

    def authorize(request: webob.Request, limit: int = 5) -> Grant:
        assert limit == 5
        calls.append(request.path)
        return Grant(user="eric")

    site = make(authorize=authorize)
    file = site.upload()
    site.list(file)
    assert site.complete(file).status_int == 200
    assert calls == ["/oss/s3/multipart"]


@pytest.mark.parametrize("user", ["eric", None])
def test_may_complete_is_asked_before_an_upload_is_completed(make: Callable[..., Site], user: str | None) -> None:
    members, asked = {user}, []

    def may_complete(ticket_user: str | None) -> bool:
        asked.append(ticket_user)
        return ticket_user in members

    site = make(authorize=lambda request: Grant(user=user), may_complete=may_complete)
    file, other = site.upload(), site.begin()
    assert site.list(file).status_int == site.sign(file, 1).status_int == site.abort(other).status_int == 200
    assert asked == [], "nothing else asks"
    members.clear()
    assert refused(site.complete(file), 403, "forbidden")
    assert (site.stored, site.unfinished) == ([], 1), "the parts stay"
    members.add(user)
    assert site.complete(file).status_int == 200
    assert site.uploads[0].user == user
    members.clear()
    assert refused(site.complete(file), 403, "forbidden"), "a completed one is asked about again"
    assert asked == [user] * 3


def test_a_may_complete_that_fails_joins_nothing(make: Callable[..., Site], caplog: pytest.LogCaptureFixture) -> None:
    site = make(may_complete=lambda user: None)
    file = site.upload()
    assert refused(site.complete(file), 500, "internal_server_error")
    assert (reason(caplog), site.stored) == ("may_complete_failed", [])


def test_nobody_begins_without_authorize(make: Callable[..., Site], caplog: pytest.LogCaptureFixture) -> None:
    site = make({"allow_anonymous": False})
    for method, path in [("GET", "/s3/params?filename=a"), ("POST", "/s3/multipart")]:
        assert refused(site.ask(method, path, {"filename": "a"} if method == "POST" else None), 403, "forbidden")
        assert reason(caplog) == "anonymous"


def test_a_grant_that_no_part_can_carry_is_refused_with_the_reason_in_the_log(
    make: Callable[..., Site], caplog: pytest.LogCaptureFixture
) -> None:
    site = make(authorize=granting(metadata={"title": "猫"}))
    assert refused(site.ask("POST", "/s3/multipart", {"filename": "a"}), 403, "forbidden")
    assert reason(caplog) == "grant_refused"


# Pages.


@pytest.mark.parametrize(("on", "code"), [(True, "not_found"), (False, "multipart_off")])
def test_a_listed_origin_can_read_why_there_is_nothing(make: Callable[..., Site], on: bool, code: str) -> None:
    site = make({"allowed_origins": (PAGES,), "multipart": on})
    answer = site.ask("POST", "/s3/sts", b"{}", headers=FROM_PAGES)
    assert refused(answer, 404, code)
    assert readable(answer)
    foreign = site.ask("POST", "/s3/sts", headers={"Origin": "https://evil.example.com"})
    assert "Access-Control-Allow-Origin" not in foreign.headers


def test_where_parts_are_off_an_origin_is_listed_in_any_case() -> None:
    answer = webob.Request.blank("/s3/sts", headers=FROM_PAGES).get_response(multipart_is_off([PAGES.upper()]))
    assert (answer.status_int, readable(answer)) == (404, True)


FROM_PAGES = {"Origin": PAGES, "Sec-Fetch-Site": "cross-site"}


def readable(answer: webob.Response) -> bool:
    """Return whether a page of another origin can read a response and its Retry-After."""
    headers = answer.headers
    exposed = headers.get("Access-Control-Expose-Headers") == "Retry-After"
    return headers.get("Access-Control-Allow-Origin") == PAGES and exposed


def test_a_listed_origin_can_read_refusals_of_every_kind(make: Callable[..., Site]) -> None:
    site = make({"allowed_origins": (PAGES,)}, rate_limit=RateLimit(6, 60, clock=lambda: 0.0))
    file, other = site.upload(), site.begin()
    path = f"/s3/multipart/{file.id}"
    key = f"?key={file.key}"
    unreachable = BucketUnreachableError("bucket_unreachable", "no route")
    asked: list[tuple[int, str, str, Any, dict[str, str]]] = [
        (400, "POST", f"{path}/complete{key}", b"[", {}),
        (400, "GET", path, None, {}),
        (403, "GET", f"{path}/10001{key}", None, {}),
        (403, "GET", f"{path}?key={other.key}", None, {}),
        (405, "DELETE", "/s3/params", None, {}),
        (405, "PUT", "/s3/multipart", b"{}", {}),
        (409, "POST", f"{path}/complete{key}", {"parts": []}, {}),
        (411, "POST", "/s3/multipart", None, {}),
        (413, "POST", "/s3/multipart", bytes(1024 * 1024 + 1), {}),
        (503, "DELETE", f"{path}{key}", None, {}),
        (503, "GET", f"{path}{key}", None, {}),
        (429, "POST", "/s3/multipart", {"filename": "a"}, {}),
    ]
    for status, method, target, body, headers in asked:
        if status == 503:
            site.bucket.fail_next(unreachable)  # type: ignore[attr-defined]
        answer = site.ask(method, target, body, headers={**FROM_PAGES, **headers})
        assert (answer.status_int, readable(answer)) == (status, True), answer.text
        assert answer.json["message"]


def test_an_exception_of_the_bucket_client_is_a_refusal_that_a_page_can_read(
    make: Callable[..., Site], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make({"allowed_origins": (PAGES,)})
    file = site.upload()
    monkeypatch.setattr(site.bucket, "list_parts", lambda key, upload_id: {}[key])
    answer = site.complete(file, headers=FROM_PAGES)
    assert refused(answer, 500, "internal_server_error")
    assert file.key not in answer.text
    assert readable(answer)
    assert reason(caplog) == "multipart_failed"
    assert caplog.records[-1].exc_info


@pytest.mark.parametrize("path", ["/s3", "/s3/multipart/", "/s3/multipart/x/batch", "/s3/multipart/x/1/2", "/s3x"])
def test_other_paths_are_not_found(site: Site, path: str) -> None:
    assert site.ask("GET", path).status_int == 404


# Parts.


def test_parts_may_be_asked_for_in_any_order_and_sent_again(site: Site) -> None:
    file = site.begin()
    urls = {number: site.sign(file, number).json for number in (3, 1, 2, 1)}
    assert urls[1].keys() == {"method", "url", "headers", "expires"}
    assert (urls[1]["method"], urls[1]["headers"], urls[1]["expires"]) == ("PUT", {}, 3600)
    for number in (2, 3, 1, 1):
        answer = site.put(urls[number]["url"], CONTENT[(number - 1) * PART : number * PART])
        file.etags[number] = answer.headers["ETag"]
    assert [part["PartNumber"] for part in site.list(file).json] == [1, 2, 3]
    assert site.complete(file).status_int == 200
    assert site.content(file.key) == CONTENT


def test_the_length_of_a_part_is_exact_where_the_client_cuts_as_it_was_told(site: Site) -> None:
    file = site.begin(size=len(CONTENT), part_size=PART)
    last = len(CONTENT) - 2 * PART
    for number, length in [(1, PART), (2, PART), (3, last)]:
        url = site.sign(file, number).json["url"]
        for wrong in (length - 1, length + 1):
            assert site.put(url, bytes(wrong)).status_int == 403
        assert site.put(url, bytes(length)).status_int == 200
    for number in ("4", "0", "9" * 5000):
        answer = site.ask("GET", f"/s3/multipart/{file.id}/{number}?key={file.key}")
        assert refused(answer, 403, "part_not_allowed")


UPPY_5 = {"Accept": "application/json"}


def test_the_first_part_of_uppy_5_may_be_a_whole_file_with_its_type(site: Site) -> None:
    file = site.begin()
    signed = site.sign(file, 1, headers=UPPY_5).json
    assert signed["headers"] == {"Content-Type": "application/octet-stream"}
    assert site.put(signed["url"], b"whole", {"Content-Type": "video/mp4"}).status_int == 403
    file.etags[1] = site.put(signed["url"], b"whole", signed["headers"]).headers["ETag"]
    assert site.complete(file).status_int == 200
    assert site.uploads[0].mime_type == "video/mp4"
    assert site.sign(file, 2, headers=UPPY_5).json["headers"] == {}, "a slice has no type"
    assert site.sign(file, 1, headers={"Accept": "*/*"}).json["headers"] == {}, "Uppy 6 sends slices only"


@pytest.mark.parametrize("number", ["-1", "1.0", "%C2%B2", "%EF%BC%91", "complete%00"])
def test_what_is_no_number_is_no_part(site: Site, number: str) -> None:
    file = site.begin()
    assert site.ask("GET", f"/s3/multipart/{file.id}/{number}?key={file.key}").status_int == 404


def test_the_body_is_json_whatever_its_type_says(site: Site) -> None:
    content_type = "application/x-www-form-urlencoded"
    file = site.upload()
    path = f"/s3/multipart/{file.id}/complete?key={file.key}"
    body = json.dumps({"parts": file.parts}).encode()
    request = webob.Request.blank(f"/oss{path}", method="POST", body=body, content_type=content_type)
    assert request.get_response(site.application).status_int == 200
    form = webob.Request.blank(f"/oss{path}", method="POST", body=b"parts=1", content_type=content_type)
    assert refused(form.get_response(site.application), 400, "multipart_malformed")


# Complete.


def test_a_completed_upload_is_handed_on_as_a_callback_hands_it_on(site: Site) -> None:
    file = site.upload(size=len(CONTENT), part_size=PART)
    answer = site.complete(file)
    assert {**answer.json, "answer": without_signed_id(answer.json["answer"])} == {
        "location": f"{site.oss.host}/{file.key}",
        "bucket": "examplebucket",
        "key": file.key,
        "answer": {"Status": "Ok", "number": 1},
    }
    (upload,) = site.uploads
    assert (upload.bucket, upload.object, upload.size, upload.user) == ("examplebucket", file.key, len(CONTENT), "eric")
    assert (upload.operation, upload.confirmed, upload.recovered) == ("CompleteMultipartUpload", True, False)
    assert upload.mime_type == "video/mp4"
    stored = site.oss.storage.bucket("examplebucket").get(file.key)
    assert stored is not None
    assert (upload.etag, upload.crc64) == (stored.etag, stored.crc64)
    assert upload.ticket_until is not None and upload.ticket_until > NOW + 7 * 24 * 3600
    assert upload.members["operation"] == "CompleteMultipartUpload"


def test_completed_parts_are_the_report_where_pages_report(make: Callable[..., Site]) -> None:
    site = make({"report_by": "page"})
    file = site.upload()
    answers = [site.complete(file).json["answer"] for _ in range(2)]
    assert without_signed_id(answers[0]) == without_signed_id(answers[1])
    assert [(upload.object, upload.recovered) for upload in site.uploads] == [(file.key, False)]


def test_the_applications_own_view_answers_with_forward_callback(make: Callable[..., Site]) -> None:
    site = make(forward_callback=True, on_upload=None)
    seen: list[tuple[str, Upload]] = []

    def view(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append((environ["SCRIPT_NAME"] + environ["PATH_INFO"], environ["oss_wsgi.upload"]))
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
        return [b"plain"]

    from oss_wsgi import DirectUpload

    site.application = DirectUpload(view, site.settings, bucket_client=site.bucket, **site.options)
    assert site.complete(site.upload()).json["answer"] == "plain"
    assert [(path, upload.operation) for path, upload in seen] == [("/oss/callback", "CompleteMultipartUpload")]


@pytest.mark.parametrize("quoting", [str, lambda etag: etag.strip('"'), lambda etag: etag.strip('"').lower()])
def test_etags_count_with_and_without_quotes(site: Site, quoting: Callable[[str], str]) -> None:
    file = site.upload()
    parts = [{"PartNumber": part["PartNumber"], "ETag": quoting(part["ETag"])} for part in file.parts]
    assert site.complete(file, parts).status_int == 200


def test_completing_again_gets_the_kept_answer(site: Site) -> None:
    file = site.upload()
    answers = [without_signed_id(site.complete(file).json["answer"]) for _ in range(3)]
    assert answers == [{"Status": "Ok", "number": 1}] * 3
    assert len(site.uploads) == 1


def test_a_new_process_goes_on_with_an_upload(site: Site) -> None:
    """Nothing is kept between the requests but the ledger, which the handler's answer is in."""
    file = site.begin()
    site.send(file, 1, CONTENT[:PART])
    site.application = site.start()
    site.send(file, 2, CONTENT[PART:])
    site.application = site.start()
    assert site.complete(file).status_int == 200
    assert site.content(file.key) == CONTENT


def test_a_handler_that_fails_is_a_500_and_runs_again(site: Site) -> None:
    site.errors.append(RuntimeError("the database is down"))
    file = site.upload()
    assert refused(site.complete(file), 500, "internal_server_error")
    assert site.complete(file).json["answer"]["number"] == 1


@pytest.mark.parametrize("first", ["complete", "abort", "sweep"])
def test_complete_abort_and_sweep_share_one_identity(make: Callable[..., Site], first: str) -> None:
    site = make()
    file = site.upload()
    inner = site.oss.storage.bucket("examplebucket").uploads()[0]
    site.bucket.complete(file.key, inner.id, [(part["PartNumber"], part["ETag"]) for part in file.parts], {})
    steps: dict[str, Callable[[], object]] = {
        "complete": lambda: site.complete(file),
        "sweep": lambda: site.application.reconcile(until=0),
        "abort": lambda: site.abort(file),
    }
    steps.pop(first)()
    for step in steps.values():
        step()
    assert len(site.uploads) == 1
    assert site.uploads[0].operation == "CompleteMultipartUpload"


def test_a_sweep_finds_what_was_completed_and_not_told(site: Site) -> None:
    site.errors.append(RuntimeError("down"))
    file = site.upload()
    assert site.complete(file).status_int == 500
    assert site.application.reconcile(until=0).recovered == 1
    assert [(upload.object, upload.operation, upload.user) for upload in site.uploads] == [
        (file.key, "CompleteMultipartUpload", "eric")
    ]
    assert without_signed_id(site.complete(file).json["answer"]) == {"Status": "Ok", "number": 1}


def test_parts_carry_a_receipt_although_forms_carry_none(make: Callable[..., Site]) -> None:
    site = make({"receipts": False})
    assert not any(RECEIPT_NAME in name for name in site.ask("GET", "/signature?filename=a").json["fields"])
    file = site.upload()
    assert site.complete(file).status_int == site.complete(file).status_int == 200
    stored = site.bucket.head(file.key)
    assert stored is not None
    assert RECEIPT_NAME in stored.metadata


def test_another_size_than_allowed_is_refused_and_the_parts_are_removed(site: Site) -> None:
    file = site.upload(size=len(CONTENT) + 1)
    assert refused(site.complete(file), 403, "parts_size")
    assert (site.stored, site.unfinished, site.uploads) == ([], 0, [])


def claiming(count: int) -> dict[str, Any]:
    return {"parts": [{"PartNumber": number, "ETag": "x"} for number in range(1, count + 1)]}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        {},
        {"parts": 5},
        {"parts": [5]},
        {"parts": [{"PartNumber": 1}]},
        {"parts": [{"PartNumber": "1", "ETag": "x"}]},
        {"parts": [{"PartNumber": True, "ETag": "x"}]},
        {"parts": [{"PartNumber": 1, "ETag": None}]},
        {"parts": [{"PartNumber": 1, "ETag": "x"}] * 2},
        claiming(10_001),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_malformed_list_is_refused(site: Site, body: Any) -> None:
    file = site.upload()
    answer = site.ask("POST", f"/s3/multipart/{file.id}/complete?key={file.key}", body)
    assert refused(answer, 400, "multipart_malformed")
    assert site.unfinished == 1


# List and abort.


def test_ten_thousand_parts_may_be_claimed(site: Site) -> None:
    file = site.upload()
    answer = site.ask("POST", f"/s3/multipart/{file.id}/complete?key={file.key}", claiming(10_000))
    assert refused(answer, 409, "parts_missing")


def test_the_list_has_the_parts_as_companion_lists_them(site: Site) -> None:
    file = site.begin()
    assert site.list(file).json == []
    site.send(file, 2, b"two")
    assert site.list(file).json == [{"PartNumber": 2, "ETag": file.etags[2], "Size": 3}]
    assert file.etags[2].startswith('"')


@pytest.mark.slow
def test_a_cancelled_upload_leaves_nothing(site: Site) -> None:
    file = site.upload()
    assert (site.abort(file).status_int, site.abort(file).json) == (200, {})
    assert (site.unfinished, site.stored, site.uploads) == (0, [], [])
    assert refused(site.list(file), 404, "upload_gone")
    assert refused(site.complete(file), 404, "upload_gone")


def test_cancelling_a_completed_upload_keeps_the_object_and_tells_it(site: Site) -> None:
    site.errors.append(RuntimeError("down"))
    file = site.upload()
    assert site.complete(file).status_int == 500
    assert (site.abort(file).status_int, site.abort(file).json) == (200, {})
    assert site.stored == [file.key]
    assert [upload.object for upload in site.uploads] == [file.key]


def test_cancelling_a_completed_upload_that_cannot_be_confirmed_now_is_503(make: Callable[..., Site]) -> None:
    answers: list[bool] = [False, False]

    def confirm(upload: Upload) -> bool:
        if answers:
            answers.pop()
            raise ConfirmationUnavailableError("confirmation_unavailable", "OSS does not answer")
        return True

    site = make(confirm=confirm)
    file = site.upload()
    for answer in (site.complete(file), site.abort(file)):
        assert refused(answer, 503, "service_unavailable")
        assert answer.headers["Retry-After"] == "10"
    assert (site.abort(file).json, len(site.uploads)) == ({}, 1)


def test_what_our_own_request_has_confirmed_stays_confirmed(make: Callable[..., Site]) -> None:
    def confirm(upload: Upload) -> bool:
        raise ConfirmationUnavailableError("confirmation_unavailable", "OSS does not answer", accept=True)

    site = make(confirm=confirm)
    assert site.complete(site.upload()).status_int == 200
    assert site.uploads[0].confirmed is True


# Tickets.


def test_a_ticket_that_does_not_count_is_refused(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    file, other = site.upload(), site.begin()
    for ask in (lambda file: site.sign(file, 1), site.list, site.complete, site.abort):
        assert refused(ask(File(file.id, other.key, {}, file.etags)), 403, "forbidden")
        assert reason(caplog) == "parts_mismatch"
        assert refused(ask(File(file.id, "", {}, file.etags)), 400, "key_malformed")
    site.clock.advance(8 * 24 * 3600)
    assert refused(site.complete(file), 403, "forbidden")
    assert reason(caplog) == "ticket_expired"
    assert (site.unfinished, site.stored) == (2, [])


# OSS.


def test_when_oss_cannot_be_asked_the_answer_is_503_and_a_later_try_works(site: Site) -> None:
    file = site.upload()
    for ask in (
        lambda: site.ask("POST", "/s3/multipart", {"filename": "a"}),
        lambda: site.list(file),
        lambda: site.complete(file),
        lambda: site.abort(file),
    ):
        site.bucket.fail_next(BucketUnreachableError("bucket_unreachable", "no route"))  # type: ignore[attr-defined]
        answer = ask()
        assert refused(answer, 503, "service_unavailable")
        assert answer.headers["Retry-After"] == "10"
        assert ask().status_int == 200


# On and off, numbers.


def test_off_is_a_404_that_says_so(make: Callable[..., Site], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "oss_wsgi")
    site = make({"multipart": False})
    for method, path in [("GET", "/s3/params"), ("POST", "/s3/multipart"), ("DELETE", "/s3/multipart/x")]:
        assert refused(site.ask(method, path), 404, "multipart_off")
    assert "OSS_MULTIPART=on" in caplog.text


def test_the_limits_say_from_what_size_parts_are_used(make: Callable[..., Site]) -> None:
    site = make({"part_size": PART, "upload_max_size": 6 * GIGABYTE}, authorize=granting())
    assert site.begin("film.mp4").answer["part_size"] == PART
    limits = site.ask("GET", "/limits").json
    assert limits["methods"] == ["post", "put", "multipart"]
    assert (limits["multipart_from"], limits["part_size"], limits["max_size"]) == (PART, PART, 6 * GIGABYTE)
    limits = make({"multipart": False}).ask("GET", "/limits").json
    assert "multipart" not in limits["methods"]
    assert limits["multipart_from"] is limits["part_size"] is None


def test_a_damaged_object_is_noted_as_long_as_the_ledger_keeps_what_was_handled(make: Callable[..., Site]) -> None:
    class Noting(MemoryLedger):
        def note(self, pairs: Iterable[tuple[str, str]], expires: int) -> None:
            until.append(expires)

    class Damaging(InProcessBucket):
        def complete(self, *arguments: Any) -> StoredObject:
            return super().complete(*arguments)._replace(crc64=7)

    until: list[int] = []
    for keep in (3600, 9000):
        site = make({"ledger_keep": keep}, authorize=granting(), ledger=Noting(clock=time.time))
        site.bucket = Damaging(site.oss)
        site.application = site.start()
        assert refused(site.complete(site.upload()), 500, "crc64_mismatch")
    assert until[1] - until[0] == 9000 - 3600


def test_observers_and_metrics_see_steps_and_no_ticket(make: Callable[..., Site]) -> None:
    issued: list[dict[str, Any]] = []
    refusals: list[tuple[str, int, dict[str, Any]]] = []
    metrics = Metrics()
    site = make(
        authorize=granting(),
        metrics=metrics,
        on_issued=lambda grant, facts: issued.append(dict(facts)),
        on_refused=lambda reason, status, facts: refusals.append((reason, status, dict(facts))),
    )
    file = site.upload()
    site.complete(file, [])
    site.complete(file)
    site.complete(file)
    site.list(file)
    site.abort(file)
    (facts,) = issued
    assert (facts["object"], facts["user"], facts["upload_method"]) == (file.key, "eric", "MULTIPART")
    assert (facts["expires"], facts["url"]) == (int(NOW) + 7 * 24 * 3600, site.oss.host)
    assert [(reason, status) for reason, status, _ in refusals] == [("parts_missing", 409)]
    shown = [refusals[0][2][name] for name in ("path", "user", "object")]
    assert shown == ["/oss/s3/multipart/***/complete", "eric", file.key]
    _, text = metrics.text()
    assert file.id not in text.decode() + str(refusals) + str(issued)
    for step, outcome in [
        ("begin", "ok"), ("part", "ok"), ("complete", "ok"), ("complete", "repeated"), ("complete", "parts_missing"),
        ("list", "ok"), ("abort", "repeated"),
    ]:  # fmt: skip
        assert f'oss_wsgi_multipart_total{{outcome="{outcome}",step="{step}"}}' in text.decode()
