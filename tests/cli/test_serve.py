"""`oss-wsgi serve`: what server.py does, under its own name."""

from __future__ import annotations

import json
import urllib.request

import pytest

from oss_wsgi.testing import multipart

from .command import oss_wsgi, running

pytestmark = pytest.mark.slow

FREE_PORTS = ["--listen", "127.0.0.1:0", "--local-listen", "127.0.0.1:0"]


def test_without_a_bucket_uploads_go_to_a_local_oss() -> None:
    with running("serve", *FREE_PORTS) as (url, _):
        with urllib.request.urlopen(f"{url}/oss/signature?filename=a.txt") as response:
            form = json.load(response)
        content_type, body = multipart(form["fields"], "a.txt", b"hello")
        request = urllib.request.Request(form["url"], body, {"Content-Type": content_type})
        with urllib.request.urlopen(request) as response:
            assert json.load(response) == {"Status": "Ok"}


def test_an_option_of_a_setting_overrides_the_environment() -> None:
    errors = oss_wsgi("serve", *FREE_PORTS, "--upload-dir", "no-slash", status=2, OSS_UPLOAD_DIR="good/").stderr
    assert errors.startswith("oss-wsgi serve: OSS_UPLOAD_DIR")


def test_an_error_in_the_settings_names_the_command() -> None:
    errors = oss_wsgi("serve", *FREE_PORTS, status=2, OSS_BUKET="x", OSS_ACCESS_KEY_SECRET="swordfish swordfish").stderr
    assert "oss-wsgi serve: OSS_BUKET is not a setting: did you mean OSS_BUCKET?" in errors
    assert "swordfish" not in errors
