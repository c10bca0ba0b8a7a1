"""The type of a stored object, for all combinations of form and browser: the table of docs/content-types.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import webtest

from oss_wsgi import Grant
from oss_wsgi.testing import UploadClient, multipart
from oss_wsgi.testing.local_oss import InProcessOSS

PAGE = Path(__file__).parents[2] / "docs" / "content-types.md"
ALLOWED, OTHER, LISTED = "image/png", "text/html", "image/gif"
NAMES = {ALLOWED: "`image/png`", OTHER: "`text/html`", "": "none"}

FORMS = {
    "exact name, type asked for": {"filename": "a.png", "content_type": ALLOWED},
    "exact name, no type asked for": {"filename": "a.png"},
    "prefix, type asked for": {"content_type": ALLOWED},
    "prefix, no type asked for": {},
}
#: What a browser may do with the fields of a form.
FIELDS = {
    "as issued": lambda fields: fields,
    "no `Content-Type` field": lambda fields: {
        name: value for name, value in fields.items() if name.lower() != "content-type"
    },
    "no type fields": lambda fields: {
        name: value for name, value in fields.items() if name.lower() not in ("content-type", "x-oss-content-type")
    },
    "adds `x-oss-content-type: image/png`": lambda fields: {**fields, "x-oss-content-type": ALLOWED},
    "adds `x-oss-content-type: text/html`": lambda fields: {**fields, "x-oss-content-type": OTHER},
}
PARTS = [ALLOWED, OTHER, ""]


def outcome(form: str, fields: str, part: str, *, types: tuple[str, ...]) -> str:
    """Upload once, and return the table's words: refused by OSS, or the stored type and who accepted it."""
    with InProcessOSS() as oss:
        client = UploadClient(
            lambda environ, start_response: [], oss=oss, authorize=lambda request: Grant(content_types=types)
        )
        signed = client.sign(**FORMS[form]).json
        sent = FIELDS[fields]({**signed["fields"]})
        if sent["key"].endswith("${filename}"):
            sent["key"] = sent["key"].replace("${filename}", "a.png")
        content_type, body = multipart(sent, "a.png", b"x", part or "text/plain")
        if not part:
            body = body.replace(b"Content-Type: text/plain\r\n", b"")
        answer = webtest.TestApp(oss).post(
            "/examplebucket", body, headers={"Content-Type": content_type}, expect_errors=True
        )
        stored = oss.storage.bucket(oss.bucket).get(sent["key"])
        if stored is None:
            assert answer.status_int == 403
            return "OSS refuses it"
        assert (answer.status_int == 200) == bool(client.uploads)
        told = "reported" if client.uploads else "report refused"
        return f"`{stored.content_type}`, {told}"


def rows() -> list[tuple[str, str, str, str, str]]:
    """Return the rows of the page: form, fields, part, and the outcome with a list of types and without."""
    pattern = re.compile(r"^\| (.+?) \| (.+?) \| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)
    return [row for row in pattern.findall(PAGE.read_text("utf-8")) if row[0] in FORMS]


COMBINATIONS = [(form, fields, part) for form in FORMS for fields in FIELDS for part in PARTS]


@pytest.mark.parametrize("form", FORMS)
def test_the_table_says_what_happens(form: str) -> None:
    for fields, part in ((fields, part) for fields in FIELDS for part in PARTS):
        (row,) = [row for row in rows() if row[:3] == (form, fields, NAMES[part])]
        outcomes = [outcome(form, fields, part, types=types) for types in ((ALLOWED, LISTED), ())]
        assert list(row[3:]) == outcomes, row


def test_the_table_has_each_combination_once() -> None:
    assert [row[:3] for row in rows()] == [(form, fields, NAMES[part]) for form, fields, part in COMBINATIONS]
