"""The parser of a command: its errors show its own usage, and repeat no value that may be a secret."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn, TypeVar

from ..settings import TABLE

N = TypeVar("N")

#: The options that secrets would have, and their variables.
_SECRETS = {f"--{row.name.replace('_', '-')}": row.variable for row in TABLE if row.secret}
#: The options of settings are stored under these names.
_VARIABLES = frozenset(row.variable for row in TABLE)
_ASSIGNMENT = re.compile(r"((?:OSS|ALIBABA_CLOUD|ALIYUN)_[A-Z_]+)=")


class UsageError(SystemExit):
    """Raised after a usage error was printed. It has exit status 2 and the ``message``."""

    def __init__(self, message: str) -> None:
        super().__init__(2)
        self.message = message


class _Help(argparse.HelpFormatter):
    """The usual help, with a shorter usage and list of commands.

    The usage leaves out the settings, which have a group of their own. The list of commands has only the group's title.
    A line ends at a blank and never at a hyphen, so that names such as ``oss-wsgi[sdk]`` can be found and copied.
    """

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30)

    def add_usage(self, usage: str | None, actions: Any, groups: Any, prefix: str | None = None) -> None:
        super().add_usage(usage, [each for each in actions if each.dest not in _VARIABLES], groups, prefix)

    def _format_action(self, action: argparse.Action) -> str:
        if isinstance(action, argparse._SubParsersAction):
            return self._join_parts([self._format_action(command) for command in action._get_subactions()])
        return super()._format_action(action)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(indent + line for line in self._split_lines(text, width - len(indent)))


class CommandParser(argparse.ArgumentParser):
    """A parser that takes no abbreviations. The parser of a command reports unknown arguments itself."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{"allow_abbrev": False, "formatter_class": _Help, **options})

    def error(self, message: str) -> NoReturn:
        """Print the usage and the message. Raises UsageError."""
        self.print_usage(sys.stderr)
        print(f"{self.prog}: error: {message}", file=sys.stderr)
        raise UsageError(message)

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: N | None = None
    ) -> tuple[N | argparse.Namespace, list[str]]:
        """Parse the arguments. Unknown ones are an error here, and are not passed to the parent parser."""
        words = list(sys.argv[1:] if args is None else args)
        own = words[: words.index("--")] if "--" in words else words
        own = own if self._subparsers is None else own[:1]
        for word in own:  # otherwise a command would repeat it as the name of a file
            assigned = _ASSIGNMENT.match(word)
            if assigned:
                self.error(f"{assigned[1]} is a variable of the environment: write it before the program's name.")
        unknown = [word for word in own if self._is_unknown(word)]
        if unknown:  # told before an argument that is missing
            self._refuse(unknown)
        parsed, rest = super().parse_known_args(words, namespace)
        options = [word for word in rest if word.startswith("-")]
        if rest and not options:
            # Before Python 3.13.1, argparse fills an optional list of names before the first option.
            others = list(words)
            for word in rest:
                others.remove(word)
            first = next((place for place, word in enumerate(others) if word.startswith("-")), len(others))
            parsed, rest = super().parse_known_args([*others[:first], *rest, *others[first:]], namespace)
        if rest:
            self._refuse(options or rest)
        return parsed, rest

    def _is_unknown(self, word: str) -> bool:
        """Return whether a word is an option that does not exist; with a blank in it, only one of a secret is."""
        name = _option_name(word)
        is_option = word.startswith("--") and (" " not in word or name in _SECRETS)
        return is_option and name not in self._option_string_actions

    def _refuse(self, words: Sequence[str]) -> NoReturn:
        self.error(f"unrecognized arguments: {' '.join(map(self._shown, words))}")

    def _shown(self, word: str) -> str:
        """Return an unexpected argument without a value, which may be a secret, and what is probably meant."""
        name = _option_name(word)
        if name in _SECRETS:
            return (
                f"{name!r} (secrets cannot be options, because other users of this machine can read command lines: "
                f"set {_SECRETS[name]} in the environment)"
            )
        return repr(name) + _suggestion(name, self._option_string_actions)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse another value than the choices; it is repeated only if it is nearly one of them."""
        if action.choices is not None and value not in action.choices:
            choices = [str(choice) for choice in action.choices]
            suggestion = _suggestion(str(value), choices)
            shown = f": {value!r}{suggestion}" if suggestion else ""
            raise argparse.ArgumentError(action, f"invalid choice{shown}; choose from {', '.join(choices)}")


def _option_name(word: str) -> str:
    return re.split(r"[=\s]", word, maxsplit=1)[0]


def _suggestion(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""
