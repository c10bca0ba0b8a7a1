"""`--credentials-library`: commands that sign take the key that the official library finds, or say what it lacks."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from .command import oss_wsgi, running
from .deployment import ORIGIN, Deployment, deployed
from .key_service import key_service

KEY = {"AccessKeyId": "STS.Example", "AccessKeySecret": "the-temporary-secret", "SecurityToken": "token"}
NO_KEY = {"OSS_ACCESS_KEY_ID": "", "OSS_ACCESS_KEY_SECRET": "", "OSS_SESSION_TOKEN": ""}
SIGNING = [["sign", "a.txt"], ["cors", "diff", ORIGIN]]


@pytest.fixture
def temporary(tmp_path: Path) -> Iterator[Deployment]:
    """A deployment whose bucket takes the library's key, and whose environment has none but where that is found."""
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3000))
    oss = {"access_key_id": "STS.Example", "access_key_secret": "the-temporary-secret", "security_token": "token"}
    with deployed(tmp_path, oss=oss, settings={"OSS_SESSION_TOKEN": "token"}) as found:
        with key_service(**KEY, Expiration=until) as uri:
            found.environ |= {
                **NO_KEY,
                "HOME": str(tmp_path),
                "ALIBABA_CLOUD_CREDENTIALS_URI": uri,
                "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true",
            }
            yield found


def test_a_form_is_signed_with_it(temporary: Deployment) -> None:
    form = json.loads(oss_wsgi("sign", "a.txt", "--credentials-library", **temporary.environ).stdout)
    assert (form["accessid"], form["security_token"]) == ("STS.Example", "token")


def test_the_buckets_rules_are_read_with_it(temporary: Deployment) -> None:
    said = oss_wsgi("cors", "diff", ORIGIN, "--credentials-library", **temporary.environ).stdout
    assert "Nothing to change" in said


def test_it_signs_for_the_pages_that_are_served(temporary: Deployment) -> None:
    given = ["serve", "--listen", "127.0.0.1:0", "--credentials-library"]
    with running(*given, **temporary.environ) as (url, said):
        assert "no credentials" not in said
        with urllib.request.urlopen(f"{url}/oss/signature?filename=a.txt") as response:
            form = json.load(response)
    assert (form["accessid"], form["security_token"]) == ("STS.Example", "token")


@pytest.mark.parametrize("arguments", SIGNING)
def test_where_it_finds_none_that_is_a_sentence(arguments: list[str], deployment: Deployment, tmp_path: Path) -> None:
    environ = deployment.environ | NO_KEY | {"HOME": str(tmp_path), "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true"}
    said = oss_wsgi(*arguments, "--credentials-library", status=2, **environ).stderr
    assert "No credentials were found" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("arguments", [*SIGNING, ["serve", "--listen", "127.0.0.1:0"]])
def test_without_the_extra_it_says_what_to_install(
    arguments: list[str], deployment: Deployment, tmp_path: Path
) -> None:
    (tmp_path / "alibabacloud_credentials.py").write_text("raise ImportError")
    environ = deployment.environ | {"PYTHONPATH": str(tmp_path)}
    said = oss_wsgi(*arguments, "--credentials-library", status=2, **environ).stderr
    assert "pip install 'oss-wsgi[credentials]'" in said
