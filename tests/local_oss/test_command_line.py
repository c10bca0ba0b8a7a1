"""The options of `local-oss` and its greeting, without a process; test_main.py runs the command."""

import argparse
from contextlib import ExitStack

import pytest

from local_oss.__main__ import start
from local_oss.command_line import cname, greeting, origin, parser, region
from oss_wsgi.serving.until_stopped import CannotStartError


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (origin, "*", "*"),
        (origin, "http://localhost:*", "http://localhost:*"),
        (origin, "https://*.example.com", "https://*.example.com"),
        (region, "oss-cn-hangzhou", "oss-cn-hangzhou"),
        (cname, "img.example.com=my-bucket", ("img.example.com", "my-bucket")),
    ],
)
def test_a_valid_value_is_parsed(parse, text, value):
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (origin, "localhost:3000"),
        (origin, "http://localhost:3000/"),
        (origin, "https://*"),
        (origin, "http://*.*"),
        (region, "Hangzhou"),
        (cname, "img.example.com"),
        (cname, "=my-bucket"),
        (cname, "img.example.com="),
    ],
)
def test_an_invalid_value_is_refused_and_shown(parse, text):
    with pytest.raises(argparse.ArgumentTypeError, match=r"^must be ") as caught:
        parse(text)
    assert str(caught.value).endswith(f"not {text!r}")


def test_every_option_has_a_default():
    arguments = parser().parse_args([])
    assert arguments.listen == ("127.0.0.1", 8081)
    assert (arguments.region, arguments.cors, arguments.cnames) == ("cn-hangzhou", [], [])
    assert (arguments.callback_timeout, arguments.max_cors_rules) == (5.0, 10)


def test_the_help_breaks_no_name_at_its_hyphens(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert "x-oss-local-fault: NAME" in parser().format_help()


def test_the_options_are_those_of_the_class(monkeypatch):
    seen = {}

    def local_oss(**options):
        seen.update(options)
        raise ValueError("enough")

    monkeypatch.setattr("local_oss.LocalOSS", local_oss)
    options = {"region": "r", "callback-timeout": "0.25", "max-cors-rules": "2", "security-token": "t"}
    arguments = [f"--{name}={value}" for name, value in options.items()]
    arguments += ["--strict", "--exact-field-names", "--space-as-plus", "--test-mode", "--refuse-private-callback"]
    arguments += ["--bucket=one", "--bucket=two", "--cname=img.test=two", "--no-inspector", "--dir=.", "--reset"]
    arguments += ["--allow-public", "--refuse-v1"]
    with pytest.raises(CannotStartError, match="enough"), ExitStack() as stack:
        start(parser().parse_args(arguments), stack)
    expected = {"region": "r", "callback_timeout": 0.25, "max_cors_rules": 2, "security_token": "t", "bucket": "one"}
    expected |= dict.fromkeys(
        ("strict", "exact_field_names", "space_as_plus", "test_mode", "reset_keys", "allow_public", "refuse_v1"), True
    )
    expected |= {"allow_private_callback": False, "inspector": False, "cnames": {"img.test": "two"}}
    assert {name: seen[name] for name in expected} == expected


def test_the_greeting_shows_a_made_secret_but_not_a_given_one(oss):
    lines = list(greeting(oss, parser().parse_args([])))
    assert lines[0].startswith(f"Local OSS at {oss.url}, region cn-hangzhou, holding examplebucket. ")
    assert oss.access_key_secret in "\n".join(lines)
    assert lines[-1] == "Ctrl-C ends it."
    options = ["--access-key-id", oss.access_key_id, "--access-key-secret", oss.access_key_secret]
    arguments = parser().parse_args(options)
    assert oss.access_key_secret not in "\n".join(greeting(oss, arguments))


def test_the_greeting_warns_beyond_this_machine(oss):
    warning = "It listens beyond this machine: anyone who can connect can read its objects."
    beyond = ["--listen", "0.0.0.0:8081"]
    assert warning in list(greeting(oss, parser().parse_args([*beyond, "--acl", "public-read"])))
    safe = list(greeting(oss, parser().parse_args([*beyond, "--no-inspector"])))
    assert "It listens beyond this machine: only its access key reads and writes." in safe
    assert "to see each request" not in safe[0]
    lines = list(greeting(oss, parser().parse_args([*beyond, "--open-inspector"])))
    assert "It listens beyond this machine: anyone who can connect can use its inspector." in lines
    allowing = list(greeting(oss, parser().parse_args([*beyond, "--allow-public"])))
    assert "It listens beyond this machine: anyone who can connect can read objects with a public ACL." in allowing
    assert warning not in list(greeting(oss, parser().parse_args(["--listen", "[::1]:8081"])))


def test_the_lines_for_oss_wsgi_ask_for_what_was_given_and_do_not_show_it(oss):
    arguments = ["--access-key-id", oss.access_key_id, "--access-key-secret", oss.access_key_secret]
    lines = list(greeting(oss, parser().parse_args([*arguments, "--security-token", "t0ken"])))
    assert lines[1].endswith(", secret as given, security token as given.")
    assert any("oss2.StsAuth(ID, SECRET, TOKEN, " in line for line in lines)
    assert lines[-4].endswith(f" OSS_ACCESS_KEY_ID={oss.access_key_id}")
    assert lines[-3].endswith("; export OSS_ACCESS_KEY_SECRET OSS_SESSION_TOKEN")
    assert "read -r OSS_ACCESS_KEY_SECRET" in lines[-3]
    assert "t0ken" not in "\n".join(lines)
    assert oss.access_key_secret not in "\n".join(lines)
