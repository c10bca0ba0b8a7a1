"""The `completion` command: prints what completes commands and options in bash, zsh or fish, made from the parser."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from argparse import Namespace

_FILES = ("FILE", "DIR")

_BASH = """\
# Completes oss-wsgi in bash. Printed by `oss-wsgi completion bash`.
_oss_wsgi() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} command= kind= words= index reply
    COMPREPLY=()
    # bash splits --option=value into three words.
    if [[ $current == "=" ]]; then
        current=
    elif [[ $previous == "=" ]]; then
        previous=${{COMP_WORDS[COMP_CWORD-2]}}
    fi
    for ((index = 1; index < COMP_CWORD; index++)); do
        if [[ ${{COMP_WORDS[index]}} != -* ]]; then
            command=${{COMP_WORDS[index]}}
            break
        fi
    done
    case "$command $previous" in
{values}
    esac
    if [[ -z $kind ]]; then
        case "$command" in
{commands}
        esac
    fi
    if [[ $kind == words || ($kind == options && $current == -*) ]]; then
        while IFS= read -r reply; do COMPREPLY+=("$reply"); done < <(compgen -W "$words" -- "$current")
    elif [[ $kind == files ]]; then
        compopt -o filenames 2>/dev/null
        while IFS= read -r reply; do COMPREPLY+=("$reply"); done < <(compgen -f -- "$current")
    fi
}}
complete -F _oss_wsgi oss-wsgi
"""

_ZSH = """\
#compdef oss-wsgi
# Completes oss-wsgi in zsh. Printed by `oss-wsgi completion zsh`.
_oss_wsgi() {{
    local curcontext="$curcontext" state line
    local -a commands
    commands=(
{commands}
    )
    _arguments -C {help} '1:command:->command' '*::argument:->argument'
    case $state in
    command)
        _describe command commands
        ;;
    argument)
        case $line[1] in
{options}
        esac
        ;;
    esac
}}
if [[ ${{funcstack[1]}} == _oss_wsgi ]]; then
    _oss_wsgi "$@"
else
    compdef _oss_wsgi oss-wsgi
fi
"""


def add(subparsers: Any) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "completion",
        help="print what completes commands and options in a shell",
        description="Print what completes commands and options in a shell. Load it in the shell's own start-up file: "
        "bash `source <(oss-wsgi completion bash)`, zsh the same with zsh after `compinit`, fish "
        "`oss-wsgi completion fish | source`.",
        epilog="Example: oss-wsgi completion bash >> ~/.bashrc",
    )
    parser.add_argument("shell", choices=list(_PRINTERS), metavar="SHELL", help=f"one of {', '.join(_PRINTERS)}")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Print the shell's script and return 0."""
    print(_PRINTERS[arguments.shell](_commands(arguments.command_parser())), end="")
    return 0


class _Command:
    """One command: its name, a sentence about it, its options, and its first argument without a dash."""

    def __init__(self, name: str, summary: str, parser: argparse.ArgumentParser) -> None:
        self.name = name
        self.summary = summary
        self.options = [action for action in parser._actions if action.option_strings]
        self.arguments = [action for action in parser._actions if not action.option_strings]

    @property
    def words(self) -> list[str]:
        """Return all options."""
        return [option for action in self.options for option in action.option_strings]


