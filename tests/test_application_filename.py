"""The name of the user's file reaches the handler in every way in which an upload does."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from urllib.parse import parse_qs, urlencode

import pytest

from oss_wsgi import TicketBook

from .parts.site import SECRET
from .parts.site import Site as PartsSite
from .recovery.site import Site

NAME = '猫 "1"\\?&年.PNG'


def form(site: Site) -> None:
    site.upload(name=NAME, lost=False)


def put(site: Site) -> None:
    assert site.client.put(NAME, b"hello", content_type="image/png").status_int == 200


def swept(site: Site) -> None:
    site.upload(name=NAME)
    assert site.reconcile(since=60).counts["recovered"] == 1


def swept_put(site: Site) -> None:
    site.client.local_oss.fail_next("callback_refused")
    assert site.client.put(NAME, b"hello", content_type="image/png").status_int == 203
    assert site.reconcile(since=60).counts["recovered"] == 1


def event(site: Site) -> None:
    key = site.upload(name=NAME)
    oss = {"bucket": {"name": "examplebucket"}, "object": {"key": key}}
    (outcome,) = site.application.handle_event(
        json.dumps({"events": [{"eventName": "ObjectCreated:PostObject", "oss": oss}]})
    )
    assert outcome.outcome == "recovered"


def asked_by_the_page(site: Site) -> None:
    fields: dict[str, str] = {}
    site.client.local_oss.fail_next("callback_refused")
    assert site.client.upload(NAME, b"hello", content_type="image/png", change=fields.update).status_int == 203
    assert site.client.recover(fields["callback"], fields["key"]).status_int == 200


@pytest.mark.parametrize("way", [form, put, swept, swept_put, event, asked_by_the_page])
def test_the_handler_gets_the_name_of_the_file(way: Callable[[Site], None]) -> None:
    site = Site({"recover": True})
    way(site)
    (upload,) = site.uploads
    assert upload.filename == NAME
    assert upload.object is not None and NAME not in upload.object
    site.client.close()


def test_a_form_that_names_a_prefix_has_none() -> None:
    site = Site()
    site.upload(lost=False, exact=False)
    (upload,) = site.uploads
    assert upload.filename is None
    site.client.close()


@pytest.mark.parametrize("is_swept", [False, True])
def test_the_handler_gets_the_name_of_a_file_in_parts(is_swept: bool) -> None:
    site = PartsSite()
    file = site.upload(filename=NAME)
    if is_swept:
        site.errors.append(RuntimeError("not now"))
    assert (site.complete(file).status_int == 200) is not is_swept
    if is_swept:
        assert site.application.reconcile(since=60, until=0).counts["recovered"] == 1
    (upload,) = site.uploads
    assert (upload.filename, upload.operation) == (NAME, "CompleteMultipartUpload")
    site.close()


def test_the_form_of_a_small_file_among_parts_has_its_name() -> None:
    site = PartsSite()
    fields = site.ask("GET", f"/s3/params?{urlencode({'filename': NAME})}").json["fields"]
    body = json.loads(base64.b64decode(fields["callback"]))["callbackBody"]
    ticket = TicketBook([SECRET], clock=site.clock).open(parse_qs(body)["ticket"][0])
    assert ticket.filename == NAME
    site.close()
