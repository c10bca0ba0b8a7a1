"""Every issued field is pinned: a local OSS that refuses fields outside the policy accepts each form."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from webtest import TestApp

from oss_wsgi.callback.ticket import TicketBook
from oss_wsgi.credentials import Credentials, StaticCredentialsProvider
from oss_wsgi.local import LocalOSS
from oss_wsgi.settings import Settings
from oss_wsgi.signing.grant import Grant
from oss_wsgi.signing.presigner import PostPresigner

NOW = 1733227932
ID, SECRET = "LTAI5tExampleKeyId000001", "ExampleSecret0000000000000000A"


def answer(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", "2")])
    return [b"{}"]


@pytest.fixture(params=[None, "CAISexample+Token/With=Padding=="], ids=["static", "STS"])
def token(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def oss(tmp_path: Path, token: str | None) -> Iterator[LocalOSS]:
    with LocalOSS(
        access_key_id=ID,
        access_key_secret=SECRET,
        security_token=token,
        directory=tmp_path,
        key_bits=512,
        transport=answer,
        clock=lambda: NOW,
        strict=True,
        exact_field_names=True,
    ) as local_oss:
        yield local_oss


EVERYTHING = Grant(
    dir="users/7/",
    acl="private",
    storage_class="IA",
    forbid_overwrite=False,
    content_disposition='attachment; filename="a.txt"',
    metadata={"order": "7"},
    custom={"order": "7"},
)


def fields(oss: LocalOSS, version: str, token: str | None, grant: Grant, **parameters: Any) -> dict[str, str]:
    settings = Settings(
        bucket="examplebucket",
        region="cn-hangzhou",
        host=oss.host,
        access_key_id=ID,
        access_key_secret=SECRET,
        signature_version=version,
        callback_url="https://app.example.com/oss/callback",
    )
    provider = StaticCredentialsProvider(Credentials(ID, SECRET, token))
    tickets = TicketBook(["x" * 32], clock=lambda: NOW)
    presigner = PostPresigner(settings, provider, clock=lambda: NOW, tickets=tickets)
    return presigner.presign(grant, **parameters).fields


def post(oss: LocalOSS, form: dict[str, str]) -> Any:
    upload = [("file", "a.txt", b"hi oss", "text/plain")]
    return TestApp(oss).post("/examplebucket", form, upload_files=upload, status="*")


@pytest.mark.parametrize("version", ["v1", "v4"])
@pytest.mark.parametrize(
    ("grant", "parameters"),
    [
        pytest.param(Grant(), {}, id="prefix"),
        pytest.param(Grant(content_types=["text/plain"]), {}, id="prefix, types"),
        pytest.param(Grant(), {"content_type": "text/plain", "size": 6}, id="prefix, type and size"),
        pytest.param(Grant(), {"filename": "a.txt"}, id="exact"),
        pytest.param(Grant(key="a.txt"), {}, id="exact by the grant"),
        pytest.param(EVERYTHING, {"filename": "a.txt", "content_type": "text/plain", "size": 6}, id="everything"),
    ],
)
def test_every_issued_form_is_pinned_and_spelled_as_documented(
    oss: LocalOSS, token: str | None, version: str, grant: Grant, parameters: dict[str, Any]
) -> None:
    response = post(oss, fields(oss, version, token, grant, **parameters))
    assert (response.status_int, response.body) == (200, b"{}"), response.text


@pytest.mark.parametrize("version", ["v1", "v4"])
@pytest.mark.parametrize("name", ["name", "x-oss-tagging", "x-oss-content-type", "success_action_redirect", "x:more"])
def test_a_field_that_the_browser_adds_is_refused(oss: LocalOSS, token: str | None, version: str, name: str) -> None:
    response = post(oss, {**fields(oss, version, token, Grant()), name: "text/html"})
    assert (response.status_int, response.xml.findtext("EC")) == (403, "0006-00000228")
    assert response.xml.findtext("Message") == f"Invalid according to Policy: Extra input fields: {name}"
