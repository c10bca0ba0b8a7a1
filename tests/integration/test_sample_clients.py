"""The fields that the official samples' clients send, with our signatures and the local OSS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import webtest

from oss_wsgi import Grant, Upload
from oss_wsgi.testing import multipart

from ..support.linted_client import LintedClient


def legacy(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("404 Not Found", [("Content-Type", "text/plain")])
    return [b"legacy"]


def sample_v1(answer: dict[str, Any], name: str) -> dict[str, str]:
    """Return the fields of the sample's upload.js with plupload: `name` first, `signature` in lower case."""
    return {
        "name": name,
        "key": answer["dir"] + "${filename}",
        "policy": answer["policy"],
        "OSSAccessKeyId": answer["accessid"],
        "success_action_status": "200",
        "callback": answer["callback"],
        "signature": answer["signature"],
    }


def random_name_v1(answer: dict[str, Any], name: str) -> dict[str, str]:
    """Return the fields of the same page with random names."""
    return {**sample_v1(answer, name), "key": answer["dir"] + "aB3xYz9QwE.png"}


def antd_v1(answer: dict[str, Any], name: str) -> dict[str, str]:
    """Return the fields of Ant Design's demo with a callback: `Signature` in upper case, no success_action_status."""
    return {
        "key": answer["dir"] + name,
        "policy": answer["policy"],
        "OSSAccessKeyId": answer["accessid"],
        "Signature": answer["signature"],
        "callback": answer["callback"],
    }


def element_v1(answer: dict[str, Any], name: str) -> dict[str, str]:
    """Return the fields of a popular use of Element: odd spelling, extra fields."""
    return {
        "key": answer["dir"] + "/${filename}",
        "policy": answer["policy"],
        "ossaccessKeyId": answer["accessid"],
        "callback": answer["callback"],
        "signature": answer["signature"],
        "dir": answer["dir"],
        "host": answer["host"],
    }


def sample_v4(answer: dict[str, Any], name: str) -> dict[str, str]:
    """Return the fields of the current sample: a hard-coded version, and a token even if it is empty."""
    return {
        "success_action_status": "200",
        "policy": answer["policy"],
        "x-oss-signature": answer["signature"],
        "x-oss-signature-version": "OSS4-HMAC-SHA256",
        "x-oss-credential": answer["x_oss_credential"],
        "x-oss-date": answer["x_oss_date"],
        "key": answer["dir"] + name,
        "x-oss-security-token": answer["security_token"],
        "callback": answer["callback"],
    }


@pytest.mark.parametrize("token", [None, "CAISexample+Token=="], ids=["permanent key", "temporary key"])
@pytest.mark.parametrize(
    ("version", "sample"),
    [("v1", sample_v1), ("v1", random_name_v1), ("v1", antd_v1), ("v1", element_v1), ("v4", sample_v4)],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_the_samples_clients_upload_unchanged(version: str, sample: Any, token: str | None) -> None:
    uploads: list[Upload] = []
    values = {"signature_version": version, "session_token": token}
    with LintedClient(legacy, values, on_upload=uploads.append) as client:
        answer = client.sign().json
        fields = sample(answer, "图片 1.png")
        if token and version == "v1":
            fields["x-oss-security-token"] = token
        content_type, body = multipart(fields, "图片 1.png", b"\x89PNG", "image/png")
        oss = webtest.TestApp(client.local_oss)
        stored = oss.post("/examplebucket", body, headers={"Content-Type": content_type})
        assert stored.json == {"Status": "Ok"}
        assert (uploads[0].object or "").startswith("user-dir-prefix/")


def test_a_form_of_the_other_version_is_refused() -> None:
    with LintedClient(legacy, {"signature_version": "v4"}) as client:
        fields = sample_v1(client.sign().json, "a.png")
        content_type, body = multipart(fields, "a.png", b"x")
        oss = webtest.TestApp(client.local_oss)
        assert oss.post("/examplebucket", body, headers={"Content-Type": content_type}, status=403)


@pytest.mark.parametrize(
    ("version", "sample"),
    [("v1", sample_v1), ("v1", antd_v1), ("v1", element_v1), ("v4", sample_v4)],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
@pytest.mark.parametrize("ledger", ["memory", "file"])
def test_all_files_that_are_sent_with_one_form_are_reported(
    version: str, sample: Any, ledger: str, tmp_path: Path
) -> None:
    uploads: list[Upload] = []
    values: dict[str, Any] = {"signature_version": version}
    if ledger == "file":
        values["ledger"] = str(tmp_path / "ledger.sqlite3")
    with LintedClient(legacy, values, on_upload=uploads.append) as client:
        answer = client.sign().json
        oss = webtest.TestApp(client.local_oss)
        for number in range(5):
            name = f"{number}.png"
            content_type, body = multipart(sample(answer, name), name, b"\x89PNG", "image/png")
            stored = oss.post("/examplebucket", body, headers={"Content-Type": content_type})
            assert (stored.status_int, stored.json) == (200, {"Status": "Ok"})
        names = [(upload.object or "").rpartition("/")[2] for upload in uploads]
        assert names == [f"{number}.png" for number in range(5)]
        assert len({upload.ticket_id for upload in uploads}) == 1


@pytest.mark.parametrize("max_objects", [1, 3])
def test_past_max_objects_a_report_is_refused_and_the_log_says_why(
    max_objects: int, caplog: pytest.LogCaptureFixture
) -> None:
    uploads: list[Upload] = []
    authorize = lambda request: Grant(max_objects=max_objects)  # noqa: E731
    with LintedClient(legacy, {}, authorize=authorize, on_upload=uploads.append) as client:
        answer = client.sign().json
        oss = webtest.TestApp(client.local_oss)
        statuses = []
        for number in range(5):
            name = f"{number}.png"
            fields = {**answer["fields"], "key": f"{answer['dir']}{name}"}
            content_type, body = multipart(fields, name, b"\x89PNG", "image/png")
            response = oss.post("/examplebucket", body, headers={"Content-Type": content_type})
            statuses.append(response.status_int)
        assert statuses == [200] * max_objects + [203] * (5 - max_objects)
        assert "Error status : 409" in response.text
    assert len(uploads) == max_objects
    assert "ticket_used" in caplog.text
    assert max_objects == 1 or f"{max_objects} objects" in caplog.text
