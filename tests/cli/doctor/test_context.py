"""What the checks of `doctor` share: invalid settings and an unreachable OSS stop only the checks that need them."""

from __future__ import annotations

import socket

import pytest

from ...support.deployment import Deployment
from .runs import finding_of, run_doctor

pytestmark = pytest.mark.slow


def test_an_invalid_setting_stops_only_the_checks_that_need_it(deployment: Deployment) -> None:
    environ = deployment.environ | {"OSS_CALLBACK_URL": "http://[::1]/oss/callback"}
    for check in ("callback", "answer"):
        assert finding_of(check, environ)["said"] == "not checked: OSS_CALLBACK_URL is missing or invalid"
    assert finding_of("write", environ)["said"] == "not checked: the settings are invalid"
    for check in ("clock", "bucket", "v4", "key", "credentials", "region", "cors"):
        assert {finding["colour"] for finding in run_doctor(environ, "--only", check)} == {"green"}, check


def test_all_invalid_settings_that_a_check_needs_are_named(deployment: Deployment) -> None:
    environ = deployment.environ | {"OSS_CALLBACK_URL": "http://[::1]/oss/callback", "OSS_TICKET_SECRET": "short"}
    said = "not checked: OSS_CALLBACK_URL and OSS_TICKET_SECRET are missing or invalid"
    assert finding_of("callback", environ)["said"] == said


@pytest.mark.parametrize(
    ("change", "checks"),
    [
        pytest.param({"OSS_HOST": "nonsense"}, ["clock", "bucket", "region", "v4", "cors", "credentials"], id="host"),
        pytest.param({"OSS_ACCESS_KEY_SECRET": ""}, ["credentials", "v4", "region"], id="half a key"),
        pytest.param({"OSS_TICKET_SECRET": "short"}, ["callback", "answer"], id="a short secret"),
        pytest.param({"OSS_REGION": ""}, ["clock", "v4", "callback", "key"], id="what all needs"),
    ],
)
def test_each_check_that_needs_an_invalid_setting_is_red(
    change: dict[str, str], checks: list[str], deployment: Deployment
) -> None:
    for check in checks:
        assert finding_of(check, deployment.environ | change)["said"].startswith("not checked: "), check


def test_an_unreachable_host_is_red_in_each_check_that_asks_it(deployment: Deployment) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        environ = deployment.environ | {"OSS_HOST": f"http://127.0.0.1:{bound.getsockname()[1]}"}
        for check in ("clock", "bucket", "v4", "cors", "write"):
            assert "cannot be reached" in finding_of(check, environ)["said"], check