def _commands(parser: argparse.ArgumentParser) -> list[_Command]:
    (subparsers,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    summaries = {choice.dest: choice.help or "" for choice in subparsers._choices_actions}
    return [_Command(name, summaries.get(name, ""), command) for name, command in subparsers.choices.items()]


def _choices(action: argparse.Action) -> list[str]:
    return [str(choice) for choice in action.choices or ()]


def _takes_files(action: argparse.Action) -> bool:
    return action.metavar in _FILES


def _meaning(action: argparse.Action) -> str:
    """Return the help of an option in one line; an argument's own text may hold what only argparse fills in."""
    return re.sub(r"\s*%\(default\)s", f" {action.default}", action.help or "").replace("%%", "%").strip()


def _bash(commands: Sequence[_Command]) -> str:
    values, positions = [], []
    for command in commands:
        for action in command.options:
            if action.nargs == 0:
                continue
            pattern = "|".join(f'"{command.name} {option}"' for option in action.option_strings)
            if _choices(action):
                result = f'kind=words words="{" ".join(_choices(action))}"'
            else:
                result = "kind=files" if _takes_files(action) else "kind=none"
            values.append(f"        {pattern}) {result} ;;")
        options = f'words="{" ".join(command.words)}"'
        first = command.arguments[0] if command.arguments else None
        positions.append(f"            {command.name})")
        if first is not None and _choices(first):
            positions.append(f'                kind=words words="{" ".join([*_choices(first), *command.words])}"')
        else:
            positions.append(f"                kind=options {options}")
            if any(map(_takes_files, command.arguments)):
                positions.append("                [[ $current == -* ]] || kind=files")
        positions.append("                ;;")
    names = " ".join(command.name for command in commands)
    positions += ['            "")', f'                kind=words words="{names} -h --help"', "                ;;"]
    return _BASH.format(values="\n".join(values), commands="\n".join(positions))


def _zsh(commands: Sequence[_Command]) -> str:
    names = "\n".join(f"        {_quoted(f'{command.name}:{command.summary}')}" for command in commands)
    options = []
    for command in commands:
        specifications = [*map(_zsh_option, command.options), *map(_zsh_argument, command.arguments)]
        arguments = " \\\n                ".join(_quoted(specification) for specification in specifications)
        options += [f"        {command.name})", f"            _arguments {arguments}", "            ;;"]
    return _ZSH.format(commands=names, options="\n".join(options), help="'(-h --help)'{-h,--help}'[show the help]'")


def _zsh_option(action: argparse.Action) -> str:
    repeated = "*" if isinstance(action, argparse._AppendAction) else ""
    meaning = f"[{_zsh_escaped(_meaning(action))}]"
    option = action.option_strings[-1]
    if action.nargs == 0:
        return f"{repeated}{option}{meaning}"
    return f"{repeated}{option}={meaning}{_zsh_value(action)}"


def _zsh_argument(action: argparse.Action) -> str:
    return f"{'1' if action.nargs is None else '*'}{_zsh_value(action)}"


def _zsh_value(action: argparse.Action) -> str:
    name = _zsh_escaped(str(action.metavar or action.dest))
    if _choices(action):
        return f":{name}:({' '.join(_choices(action))})"
    return f":{name}:{'_files' if _takes_files(action) else ' '}"


def _zsh_escaped(text: str) -> str:
    return re.sub(r"([\\\[\]:])", r"\\\1", text)


def _fish(commands: Sequence[_Command]) -> str:
    lines = ["# Completes oss-wsgi in fish. Printed by `oss-wsgi completion fish`.", "complete -c oss-wsgi -f"]
    lines += [
        f"complete -c oss-wsgi -n __fish_use_subcommand -a {command.name} -d {_fish_quoted(command.summary)}"
        for command in commands
    ]
    for command in commands:
        start = f"complete -c oss-wsgi -n '__fish_seen_subcommand_from {command.name}'"
        for action in command.arguments:
            if _choices(action):
                lines.append(f"{start} -a {_fish_quoted(' '.join(_choices(action)))}")
            elif _takes_files(action):
                lines.append(f"{start} -F")
        lines += [f"{start} {' '.join(_fish_option(action))}" for action in command.options]
    return "\n".join(lines) + "\n"


def _fish_option(action: argparse.Action) -> Iterator[str]:
    for option in action.option_strings:
        yield f"-l {option[2:]}" if option.startswith("--") else f"-s {option[1:]}"
    if _choices(action):
        yield f"-x -a {_fish_quoted(' '.join(_choices(action)))}"
    elif action.nargs != 0:
        yield "-r -F" if _takes_files(action) else "-x"
    yield f"-d {_fish_quoted(_meaning(action))}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


_PRINTERS = {"bash": _bash, "zsh": _zsh, "fish": _fish}
