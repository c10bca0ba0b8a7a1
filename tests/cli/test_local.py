"""`oss-wsgi local`: a local OSS, with the options of `python -m oss_wsgi.local`."""

from __future__ import annotations

import signal
import urllib.request

import pytest

from oss_wsgi.local.command_line import parser

from .command import oss_wsgi, running

pytestmark = pytest.mark.slow


def test_the_local_oss_runs_and_prints_its_address() -> None:
    with running("local", "--listen", "127.0.0.1:0", "--bucket", "my-bucket") as (url, output):
        assert output.startswith(f"Local OSS at {url}, ")
        with urllib.request.urlopen(urllib.request.Request(f"{url}/", headers={"Accept": "text/html"})) as page:
            assert b"my-bucket" in page.read()


def test_ctrl_c_ends_the_local_oss_with_status_0() -> None:
    with running("local", "--listen", "127.0.0.1:0", end=signal.SIGINT) as (url, _):
        assert url


def test_the_command_has_every_option_of_the_module() -> None:
    output = oss_wsgi("local", "--help").stdout
    options = [option for action in parser()._actions for option in action.option_strings]
    assert [option for option in options if option not in output] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--access-key-id", "ID"], "oss-wsgi local: give --access-key-id and", id="half a key"),
        pytest.param(["--dir", "/dev/null/x"], "oss-wsgi local: --dir", id="a folder that cannot be"),
    ],
)
def test_misuse_names_the_command(arguments: list[str], message: str) -> None:
    assert oss_wsgi("local", "--listen", "127.0.0.1:0", *arguments, status=2).stderr.startswith(message)
