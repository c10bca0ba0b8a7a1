"""Writes the parts of pages that the code knows: settings, attributes, command line, reasons, metrics, and the speed.

    python docs/generate.py

writes them into the pages in docs/ and in docs/zh-CN/, between two comments. A test compares the
pages with the code. docs/zh-CN/texts.toml has the Chinese of what the code says in English.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import inspect
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

sys.path.insert(0, str(Path(__file__).parents[1]))

from docs.speed_chart import names, newest
from local_oss.command_line import parser as local_parser
from oss_wsgi import DirectUpload, Grant, Metrics, Upload
from oss_wsgi.cli.main import command_parser
from oss_wsgi.explanations.rows import heading_of, rows
from oss_wsgi.settings import TABLE as SETTINGS

DOCS = Path(__file__).parent
#: How many codes with one fix stand together below it.
MANY = 3
BEGIN, END = "<!-- docs/generate.py writes what follows -->", "<!-- docs/generate.py wrote what stands above -->"


@functools.cache
def chinese() -> dict[str, str]:
    """Return the Chinese of each English text."""
    texts: dict[str, str] = tomllib.loads((DOCS / "zh-CN" / "texts.toml").read_text(encoding="utf-8"))
    return texts


def said(text: str, language: str) -> str:
    """Return a text of the code in a language. Raises KeyError where docs/zh-CN/texts.toml lacks it."""
    return chinese()[text] if language == "zh" and text else text


def cell(text: str) -> str:
    """Return a text as a cell of a table: on one line, with no bar and no markup by accident."""
    return prose(" ".join(text.split()).replace("|", "\\|"))


def prose(text: str) -> str:
    """Return a sentence of the code in Markdown, with options and variables as code."""
    if "`" in text:
        return text
    return re.sub(r"(?<![a-zA-Z0-9_-])(--[a-z][a-zA-Z0-9_-]*|OSS_[A-Z_*]+|<[a-z]+>)", r"`\1`", text)


def table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a table in Markdown."""
    lines = [heads, tuple("---" for _ in heads), *(tuple(cell(text) for text in row) for row in rows)]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def settings(language: str = "en") -> str:
    """Return the list of settings."""
    rows = [
        (
            f"`{row.variable}`",
            default_shown(row.shown_default, language),
            said(row.help, language),
            said("yes", language) if row.secret else "",
        )
        for row in SETTINGS
    ]
    return table(tuple(said(head, language) for head in ("variable", "default", "meaning", "secret")), rows)


def default_shown(text: str, language: str) -> str:
    """Return the default of a setting: a value as code, or words."""
    return chinese()[text] if language == "zh" and text in chinese() else f"`{text}`" if text else ""


def options(parser: argparse.ArgumentParser, language: str = "en") -> Iterator[str]:
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
                yield said(
                    "The [settings](settings.md) that are not secret: `--upload-dir` for `OSS_UPLOAD_DIR`.", language
                )
                yield ""
            told = True
            continue
        if group.title not in ("positional arguments", "options", "optional arguments"):
            title = said(str(group.title), language)
            yield f"{title[0].upper()}{title[1:]}{said(':', language)}\n"
        cells = [(name_of(action), said(help_of(action, parser), language)) for action in actions]
        yield table((said("argument", language), said("meaning", language)), cells)


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


def command(parser: argparse.ArgumentParser, level: int, language: str) -> Iterator[str]:
    """Yield a command: what it does, its arguments, its example, and its own commands."""
    yield f"{'#' * level} `{parser.prog}`\n"
    if parser.description:
        yield f"{prose(said(parser.description, language))}\n"
    if parser.prog == "oss-wsgi local":
        yield f"{said('Its options are [those of the local OSS](local-oss.md).', language)}\n"
    else:
        yield from options(parser, language)
    example = re.search(r"Examples?: (.*?)(?:\.\s+[A-Z]|$)", parser.epilog or "", re.DOTALL)
    if example:
        yield f"```text\n$ {' '.join(example[1].split())}\n```\n"
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in dict.fromkeys(action.choices.values()):
                yield from command(child, level + 1, language)


def command_line(language: str = "en") -> str:
    """Return the command line, made from its parser."""
    root = command_parser()
    (commands,) = (action for action in root._actions if isinstance(action, argparse._SubParsersAction))
    rows = [
        (f"[`{choice.dest}`](#oss-wsgi-{choice.dest})", said(choice.help or "", language))
        for choice in commands._choices_actions  # type: ignore[attr-defined]
    ]
    parts = [table((said("command", language), said("what it does", language)), rows)]
    for child in dict.fromkeys(commands.choices.values()):
        parts += command(child, 2, language)
    return "\n".join(parts)


def reasons(language: str = "en") -> str:
    """Return the tables of codes: those in our log, those of OSS, and EC numbers.

    Many codes with one fix stand in a table of their own, below the fix.
    """
    parts = []
    heads = tuple(said(head, language) for head in ("code", "meaning", "fix"))
    for kind in ("reason", "outcome", "code", "ec"):
        found = rows(kind, language=language)
        uses = Counter(row.fix for row in found)
        shared = [fix for fix in uses if uses[fix] >= MANY]
        cells = [(f"`{row.code}`", f'<a id="{row.code}"></a>{prose(row.meaning)}', row.fix) for row in found]
        parts.append(f"## {heading_of(kind, language)}\n")
        parts.append(table(heads, [row for row in cells if row[2] not in shared]))
        for fix in shared:
            parts.append(f"{said('All of these have one fix: {}', language).format(prose(fix))}\n")
            parts.append(table(heads[:2], [row[:2] for row in cells if row[2] == fix]))
    return "\n".join(parts)


