"""`oss-wsgi local`: the local OSS alone, with the options of `python -m oss_wsgi.local`."""

from __future__ import annotations

import signal
import urllib.request

import pytest

from oss_wsgi.local.command_line import parser

from .command import oss_wsgi, running


def test_it_runs_and_says_where() -> None:
    with running("local", "--listen", "127.0.0.1:0", "--bucket", "my-bucket") as (url, said):
        assert said.startswith(f"Local OSS at {url}, ")
        with urllib.request.urlopen(urllib.request.Request(f"{url}/", headers={"Accept": "text/html"})) as page:
            assert b"my-bucket" in page.read()


def test_ctrl_c_ends_it_with_status_0() -> None:
    with running("local", "--listen", "127.0.0.1:0", end=signal.SIGINT) as (url, _):
        assert url


def test_it_has_every_option_of_the_module() -> None:
    said = oss_wsgi("local", "--help").stdout
    options = [option for action in parser()._actions for option in action.option_strings]
    assert [option for option in options if option not in said] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["--access-key-id", "ID"], "oss-wsgi local: give --access-key-id and", id="half a key"),
        pytest.param(["--dir", "/dev/null/x"], "oss-wsgi local: --dir", id="a folder that cannot be"),
    ],
)
def test_misuse_is_status_2_under_the_commands_name(arguments: list[str], said: str) -> None:
    assert oss_wsgi("local", "--listen", "127.0.0.1:0", *arguments, status=2).stderr.startswith(said)
