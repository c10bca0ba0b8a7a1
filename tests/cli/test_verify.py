"""`oss-wsgi verify`: captures of OSS, changes on the way, tickets, and no secret in the output."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest

from oss_wsgi.callback.ticket import TicketBook
from oss_wsgi.testing import CallbackSigner

from .command import oss_wsgi

pytestmark = pytest.mark.slow

OSS_URL = "aHR0cDovL2dvc3NwdWJsaWMuYWxpY2RuLmNvbS9jYWxsYmFja19wdWJfa2V5X3YxLnBlbQ=="
CAPTURE = {  # protocol.md 8.5, captures ii and iii, published by OSS and by a project
    "ii": {
        "target": "/index.php?id=1&index=2",
        "headers": {
            "authorization": "kKQeGTRccDKyHB3H9vF+xYMSrmhMZjzzl2/kdD1ktNVgbWEfYTQG0G2SU/RaHBovRCE8OkQDjC3uG33esH2txA==",
            "x-oss-pub-key-url": OSS_URL,
        },
        "body": "bucket=yonghu-test",
    },
    "iii": {
        "target": "/api/AliYunOssCallback",
        "headers": {
            "Authorization": "HHtQ8zgAo4WUCg7Iy/njrsluS+ZDmgMwIHag+vmRvIC4Ph5rxNQ3+WOfJZvzwIKQsNftEDC0PCU03hpjId3vIQ==",
            "X-Oss-Pub-Key-Url": OSS_URL,
            "Content-MD5": "G5H/anNzgdvMS2AsvXpi6A==",
        },
        "body": "filename=headSculpture%2Fjikang2.jpg&size=108904&mimeType=image%2Fjpeg&height=278&width=200",
    },
}
SECRET = "verify-test-secret-of-many-letters"


def changed(name: str, **members: Any) -> str:
    return json.dumps({**CAPTURE[name], **members})


def verified(text: str | bytes, status: int = 0, **environ: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(oss_wsgi("verify", "--json", stdin=text, status=status, **environ).stdout)
    assert report["verified"] == (status == 0)
    return report


@pytest.mark.parametrize("name", CAPTURE)
def test_captures_of_production_verify_without_settings(name: str) -> None:
    report = verified(changed(name))
    assert report["computed"]["key"] == {
        "url": "http://gosspublic.alicdn.com/callback_pub_key_v1.pem",
        "bits": 512,
        "sha256": report["computed"]["key"]["sha256"],
    }
    assert report["ticket"] is None


def test_the_report_for_a_person(tmp_path: Path) -> None:
    file = tmp_path / "callback.json"
    file.write_text(changed("iii"))
    output = oss_wsgi("verify", str(file)).stdout
    assert output.startswith("verified\n")
    assert "91 bytes" in output
    assert "Content-MD5 agrees" in output
    assert "OSS_TICKET_SECRET is not set" in output


def raw(name: str, end: str = "\r\n", **headers: str) -> bytes:
    capture = CAPTURE[name]
    lines = [f"POST {capture['target']} HTTP/1.1", f"Content-Length: {len(str(capture['body']))}"]
    lines += [f"{name}: {value}" for name, value in {**capture["headers"], **headers}.items()]  # type: ignore[dict-item]
    return (end.join([*lines, "", ""]) + str(capture["body"])).encode()


@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_a_raw_request_verifies_despite_a_final_line_end(end: str) -> None:
    report = verified(raw("ii", end) + b"\n")
    assert report["computed"]["body"] == verified(changed("ii"))["computed"]["body"]


def test_a_base64_body_must_be_complete() -> None:
    whole = base64.b64encode(str(CAPTURE["ii"]["body"]).encode()).decode()
    members = {name: value for name, value in CAPTURE["ii"].items() if name != "body"}
    verified(json.dumps({**members, "body_base64": whole}))
    for text in (f"{whole}!", f"*{whole}", whole[:-1]):
        oss_wsgi("verify", stdin=json.dumps({**members, "body_base64": text}), status=2)


@pytest.mark.parametrize(
    ("text", "reason", "hint"),
    [
        pytest.param(changed("ii", body="bucket=yonghu-tesT"), "signature_wrong", "was changed", id="a changed body"),
        pytest.param(
            changed("ii", target="/up/index.php?id=1&index=2"),
            "signature_wrong",
            "if the path lacked /up, /index.php?id=1&index=2",
            id="a prefix that a proxy added",
        ),
        pytest.param(
            changed("ii", headers={"authorization": "A" * 86 + "==", "x-oss-pub-key-url": OSS_URL}),
            "signature_wrong",
            "not a signature of this key",
            id="no signature",
        ),
        pytest.param(changed("ii", headers={"x-oss-pub-key-url": OSS_URL}), "authorization_missing", "", id="hidden"),
        pytest.param(
            raw("ii", Authorization="twice"), "authorization_malformed", "sent twice", id="a header that came twice"
        ),
        pytest.param(
            changed(
                "ii",
                headers={
                    **CAPTURE["ii"]["headers"],  # type: ignore[dict-item]
                    "x-oss-pub-key-url": base64.b64encode(b"https://evil.example/key.pem").decode(),
                },
            ),
            "pub_key_url_untrusted",
            "not trusted",
            id="a key of a stranger",
        ),
        pytest.param(raw("ii").replace(b"POST", b"GET"), "method_not_allowed", "GET", id="no POST"),
        pytest.param(raw("ii")[:-1], "body_truncated", "shorter", id="a body that was cut"),
        pytest.param(raw("ii").replace(b"Content-Length", b"X-Length"), "length_required", "", id="no length"),
    ],
)
def test_a_failure_has_a_reason_and_a_hint(text: str | bytes, reason: str, hint: str) -> None:
    report = verified(text, status=1)
    assert report["reason"] == reason
    assert hint in report["hint"]


def test_the_target_of_a_configured_url_counts_too() -> None:
    text = changed("iii", target="/stripped")
    verified(text, status=1)
    report = verified(text, OSS_CALLBACK_URL="https://app.example.com/api/AliYunOssCallback")
    computed = report["computed"]
    assert computed["other_targets"] == ["/api/AliYunOssCallback"]
    assert computed["fitting_target"] == "/api/AliYunOssCallback"
    assert computed["string_to_sign"] == verified(changed("iii"))["computed"]["string_to_sign"], "of what fits"
    output = oss_wsgi("verify", stdin=text, OSS_CALLBACK_URL="https://app.example.com/api/AliYunOssCallback").stdout
    assert "or      /api/AliYunOssCallback, of OSS_CALLBACK_URL, which fits" in output


def test_a_target_in_absolute_form_loses_its_authority() -> None:
    report = verified(changed("ii", target="http://app.example.com/index.php?id=1&index=2"))
    assert report["computed"]["target"] == report["computed"]["fitting_target"] == "/index.php?id=1&index=2"
    verified(raw("ii").replace(b"POST /", b"POST http://app.example.com/"))


def capture_with_ticket(
    tmp_path: Path, received: float | None = None, bucket: str = "examplebucket"
) -> tuple[str, dict[str, str]]:
    """Return a capture with a ticket that expires in a minute, and the environment that trusts its key."""
    now = received or time.time()
    signer = CallbackSigner()
    (tmp_path / "key.pem").write_text(signer.pem)
    allowed: dict[str, Any] = {"bucket": "examplebucket", "key": "a.txt", "prefix": "", "sizes": (0, 9)}
    book = TicketBook([SECRET], clock=lambda: now)
    ticket = book.issue(**allowed, content_types=[], expires=int(now) + 60, user="eric")
    body = f"bucket={bucket}&object=a.txt&size=5&ticket={ticket}"
    capture = {"target": "/oss/callback", "headers": signer.headers("/oss/callback", body.encode()), "body": body}
    if received:
        capture["received"] = received
    return json.dumps(capture), {"OSS_TRUSTED_KEYS": f"{signer.url}={tmp_path / 'key.pem'}"}


def test_a_ticket_is_checked_at_the_time_of_the_callback(tmp_path: Path) -> None:
    text, environ = capture_with_ticket(tmp_path, received=1733227932.0)
    report = verified(text, **environ, OSS_TICKET_SECRET=SECRET)
    assert report["ticket"]["user"] == "eric"
    assert report["upload"]["object"] == "a.txt"
    undated = json.dumps({name: value for name, value in json.loads(text).items() if name != "received"})
    assert verified(undated, status=1, **environ, OSS_TICKET_SECRET=SECRET)["reason"] == "ticket_expired"


def test_another_secret_or_bucket_is_a_finding(tmp_path: Path) -> None:
    text, environ = capture_with_ticket(tmp_path)
    assert verified(text, status=1, **environ, OSS_TICKET_SECRET="x" * 32)["reason"] == "ticket_foreign"
    text, environ = capture_with_ticket(tmp_path, bucket="another-bucket")
    settings = {"OSS_BUCKET": "examplebucket", "OSS_REGION": "cn-hangzhou"}
    assert verified(text, status=1, **environ, **settings)["reason"] == "bucket_foreign"


def test_no_secret_ticket_or_signature_is_printed(tmp_path: Path) -> None:
    text, environ = capture_with_ticket(tmp_path)
    capture = json.loads(text)
    hidden = [SECRET, capture["body"].rpartition("=")[2], capture["headers"]["Authorization"]]
    for arguments in ([], ["--json"]):
        ended = oss_wsgi("verify", *arguments, stdin=text, **environ, OSS_TICKET_SECRET=SECRET)
        assert [one for one in hidden if one in ended.stdout + ended.stderr] == []


@pytest.mark.parametrize("text", ["", "{}", "hello"])
def test_input_that_is_not_a_callback_is_misuse(text: str) -> None:
    assert "is not a captured callback" in oss_wsgi("verify", stdin=text, status=2).stderr


def test_a_missing_file_is_misuse() -> None:
    assert "No such file" in oss_wsgi("verify", "missing.json", status=2).stderr
