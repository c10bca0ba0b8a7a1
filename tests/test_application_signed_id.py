"""Signed IDs through DirectUpload: each page gets one, and ``find_upload`` returns its upload."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import webtest

from oss_wsgi import Grant, Upload
from oss_wsgi.application import DirectUpload
from oss_wsgi.exceptions import SignedIDError
from oss_wsgi.testing import FrozenClock, UploadClient

from .parts.site import Site as PartsSite
from .recovery.site import legacy
from .support.callbacks import without_signed_id
from .support.closing import closing_fixture

Make = Callable[..., UploadClient]


def eric(request: Any) -> Grant:
    return Grant(user="eric", dir="users/eric/", data={"album": 7})


def client(app: Any = legacy, settings: dict[str, Any] | None = None, **options: Any) -> UploadClient:
    return UploadClient(app, settings, **{"authorize": eric, **options})


make: Any = closing_fixture(client)
make_parts: Any = closing_fixture(PartsSite)


def test_the_response_to_a_callback_has_the_proof_of_its_upload(make: Make) -> None:
    uploads: list[Upload] = []
    client = make(on_upload=uploads.append)
    answer = client.upload("猫.png", b"meow", content_type="image/png")
    assert without_signed_id(answer.json) == {"Status": "Ok"}
    assert answer.headers["Content-Length"] == str(len(answer.body))
    found = client.direct_upload.find_upload(answer.json["signed_id"], user="eric")
    (upload,) = uploads
    names = ("bucket", "object", "etag", "size", "mime_type", "filename", "user", "data", "ticket_id", "signed_id")
    assert {name: getattr(found, name) for name in names} == {name: getattr(upload, name) for name in names}
    assert (found.filename, found.data) == ("猫.png", {"album": 7})
    assert (found.confirmed, found.recovered, found.transaction, found.operation) == (None, False, None, None)
    assert client.uploads[0].signed_id != ""


def test_a_put_and_a_prefix_form_have_one_too(make: Make) -> None:
    client = make()
    for answer in (
        client.put("a.txt", b"x", content_type="text/plain"),
        client.upload("a.txt", b"x", exact=False),
    ):
        found = client.direct_upload.find_upload(answer.json["signed_id"], user="eric")
        assert (found.object or "").startswith("users/eric/")


def test_a_recovered_upload_has_one_in_its_handler_and_on_its_page(make: Make) -> None:
    uploads: list[Upload] = []
    client = make(settings={"recover": True}, on_upload=uploads.append)
    fields: dict[str, str] = {}
    client.local_oss.fail_next("callback_refused")
    assert client.upload("a.png", b"x", change=fields.update).status_int == 203
    answers = [client.recover(fields["callback"], fields["key"]).json for _ in range(2)]
    assert answers[0]["signed_id"] != answers[1]["signed_id"]
    for signed_id in (uploads[0].signed_id, *(answer["signed_id"] for answer in answers)):
        assert client.direct_upload.find_upload(signed_id, user="eric").object == fields["key"]
    assert uploads[0].recovered


def test_a_sweep_gives_its_uploads_signed_ids(make: Make) -> None:
    uploads: list[Upload] = []
    client = make(on_upload=uploads.append)
    client.local_oss.fail_next("callback_refused")
    assert client.upload("a.png", b"x").status_int == 203
    client.direct_upload.reconcile(until=0)
    assert client.direct_upload.find_upload(uploads[0].signed_id, user="eric").object == uploads[0].object


def test_an_upload_in_parts_has_one_in_its_answer(make_parts: Callable[..., PartsSite]) -> None:
    site = make_parts(authorize=lambda request: Grant(user="eric", dir="u"))
    answer = site.complete(site.upload()).json
    assert "signed_id" not in answer
    found = site.application.find_upload(answer["answer"]["signed_id"], user="eric")
    assert found.object == answer["key"]
    assert site.uploads[0].signed_id == answer["answer"]["signed_id"]


def view(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Answer callbacks with the signed ID under another name, and any form with the upload that it proves."""
    upload = environ.get("oss_wsgi.upload")
    if upload is not None:
        members = {
            "photo": upload.signed_id,
            "finds": environ["oss_wsgi.find_upload"](upload.signed_id, user="eric").object,
        }
    else:
        form = webtest.TestRequest(environ).POST
        members = {"object": environ["oss_wsgi.find_upload"](form.get("photo"), user="eric").object}
    body = json.dumps(members).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_view_that_answers_callbacks_finds_upload_and_function_and_nothing_is_added(
    make: Make, is_lost: bool
) -> None:
    client = make(view, {"recover": True}, forward_callback=True)
    fields: dict[str, str] = {}
    if is_lost:
        client.local_oss.fail_next("callback_refused")
    answer = client.upload("a.png", b"x", change=fields.update)
    if is_lost:
        answer = client.recover(fields["callback"], fields["key"])
    assert answer.json.keys() == {"photo", "finds"}
    assert answer.json["finds"] == fields["key"]


def test_the_application_finds_the_upload_of_its_form(make: Make) -> None:
    client = make(view)
    signed_id = client.upload("a.png", b"x").json["signed_id"]
    app = webtest.TestApp(client.application)
    assert app.post("/save", {"photo": signed_id}).json == {"object": client.uploads[0].object}
    for form in ({"photo": client.uploads[0].object}, {}):
        with pytest.raises(SignedIDError, match="signed_id_malformed"):
            app.post("/save", form)


def test_without_signed_ids_no_page_gets_one_and_the_handler_still_has_it(make: Make) -> None:
    uploads: list[Upload] = []
    client = make(settings={"signed_ids": False}, on_upload=uploads.append)
    assert client.upload("a.png", b"x").json == {"Status": "Ok"}
    assert client.direct_upload.find_upload(uploads[0].signed_id, user="eric").object == uploads[0].object


def test_uploads_without_a_user_are_found_by_nobody_else(make: Make) -> None:
    client = make(authorize=None)
    signed_id = client.upload("a.png", b"x").json["signed_id"]
    assert client.direct_upload.find_upload(signed_id, user=None).user is None
    with pytest.raises(SignedIDError, match="signed_id_other_user"):
        client.direct_upload.find_upload(signed_id, user="eric")
    with pytest.raises(TypeError, match="user"):
        client.direct_upload.find_upload(signed_id)  # type: ignore[call-arg]


def test_it_expires_after_a_day_or_as_the_view_says(make: Make) -> None:
    clock = FrozenClock()
    client = make(clock=clock)
    find_upload = client.direct_upload.find_upload
    signed_id = client.upload("a.png", b"x").json["signed_id"]
    clock.advance(86401)
    with pytest.raises(SignedIDError, match="signed_id_expired"):
        find_upload(signed_id, user="eric")
    assert find_upload(signed_id, user="eric", max_age=90000).user == "eric"


def test_another_process_with_the_secret_finds_it(make: Make) -> None:
    client = make()
    signed_id = client.upload("a.png", b"x").json["signed_id"]
    assert DirectUpload(legacy, client.settings).find_upload(signed_id, user="eric").user == "eric"


def test_a_failed_handler_gives_the_page_none(make: Make) -> None:
    client = make(on_upload=lambda upload: 1 / 0)
    answer = client.upload("a.png", b"x")
    assert answer.status_int == 203
    assert b"signed_id" not in answer.body
