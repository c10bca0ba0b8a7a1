"""`oss-wsgi lifecycle` against the local OSS by the official SDK, and the rule that it makes."""

from __future__ import annotations

import json
import time

import pytest

from oss_wsgi import Settings
from oss_wsgi.cli.lifecycle import Rule, as_xml, overlapping, with_abort_rule
from oss_wsgi.local.operations.lifecycle import read_rules

from .command import oss_wsgi
from .deployment import Deployment

DAY = 24 * 3600
EXPIRES = Rule(
    "<ID>old &amp; gone</ID><Prefix>user/</Prefix><Status>Enabled</Status><Expiration><Days>30</Days></Expiration>"
    "<FutureElement>of OSS</FutureElement>"
)
OURS = Rule.aborting("oss-wsgi-parts", "user/", 7)


def aborting(days: int = 7, prefix: str = "user/", status: str = "Enabled", more: str = "", name: str = "a") -> Rule:
    return Rule(
        f"<ID>{name}</ID><Prefix>{prefix}</Prefix><Status>{status}</Status>"
        f"<AbortMultipartUpload><Days>{days}</Days></AbortMultipartUpload>{more}"
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param([], [OURS], id="no rules"),
        pytest.param([OURS], [OURS], id="there already"),
        pytest.param([EXPIRES], [EXPIRES, OURS], id="others are kept"),
        pytest.param([aborting(3, "")], [aborting(3, "")], id="a wider rule suffices"),
        pytest.param(
            [aborting(30)], [Rule.aborting("a", "user/", 7)], id="a later rule for the same names is replaced"
        ),
        pytest.param([aborting(7, status="Disabled")], [Rule.aborting("a", "user/", 7)], id="a disabled one too"),
        pytest.param([aborting(30, "")], [aborting(30, ""), OURS], id="a later rule for all is kept"),
        pytest.param([aborting(7, "user/b/")], [aborting(7, "user/b/"), OURS], id="a rule for some of the names"),
        pytest.param(
            [aborting(more="<Filter><Not><Prefix>user/x</Prefix></Not></Filter>")],
            [aborting(more="<Filter><Not><Prefix>user/x</Prefix></Not></Filter>"), OURS],
            id="a rule with exceptions",
        ),
        pytest.param(
            [aborting(9, "other/", name="oss-wsgi-parts")],
            [aborting(9, "other/", name="oss-wsgi-parts"), Rule.aborting("oss-wsgi-parts-2", "user/", 7)],
            id="the ID is taken",
        ),
    ],
)
def test_the_change_is_the_least_that_aborts_unfinished_parts(before: list[Rule], after: list[Rule]) -> None:
    rules = with_abort_rule(before, "user/", 7)
    assert rules == after
    assert with_abort_rule(rules, "user/", 7) == rules, "a second time nothing changes"


def test_a_filter_has_a_prefix_of_its_own() -> None:
    rule = Rule("<Filter><Not><Prefix>b</Prefix></Not></Filter><Prefix>a &lt; b</Prefix><Status>Enabled</Status>")
    assert (rule.prefix, rule.limited, rule.abort_days) == ("a < b", True, None)


def test_days_of_another_action_are_not_those_of_the_abort() -> None:
    date = "<AbortMultipartUpload><CreatedBeforeDate>2020-01-01T00:00:00Z</CreatedBeforeDate></AbortMultipartUpload>"
    assert Rule(f"{date}<Expiration><Days>3</Days></Expiration>").abort_days is None


def test_overlapping_rules_are_told_to_oss() -> None:
    assert overlapping([OURS, aborting(30, "")])
    assert not overlapping([OURS, EXPIRES, aborting(7, "other/"), aborting(30, "", status="Disabled")])


def test_the_xml_is_what_oss_reads() -> None:
    (rule,) = read_rules(as_xml([Rule.aborting("a&b", "user/<1>/", 7)]).encode())
    assert (rule.id, rule.prefix, rule.abort.days if rule.abort else None) == ("a&b", "user/<1>/", 7)


@pytest.mark.slow
def test_print_shows_the_rule_as_xml_and_in_words() -> None:
    output = oss_wsgi("lifecycle", "print", "--days", "3", OSS_UPLOAD_DIR="incoming/").stdout
    assert "<Prefix>incoming/</Prefix>" in output
    assert "<Days>3</Days>" in output
    assert "Delete Parts: Validity Period (Days): 3" in output
    members = json.loads(oss_wsgi("lifecycle", "print", "--json", "--prefix", "").stdout)
    assert (members["prefix"], members["abort_days"]) == ("", 7)


@pytest.mark.slow
def test_diff_shows_the_change_and_apply_makes_it(deployment: Deployment) -> None:
    oss, prefix = deployment.oss, Settings.from_environ(deployment.environ).upload_dir
    bucket = oss.storage.bucket(oss.bucket)
    bucket.begin(f"{prefix}a", "text/plain", {}, now=time.time())
    output = oss_wsgi("lifecycle", "diff", status=1, **deployment.environ).stdout
    assert "+      <Days>7</Days>" in output
    assert "lifecycle" not in bucket.settings
    assert "give --yes" in oss_wsgi("lifecycle", "apply", status=2, **deployment.environ).stderr
    assert oss_wsgi("lifecycle", "apply", "--yes", **deployment.environ).stderr.endswith("were changed.\n")
    assert "Nothing to change" in oss_wsgi("lifecycle", "diff", **deployment.environ).stdout
    assert oss.apply_lifecycle(time.time() + 6 * DAY).aborted == []
    assert len(oss.apply_lifecycle(time.time() + 8 * DAY).aborted) == 1


@pytest.mark.slow
def test_other_rules_are_kept_as_they_were(deployment: Deployment) -> None:
    filtered = (
        "<Rule><ID>x</ID><Prefix></Prefix><Status>Enabled</Status><Filter><ObjectSizeGreaterThan>500"
        "</ObjectSizeGreaterThan></Filter><AbortMultipartUpload><Days>90</Days></AbortMultipartUpload></Rule>"
    )
    bucket = deployment.oss.storage.bucket(deployment.oss.bucket)
    bucket.change({"lifecycle": f"<LifecycleConfiguration>{filtered}</LifecycleConfiguration>"})
    members = json.loads(oss_wsgi("lifecycle", "apply", "--yes", "--json", **deployment.environ).stdout)
    assert (members["changes"], members["applied"], len(members["after"])) == (True, True, 2)
    assert filtered in deployment.oss.storage.bucket(deployment.oss.bucket).settings["lifecycle"]


@pytest.mark.slow
def test_a_refusal_of_oss_is_a_finding(deployment: Deployment) -> None:
    environ = deployment.environ | {"OSS_ACCESS_KEY_SECRET": "another-secret-of-nobody"}
    error = json.loads(oss_wsgi("lifecycle", "diff", "--json", status=1, **environ).stdout)["error"]
    assert error["code"] == "SignatureDoesNotMatch"
    nobody = deployment.environ | {"OSS_HOST": "http://127.0.0.1:1/examplebucket"}
    assert "OSS could not be asked" in oss_wsgi("lifecycle", "diff", status=1, **nobody).stderr


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["diff"], ["apply", "--days", "0"], ["remove"], ["print", "--days", "x"]])
def test_misuse_is_a_sentence(arguments: list[str]) -> None:
    assert oss_wsgi("lifecycle", *arguments, status=2).stderr
