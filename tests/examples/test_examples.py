"""The example of 2005 runs unchanged."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import webtest

from oss_wsgi.testing import CallbackSigner, callback_body

from ..support.callbacks import post_callback, without_signed_id
from ..support.scripts import load

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def legacy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    signer = CallbackSigner()
    (tmp_path / "key.pem").write_text(signer.pem)
    for name, value in {
        "OSS_BUCKET": "examplebucket",
        "OSS_REGION": "cn-hangzhou",
        "OSS_ACCESS_KEY_ID": "id",
        "OSS_ACCESS_KEY_SECRET": "secret",
        "OSS_CALLBACK_URL": "https://app.example.com/oss/callback",
        "OSS_TRUSTED_KEYS": f"{signer.url}={tmp_path / 'key.pem'}",
    }.items():
        monkeypatch.setenv(name, value)
    module = load(EXAMPLES / "legacy_app.py")
    module.signer = signer
    return module


def test_the_legacy_application_signs_for_users_and_gets_uploads(legacy: ModuleType) -> None:
    client = webtest.TestApp(legacy.application)
    assert "<h1>Guest book</h1>" in client.get("/").text
    assert client.get("/oss/signature?filename=a.png", expect_errors=True).status_int == 403
    form = client.get("/oss/signature?filename=a.png", extra_environ={"REMOTE_USER": "eric"}).json
    assert form["fields"]["key"].startswith("users/eric/")
    body = callback_body(form, size=6)
    response = post_callback(client, body, legacy.signer)
    assert without_signed_id(response.json) == {"Status": "Ok", "entries": 1}
    assert f"{form['fields']['key']}, 6 bytes" in client.get("/").text


def test_the_legacy_application_needs_under_ten_lines() -> None:
    source = (EXAMPLES / "legacy_app.py").read_text().splitlines()
    start = next(number for number, line in enumerate(source) if line.startswith("def guestbook"))
    end = next(number for number in range(start, len(source)) if not source[number].strip())
    added = [line for line in source[end:] if line.strip()]
    imported = [line for line in source[:start] if "oss_wsgi" in line and line.startswith("from")]
    assert len(added) + len(imported) < 10
