"""A command's parser shows its own usage, and refuses a secret without repeating it."""

from __future__ import annotations

import pytest

from oss_wsgi.cli.main import command_parser
from oss_wsgi.cli.options import server_parser
from oss_wsgi.cli.parser import CommandParser, UsageError

#: What nobody may see again.
SECRET = "Kq7XyzzyKq7Xyzzy"
COMMANDS = {"serve": [], "sign": ["FILE"], "cors": ["print"]}


def usage_error(capsys: pytest.CaptureFixture[str], *words: str, parser: CommandParser | None = None) -> str:
    with pytest.raises(UsageError) as stop:
        (parser or command_parser()).parse_args(list(words))
    assert stop.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert stop.value.message in captured.err
    return captured.err


@pytest.mark.parametrize("command", [*COMMANDS, "local"])
def test_an_unknown_option_shows_the_usage_of_its_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--no-such-option"], ["--no-such-option", "value"]):
        error = usage_error(capsys, command, *words)
        assert error.startswith(f"usage: oss-wsgi {command} ")
        assert f"oss-wsgi {command}: error: unrecognized arguments: '--no-such-option'" in error


def test_an_unknown_option_before_the_command_shows_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    error = usage_error(capsys, "--no-such-option", "sign", "FILE")
    assert error.startswith("usage: oss-wsgi [-h] [--version] COMMAND ...")


def test_a_misspelt_option_is_told_without_its_value(capsys: pytest.CaptureFixture[str]) -> None:
    error = usage_error(capsys, "sign", f"--bukcet={SECRET}", "FILE", "--regoin", SECRET)
    assert "'--bukcet' (did you mean --bucket?) '--regoin' (did you mean --region?)" in error
    assert SECRET not in error


def test_a_misspelt_command_or_choice_is_told_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert "invalid choice: 'sgin' (did you mean sign?); choose from serve, " in usage_error(capsys, "sgin")
    assert "(did you mean region?)" in usage_error(capsys, "doctor", "--only", "regoin")


def test_names_may_stand_after_options() -> None:
    """argparse alone takes them in some versions of Python only."""
    arguments = command_parser().parse_args(["cors", "apply", "--yes", "https://a.example", "https://b.example"])
    assert (arguments.action, arguments.yes) == ("apply", True)
    assert arguments.origins == ["https://a.example", "https://b.example"]


def test_one_name_too_many_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "unrecognized arguments: 'second'" in usage_error(capsys, "verify", "first", "--json", "second")


@pytest.mark.parametrize("words", [["verify"], ["sign", "FILE"], []])
def test_a_variable_after_the_program_is_told_without_its_value(
    capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    error = usage_error(capsys, *words, f"OSS_ACCESS_KEY_SECRET={SECRET} and more")
    assert "OSS_ACCESS_KEY_SECRET is a variable of the environment: write it before the program's name." in error
    assert SECRET not in error


def test_options_are_not_abbreviated(capsys: pytest.CaptureFixture[str]) -> None:
    assert "'--access-key'" in usage_error(capsys, "sign", "--access-key", SECRET, "FILE")


@pytest.mark.parametrize(
    ("command", "option", "variable"),
    [
        ("sign", "--session-token", "OSS_SESSION_TOKEN"),
        ("sign", "--ticket-secret", "OSS_TICKET_SECRET"),
        ("sign", "--tickt-secret", ""),
        ("sign", "--password", ""),
        *((command, "--access-key-secret", "OSS_ACCESS_KEY_SECRET") for command in COMMANDS),
    ],
)
def test_a_secret_is_refused_with_its_variable_and_not_repeated(
    command: str, option: str, variable: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in ([option, SECRET], [f"{option}={SECRET}"]):
        for needed in ([], COMMANDS[command]):
            error = usage_error(capsys, command, *needed, *words)
            assert option in error and variable in error
            assert SECRET not in error


@pytest.mark.parametrize(
    "words",
    [
        ["--secret", SECRET, "sign"],
        [f"OSS_TICKET_SECRET={SECRET}", "sign", "FILE"],
        *([command, f"--ticket-secret {SECRET}"] for command in ("serve", "verify")),
        ["sign", "FILE", "-secret", SECRET],
        ["verify", "FILE", f"OSS_TICKET_SECRET={SECRET}"],
    ],
)
def test_a_secret_elsewhere_is_not_repeated_either(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert SECRET not in usage_error(capsys, *words)


def test_server_py_refuses_secrets_too(capsys: pytest.CaptureFixture[str]) -> None:
    parser = server_parser()
    assert isinstance(parser, CommandParser)
    error = usage_error(capsys, f"--ticket-secret={SECRET}", parser=parser)
    assert SECRET not in error
    assert "OSS_TICKET_SECRET" in error


def test_words_after_two_hyphens_are_no_options() -> None:
    parsed = command_parser().parse_args(["sign", "--size", "-1", "--", "--secret=x.png"])
    assert (parsed.file, parsed.size) == ("--secret=x.png", -1)
