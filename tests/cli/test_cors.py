"""`oss-wsgi cors` against the local OSS by the official SDK."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from local_oss import CORSRule
from local_oss.cors import save_rules, stored_rules

from ..support.deployment import ORIGIN, Deployment, deployed
from ..support.running_server import clean_environ
from .client import preflight
from .command import COMMAND, oss_wsgi

PAGE = "https://new.example.com"


@pytest.mark.slow
def test_print_shows_the_rule_as_xml_and_in_words() -> None:
    output = oss_wsgi("cors", "print", PAGE, "http://localhost:3000").stdout
    assert f"<AllowedOrigin>{PAGE}</AllowedOrigin>" in output
    assert "<AllowedMethod>POST</AllowedMethod>" in output
    assert "<ExposeHeader>ETag</ExposeHeader>" in output
    assert "Exposed Headers: ETag x-oss-request-id" in output
    for origins in (PAGE, PAGE.upper()):  # browsers send an origin in lower case
        assert json.loads(oss_wsgi("cors", "print", "--json", OSS_ALLOWED_ORIGINS=origins).stdout)["origins"] == [PAGE]


@pytest.mark.slow
def test_diff_shows_the_change_and_apply_makes_it(deployment: Deployment) -> None:
    for _ in range(2):
        output = oss_wsgi("cors", "diff", PAGE, status=1, **deployment.environ).stdout
        assert f"+    <AllowedOrigin>{PAGE}</AllowedOrigin>" in output
        assert preflight(deployment, PAGE) == 403
    output = oss_wsgi("cors", "apply", PAGE, "--yes", **deployment.environ).stdout
    assert f"+    <AllowedOrigin>{PAGE}</AllowedOrigin>" in output, "the change is shown before it is made"
    assert preflight(deployment, PAGE) == 200
    assert preflight(deployment, ORIGIN) == 200, "the rule that was there is kept"
    assert "Nothing to change" in oss_wsgi("cors", "diff", PAGE, **deployment.environ).stdout
    assert "Nothing to change" in oss_wsgi("cors", "apply", PAGE, **deployment.environ).stdout


@pytest.mark.slow
def test_a_bucket_without_rules_gets_one(tmp_path: Path) -> None:
    with deployed(tmp_path, oss={"cors_rules": []}) as deployment:
        assert preflight(deployment, ORIGIN) == 403
        members = json.loads(oss_wsgi("cors", "diff", "--json", status=1, **deployment.environ).stdout)
        assert (members["before"], members["after"][0]["origins"]) == ([], [ORIGIN])
        oss_wsgi("cors", "apply", "--yes", **deployment.environ)
        assert preflight(deployment, ORIGIN) == 200
        assert varies(deployment), "a cache must not give one page's response to another"


def varies(deployment: Deployment) -> bool:
    """Return whether the bucket's responses say that they differ by origin."""
    _, vary = stored_rules(deployment.oss.storage.bucket(deployment.oss.bucket)) or ([], False)
    return vary


@pytest.mark.slow
@pytest.mark.parametrize("vary", [True, False])
def test_a_bucket_with_rules_keeps_what_it_says_of_caches(tmp_path: Path, vary: bool) -> None:
    with deployed(tmp_path) as deployment:
        save_rules(deployment.oss.storage.bucket(deployment.oss.bucket), [CORSRule(["https://b.example.com"])], vary)
        oss_wsgi("cors", "apply", PAGE, "--yes", **deployment.environ)
        assert (preflight(deployment, PAGE), varies(deployment)) == (200, vary)


