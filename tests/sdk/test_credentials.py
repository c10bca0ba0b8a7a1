"""SDKCredentialsProvider with a metadata service and an STS on loopback, and the session policy.

The metadata service's address is fixed in the library, so HTTP_PROXY leads the requests here. STS has a name and only
https, so its certificate is made here. Nothing of the library is patched except what it has read from the environment
at its import, and how long it waits for the metadata service.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import webtest

from oss_wsgi import DirectUpload, Settings
from oss_wsgi.exceptions import CredentialsError, SettingsError
from oss_wsgi.sdk.credentials import SDKCredentialsProvider, session_policy

from ..support.certificate import certificate
from ..support.cloud import SECRETS, Cloud, running

ROLE = "acs:ram::123:role/uploader"
SETTINGS = Settings(
    bucket="examplebucket", region="cn-hangzhou", ticket_secret="t" * 32, allow_anonymous=True, upload_expires=3600
)

# The library calls datetime.utcnow(), which is deprecated in 3.12.
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")


@pytest.fixture(scope="module")
def own_certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def sts(own_certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    monkeypatch.setenv("SSL_CERT_FILE", str(own_certificate))
    with running(own_certificate) as cloud:
        yield cloud


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    from alibabacloud_credentials.provider import EcsRamRoleCredentialsProvider

    # The library's own second may be too short for a busy machine.
    monkeypatch.setattr(EcsRamRoleCredentialsProvider, "DEFAULT_READ_TIMEOUT", 60_000)
    with running() as cloud:
        monkeypatch.setenv("HTTP_PROXY", f"http://{cloud.address}")
        yield cloud


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Return what the library has read from the environment, emptied for this test."""
    from alibabacloud_credentials.utils import auth_util

    for name in vars(auth_util).copy():
        if name.startswith("environment_"):
            monkeypatch.setattr(auth_util, name, "false" if name.endswith(("disabled", "vpc")) else None)
    monkeypatch.setattr(auth_util, "environment_cli_profile_disabled", "true")
    monkeypatch.setattr(auth_util, "environment_credentials_file", str(tmp_path / "credentials.ini"))
    monkeypatch.setattr(auth_util, "client_type", "default")
    monkeypatch.setattr(auth_util, "enable_oidc_credential", False)
    monkeypatch.setattr(auth_util, "environment_ecs_metadata_disabled", "true")
    return auth_util


def provider(settings: Settings = SETTINGS, **options: Any) -> SDKCredentialsProvider:
    return SDKCredentialsProvider(settings, **{"clock": time.time, "wait_timeout": 20.0, **options})


def remaining(credentials: Any) -> float:
    return float(credentials.expiration.timestamp() - time.time())


def set_key(environment: Any) -> None:
    environment.environment_access_key_id = "source-id"
    environment.environment_access_key_secret = SECRETS["source-id"]


@pytest.mark.slow
def test_the_key_in_the_environment_comes_first(environment: Any) -> None:
    set_key(environment)
    environment.environment_security_token = "a-token"
    credentials = provider().get_credentials()
    assert (credentials.access_key_id, credentials.access_key_secret, credentials.security_token) == (
        *("source-id", "the-source-secret", "a-token"),
    )
    assert credentials.expiration is None


@pytest.mark.slow
def test_a_profile_is_read(environment: Any, tmp_path: Path) -> None:
    (tmp_path / "credentials.ini").write_text(
        "[default]\ntype = access_key\naccess_key_id = profile-id\naccess_key_secret = profile-secret\n"
    )
    assert provider().get_credentials().access_key_id == "profile-id"


def test_direct_upload_signs_with_it_where_the_settings_say_so(environment: Any, tmp_path: Path) -> None:
    (tmp_path / "credentials.ini").write_text(
        "[default]\ntype = access_key\naccess_key_id = profile-id\naccess_key_secret = profile-secret\n"
    )
    with pytest.raises(SettingsError, match="OSS_ACCESS_KEY_ID"):
        DirectUpload(lambda environ, start: [], SETTINGS)
    client = webtest.TestApp(DirectUpload(lambda environ, start: [], replace(SETTINGS, credentials_library=True)))
    assert client.get("/oss/signature?filename=a.png").json["accessid"] == "profile-id"


@pytest.mark.slow
def test_the_role_of_an_ecs_instance_is_read(environment: Any, metadata: Cloud) -> None:
    environment.environment_ecs_metadata_disabled = "false"
    credentials = provider().get_credentials()
    assert (credentials.access_key_id, credentials.access_key_secret) == ("STS.ecs", SECRETS["STS.ecs"])
    assert 3500 < remaining(credentials) <= 3600
    assert {host for _, host, _ in metadata.requests} == {"100.100.100.200"}
    assert metadata.requests[-1][2].endswith("/security-credentials/the-role")


