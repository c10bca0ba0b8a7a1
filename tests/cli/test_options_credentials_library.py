"""`--credentials-library`: commands sign with the key that the official library finds, or say what is missing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..support.deployment import ORIGIN, Deployment
from ..support.running_server import signed
from .command import oss_wsgi, running
from .key_service import NO_KEY, deployed_with_temporary_key

pytestmark = pytest.mark.slow


@pytest.fixture
def temporary(tmp_path: Path) -> Iterator[Deployment]:
    with deployed_with_temporary_key(tmp_path, minutes=50) as deployment:
        yield deployment


def test_sign_uses_the_librarys_key(temporary: Deployment) -> None:
    form = json.loads(oss_wsgi("sign", "a.txt", "--credentials-library", **temporary.environ).stdout)
    assert (form["accessid"], form["security_token"]) == ("STS.Example", "token")


def test_cors_uses_the_librarys_key(temporary: Deployment) -> None:
    output = oss_wsgi("cors", "diff", ORIGIN, "--credentials-library", **temporary.environ).stdout
    assert "Nothing to change" in output


def test_an_application_signs_with_the_librarys_key(temporary: Deployment, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "import os\nfrom oss_wsgi import DirectUpload, Settings\n"
        "application = DirectUpload(lambda environ, start: [], Settings.from_environ(os.environ))\n"
    )
    environ = temporary.environ | {"PYTHONPATH": str(tmp_path), "OSS_CREDENTIALS_LIBRARY": "on"}
    with running("serve", "--listen", "127.0.0.1:0", "--app", "shop:application", **environ) as (url, _):
        form = signed(url)
    assert (form["accessid"], form["security_token"]) == ("STS.Example", "token")


def test_a_missing_key_is_one_sentence(deployment: Deployment, tmp_path: Path) -> None:
    environ = deployment.environ | NO_KEY | {"HOME": str(tmp_path), "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true"}
    output = oss_wsgi("sign", "a.txt", "--credentials-library", status=2, **environ).stderr
    assert "No credentials were found" in output
    assert len(output.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["sign", "a.txt"], ["serve", "--listen", "127.0.0.1:0"]])
def test_without_the_extra_the_error_says_what_to_install(
    arguments: list[str], deployment: Deployment, tmp_path: Path
) -> None:
    (tmp_path / "alibabacloud_credentials.py").write_text("raise ImportError")
    environ = deployment.environ | {"PYTHONPATH": str(tmp_path)}
    output = oss_wsgi(*arguments, "--credentials-library", status=2, **environ).stderr
    assert "pip install 'oss-wsgi[credentials]'" in output
