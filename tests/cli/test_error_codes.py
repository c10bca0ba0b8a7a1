"""The table of error codes against the code: each code that is emitted has a row that fits all who emit it."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from oss_wsgi import exceptions
from oss_wsgi.cli.error_codes import PAGES, TABLE, Explanation, find, see_also
from oss_wsgi.cli.http_client import OSSRefusal
from oss_wsgi.recovery.sweep import OUTCOMES

PACKAGE = Path(__file__).parent.parent.parent / "oss_wsgi"
CODES = {row.code for row in TABLE}
REASONED_ERRORS = {
    name
    for name, value in vars(exceptions).items()
    if isinstance(value, type) and issubclass(value, exceptions.ReasonedError)
}


@pytest.mark.parametrize(
    ("written", "code"),
    [
        *((text, "0006-00000213") for text in ("EC 0006-00000213", "ec:0006-00000213", "ec0006-00000213")),
        *((text, "0006-00000213") for text in (" 0006-00000213 ", "(EC 0006-00000213)", "EC=0006-00000213.")),
        *((text, "ticket_foreign") for text in ("reason=ticket_foreign", "reason: ticket_foreign,")),
        *((text, "AccessDenied") for text in ("accessdenied", "Code: AccessDenied", "(AccessDenied)")),
    ],
)
def test_a_code_is_found_however_it_is_written(written: str, code: str) -> None:
    row = find(written)
    assert row is not None
    assert row.code == code


@pytest.mark.parametrize(
    ("code", "ec", "sentence"),
    [
        ("InvalidArgument", "0002-00000701", "For more run `oss-wsgi explain 0002-00000701`."),
        ("InvalidArgument", "0099-00000001", "For more run `oss-wsgi explain InvalidArgument`."),
        ("Unknown", "0099-00000001", "For more see https://api.aliyun.com/troubleshoot?q=0099-00000001."),
        ("Unknown", "", "See Unknown in the help of OSS."),
        ("", "", ""),
    ],
)
def test_a_refusal_points_to_its_row_or_to_the_help_of_oss(code: str, ec: str, sentence: str) -> None:
    assert see_also(OSSRefusal(code, "", ec)) == sentence


def test_each_code_comes_once_with_a_meaning_and_a_fix_in_sentences() -> None:
    codes = [row.code.lower() for row in TABLE]
    assert len(set(codes)) == len(codes)
    for row in TABLE:
        assert row.meaning.endswith("."), row.code
        assert row.fix.endswith("."), row.code
        assert not row.fix.startswith("`oss-wsgi"), "a fix is a sentence"
        assert row.sources, row.code
        assert not any("\u00a7" in source for source in row.sources), "readers do not have these notes"


def trees(*, local: bool) -> dict[str, ast.Module]:
    """Return the trees of the local OSS's modules or of production's, by the module's name within the package."""
    modules = {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in sorted(PACKAGE.rglob("*.py"))
    }
    return {
        name.removesuffix(".__init__"): ast.parse(path.read_text(encoding="utf-8"))
        for name, path in modules.items()
        if name.startswith("local.") == local and not name.startswith(("cli.", "testing."))
    }


PRODUCTION = trees(local=False)


