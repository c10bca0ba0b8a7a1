"""The warnings of DirectUpload when it is made and would not get OSS's reports."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from oss_wsgi import DirectUpload, Settings

from .test_application import VALUES, legacy


def warnings(caplog: pytest.LogCaptureFixture, callback_url: str | None, **options: Any) -> list[str]:
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        DirectUpload(legacy, Settings(**{**VALUES, "callback_url": callback_url}), **options)
    return [record.getMessage() for record in caplog.records if "OSS_CALLBACK_URL" in record.getMessage()]


@pytest.mark.parametrize("options", [{"on_upload": print}, {"forward_callback": True}])
def test_a_handler_without_a_callback_url_is_told_the_line_to_set(
    caplog: pytest.LogCaptureFixture, options: dict[str, Any]
) -> None:
    (text,) = warnings(caplog, None, prefix="/my up", **options)
    assert "OSS_CALLBACK_URL is not set" in text
    assert text.endswith("OSS_CALLBACK_URL=https://YOUR-HOST/my%20up/callback")


@pytest.mark.parametrize("options", [{}, {"forward_callback": True}])
def test_forms_without_a_callback_url_are_told_the_line_to_set(
    caplog: pytest.LogCaptureFixture, options: dict[str, Any]
) -> None:
    *_, text = warnings(caplog, None, forms=True, bucket_client=object(), **options)
    assert "no upload gets a signed ID" in text
    assert text.endswith("OSS_CALLBACK_URL=https://YOUR-HOST/oss/callback")


def test_without_a_prefix_the_line_to_set_names_the_mount(caplog: pytest.LogCaptureFixture) -> None:
    (text,) = warnings(caplog, None, prefix="", on_upload=print)
    assert text.endswith("OSS_CALLBACK_URL=https://YOUR-HOST/PATH-OF-THE-MOUNT/callback")


def test_without_a_handler_no_callback_url_is_needed(caplog: pytest.LogCaptureFixture) -> None:
    assert warnings(caplog, None) == []


@pytest.mark.parametrize(
    ("prefix", "url"),
    [
        ("/oss", "https://app.example.com/oss/callback"),
        ("/oss", "https://app.example.com/oss/callback?tenant=1"),
        ("/oss", "https://a.example.com/oss/callback;https://b.example.com/oss/callback"),
        ("", "https://app.example.com/files/oss/callback"),
        ("/上传", "https://app.example.com/%E4%B8%8A%E4%BC%A0/callback"),
        ("/my up", "https://app.example.com"),
    ],
)
def test_a_url_of_the_own_path_is_not_warned_of(caplog: pytest.LogCaptureFixture, prefix: str, url: str) -> None:
    assert warnings(caplog, url, prefix=prefix, on_upload=print) == []


@pytest.mark.parametrize(
    ("url", "fix"),
    [
        ("https://app.example.com/hooks", "OSS_CALLBACK_URL=https://app.example.com/oss/callback"),
        ("https://app.example.com/oss/callback/", "OSS_CALLBACK_URL=https://app.example.com/oss/callback"),
        ("https://app.example.com/", "OSS_CALLBACK_URL=https://app.example.com/oss/callback"),
        (
            "http://h:81/uploads/callback?x=1",
            "OSS_CALLBACK_URL=http://h:81/oss/callback, or DirectUpload(..., prefix='/uploads')",
        ),
    ],
)
def test_a_url_of_another_path_names_both_and_the_fix(caplog: pytest.LogCaptureFixture, url: str, fix: str) -> None:
    (text,) = warnings(caplog, url, on_upload=print)
    assert f"OSS_CALLBACK_URL is {url}, but DirectUpload receives reports at /oss/callback" in text
    assert "unless a server in front turns" in text
    assert text.endswith(f"set {fix}")


def test_each_url_that_leads_elsewhere_is_named(caplog: pytest.LogCaptureFixture) -> None:
    (text,) = warnings(caplog, "https://a.example.com/oss/callback;https://b.example.com/x", on_upload=print)
    assert "https://b.example.com/x" in text
    assert "a.example.com" not in text


@pytest.mark.parametrize(("version", "number"), [("v1", 1), ("v4", 0)])
def test_signature_version_v1_is_warned_of(caplog: pytest.LogCaptureFixture, version: str, number: int) -> None:
    with caplog.at_level(logging.WARNING):
        DirectUpload(legacy, Settings(**{**VALUES, "signature_version": version}))
    texts = [text for text in caplog.messages if "OSS_SIGNATURE_VERSION is v1" in text]
    assert len(texts) == number
    assert all("2025-03-01" in text and text.endswith("; set OSS_SIGNATURE_VERSION=v4") for text in texts)
