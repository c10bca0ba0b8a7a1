"""The check of `doctor` that uploads a test object: the application's own handler is measured, the object deleted."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from ..deployment import Deployment, deployed
from .runs import finding_of, run_doctor


def test_an_object_is_stored_reported_and_deleted(deployment: Deployment) -> None:
    stored, deleted = run_doctor(deployment.environ, "--only", "write")
    assert "was stored, and the application answered 200 and JSON" in stored["said"]
    assert deleted["said"].endswith("was deleted")
    assert deployment.oss.storage.bucket(deployment.oss.bucket).page() == ([], False)
    findings = run_doctor(deployment.environ, "--write")
    assert "write" in {finding["check"] for finding in findings}
    assert {finding["colour"] for finding in findings} == {"green"}, "the handler was measured"


def raising(upload: Any) -> None:
    raise RuntimeError("no")


def page(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/html"), ("Content-Length", "9")])
    return [b"<h1></h1>"]


@pytest.mark.parametrize(
    ("app", "fix"),
    [
        pytest.param({"on_upload": raising}, "one of them answered 500", id="raises"),
        pytest.param({"forward_callback": True}, "is not JSON", id="answers a page"),
    ],
)
def test_a_failing_handler_is_red_in_write_only(app: dict[str, Any], fix: str, tmp_path: Path) -> None:
    with deployed(tmp_path, app=app, view=page) as deployment:
        assert "not your own handler" in finding_of("answer", deployment.environ, "yellow")["said"]
        (finding,) = (f for f in run_doctor(deployment.environ, "--only", "write", status=1) if f["colour"] == "red")
    assert "was stored, but the callback failed" in finding["said"]
    assert fix in finding["cure"]
    assert "`oss-wsgi explain " in finding["cure"]


def test_a_handler_that_answers_too_late_is_red_in_write(tmp_path: Path) -> None:
    reported = threading.Event()
    app = {"on_upload": lambda upload: reported.wait(60) and None}
    with deployed(tmp_path, oss={"callback_timeout": 0.5}, app=app) as deployment:
        try:
            finding = finding_of("write", deployment.environ)
        finally:
            reported.set()
    assert "takes longer than 5 s" in finding["cure"]


def test_an_upload_whose_callback_fails_is_red_and_deleted(deployment: Deployment) -> None:
    deployment.oss.fail_next("callback_status", status=404)
    findings = run_doctor(deployment.environ, "--only", "write", status=1)
    assert "was stored, but the callback failed" in findings[0]["said"]
    assert findings[1]["said"].endswith("was deleted")
