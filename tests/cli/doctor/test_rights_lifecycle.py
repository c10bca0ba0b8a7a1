"""The check of `doctor` on old uploads: applications with forms copy their files, and others keep the objects."""

from __future__ import annotations

from pathlib import Path

import pytest

from local_oss.operations.lifecycle import read_rules
from oss_wsgi import DirectUpload, Settings
from oss_wsgi.cli.doctor import rights
from oss_wsgi.cli.doctor.context import CheckContext, Finding
from oss_wsgi.sdk.client import SDKCallError

from ...support.deployment import Deployment, deployed, not_found, set_lifecycle_rule
from .runs import finding_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("patient")]

EXPIRY = "LifecycleRuleExpiration"
ABORT = "LifecycleRuleAbortMultipartUpload"


def finding(deployment: Deployment, **environ: str) -> Finding:
    (found,) = rights.check_lifecycle(CheckContext({**deployment.environ, **environ}))
    return found


@pytest.mark.parametrize(("forms", "colour"), [(True, "yellow"), (False, "green")])
def test_a_missing_rule_is_printed_and_missed_where_forms_are_on(tmp_path: Path, forms: bool, colour: str) -> None:
    with deployed(tmp_path, settings={"OSS_UPLOAD_DIR": "a&b/"}, app={"forms": forms}) as deployment:
        set_lifecycle_rule(deployment, "a&b/", abort_multipart_upload=(ABORT, 7))
        printed = finding_of("lifecycle", deployment.environ, colour)
    assert "no lifecycle rule deletes" in printed["said"] and "under a&b/" in printed["said"]
    assert "Files with Specified Prefix: a&b/, Object Lifecycle: Validity Period (Days): 7" in printed["fix"]
    (rule,) = read_rules(f"<LifecycleConfiguration>{printed['fix'].split('`')[1]}</LifecycleConfiguration>".encode())
    assert rule.expiration is not None
    week = 7 * 24 * 3600
    assert (rule.prefix, rule.expiration(0, week), rule.expiration(1, week)) == ("a&b/", True, False)


@pytest.mark.parametrize(
    ("days", "forms", "colour", "message"),
    [
        (2, True, "green", "after 2 days: your application must have copied by then what it keeps"),
        (1, True, "yellow", "after 1 days, but a form may bring a file for longer"),
        (1, False, "green", "after 1 days, but"),
    ],
)
def test_a_rule_leaves_a_form_its_time(tmp_path: Path, days: int, forms: bool, colour: str, message: str) -> None:
    with deployed(tmp_path, settings={"OSS_UPLOAD_DIR": "user/"}, app={"forms": forms}) as deployment:
        set_lifecycle_rule(deployment, "us", expiration=(EXPIRY, days))
        found = finding(deployment)
    assert found.colour == colour
    assert f"OSS deletes objects under user/ {message}" in found.message


def test_an_application_that_was_loaded_is_not_asked_over_the_network(tmp_path: Path) -> None:
    with deployed(tmp_path, settings={"OSS_UPLOAD_DIR": "user/"}) as deployment:
        values = Settings.from_environ({**deployment.environ, "OSS_CALLBACK_URL": ""})
        colours = {
            forms: next(
                rights.check_lifecycle(CheckContext({}, app=DirectUpload(not_found, values, forms=forms)))
            ).colour
            for forms in (True, False)
        }
    assert colours == {True: "yellow", False: "green"}


def test_without_a_prefix_no_rule_can_tell_uploads_from_other_objects(tmp_path: Path) -> None:
    with deployed(tmp_path, app={"forms": True}) as deployment:
        found = finding(deployment, OSS_UPLOAD_DIR="")
        assert (found.colour, "export OSS_UPLOAD_DIR=" in found.fix) == ("yellow", True)
        assert finding(deployment, OSS_UPLOAD_DIR="", OSS_CALLBACK_URL="").colour == "green", "no application to ask"


def test_rules_that_cannot_be_read_are_yellow_where_forms_are_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> list[int]:
        raise SDKCallError("answer", "no", status=403, code="AccessDenied")

    monkeypatch.setattr(rights, "_days_of_rules", refuse)
    with deployed(tmp_path, app={"forms": True}) as deployment:
        found = finding(deployment)
        assert (found.colour, "oss:GetBucketLifecycle" in found.fix) == ("yellow", True)
        assert finding(deployment, OSS_CALLBACK_URL="").colour == "green"
