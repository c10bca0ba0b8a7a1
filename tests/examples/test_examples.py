"""The example of 2005 and the form of one's own run unchanged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import webtest

from oss_wsgi import DirectUpload, Grant
from oss_wsgi.testing import CallbackSigner, callback_body

from ..support.callbacks import post_callback, without_signed_id
from ..support.scripts import load

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], ModuleType]:
    """Return a function that loads an example, whose reports its ``signer`` signs."""
    signer = CallbackSigner()
    (tmp_path / "key.pem").write_text(signer.pem)
    for name, value in {
        "OSS_BUCKET": "examplebucket",
        "OSS_REGION": "cn-hangzhou",
        "OSS_ACCESS_KEY_ID": "id",
        "OSS_ACCESS_KEY_SECRET": "secret",
        "OSS_CALLBACK_URL": "https://app.example.com/oss/callback",
        "OSS_TICKET_SECRET": "t" * 32,
        "OSS_TRUSTED_KEYS": f"{signer.url}={tmp_path / 'key.pem'}",
    }.items():
        monkeypatch.setenv(name, value)

    def loaded(name: str) -> ModuleType:
        module = load(EXAMPLES / name)
        module.signer = signer
        return module

    return loaded


@pytest.fixture
def legacy(example: Callable[[str], ModuleType]) -> ModuleType:
    return example("legacy_app.py")


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


def test_the_form_saves_only_a_photo_that_was_uploaded(example: Callable[[str], ModuleType]) -> None:
    form = example("own-pages/form.py")
    client = webtest.TestApp(form.application)
    signed = client.get("/oss/signature?filename=me.png&content_type=image/png").json
    body = callback_body(signed, size=6, mime_type="image/png")
    signed_id = post_callback(client, body, form.signer).json["signed_id"]
    key = signed["fields"]["key"]
    answer = client.post("/", {"name": "<Eric>", "photo": signed_id})
    assert f"Saved &lt;Eric&gt; with {key}, 6 bytes." in answer.text
    ticket = body.decode().partition("ticket=")[2].partition("&")[0]
    for forged in ("members/eric/never-uploaded.png", "members/eric/../../etc", key, signed_id[:-4], ticket, ""):
        assert client.post("/", {"name": "Eric", "photo": forged}, status=400).text == "Choose a photo."
    client.post("/", {}, status=400)


def test_the_form_refuses_the_photo_of_somebody_else(example: Callable[[str], ModuleType]) -> None:
    form = example("own-pages/form.py")
    grants = DirectUpload(form.members, form.application.settings, authorize=lambda request: Grant(user="anna"))
    anna = webtest.TestApp(grants)
    body = callback_body(anna.get("/oss/signature?filename=me.png").json, size=6)
    signed_id = post_callback(anna, body, form.signer).json["signed_id"]
    anna.post("/", {"name": "Anna", "photo": signed_id}, status=400)
