"""`oss-wsgi serve`: what server.py does, under its own name."""

from __future__ import annotations

import pytest

from .command import oss_wsgi

pytestmark = pytest.mark.slow

FREE_PORTS = ["--listen", "127.0.0.1:0", "--local-listen", "127.0.0.1:0"]


def test_an_option_of_a_setting_overrides_the_environment() -> None:
    errors = oss_wsgi("serve", *FREE_PORTS, "--upload-dir", "no-slash", status=2, OSS_UPLOAD_DIR="good/").stderr
    assert errors.startswith("oss-wsgi serve: OSS_UPLOAD_DIR")


def test_an_error_in_the_settings_names_the_command() -> None:
    errors = oss_wsgi("serve", *FREE_PORTS, status=2, OSS_BUKET="x", OSS_ACCESS_KEY_SECRET="swordfish swordfish").stderr
    assert "oss-wsgi serve: OSS_BUKET is not a setting: did you mean OSS_BUCKET?" in errors
    assert "swordfish" not in errors
