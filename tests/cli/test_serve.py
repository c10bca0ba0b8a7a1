"""`oss-wsgi serve`: what server.py does, under its own name."""

from __future__ import annotations

import json
import signal
import urllib.request

from oss_wsgi.testing import multipart

from .command import oss_wsgi, running

FREE_PORTS = ["--listen", "127.0.0.1:0", "--local-listen", "127.0.0.1:0"]


def test_unconfigured_the_whole_road_runs_beside_a_local_oss() -> None:
    with running("serve", *FREE_PORTS) as (url, _):
        with urllib.request.urlopen(f"{url}/oss/signature?filename=a.txt") as response:
            form = json.load(response)
        content_type, body = multipart(form["fields"], "a.txt", b"hello")
        request = urllib.request.Request(form["url"], body, {"Content-Type": content_type})
        with urllib.request.urlopen(request) as answer:
            assert json.load(answer) == {"Status": "Ok"}


def test_ctrl_c_ends_it_with_status_0() -> None:
    with running("serve", *FREE_PORTS, end=signal.SIGINT) as (url, said):
        assert f"Open {url}/" in said


def test_options_of_settings_count_over_the_environment() -> None:
    said = oss_wsgi("serve", *FREE_PORTS, "--upload-dir", "no-slash", status=2, OSS_UPLOAD_DIR="good/").stderr
    assert said.startswith("oss-wsgi serve: OSS_UPLOAD_DIR")


def test_a_wrong_setting_is_said_under_the_commands_name() -> None:
    said = oss_wsgi("serve", *FREE_PORTS, status=2, OSS_BUKET="x", OSS_ACCESS_KEY_SECRET="swordfish swordfish").stderr
    assert "oss-wsgi serve: OSS_BUKET is not a setting: did you mean OSS_BUCKET?" in said
    assert "swordfish" not in said
