"""Writes the parts of the reference that the code knows: settings, attributes, command line, reasons, metrics.

    python docs/generate.py

writes them into the pages in docs/reference/, between two comments. A test compares the pages with the code.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from oss_wsgi import Grant, Metrics, Upload
from oss_wsgi.cli.main import command_parser
from oss_wsgi.explanations.rows import heading_of, rows
from oss_wsgi.local.command_line import parser as local_parser
from oss_wsgi.settings import TABLE as SETTINGS

REFERENCE = Path(__file__).parent / "reference"
BEGIN, END = "<!-- docs/generate.py writes what follows -->", "<!-- docs/generate.py wrote what stands above -->"


def cell(text: str) -> str:
    """Return a text as a cell of a table: on one line, with no bar and no markup by accident."""
    return prose(" ".join(text.split()).replace("|", "\\|"))


def prose(text: str) -> str:
    """Return a sentence of the code in Markdown, with options and variables as code."""
    if "`" in text:
        return text
    return re.sub(r"(?<![\w-])(--[a-z][\w-]*|OSS_[A-Z_*]+|<[a-z]+>)", r"`\1`", text)


def table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a table in Markdown."""
    lines = [heads, tuple("---" for _ in heads), *(tuple(cell(text) for text in row) for row in rows)]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def settings() -> str:
    """Return the list of settings."""
    rows = [
        (
            f"`{row.variable}`",
            f"`{row.shown_default}`" if row.shown_default else "",
            row.help,
            "yes" if row.secret else "",
        )
        for row in SETTINGS
    ]
    return table(("variable", "default", "meaning", "secret"), rows)


def options(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield the arguments of one command, a table for each group."""
    flags = {f"--{row.name.replace('_', '-')}" for row in SETTINGS}
    told = False
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if not isinstance(action, argparse._SubParsersAction)]
        actions = [action for action in actions if action.help != argparse.SUPPRESS and action.dest != "help"]
        if not actions:
            continue
        if all(set(action.option_strings) & flags for action in actions):
            if not told:
                yield "The [settings](settings.md) that are not secret: `--upload-dir` for `OSS_UPLOAD_DIR`.\n"
            told = True
            continue
        if group.title not in ("positional arguments", "options", "optional arguments"):
            yield f"{str(group.title)[0].upper()}{str(group.title)[1:]}:\n"
        yield table(("argument", "meaning"), [(name_of(action), help_of(action, parser)) for action in actions])


def name_of(action: argparse.Action) -> str:
    """Return an argument as it is typed."""
    value = action.metavar or action.dest.upper()
    if action.choices is not None:
        value = "{" + ",".join(map(str, action.choices)) + "}"
    value = value if isinstance(value, str) else " ".join(value)
    if not action.option_strings:
        return (
            f"`{value}`" if action.nargs not in ("*", "+", "?") else f"`{value}{'...' if action.nargs != '?' else ''}`"
        )
    takes_value = action.nargs != 0
    return ", ".join(f"`{flag} {value}`" if takes_value else f"`{flag}`" for flag in action.option_strings)


def help_of(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    """Return the help of an argument with its default filled in."""
    return (action.help or "") % {"default": action.default, "prog": parser.prog}


def command(parser: argparse.ArgumentParser, level: int) -> Iterator[str]:
    """Yield a command: what it does, its arguments, its example, and its own commands."""
    yield f"{'#' * level} `{parser.prog}`\n"
    if parser.description:
        yield f"{prose(parser.description)}\n"
    yield from options(parser)
    example = re.search(r"Examples?: (.*?)(?:\.\s+[A-Z]|$)", parser.epilog or "", re.DOTALL)
    if example:
        yield f"```text\n$ {' '.join(example[1].split())}\n```\n"
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in dict.fromkeys(action.choices.values()):
                yield from command(child, level + 1)


def command_line() -> str:
    """Return the command line, made from its parser."""
    root = command_parser()
    (commands,) = (action for action in root._actions if isinstance(action, argparse._SubParsersAction))
    rows = [
        (f"[`{choice.dest}`](#oss-wsgi-{choice.dest})", choice.help or "")
        for choice in commands._choices_actions  # type: ignore[attr-defined]
    ]
    parts = [table(("command", "what it does"), rows)]
    for child in dict.fromkeys(commands.choices.values()):
        parts += command(child, 2)
    return "\n".join(parts)


def reasons() -> str:
    """Return the tables of codes: those in our log, those of OSS, and EC numbers."""
    parts = []
    for kind in ("reason", "outcome", "code", "ec"):
        cells = [(f"`{row.code}`", row.meaning, row.fix) for row in rows(kind)]
        parts.append(f"## {heading_of(kind)}\n\n" + table(("code", "meaning", "fix"), cells))
    return "\n".join(parts)


def metrics() -> str:
    """Return the table of metrics, from the docstring that lists them: its rules of `=` say where the columns are."""
    lines = inspect.cleandoc(Metrics.__doc__ or "").splitlines()
    first, last = (number for number, line in enumerate(lines) if line.startswith("==="))
    starts = [match.start() for match in re.finditer("=+", lines[first])]
    columns = list(zip(starts, [*starts[1:], None], strict=True))
    rows: list[list[str]] = []
    for line in lines[first + 1 : last]:
        cells = [line[begin:end].strip() for begin, end in columns]
        if cells[0]:
            rows.append(cells)
        else:
            rows[-1][2] += f" {cells[2]}"
    return table(("metric", "label", "values"), [(f"`{name}`", label, values) for name, label, values in rows])


def local_options() -> str:
    """Return the options of the local OSS's own command."""
    return "\n".join(options(local_parser()))


def attribute_meanings(kind: type) -> dict[str, str]:
    """Return what the docstring of a class says of each attribute (`:ivar name: meaning`)."""
    fields = re.findall(r"^:ivar (\w+): (.*(?:\n +.*)*)", inspect.cleandoc(kind.__doc__ or ""), re.MULTILINE)
    return {name: " ".join(meaning.split()).replace("``", "`") for name, meaning in fields}


def default_of(field: dataclasses.Field[object]) -> str:
    """Return the default of an attribute as it is written in Python."""
    if field.default_factory is not dataclasses.MISSING:
        return f"`{field.default_factory()!r}`"
    return f"`{field.default!r}`"


def attributes() -> str:
    """Return the attributes of what `authorize` returns and of what `on_upload` receives."""
    parts = []
    for kind, role in ((Grant, "what `authorize` returns"), (Upload, "what `on_upload` receives")):
        meanings = attribute_meanings(kind)
        rows = [
            (f"`{field.name}`", f"`{field.type}`", default_of(field), meanings[field.name])
            for field in dataclasses.fields(kind)
        ]
        heads = ("attribute", "type", "default", "meaning")
        parts.append(f"### `{kind.__name__}`: {role}\n\n{table(heads, rows)}")
    return "\n".join(parts)


PAGES_WRITTEN = {
    "settings.md": settings,
    "python.md": attributes,
    "command-line.md": command_line,
    "reasons.md": reasons,
    "metrics.md": metrics,
    "local-oss.md": local_options,
}


def with_part(page: str, part: str) -> str:
    """Return a page with its generated part replaced."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{part.rstrip()}\n\n{END}{tail}"


def main() -> None:
    for name, part in PAGES_WRITTEN.items():
        path = REFERENCE / name
        path.write_text(with_part(path.read_text(encoding="utf-8"), part()), encoding="utf-8")


if __name__ == "__main__":
    main()
