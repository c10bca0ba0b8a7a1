"""`oss-wsgi serve`: what server.py does, under its own name."""

from __future__ import annotations

import resource
import sys

import pytest

from ..support.absent import linux_only
from ..support.running_server import clean_environ, serving
from .command import oss_wsgi

pytestmark = pytest.mark.slow

FREE_PORTS = ["--listen", "127.0.0.1:0", "--local-listen", "127.0.0.1:0"]


def test_an_option_of_a_setting_overrides_the_environment() -> None:
    errors = oss_wsgi("serve", *FREE_PORTS, "--upload-dir", "no-slash", status=2, OSS_UPLOAD_DIR="good/").stderr
    assert errors.startswith("oss-wsgi serve: OSS_UPLOAD_DIR")


@linux_only("prlimit, which reads the limits of another process")
def test_it_raises_the_limit_of_descriptors_as_far_as_the_system_allows() -> None:
    """A shell lowers it first, as a service manager does."""
    command = 'ulimit -Sn 300 && exec "$@"'
    serve = [sys.executable, "-m", "oss_wsgi", "serve", *FREE_PORTS]
    with serving(["sh", "-c", command, "sh", *serve], clean_environ()) as running:
        soft, hard = resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE)
    assert soft == hard


def test_an_error_in_the_settings_names_the_command() -> None:
    errors = oss_wsgi("serve", *FREE_PORTS, status=2, OSS_BUKET="x", OSS_ACCESS_KEY_SECRET="swordfish swordfish").stderr
    assert "oss-wsgi serve: OSS_BUKET is not a setting: did you mean OSS_BUCKET?" in errors
    assert "swordfish" not in errors
