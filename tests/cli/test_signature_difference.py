"""What OSS signed beside what this server signed, for each way in which a client changes a request."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import webob

from oss_wsgi.cli.signature_difference import Comparison, compare
from oss_wsgi.cli.terminal import MisuseError
from oss_wsgi.testing import multipart

from ..test_presigned_put import Site


@pytest.fixture(scope="module", params=["v1", "v4"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    site = Site({"signature_version": request.param})
    yield site
    site.close()


def differences(comparison: Comparison | None) -> dict[str, tuple[str | None, str | None]]:
    assert comparison is not None
    return {item.name: (item.oss, item.ours) for item in comparison.items if item.differs}


CHANGES: list[tuple[dict[str, Any], dict[str, tuple[str | None, str | None]], str]] = [
    ({"content_type": "text/plain"}, {"content-type": ("text/plain", "image/png")}, "Content-Type is always signed."),
    ({"content_type": None}, {"content-type": (None, "image/png")}, "curl -T sends none"),
    ({"x_oss_meta_a": "b"}, {"x-oss-meta-a": ("b", None)}, "Sent, but not signed: x-oss-meta-a."),
    ({"x_oss_forbid_overwrite": None}, {"x-oss-forbid-overwrite": (None, "true")}, "Not sent: x-oss-forbid-overwrite."),
    (
        {"x_oss_forbid_overwrite": "false"},
        {"x-oss-forbid-overwrite": ("false", "true")},
        "Changed on the way: x-oss-forbid-overwrite.",
    ),
]


@pytest.mark.parametrize(("change", "expected", "said"), CHANGES)
def test_a_changed_header_is_found(site: Site, change: dict[str, Any], expected: Any, said: str) -> None:
    signed = site.sign()
    answer = site.put(signed, **change).text
    comparison = compare(answer, json.dumps(signed))
    assert differences(comparison) == expected
    assert comparison is not None
    assert any(said in fix for fix in comparison.fixes)
    assert not any("AccessKey" in fix for fix in comparison.fixes)


def test_a_changed_path_and_query_are_found(site: Site) -> None:
    signed = site.sign()
    url = signed["url"].replace("/u/", "/v/").replace("callback=", "callback=x")
    found = differences(compare(site.put(signed, url=url).text, json.dumps(signed)))
    assert sorted(found) == ["parameter callback", "path"]


def test_another_length_is_named_where_nothing_else_differs() -> None:
    site = Site()
    signed = site.sign()
    comparison = compare(site.put(signed, b"hello!").text, json.dumps(signed))
    assert differences(comparison) == {}
    assert comparison is not None
    assert "OSS got 6 bytes" in comparison.fixes[0]
    site.close()


def test_another_secret_is_named_where_nothing_differs(site: Site) -> None:
    signed = site.sign()
    name = "Signature=" if "&Signature=" in signed["url"] else "x-oss-signature="
    answer = site.put(signed, url=signed["url"].partition(name)[0] + name + "0").text
    comparison = compare(answer, json.dumps(signed))
    assert differences(comparison) == {}
    assert comparison is not None
    assert "the secret does not belong to the AccessKey ID" in comparison.fixes[-1]


def test_with_the_url_alone_the_headers_are_shown_and_not_compared(site: Site) -> None:
    signed = site.sign()
    comparison = compare(site.put(signed, content_type="text/plain").text, signed["url"])
    assert differences(comparison) == {}
    assert comparison is not None
    assert ("content-type", "text/plain", "?") in comparison.items


def test_without_what_was_signed_oss_is_shown_and_content_type_explained(site: Site) -> None:
    comparison = compare(site.put(site.sign(), content_type="text/plain").text, None)
    assert differences(comparison) == {}
    assert comparison is not None
    assert ("content-type", "text/plain", "?") in comparison.items
    assert "--signed" in comparison.fixes[-1]


def test_a_forms_policy_is_compared(site: Site) -> None:
    form = site.client.sign("a.png", content_type="image/png", size=5).json
    changed = {**form["fields"], "policy": base64.b64encode(b"{}").decode()}
    request = webob.Request.blank(form["url"], method="POST")
    request.content_type, request.body = multipart(changed, "a.png", b"hello", "image/png")
    found = differences(compare(request.get_response(site.oss).text, json.dumps(form)))
    assert found == {"policy of the form": (changed["policy"], form["fields"]["policy"])}


def test_what_was_signed_may_be_in_a_file(site: Site, tmp_path: Path) -> None:
    signed = site.sign()
    file = tmp_path / "signature.json"
    file.write_text(json.dumps(signed))
    assert differences(compare(site.put(signed, content_type="a/b").text, str(file))) == {
        "content-type": ("a/b", "image/png")
    }


def test_token_and_receipt_are_not_shown() -> None:
    site = Site({"session_token": "CAIS+the+whole+token"})
    signed = site.sign()
    answer = site.put(signed, content_type="a/b").text
    comparison = compare(answer, None)
    assert comparison is not None
    shown = "\n".join([*comparison.lines(), json.dumps(comparison.members())])
    assert "parameter x-oss-security-token: ... (20 characters)" in shown
    assert "CAIS" not in shown
    assert signed["headers"]["x-oss-meta-oss-wsgi"][:20] not in shown
    site.close()


@pytest.mark.parametrize(
    ("signed", "said"),
    [
        ("no-such-file", "--signed: no-such-file cannot be read: No such file"),
        ("{", "must be a signed URL, or the JSON"),
        ("{}", "has no signed URL and no policy"),
    ],
)
def test_what_cannot_be_compared_is_said(site: Site, signed: str, said: str) -> None:
    answer = site.put(site.sign(), content_type="a/b").text
    with pytest.raises(MisuseError, match=said):
        compare(answer, signed)


@pytest.mark.parametrize(
    "answer",
    [
        "<Code>AccessDenied</Code>",
        "<StringToSign>OSS4-HMAC-SHA256\n20261126T000000Z\na\nb</StringToSign>",
        "<StringToSign>OSS4-HMAC-SHA256</StringToSign><CanonicalRequest>PUT\n/a</CanonicalRequest>",
        "<StringToSign>PUT\n</StringToSign>",
        "SignatureDoesNotMatch",
    ],
)
def test_an_answer_that_shows_nothing_is_not_compared(answer: str) -> None:
    assert compare(answer, None) is None
