"""Reads settings of which some are wrong, so that a check can run that needs none of those."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ...exceptions import SettingsError
from ...settings import TABLE, Settings

#: Variables that several checks need.
KEY = ("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET", "OSS_SESSION_TOKEN")
PLACE = ("OSS_BUCKET", "OSS_REGION", "OSS_ENDPOINT", "OSS_HOST")
_NAME = re.compile(r"OSS_[A-Z_]+")
_KNOWN = frozenset(row.variable for row in TABLE)


@dataclass(frozen=True)
class UsableSettings:
    """:ivar settings: without what ``wrong`` names; None where the rest cannot be used either."""

    settings: Settings | None
    wrong: frozenset[str]
    problems: tuple[str, ...]


def read(environ: Mapping[str, str]) -> UsableSettings:
    """Read the settings, and what is wrong with them, in sentences."""
    try:
        return UsableSettings(Settings.from_environ(environ), frozenset(), ())
    except SettingsError as error:
        problems = error.problems
    wrong = frozenset(name for problem in problems for name in _named(problem))
    right = {name: value for name, value in environ.items() if name not in wrong}
    if not wrong.isdisjoint(KEY):  # which have other names, too
        right = {name: value for name, value in right.items() if not name.startswith("ALIBABA_CLOUD_")}
    try:
        return UsableSettings(Settings.from_environ(right), wrong, problems)
    except SettingsError:
        return UsableSettings(None, wrong, problems)


def _named(problem: str) -> Iterator[str]:
    """Name the variables of which a sentence complains."""
    names = _NAME.findall(problem)
    # Of an unknown one the sentence goes on with one that may have been meant.
    yield from names if not names or names[0] in _KNOWN else names[:1]