@pytest.mark.slow
def test_a_profile_that_names_the_role_keeps_its_expiry(environment: Any, metadata: Cloud, tmp_path: Path) -> None:
    """The library's own provider of profiles forgets it."""
    environment.environment_ecs_metadata_disabled = "false"
    (tmp_path / "credentials.ini").write_text("[default]\ntype = ecs_ram_role\nrole_name = named-role\n")
    credentials = provider().get_credentials()
    assert credentials.access_key_id == "STS.ecs"
    assert 3500 < remaining(credentials) <= 3600
    assert metadata.requests[-1][2].endswith("/security-credentials/named-role")


@pytest.mark.slow
def test_oidc_uses_the_token_in_a_file(environment: Any, sts: Cloud, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("the-oidc-token")
    environment.enable_oidc_credential = True
    environment.environment_role_arn = ROLE
    environment.environment_oidc_provider_arn = "acs:ram::123:oidc-provider/ack"
    environment.environment_oidc_token_file = str(tmp_path / "token")
    credentials = provider(sts_endpoint=sts.address).get_credentials()
    assert credentials.access_key_id == "STS.session"
    assert 3500 < remaining(credentials) <= 3600
    assert sts.requests[0]["RoleArn"] == ROLE


@pytest.mark.slow
def test_a_role_is_assumed_under_the_smallest_policy(environment: Any, sts: Cloud) -> None:
    set_key(environment)
    credentials = provider(role_arn=ROLE, sts_endpoint=sts.address, duration=900).get_credentials()
    assert credentials.access_key_id == "STS.session"
    (request,) = sts.requests
    assert request["AccessKeyId"] == "source-id"
    assert (request["RoleArn"], request["DurationSeconds"], request["RoleSessionName"]) == (ROLE, "900", "oss-wsgi")
    (statement,) = json.loads(request["Policy"])["Statement"]
    assert statement["Action"] == ["oss:PutObject"]
    assert statement["Resource"] == ["acs:oss:*:*:examplebucket/user-dir-prefix/*"]


@pytest.mark.slow
def test_the_policy_of_a_role_names_the_given_dirs_and_actions(environment: Any, sts: Cloud) -> None:
    set_key(environment)
    actions = ["oss:PutObject", "oss:GetObject"]
    provider(role_arn=ROLE, sts_endpoint=sts.address, dirs=["users/"], actions=actions).get_credentials()
    assert sts.requests[0]["Policy"] == session_policy(SETTINGS, ["users/"], actions)


@pytest.mark.slow
def test_an_ecs_role_assumes_another_role(environment: Any, metadata: Cloud, sts: Cloud) -> None:
    environment.environment_ecs_metadata_disabled = "false"
    credentials = provider(role_arn=ROLE, sts_endpoint=sts.address).get_credentials()
    assert credentials.access_key_id == "STS.session"
    assert sts.requests[0]["AccessKeyId"] == "STS.ecs"
    assert sts.requests[0]["SecurityToken"].startswith("token-")


@pytest.mark.slow
def test_a_hundred_signatures_call_sts_once_and_expire_with_the_key(environment: Any, sts: Cloud) -> None:
    set_key(environment)
    sts.lifetime = 1000
    credentials = provider(role_arn=ROLE, sts_endpoint=sts.address)
    app = webtest.TestApp(DirectUpload(lambda environ, start: [], SETTINGS, credentials=credentials))
    answers = [app.get("/oss/signature?filename=a.png").json for _ in range(100)]
    assert len(sts.requests) == 1
    until = credentials.get_credentials().expiration
    assert until is not None
    assert {answer["expire"] for answer in answers} == {int(until.timestamp())}
    assert {answer["security_token"] for answer in answers} == {"token-1"}


@pytest.mark.slow
def test_a_refusal_of_sts_shows_its_code_and_not_its_text(
    environment: Any, sts: Cloud, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)  # at DEBUG urllib3 itself logs whole queries
    set_key(environment)
    environment.environment_security_token = "the-old-token"
    sts.failing = 403, json.dumps({"Code": "NoPermission", "Message": "SecurityToken=the-old-token&..."})
    with pytest.raises(CredentialsError, match="403 NoPermission") as caught:
        provider(role_arn=ROLE, sts_endpoint=sts.address).get_credentials()
    out, err = capfd.readouterr()
    assert "the-old-token" not in f"{caught.value}{caplog.text}{out}{err}"
    app = DirectUpload(lambda environ, start: [], SETTINGS, credentials=provider(source=_Raising()))
    assert webtest.TestApp(app).get("/oss/signature", status=503).json["error"]["code"] == "service_unavailable"


@pytest.mark.slow
def test_a_response_without_a_member_shows_no_secret(
    environment: Any, sts: Cloud, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)  # at DEBUG urllib3 itself logs whole queries
    set_key(environment)
    sts.failing = 200, json.dumps({"Credentials": {"AccessKeyId": "i", "AccessKeySecret": "swordfish"}})
    with pytest.raises(CredentialsError, match="CredentialException") as caught:
        provider(role_arn=ROLE, sts_endpoint=sts.address).get_credentials()
    out, err = capfd.readouterr()
    assert "swordfish" not in f"{caught.value!r}{caught.value.__cause__}{caplog.text}{out}{err}"
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


class _Raising:
    def get_credentials(self) -> Any:
        raise ValueError("swordfish")

    def get_provider_name(self) -> str:
        return "mine"


@pytest.mark.slow
def test_the_error_names_all_sources_that_were_tried(environment: Any) -> None:
    with pytest.raises(CredentialsError, match=r"env \(Cred.*cli_profile \(Cred.*profile \(Cred"):
        provider().get_credentials()


@pytest.mark.slow
def test_a_role_that_cannot_be_assumed_is_refused_at_once(environment: Any) -> None:
    with pytest.raises(SettingsError, match="900s"):
        provider(role_arn=ROLE, duration=60)
    with pytest.raises(SettingsError, match="has a wildcard or a variable"):
        provider(role_arn=ROLE, dirs=["*/"])


def test_without_the_library_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "alibabacloud_credentials", None)
    monkeypatch.setitem(sys.modules, "alibabacloud_credentials.provider", None)
    with pytest.raises(SettingsError, match=r"oss-wsgi\[credentials\]"):
        provider()


