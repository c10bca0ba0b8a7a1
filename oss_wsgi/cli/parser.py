"""The parser of a command: its errors show its own usage, and repeat no value that may be a secret."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn, TypeVar

from ..settings import TABLE

N = TypeVar("N")

#: The options that secrets would have, and their variables.
_SECRETS = {f"--{row.name.replace('_', '-')}": row.variable for row in TABLE if row.secret}
_ASSIGNMENT = re.compile(r"((?:OSS|ALIBABA_CLOUD|ALIYUN)_[A-Z_]+)=\S*")
_NUMBER = re.compile(r"-\d+|-\d*\.\d+")


class UsageError(SystemExit):
    """Raised after a usage error was printed. It has exit status 2 and the ``message``."""

    def __init__(self, message: str) -> None:
        super().__init__(2)
        self.message = message


class CommandParser(argparse.ArgumentParser):
    """A parser that takes no abbreviations. The parser of a command reports unknown arguments itself."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{"allow_abbrev": False, **options})

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
        own = self._own(words)
        for word in own:
            assigned = _ASSIGNMENT.fullmatch(word)
            if assigned:
                self.error(f"{assigned[1]} is a variable of the environment: write it before the program's name.")
        unknown = [option for option in map(_option_of, own) if option and option not in self._option_string_actions]
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(map(self._with_suggestion, unknown))}")
        parsed, rest = super().parse_known_args(words, namespace)
        if rest and "--" not in words:
            # Before Python 3.13.1, argparse fills an optional list of names before the first option.
            others = list(words)
            for word in rest:
                others.remove(word)
            first = next((place for place, word in enumerate(others) if _option_of(word)), len(others))
            again, too_many = super().parse_known_args([*others[:first], *rest, *others[first:]], namespace)
            if not too_many:
                return again, []
        if rest:
            self.error(f"unrecognized arguments: {' '.join(repr(_name_in(word)) for word in rest)}")
        return parsed, rest

    def _own(self, words: list[str]) -> list[str]:
        """Return the words that this parser reads: up to ``--``, or up to the command's name if it has commands."""
        own = words[: words.index("--")] if "--" in words else words
        if any(isinstance(action, argparse._SubParsersAction) for action in self._actions):
            names = [position for position, word in enumerate(own) if not word.startswith("-")]
            return own[: names[0] + 1] if names else own
        return own

    def _with_suggestion(self, option: str) -> str:
        known = [*self._option_string_actions, *_SECRETS]
        close = next(iter(difflib.get_close_matches(option.replace("_", "-").lower(), known, n=1)), None)
        if close in self._option_string_actions:
            return f"{option!r} (did you mean {close}?)"
        if close is not None:
            return (
                f"{option!r} (secrets cannot be options, because other users of this machine can read command lines: "
                f"set {_SECRETS[close]} in the environment)"
            )
        return repr(option)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            choices = [str(choice) for choice in action.choices]
            close = difflib.get_close_matches(str(value), choices, n=1)
            suggestion = f" (did you mean {close[0]}?)" if close else ""
            raise argparse.ArgumentError(
                action, f"invalid choice: {value!r}{suggestion}; choose from {', '.join(choices)}"
            )


def _option_of(word: str) -> str | None:
    """Return the option in a word, without its value; None if argparse does not take the word for an option."""
    if len(word) < 2 or not word.startswith("-") or _NUMBER.fullmatch(word) or " " in word:
        return None
    return word.partition("=")[0]


def _name_in(word: str) -> str:
    """Return the part of an unexpected argument before its value, which may be a secret."""
    return re.split(r"[=\s]", word, maxsplit=1)[0] if word.startswith("-") else word
