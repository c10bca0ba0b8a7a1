"""The parser of a command: its errors show its own usage, and it refuses secrets without repeating them."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn, TypeVar

N = TypeVar("N")

#: Each secret's variable, and how people write it as an option: small letters and digits only, without `oss` before it.
_SECRETS = {
    "OSS_ACCESS_KEY_SECRET": (
        "accesskeysecret", "accesssecret", "keysecret", "aksecret", "sk", "secret", "secretkey", "secretaccesskey",
    ),
    "OSS_SESSION_TOKEN": ("sessiontoken", "securitytoken", "ststoken", "token"),
    "OSS_TICKET_SECRET": ("ticketsecret", "ticketsecrets", "ticketkey", "ticket"),
}  # fmt: skip
_SECRET_WORD = re.compile(r"secret|token|passw|pwd")
_PREFIX = re.compile(r"^(?:osswsgi|oss|alibabacloud|aliyun)")
_VARIABLE = re.compile(r"(?:OSS|ALIBABA_CLOUD|ALIYUN)_[A-Z_]*")
#: How much of two spellings must agree, from 0 to 1.
_NEAR = 0.8

_NUMBER = re.compile(r"-\d+|-\d*\.\d+")


class UsageError(SystemExit):
    """Raised after a usage error was printed. It has exit status 2 and the ``message``."""

    def __init__(self, message: str) -> None:
        super().__init__(2)
        self.message = message


class CommandParser(argparse.ArgumentParser):
    """A parser that takes no abbreviations; a parser of a command reports all that it does not know."""

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
            variable = secret_variable(word, self._option_string_actions)
            if variable:
                self.error(
                    f"secrets cannot be options, because other users of this machine can read command lines: set "
                    f"{variable} in the environment."
                )
        unknown = [option for option in map(_option_of, own) if option and option not in self._option_string_actions]
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(map(self._with_suggestion, unknown))}")
        parsed, rest = super().parse_known_args(words, namespace)
        if rest:
            self.error(f"unrecognized arguments: {' '.join(map(repr, rest))}")
        return parsed, rest

    def _own(self, words: list[str]) -> list[str]:
        """Return the words up to ``--``; a parser with commands gets those up to the command's name."""
        own = words[: words.index("--")] if "--" in words else words
        if any(isinstance(action, argparse._SubParsersAction) for action in self._actions):
            names = [position for position, word in enumerate(own) if not word.startswith("-")]
            return own[: names[0] + 1] if names else own
        return own

    def _with_suggestion(self, option: str) -> str:
        close = difflib.get_close_matches(option.replace("_", "-").lower(), self._option_string_actions, n=1)
        return f"{option!r}{f' (did you mean {close[0]}?)' if close else ''}"

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            choices = [str(choice) for choice in action.choices]
            close = difflib.get_close_matches(str(value), choices, n=1)
            suggestion = f" (did you mean {close[0]}?)" if close else ""
            raise argparse.ArgumentError(
                action, f"invalid choice: {value!r}{suggestion}; choose from {', '.join(choices)}"
            )


def secret_variable(word: str, known: Iterable[str] = ()) -> str | None:
    """Return the variable of the secret that an argument seems to hold, or None.

    :param known: the options of the command; they are not secret.
    """
    name = re.split(r"[=\s]", word, maxsplit=1)[0]
    if name in known or not (word.startswith("-") or (name != word and _VARIABLE.fullmatch(name))):
        return None
    letters = _letters(name)
    if any(_letters(option) in spellings for option in known for spellings in _SECRETS.values()):
        return None  # the local OSS takes made-up secrets
    for variable, spellings in _SECRETS.items():
        if letters in spellings:
            return variable
    options = max((_likeness(letters, _letters(option)) for option in known), default=0.0)
    nearness = {
        variable: max(_likeness(letters, spelling) for spelling in spellings if len(spelling) > 4)
        for variable, spellings in _SECRETS.items()
    }
    variable = max(nearness, key=nearness.__getitem__)
    if nearness[variable] >= max(_NEAR, options) or _SECRET_WORD.search(letters):
        return variable
    return None


def _letters(name: str) -> str:
    return _PREFIX.sub("", re.sub("[^a-z0-9]", "", name.lower()))


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other, autojunk=False).ratio()


def _option_of(word: str) -> str | None:
    """Return the option that a word is, without its value; None for any other word, as argparse decides it."""
    if len(word) < 2 or not word.startswith("-") or _NUMBER.fullmatch(word) or " " in word:
        return None
    return word.partition("=")[0]
