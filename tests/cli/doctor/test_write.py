"""The check of `doctor` that uploads a test object: the application's own handler is measured, the object deleted."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from local_oss.errors import insufficient_storage
from oss_wsgi import SQLiteLedger, Upload
from oss_wsgi.cli.doctor.context import CheckContext
from oss_wsgi.cli.doctor.write import check_write
from oss_wsgi.cli.terminal import MisuseError
from oss_wsgi.testing import UploadClient

from ...support.deployment import Deployment, deployed, not_found
from ...support.running_server import REAL_BUCKET
from ...support.server_threads import serving_application
from .runs import finding_of, run_doctor

pytestmark = pytest.mark.slow


def test_an_object_is_stored_reported_and_deleted(deployment: Deployment) -> None:
    stored, deleted = run_doctor(deployment.environ, "--only", "write")
    assert "was stored, and the application answered 200 with JSON" in stored["said"]
    assert deleted["said"].endswith("was deleted")
    assert deployment.oss.storage.bucket(deployment.oss.bucket).page() == ([], False)
    findings = run_doctor(deployment.environ, "--write")
    assert "write" in {finding["check"] for finding in findings}
    assert {finding["colour"] for finding in findings} == {"green"}


@pytest.mark.parametrize("forward", [False, True])
@pytest.mark.parametrize("calls", [False, True])
def test_only_with_handler_does_the_handler_get_it_and_it_knows_that_it_is_a_trial(
    calls: bool, forward: bool, tmp_path: Path
) -> None:
    handled: list[Upload] = []
    confirmed: list[Upload] = []

    def confirm(upload: Upload) -> bool:
        confirmed.append(upload)
        return True

    def save(upload: Upload) -> None:
        handled.append(upload)

    def view(environ: Any, start_response: Any) -> list[bytes]:
        handled.append(environ["oss_wsgi.upload"])
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", "2")])
        return [b"{}"]

    app: dict[str, Any] = {"confirm": confirm, **({"forward_callback": True} if forward else {"on_upload": save})}
    more = ["--handler", "--data", '{"name": "x"}'] if calls else []
    with deployed(tmp_path, app=app, view=view) as deployment:
        stored, _ = run_doctor(deployment.environ, "--only", "write", "--user", "7", *more)
        ledger = SQLiteLedger(deployment.environ["OSS_LEDGER"], clock=time.time)
    (upload,) = confirmed
    assert (upload.user, upload.data, upload.is_trial) == ("7", {"name": "x"} if calls else {}, True)
    assert len(ledger) == 1, "the ledger works as for any upload"
    assert ("its own handler was not called" in stored["said"]) is not calls
    assert [(found.user, found.data, found.is_trial) for found in handled] == [("7", {"name": "x"}, True)] * calls


def test_what_a_browser_sends_makes_no_trial() -> None:
    uploads: list[Upload] = []
    with UploadClient(not_found, on_upload=uploads.append) as client:
        form = client.sign("a.png", is_trial="true", trial="no_handler", skips_handler="1").json["fields"]
        assert not any("trial" in name for name in form)
        fields = {"trial": "no_handler", "x:trial": "no_handler", "x:is_trial": "true"}
        assert client.upload("a.png", b"x", change=lambda form: form.update(fields)).status_int == 200
    (upload,) = uploads
    assert (upload.is_trial, upload.skips_handler) == (False, False)


def raising(upload: Any) -> None:
    raise RuntimeError("no")


def saving_by_number(upload: Any) -> dict[str, Any]:
    return {"number": int(upload.user)}


def test_the_test_upload_is_of_a_user_whom_the_handler_knows(tmp_path: Path) -> None:
    with deployed(tmp_path, app={"on_upload": saving_by_number}) as deployment:
        red, _ = run_doctor(deployment.environ, "--only", "write", "--handler", status=1)
        assert "an upload of the user 'oss-wsgi-doctor' with the data {}" in red["fix"]
        assert "--handler --user NAME --data JSON" in red["fix"]
        green, _ = run_doctor(deployment.environ, "--write", "--only", "write", "--handler", "--user", "7")
    assert green["colour"] == "green"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "clock", "--user", "7"], "--user .* add --write"),
        (["--only", "clock", "--handler"], "--handler .* add --write"),
        (["--write", "--data", "{}"], "add --handler"),
        (["--write", "--handler", "--data", "{"], "must be JSON"),
        (["--write", "--handler", "--data", "[1]"], "data must be a dict"),
        (["--write", "--handler", "--data", f'{{"a": "{"x" * 1024}"}}'], "over the 1024 that fit"),
    ],
)
def test_what_no_test_upload_needs_is_a_misuse(arguments: list[str], message: str) -> None:
    with pytest.raises(MisuseError, match=message):
        run_doctor({}, *arguments)


def page(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/html"), ("Content-Length", "9")])
    return [b"<h1></h1>"]


@pytest.mark.parametrize(
    ("app", "fix"),
    [
        pytest.param({"on_upload": raising}, "one of them answered 500", id="raises"),
        pytest.param({"forward_callback": True}, "the view, answer JSON", id="answers a page"),
    ],
)
def test_a_failing_handler_is_red_in_write_only(app: dict[str, Any], fix: str, tmp_path: Path) -> None:
    with deployed(tmp_path, app=app, view=page) as deployment:
        assert "not your own handler" in finding_of("answer", deployment.environ, "yellow")["said"]
        findings = run_doctor(deployment.environ, "--only", "write", "--handler", status=1)
        (finding,) = (f for f in findings if f["colour"] == "red")
    assert "was stored, but the callback failed" in finding["said"]
    assert fix in finding["fix"]
    assert "`oss-wsgi explain " in finding["fix"]


def test_a_handler_that_answers_too_late_is_red_in_write(tmp_path: Path) -> None:
    reported = threading.Event()
    app = {"on_upload": lambda upload: reported.wait(60) and None}
    with deployed(tmp_path, oss={"callback_timeout": 0.5}, app=app) as deployment:
        try:
            finding = finding_of("write", deployment.environ, more=["--handler"])
        finally:
            reported.set()
    assert "takes longer than 5 s" in finding["fix"]


def test_an_upload_whose_callback_fails_is_red_and_deleted(deployment: Deployment) -> None:
    deployment.oss.fail_next("callback_status", status=404)
    findings = run_doctor(deployment.environ, "--only", "write", status=1)
    assert "was stored, but the callback failed" in findings[0]["said"]
    assert findings[1]["said"].endswith("was deleted")


@pytest.mark.parametrize(
    ("status", "document", "message", "fix"),
    [
        pytest.param(200, b"", "was stored", "", id="stored"),
        pytest.param(200, b"<html>", "the answer is not JSON", "Look for a proxy between", id="a page"),
        pytest.param(
            203,
            b"<Message>Response has no content-length</Message>",
            "the callback failed",
            "Answer with a Content-Length",
            id="no length",
        ),
        pytest.param(
            203, b"<Message>unknown</Message>", "the callback failed", "Read the application's log", id="another"
        ),
        pytest.param(403, b"<html>", "the upload was refused: 403", "Check OSS_HOST.", id="refused"),
        pytest.param(
            507,
            insufficient_storage().response("", "").body,
            "the upload was refused: 507",
            "oss-wsgi explain InsufficientStorage",
            id="full disk",
        ),
    ],
)
def test_the_answer_to_the_upload_is_checked(status: int, document: bytes, message: str, fix: str) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        """Answer each form so, and nothing else."""
        environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"] or 0))
        answered = f"{status} Answered" if environ["REQUEST_METHOD"] == "POST" else "501 Not Implemented"
        start_response(answered, [("Content-Length", str(len(document)))])
        return [document]

    with serving_application(application) as url:
        environ = REAL_BUCKET | {"OSS_HOST": url}
        if document:
            environ["OSS_CALLBACK_URL"] = "https://app.example.com/oss/callback"
        findings = list(check_write(CheckContext(environ)))
    assert message in findings[0].message
    assert fix in findings[0].fix
    # The object of a stored upload is deleted, which this server refuses too.
    assert [finding.colour for finding in findings[1:]] == (["yellow"] if status < 300 else [])


# Where pages report.


@pytest.mark.parametrize("more", [[], ["--handler"]])
def test_the_object_is_reported_as_a_page_does(more: list[str], tmp_path: Path) -> None:
    handled: list[Upload] = []
    settings = {"OSS_REPORT_BY": "page", "OSS_CALLBACK_URL": ""}
    with deployed(tmp_path, settings=settings, app={"on_upload": handled.append}) as deployment:
        endpoint = ["--signature-url", deployment.signature]
        findings = run_doctor(deployment.environ, "--write", *endpoint, *more)
        assert {finding["colour"] for finding in findings} == {"green"}
        said = [finding["said"] for finding in findings if finding["check"] == "write"]
        assert "was stored, and the application answered its report with JSON" in said[0]
        assert ("its own handler was not called" in said[0]) is (more == [])
        assert said[1].endswith("was deleted")
    assert [(upload.is_trial, upload.recovered) for upload in handled] == [(True, False)] * len(more)


def test_without_an_endpoint_or_a_secret_the_object_is_not_reported(tmp_path: Path) -> None:
    settings = {"OSS_REPORT_BY": "page", "OSS_CALLBACK_URL": ""}
    with deployed(tmp_path, settings=settings) as deployment:
        assert "no --signature-url says where" in finding_of("write", deployment.environ, "yellow")["said"]
        environ = deployment.environ | {"OSS_TICKET_SECRET": ""}
        assert "nobody can report it" in finding_of("write", environ, "yellow")["said"]


def test_a_refused_report_is_red(tmp_path: Path) -> None:
    settings = {"OSS_REPORT_BY": "page", "OSS_CALLBACK_URL": ""}
    with deployed(tmp_path, settings=settings, app={"on_upload": raising}) as deployment:
        more = ["--handler", "--signature-url", deployment.signature]
        assert "the report failed: 500" in finding_of("write", deployment.environ, "red", more)["said"]
        other = deployment.environ | {"OSS_TICKET_SECRET": "o" * 32}
        more = ["--signature-url", deployment.signature]
        assert "the report failed: 403 forbidden" in finding_of("write", other, "red", more)["said"]
