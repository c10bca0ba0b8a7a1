"""The fields that the official samples' clients send, with our signatures and the local OSS."""

from __future__ import annotations

from typing import Any

import pytest
import webtest

from oss_wsgi import Upload
from oss_wsgi.testing import multipart

from ..recovery.site import legacy
from ..support.callbacks import without_signed_id
from ..support.linted_client import LintedClient

TOKEN = "CAISexample+Token=="


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


@pytest.mark.parametrize(
    ("version", "sample"),
    [("v1", sample_v1), ("v1", random_name_v1), ("v1", antd_v1), ("v1", element_v1), ("v4", sample_v4)],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_the_samples_clients_upload_unchanged(version: str, sample: Any) -> None:
    uploads: list[Upload] = []
    with LintedClient(
        legacy, {"signature_version": version, "session_token": TOKEN}, on_upload=uploads.append
    ) as client:
        answer = client.sign().json
        fields = sample(answer, "图片 1.png")
        if version == "v1":
            fields["x-oss-security-token"] = TOKEN
        content_type, body = multipart(fields, "图片 1.png", b"\x89PNG", "image/png")
        oss = webtest.TestApp(client.local_oss)
        stored = oss.post("/examplebucket", body, headers={"Content-Type": content_type})
        assert without_signed_id(stored.json) == {"Status": "Ok"}
        assert (uploads[0].object or "").startswith("user-dir-prefix/")


def test_all_files_that_are_sent_with_one_form_are_reported() -> None:
    uploads: list[Upload] = []
    with LintedClient(legacy, {"signature_version": "v4"}, on_upload=uploads.append) as client:
        answer = client.sign().json
        oss = webtest.TestApp(client.local_oss)
        for number in range(5):
            name = f"{number}.png"
            content_type, body = multipart(sample_v4(answer, name), name, b"\x89PNG", "image/png")
            stored = oss.post("/examplebucket", body, headers={"Content-Type": content_type})
            assert (stored.status_int, without_signed_id(stored.json)) == (200, {"Status": "Ok"})
        names = [(upload.object or "").rpartition("/")[2] for upload in uploads]
        assert names == [f"{number}.png" for number in range(5)]
        assert len({upload.ticket_id for upload in uploads}) == 1