def metrics(language: str = "en") -> str:
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
    heads = tuple(said(head, language) for head in ("metric", "label", "values"))
    return table(heads, [(f"`{name}`", label, said(values, language)) for name, label, values in rows])


def local_options(language: str = "en") -> str:
    """Return the options of the local OSS."""
    return "\n".join(options(local_parser(), language))


def meanings_of(kind: type, field: str) -> dict[str, str]:
    """Return what the docstring of a class says of each attribute (`:ivar name: meaning`) or argument (`:param`)."""
    fields = re.findall(rf"^:{field} (\w+): (.*(?:\n +.*)*)", inspect.cleandoc(kind.__doc__ or ""), re.MULTILINE)
    return {name: " ".join(meaning.split()).replace("``", "`") for name, meaning in fields}


def default_of(field: dataclasses.Field[object]) -> str:
    """Return the default of an attribute as it is written in Python."""
    if field.default_factory is not dataclasses.MISSING:
        return f"`{field.default_factory()!r}`"
    return f"`{field.default!r}`"


def default_argument(parameter: inspect.Parameter) -> str:
    """Return the default of an argument as it is written in Python; "" for an argument without one."""
    default = parameter.default
    if default is parameter.empty:
        return ""
    return f"`{default.__module__}.{default.__name__}`" if callable(default) else f"`{default!r}`"


def arguments(language: str) -> str:
    """Return the arguments of `DirectUpload`."""
    meanings = meanings_of(DirectUpload, "param")
    rows = [
        (f"`{name}`", f"`{parameter.annotation}`", default_argument(parameter), said(meanings[name], language))
        for name, parameter in inspect.signature(DirectUpload).parameters.items()
    ]
    heads = tuple(said(head, language) for head in ("argument", "type", "default", "meaning"))
    title = "`DirectUpload`: its arguments, by name after the first two"
    return f"### {said(title, language)}\n\n{table(heads, rows)}"


def attributes(language: str = "en") -> str:
    """Return the arguments of `DirectUpload`, and what `authorize` returns and `on_upload` receives."""
    parts = [arguments(language)]
    for kind, role in ((Grant, "what `authorize` returns"), (Upload, "what `on_upload` receives")):
        meanings = meanings_of(kind, "ivar")
        rows = [
            (f"`{field.name}`", f"`{field.type}`", default_of(field), said(meanings[field.name], language))
            for field in dataclasses.fields(kind)
        ]
        heads = tuple(said(head, language) for head in ("attribute", "type", "default", "meaning"))
        parts.append(f"### {said(f'`{kind.__name__}`: {role}', language)}\n\n{table(heads, rows)}")
    return "\n".join(parts)


def speed(language: str = "en") -> str:
    """Return the table of the newest benchmark's figures, and what they were measured with."""
    results = newest()
    works, machine, versions = results["works"], results["machine"], results["versions"]

    def figures(work: str, server: str, figure: str) -> str:
        """Return a figure with 16 and with 64 connections."""
        titles = (f"{work}, {number} connections" for number in (16, 64))
        found = (works.get(title, {}).get(server, {}).get(figure) for title in titles)
        return " / ".join(f"{value:,}" for value in found if value is not None)

    def closed(work: str, server: str) -> str:
        found = works.get(f"{work}, 16 connections, one for each request", {}).get(server)
        return f"{found['requests_a_second']:,}" if found else ""

    rows = [
        (
            shown,
            figures("signature", name, "requests_a_second"),
            figures("signature", name, "p99_ms"),
            closed("signature", name),
            figures("callback", name, "requests_a_second"),
            figures("callback", name, "p99_ms"),
            closed("callback", name),
            f"{max(work[name]['peak_mib'] for work in works.values() if name in work):.0f}",
        )
        for name, shown in names(results).items()
    ]
    heads = ("16 / 64 connections", "signatures a second", "p99, ms", "a connection each")
    heads += ("callbacks a second", "p99, ms", "a connection each", "MiB")
    shown = ", ".join(f"{name} {version}" for name, version in versions.items())
    facts = said("Measured on {} with {} cores of {}, {}: {}.", language).format(
        results["date"], machine["cores"], machine["processor"], machine["system"], shown
    )
    return f"{table(tuple(said(head, language) for head in heads), rows)}\n{facts}"


PAGES_WRITTEN = {
    "reference/settings.md": settings,
    "reference/python.md": attributes,
    "reference/command-line.md": command_line,
    "reference/reasons.md": reasons,
    "reference/metrics.md": metrics,
    "reference/local-oss.md": local_options,
    "explanation/speed.md": speed,
    "zh-CN/reference/settings.md": functools.partial(settings, "zh"),
    "zh-CN/reference/python.md": functools.partial(attributes, "zh"),
    "zh-CN/reference/reasons.md": functools.partial(reasons, "zh"),
    "zh-CN/reference/command-line.md": functools.partial(command_line, "zh"),
    "zh-CN/reference/metrics.md": functools.partial(metrics, "zh"),
    "zh-CN/reference/local-oss.md": functools.partial(local_options, "zh"),
    "zh-CN/explanation/speed.md": functools.partial(speed, "zh"),
}


def with_part(page: str, part: str) -> str:
    """Return a page with its generated part replaced."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{part.rstrip()}\n\n{END}{tail}"


def main() -> None:
    for name, part in PAGES_WRITTEN.items():
        path = DOCS / name
        path.write_text(with_part(path.read_text(encoding="utf-8"), part()), encoding="utf-8")


if __name__ == "__main__":
    main()
