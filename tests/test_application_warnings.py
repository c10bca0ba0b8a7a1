"""The warnings of DirectUpload when it is made and would not get OSS's reports."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from oss_wsgi import DirectUpload, MemoryLedger, Settings

from .test_application import VALUES, legacy


def warnings(caplog: pytest.LogCaptureFixture, callback_url: str | None, **options: Any) -> list[str]:
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        DirectUpload(legacy, Settings(**{**VALUES, "callback_url": callback_url}), **options)
    return [record.getMessage() for record in caplog.records if "OSS_CALLBACK_URL" in record.getMessage()]


def all_warnings(caplog: pytest.LogCaptureFixture, values: dict[str, Any], **options: Any) -> list[str]:
    caplog.clear()
    settings = Settings(**{**VALUES, "callback_url": None, "ticket_secret": ("s" * 32,), **values})
    with caplog.at_level(logging.WARNING):
        DirectUpload(legacy, settings, ledger=MemoryLedger(clock=lambda: 0.0), **options)
    return [record.getMessage() for record in caplog.records]


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


WITHOUT_CALLBACKS = [
    "cn-nanjing",
    "cn-fuzhou",
    "cn-wuhan-lr",
    "ap-northeast-2",
    "ap-southeast-7",
    "us-east-5",
    "na-south-1",
]


@pytest.mark.parametrize("region", WITHOUT_CALLBACKS)
@pytest.mark.parametrize("url", [None, "https://app.example.com/oss/callback"])
def test_a_region_without_callbacks_is_told_who_can_report(
    caplog: pytest.LogCaptureFixture, region: str, url: str | None
) -> None:
    (text,) = all_warnings(caplog, {"region": region, "callback_url": url}, on_upload=print)
    assert text.startswith(f"OSS sends no callbacks from the region {region} (its list of 2026-")
    assert "https://www.alibabacloud.com/help/en/oss/developer-reference/callback" in text
    assert "what it answers there to a form with a callback is not known" in text
    assert "set OSS_REPORT_BY=page" in text


@pytest.mark.parametrize("region", ["cn-hangzhou", "me-east-1", "cn-hangzhou-finance", "eu-north-9"])
def test_a_region_with_callbacks_or_an_unknown_one_is_not_warned_of(
    caplog: pytest.LogCaptureFixture, region: str
) -> None:
    url = "https://app.example.com/oss/callback"
    assert all_warnings(caplog, {"region": region, "callback_url": url}, on_upload=print) == []


def test_where_pages_report_nothing_is_missing(caplog: pytest.LogCaptureFixture) -> None:
    assert all_warnings(caplog, {"region": "cn-nanjing", "report_by": "page"}, on_upload=print) == []


def test_a_callback_url_beside_the_reports_of_pages_is_ignored_and_said(caplog: pytest.LogCaptureFixture) -> None:
    for url in ("https://app.example.com/oss/callback", "http://["):
        values = {"region": "cn-nanjing", "report_by": "page", "callback_url": url}
        (text,) = all_warnings(caplog, values, on_upload=print)
        assert text.startswith("OSS_CALLBACK_URL is ignored")
        assert "OSS_REPORT_BY=page" in text


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
