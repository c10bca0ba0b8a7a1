"""The shared options: addresses are read strictly, and options of settings override the environment."""

from __future__ import annotations

import argparse

import pytest

from oss_wsgi.cli.main import command_parser
from oss_wsgi.cli.options import environ_of, server_parser
from oss_wsgi.settings import TABLE


def test_each_setting_has_an_option_unless_it_is_a_secret() -> None:
    variables = {action.dest for action in server_parser()._actions if action.dest.startswith("OSS_")}
    assert variables == {row.variable for row in TABLE if not row.secret}


def test_an_option_overrides_its_variable() -> None:
    arguments = server_parser().parse_args(["--bucket", "mine", "--upload-dir", ""])
    arguments.environ = {"OSS_BUCKET": "other", "OSS_REGION": "cn-hangzhou", "OSS_UPLOAD_DIR": "a/"}
    assert environ_of(arguments) == {"OSS_BUCKET": "mine", "OSS_REGION": "cn-hangzhou", "OSS_UPLOAD_DIR": ""}


def test_bounds_have_defaults_and_are_read_as_numbers() -> None:
    arguments = server_parser().parse_args([])
    assert (arguments.header_timeout, arguments.drain, arguments.connections) == (10, 10, None)
    arguments = server_parser().parse_args(["--idle-timeout", "0.5", "--drain", "0", "--connections", "20"])
    assert (arguments.idle_timeout, arguments.drain, arguments.connections) == (0.5, 0, 20)


@pytest.mark.parametrize("option", ["--header-timeout", "--drain", "--connections", "--listen"])
def test_another_bound_is_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        server_parser().parse_args([f"{option}=-1"])
    assert f"argument {option}: must be" in capsys.readouterr().err


def test_the_help_begins_with_what_a_beginner_needs() -> None:
    parser = command_parser()
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    groups = commands.choices["serve"]._action_groups
    titles = [str(group.title).partition(";")[0].partition(",")[0] for group in groups if group._group_actions]
    order = ["your application", "bucket", "server", "local OSS", "operation", "further settings"]
    assert [title for title in titles if title != "options"] == order
    first = [action.option_strings[0] for group in groups[2:5] for action in group._group_actions]
    wanted = [
        "--app",
        "--forms",
        "--authorize",
        "--reload",
        "--bucket",
        "--region",
        "--access-key-id",
        "--callback-url",
        "--listen",
        "--prefix",
    ]
    assert first[: len(wanted)] == wanted
    assert "one client address" in commands.choices["serve"].format_help().replace("\n", " ")


def help_of(command: str) -> str:
    parser = command_parser()
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return str(commands.choices[command].format_help()) if command else parser.format_help()


@pytest.mark.parametrize("command", ["verify", "cors"])
def test_the_help_of_a_command_shows_only_the_settings_that_it_reads(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = help_of(command)
    assert "--bucket NAME" in text
    assert "--upload-dir" not in text
    assert len(text.splitlines()) <= 40


@pytest.mark.parametrize("command", ["", "serve", "local", "sign", "reconcile", "explain", "cors", "doctor"])
def test_no_line_of_a_help_is_wider_than_80_columns_or_ends_inside_a_name(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = help_of(command).splitlines()
    assert [line for line in lines if len(line) > 80 or line.endswith("-")] == []


def test_a_setting_that_a_command_does_not_read_is_still_an_option() -> None:
    arguments = command_parser().parse_args(["verify", "--upload-dir", "a/"])
    assert arguments.OSS_UPLOAD_DIR == "a/"


def test_each_setting_has_a_placeholder_that_says_what_it_is() -> None:
    assert {row.variable for row in TABLE if row.placeholder == "TEXT" and not row.secret} == set()
    for command in ("serve", "doctor"):
        assert "VALUE" not in help_of(command)


def test_the_list_of_commands_is_a_line_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    commands = help_of("").partition("commands:\n")[2].partition("\n\n")[0].splitlines()
    assert [line.split()[0] for line in commands] == [
        "serve", "local", "sign", "upload", "verify", "reconcile", "explain", "cors", "doctor",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", "257", "100000"])
def test_a_number_of_processes_that_nobody_means_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        server_parser().parse_args([f"--processes={text}"])
    assert f"must be 1 to 256, about one for each core, not '{text}'" in capsys.readouterr().err
