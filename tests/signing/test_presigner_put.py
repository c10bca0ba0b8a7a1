"""presign_put: the request that it signs, beside the form for the same grant."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timezone
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from oss_wsgi.callback.ticket import RECEIPT_FIELD, UPLOAD_SECONDS, ReceiptBook, TicketBook
from oss_wsgi.credentials import Credentials
from oss_wsgi.exceptions import GrantError, MalformedRequestError, OutsideGrantError
from oss_wsgi.signing.grant import Grant
from oss_wsgi.signing.presigned_url import PresignedURL, sign_url_v4

from .forms import CALLBACK, HOST, ID, NOW, RANDOM, SECRET, TOKEN, Provider, presigner

FILE: dict[str, Any] = {"filename": "a.png", "size": 6, "content_type": "image/png"}
GB = 1024**3
SECRETS = ["a secret of tickets, thirty-two or more"]


def query(url: PresignedURL) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url.url).query).items()}


def test_it_signs_type_size_and_forbid_overwrite() -> None:
    url = presigner().presign_put(**FILE)
    headers = {"Content-Type": "image/png", "x-oss-forbid-overwrite": "true"}
    assert url == sign_url_v4(
        *(Credentials(ID, SECRET), "PUT", HOST, "examplebucket", f"user-dir-prefix/20241203/{RANDOM}.png"),
        region="cn-hangzhou",
        now=NOW,
        expires=300,
        headers={**headers, "Content-Length": "6"},
        additional_headers=["Content-Length"],
    )
    assert url.headers == headers, "each client sends the length by itself"


def test_the_callback_in_the_query_is_the_forms_field() -> None:
    form = presigner(callback_url=CALLBACK).presign(filename="a.png")
    found = query(presigner(callback_url=CALLBACK).presign_put(**FILE))
    assert found["callback"] == form.fields["callback"]
    assert "callback-var" not in found


def test_the_ticket_pins_the_one_object_its_size_and_its_type() -> None:
    tickets = TicketBook(SECRETS, clock=lambda: NOW)
    grant = Grant(user="eric", dir="u/", data={"a": 1})
    url = presigner(tickets=tickets, callback_url=CALLBACK).presign_put(grant, **FILE)
    body = json.loads(base64.b64decode(query(url)["callback"]))["callbackBody"]
    ticket = tickets.open(body.rpartition("ticket=")[2])
    assert (ticket.key, ticket.prefix, ticket.bucket) == (url.key, "u/", "examplebucket")
    assert (ticket.min_size, ticket.max_size, ticket.content_types) == (6, 6, ["image/png"])
    assert (ticket.user, ticket.data, ticket.forbid_overwrite, ticket.max_objects) == ("eric", {"a": 1}, True, 1)
    assert ticket.expires_at == url.expire + 12 * 3600


@pytest.mark.parametrize(("version", "name"), [("v1", "Expires"), ("v4", "x-oss-expires")])
def test_the_grants_own_lifetime_takes_the_place_of_the_settings(version: str, name: str) -> None:
    url = presigner(signature_version=version, upload_expires=300).presign_put(Grant(expires=60), **FILE)
    assert url.expire == NOW + 60
    assert query(url)[name] == str(NOW + 60 if version == "v1" else 60)


def test_the_receipt_says_put_object() -> None:
    tickets = TicketBook(SECRETS, clock=lambda: NOW)
    receipts = ReceiptBook(SECRETS, clock=lambda: NOW, keep_seconds=60)
    signing = presigner(tickets=tickets, receipts=receipts, callback_url=CALLBACK)
    url = signing.presign_put(Grant(custom={"a": "b"}), **FILE)
    receipt = receipts.open(url.headers[RECEIPT_FIELD])
    assert (receipt.operation, receipt.custom, receipt.ticket.key) == ("PutObject", {"a": "b"}, url.key)


def test_custom_variables_without_a_callback_are_left_out() -> None:
    assert "callback-var" not in query(presigner().presign_put(Grant(custom={"a": "b"}), **FILE))


def test_5_gb_is_allowed_and_a_byte_more_is_not() -> None:
    signing = presigner(upload_max_size=5 * GB)
    assert signing.presign_put(**{**FILE, "size": 5 * GB}).method == "PUT"
    with pytest.raises(OutsideGrantError):
        signing.presign_put(**{**FILE, "size": 5 * GB + 1})


@pytest.mark.parametrize("missing", FILE)
def test_each_parameter_is_needed(missing: str) -> None:
    with pytest.raises(MalformedRequestError, match=f"^{missing}_required: .*add {missing} to the request"):
        presigner().presign_put(**{**FILE, missing: None})


@pytest.mark.parametrize("content_types", [None, ["text/html"]])
def test_the_type_is_an_allowed_one(content_types: list[str] | None) -> None:
    signing, grant = presigner(upload_content_types=("image/png",)), Grant(content_types=content_types)
    allowed, other = ("image/png", "text/html") if content_types is None else ("text/html", "image/png")
    assert signing.presign_put(grant, **{**FILE, "content_type": allowed}).headers["Content-Type"] == allowed
    with pytest.raises(OutsideGrantError):
        signing.presign_put(grant, **{**FILE, "content_type": other})


def test_a_disposition_is_signed_and_what_a_header_cannot_hold_is_refused() -> None:
    url = presigner().presign_put(Grant(content_disposition="inline", metadata={"tag": "v", "empty": ""}), **FILE)
    assert (url.headers["Content-Disposition"], url.headers["x-oss-meta-tag"]) == ("inline", "v")
    assert "x-oss-meta-empty" not in url.headers
    assert query(url)["x-oss-additional-headers"] == "content-disposition;content-length"
    with pytest.raises(GrantError, match="must be ASCII"):
        presigner().presign_put(Grant(metadata={"tag": "值"}), **FILE)
    with pytest.raises(GrantError, match="8 KB"):
        presigner().presign_put(Grant(metadata={"tag": "v" * 8193}), **FILE)


def test_custom_variables_stand_in_the_query_as_far_as_oss_takes_them() -> None:
    signing = presigner(callback_url=CALLBACK)
    found = query(signing.presign_put(Grant(custom={"a": "值"}), **FILE))
    assert json.loads(base64.b64decode(found["callback-var"])) == {"x:a": "值"}
    assert "x:a=${x:a}" in json.loads(base64.b64decode(found["callback"]))["callbackBody"]
    with pytest.raises(GrantError, match="custom variables"):
        signing.presign_put(Grant(custom={"a": "v" * 5000}), **FILE)


def test_url_and_ticket_end_with_the_access_key() -> None:
    expiration = datetime.fromtimestamp(NOW + 30, timezone.utc)
    provider = Provider(Credentials("STS.N", SECRET, TOKEN, expiration))
    tickets = TicketBook(SECRETS, clock=lambda: NOW)
    receipts = ReceiptBook(SECRETS, clock=lambda: NOW, keep_seconds=60)
    url = presigner(provider, tickets=tickets, receipts=receipts, callback_url=CALLBACK).presign_put(**FILE)
    assert receipts.open(url.headers[RECEIPT_FIELD]).ticket.expires_at == NOW + 30 + UPLOAD_SECONDS
    assert (url.expire, query(url)["x-oss-security-token"], provider.calls) == (NOW + 30, TOKEN, 1)


def test_the_names_are_those_of_forms() -> None:
    named = {**FILE, "filename": "b/大 a.png"}
    assert presigner(upload_names="original").presign_put(Grant(dir="u/"), **named).key == "u/大 a.png"
    assert presigner().presign_put(Grant(key="u/x.png"), **FILE).key == "u/x.png"


def test_json_is_the_payload() -> None:
    url = presigner().presign_put(**FILE)
    assert json.loads(url.json()) == url.payload()
    assert list(url.payload()) == ["method", "url", "headers", "fields", "expire", "key"]