def patterns(node: ast.AST | None) -> Iterator[str]:
    """Yield a regular expression for each text that an argument may be; a computed part may be any word."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield re.escape(node.value)
    elif isinstance(node, ast.IfExp):
        yield from patterns(node.body)
        yield from patterns(node.orelse)
    elif isinstance(node, ast.JoinedStr):
        texts = [""]
        for part in node.values:
            value = part.value if isinstance(part, ast.FormattedValue) else part
            texts = [text + pattern for text in texts for pattern in [*patterns(value)] or [r"\w+"]]
        yield from texts


def argument(call: ast.Call, name: str, position: int) -> ast.AST | None:
    named = {keyword.arg: keyword.value for keyword in call.keywords}
    return named.get(name) or (call.args[position] if len(call.args) > position else None)


def called_name(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]


def without_row(codes: set[str]) -> set[str]:
    return {pattern for pattern in codes if not any(re.fullmatch(pattern, code) for code in CODES)}


def test_every_code_of_the_local_oss_has_a_row() -> None:
    codes: set[str] = set()
    for tree in trees(local=True).values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and called_name(node) == "OSSError":
                codes.update(patterns(argument(node, "code", 1)))
            if isinstance(node, ast.Constant) and re.fullmatch(r"[0-9]{4}-[0-9]{8}", str(node.value)):
                codes.add(str(node.value))
    assert len(codes) > 80
    assert {"SlowDown", "0002-00000705"} <= codes
    assert without_row(codes) == set()


def collect_emitters() -> dict[str, set[str]]:
    """Return each reason, or a pattern of reasons, with the modules that emit it.

    A reason is emitted by raising an error that has one, by calling a function that takes a ``reason``, and by setting
    a request's ``reason``.
    """
    positions = dict.fromkeys(REASONED_ERRORS, 0)
    for tree in PRODUCTION.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                names = [parameter.arg for parameter in (*node.args.args, *node.args.kwonlyargs)]
                if "reason" in names and names[0] != "self":
                    positions[node.name] = names.index("reason")
    emitters: defaultdict[str, set[str]] = defaultdict(set)
    for name, tree in PRODUCTION.items():
        for node in ast.walk(tree):
            reason: ast.AST | None = None
            if isinstance(node, ast.Call) and called_name(node) in positions:
                reason = argument(node, "reason", positions[called_name(node)])
            elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).endswith(".reason"):
                reason = node.value
            for pattern in patterns(reason):
                emitters[pattern].add(name)
    return dict(emitters)


EMITTERS = collect_emitters()
REASON_ROWS = {row.code: row for row in TABLE if not set(row.origins) & PAGES.keys()}


def emitting_modules(code: str, *, computed: bool) -> set[str]:
    """Return the modules that emit a reason as it is written, with ``computed`` those too that put it together."""
    modules = [
        names for pattern, names in EMITTERS.items() if pattern == code or (computed and re.fullmatch(pattern, code))
    ]
    return set().union(*modules)


def test_every_reason_in_the_log_has_a_row() -> None:
    assert len(EMITTERS) > 40
    assert {"anonymous", "ticket_used", "signature_wrong", "too_many_requests", "repeated"} <= EMITTERS.keys()
    assert without_row(set(EMITTERS)) == set()


@pytest.mark.parametrize("row", REASON_ROWS.values(), ids=lambda row: row.code)
def test_the_row_of_a_reason_lists_the_modules_that_emit_it(row: Explanation) -> None:
    """If this fails, list the modules that emit the reason now, and check that the row's texts fit all of them."""
    surely, possibly = (emitting_modules(row.code, computed=computed) for computed in (False, True))
    assert possibly, "no module emits it: delete the row"
    assert surely <= set(row.origins) <= possibly


def test_every_module_that_computes_a_reason_is_listed_in_a_row() -> None:
    for pattern, names in EMITTERS.items():
        rows = [row for code, row in REASON_ROWS.items() if re.fullmatch(pattern, code)]
        for name in names:
            assert any(name in row.origins for row in rows), (pattern, name)


def own_words(module: str) -> set[str]:
    """Return the words that only fit one module: its own name and its public classes and functions."""
    definitions = (node.name for node in PRODUCTION[module].body if isinstance(node, ast.ClassDef | ast.FunctionDef))
    return {module.rpartition(".")[2].lower(), *(name.lower() for name in definitions if not name.startswith("_"))}


def blamed_modules(row: Explanation) -> set[str]:
    """Return the emitting modules that a row's texts name."""
    words = set(re.findall(r"\w+", f"{row.meaning} {row.fix}".lower()))
    return {module for module in row.origins if words & own_words(module)}


@pytest.mark.parametrize("row", [row for row in REASON_ROWS.values() if len(row.origins) > 1], ids=lambda row: row.code)
def test_a_reason_of_several_modules_does_not_blame_one_of_them(row: Explanation) -> None:
    assert blamed_modules(row) in (set(), set(row.origins))


def test_a_row_that_blames_one_of_several_modules_is_recognised() -> None:
    origins = REASON_ROWS["not_guarded"].origins
    assert len(origins) == 3
    row = Explanation("not_guarded", "Confirmation was called without CallbackGuard.", "Add CallbackGuard.", origins)
    assert blamed_modules(row) == {"middleware.confirmation"}


def test_each_outcome_of_a_sweep_has_a_row() -> None:
    assert {row.code for row in TABLE if row.origins == ("SWEEP",)} == set(OUTCOMES)