@pytest.mark.slow
def test_a_process_finds_the_role_in_its_environment(metadata: Cloud, sts: Cloud, tmp_path: Path) -> None:
    code = """
import time
from oss_wsgi import SDKCredentialsProvider, Settings
import sys
assert "alibabacloud_credentials" not in sys.modules
from alibabacloud_credentials.provider import EcsRamRoleCredentialsProvider
EcsRamRoleCredentialsProvider.DEFAULT_READ_TIMEOUT = 60_000
settings = Settings(bucket="examplebucket", region="cn-hangzhou")
role = {"role_arn": sys.argv[1], "sts_endpoint": sys.argv[2]}
provider = SDKCredentialsProvider(settings, clock=time.time, wait_timeout=20, **role)
print(provider.get_credentials())
"""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("ALIBABA", "PYTHON"))}
    environ |= {"HOME": str(tmp_path), "ALIBABA_CLOUD_ECS_METADATA": "env-role"}
    command = [sys.executable, "-c", code, ROLE, sts.address]
    run = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert "STS.session" in run.stdout, run.stderr
    assert "secret" not in run.stdout
    assert metadata.requests[-1][2].endswith("/security-credentials/env-role")
    assert sts.requests[0]["AccessKeyId"] == "STS.ecs"


def test_the_policy_allows_only_putting_objects_below_the_upload_dir() -> None:
    assert json.loads(session_policy(SETTINGS)) == {
        "Version": "1",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["oss:PutObject"],
                "Resource": ["acs:oss:*:*:examplebucket/user-dir-prefix/*"],
            }
        ],
    }


def test_the_policy_of_parts_has_what_they_need() -> None:
    settings = Settings(bucket="examplebucket", region="cn-hangzhou", multipart=True)
    (statement,) = json.loads(session_policy(settings))["Statement"]
    assert statement["Action"] == [
        "oss:PutObject", "oss:ListParts", "oss:AbortMultipartUpload", "oss:GetObject",
    ]  # fmt: skip


def test_the_policy_of_exact_names_allows_no_other() -> None:
    (statement,) = json.loads(session_policy(SETTINGS, keys=["users/eric/大 film.mp4"]))["Statement"]
    assert statement["Resource"] == ["acs:oss:*:*:examplebucket/users/eric/大 film.mp4"]
    for key in ("a*", "a?", "${x}", ""):
        with pytest.raises(SettingsError, match="has a wildcard or a variable"):
            session_policy(SETTINGS, keys=[key])


def test_the_policy_names_the_given_prefixes_and_actions() -> None:
    policy = json.loads(session_policy(SETTINGS, ["users/", "上传/"], ["oss:PutObject", "oss:GetObject"]))
    (statement,) = policy["Statement"]
    assert statement["Resource"] == ["acs:oss:*:*:examplebucket/users/*", "acs:oss:*:*:examplebucket/上传/*"]
    assert statement["Action"] == ["oss:PutObject", "oss:GetObject"]


def test_the_policy_without_a_prefix_covers_the_bucket() -> None:
    settings = Settings(bucket="examplebucket", region="cn-hangzhou", upload_dir="")
    assert "acs:oss:*:*:examplebucket/*" in session_policy(settings)


@pytest.mark.parametrize(
    ("dirs", "message"),
    [
        (["us?rs/"], "has a wildcard or a variable"),
        (["*/"], "has a wildcard or a variable"),
        (["${oss:x}/"], "has a wildcard or a variable"),
        (["users"], "end in '/'"),
        ([], "at least one"),
        ("users/", "at least one"),
        ([f"{'x' * 200}{number}/" for number in range(5)], "and STS takes 1024"),
    ],
)
def test_a_prefix_that_allows_more_or_is_too_long_is_refused(dirs: list[str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        session_policy(SETTINGS, dirs)


def test_a_policy_without_a_bucket_is_refused() -> None:
    with pytest.raises(SettingsError, match="OSS_BUCKET"):
        session_policy(Settings())