@pytest.mark.slow
def test_other_rules_are_kept_as_they_were(tmp_path: Path) -> None:
    other = CORSRule(["https://b.example.com"], ("GET",), ("range",), (), None)
    with deployed(tmp_path, oss={"cors_rules": [other]}) as deployment:
        oss_wsgi("cors", "apply", PAGE, "--yes", **deployment.environ)
        members = json.loads(oss_wsgi("cors", "diff", PAGE, "--json", **deployment.environ).stdout)
        assert members["before"][0] == {
            "origins": ["https://b.example.com"],
            "methods": ["GET"],
            "headers": ["range"],
            "exposed": [],
            "max_age": None,
        }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "status", "after", "options"),
    [("y\n", 0, 200, []), ("y\n", 0, 200, ["--json"]), ("\n", 1, 403, ["--json"]), ("no\n", 1, 403, [])],
)
def test_on_a_terminal_apply_asks(
    answer: str, status: int, after: int, options: list[str], deployment: Deployment
) -> None:
    ours, theirs = pty.openpty()
    pipes = {"stdin": theirs, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    environ = clean_environ(**deployment.environ)
    with subprocess.Popen([*COMMAND, "cors", "apply", PAGE, *options], env=environ, **pipes) as process:
        os.close(theirs)
        os.write(ours, answer.encode())
        result, errors = process.communicate(timeout=60)
    os.close(ours)
    assert b"Apply this? [y/N]" in errors
    assert f"+    <AllowedOrigin>{PAGE}".encode() in (errors if options else result), "the change is shown first"
    if options:
        assert json.loads(result)["applied"] == (status == 0)
    assert process.returncode == status
    assert preflight(deployment, PAGE) == after


@pytest.mark.slow
def test_without_a_terminal_apply_needs_yes(deployment: Deployment) -> None:
    assert "give --yes" in oss_wsgi("cors", "apply", PAGE, status=2, **deployment.environ).stderr
    assert preflight(deployment, PAGE) == 403


@pytest.mark.slow
def test_a_refusal_of_oss_is_a_finding_without_the_secret(deployment: Deployment) -> None:
    environ = deployment.environ | {"OSS_ACCESS_KEY_SECRET": "another-secret-of-nobody"}
    ended = oss_wsgi("cors", "diff", PAGE, status=1, **environ)
    assert "403 SignatureDoesNotMatch" in ended.stderr
    assert "OSS_ACCESS_KEY_SECRET" in ended.stderr, "the fix"
    assert "another-secret-of-nobody" not in ended.stdout + ended.stderr
    error = json.loads(oss_wsgi("cors", "diff", PAGE, "--json", status=1, **environ).stdout)["error"]
    assert error["code"] == "SignatureDoesNotMatch"
    nobody = deployment.environ | {"OSS_HOST": "http://127.0.0.1:1/examplebucket"}
    error = json.loads(oss_wsgi("cors", "diff", PAGE, "--json", status=1, **nobody).stdout)["error"]
    assert error["message"] == "OSS could not be asked: Connection refused"
    assert "OSS_ENDPOINT" in error["fix"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["diff"], "name the origins", id="no origin"),
        pytest.param(["diff", f"{PAGE}/"], "is not an origin", id="a slash"),
        pytest.param(["diff", PAGE], "must be set", id="no bucket"),
        pytest.param(["remove", PAGE], "invalid choice", id="no such action"),
    ],
)
def test_misuse_is_a_sentence(arguments: list[str], message: str) -> None:
    assert message in oss_wsgi("cors", *arguments, status=2).stderr


@pytest.mark.slow
def test_without_the_sdk_the_error_says_what_to_install(deployment: Deployment, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['alibabacloud_oss_v2'] = None")
    output = oss_wsgi("cors", "diff", PAGE, status=2, PYTHONPATH=str(tmp_path), **deployment.environ).stderr
    assert "this needs the official SDK: pip install 'oss-wsgi[sdk]'" in output


@pytest.mark.slow
def test_an_sdk_that_cannot_be_imported_is_to_be_installed_again(deployment: Deployment, tmp_path: Path) -> None:
    (tmp_path / "alibabacloud_oss_v2.py").write_text("raise ImportError")
    output = oss_wsgi("cors", "diff", PAGE, status=2, PYTHONPATH=str(tmp_path), **deployment.environ).stderr
    assert "pip install --force-reinstall 'oss-wsgi[sdk]'" in output


@pytest.mark.slow
def test_with_parts_on_the_rule_has_put(deployment: Deployment) -> None:
    output = oss_wsgi("cors", "print", PAGE, OSS_MULTIPART="on").stdout
    assert "<AllowedMethod>PUT</AllowedMethod>" in output
    assert "<ExposeHeader>x-oss-hash-crc64ecma</ExposeHeader>" in output
    oss_wsgi("cors", "apply", PAGE, "--yes", OSS_MULTIPART="on", **deployment.environ)
    assert preflight(deployment, PAGE, "PUT") == 200
