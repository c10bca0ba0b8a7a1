"""The rows and the code, compared in both directions: what the code emits has a row, and it emits what has a row.

The texts of a row fit every module that emits it.
"""

from __future__ import annotations

import ast
import functools
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path

import pytest

from oss_wsgi import exceptions
from oss_wsgi.explanations.rows import (
    APPLICATION,
    CODE_KINDS,
    FRONT,
    OSS,
    Row,
    find,
    heading_of,
    hint_of,
    row_of,
    rows,
    rows_in,
    rows_of_status,
)
from oss_wsgi.recovery.sweep import OUTCOMES
from oss_wsgi.wsgi.responses import STATUSES

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "oss_wsgi"
FILE = PACKAGE / "explanations" / "rows.toml"
WORDS = (ROOT / "static" / "languages" / "en.js").read_text(encoding="utf-8")
KINDS = (*CODE_KINDS, "status", "line", "sentence", "difference", "server", "route")
TABLE = rows(*CODE_KINDS)
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


def test_each_row_comes_once_with_a_meaning_and_a_fix_in_sentences() -> None:
    assert sum(len(rows(kind)) for kind in KINDS) > 280
    codes = [row.code.lower() for row in TABLE]
    assert len(set(codes)) == len(codes)
    statuses = [(row.code, row.by) for row in rows("status")]
    assert len(set(statuses)) == len(statuses)
    for row in rows(*(kind for kind in KINDS if kind not in ("server", "route"))):
        assert re.match(r"[A-Za-z0-9`{]", row.meaning), row
        assert row.meaning.endswith("."), row
        assert row.fix.endswith((".", "`.")), row
        assert not row.fix.startswith("`oss-wsgi"), "a fix is a sentence"
        assert row.sources, row
        assert row.by, row
        assert set(row.shown) <= {"answer", "page", "log", "command"}, row
        assert row.shown, row
        assert not any("\u00a7" in source for source in row.sources), "readers do not have these notes"


def test_the_parts_of_a_log_line_are_not_escaped_in_it() -> None:
    for row in rows("server", "route"):
        assert "'" not in row.meaning + row.fix, row
        assert not row.fix.endswith("."), row


def test_each_phrase_is_used_and_each_brace_is_meant() -> None:
    text = FILE.read_text(encoding="utf-8")
    phrases = text.partition("[phrases]\n")[2].partition("\n[")[0]
    names = re.findall(r"^(\w+) = ", phrases, re.MULTILINE)
    assert len(names) > 30
    assert [name for name in names if f"{{{name}}}" not in text] == []
    chinese = text.partition("[phrases.zh]\n")[2].partition("\n[")[0]
    assert set(re.findall(r"^(\w+) = ", chinese, re.MULTILINE)) <= set(names)
    texts = " ".join(f"{row.meaning} {row.fix}" for row in rows(*KINDS))
    assert set(re.findall(r"\{(\w+)\}", texts)) == {"prefix", "names", "bytes"}


def test_a_phrase_stands_in_the_place_of_its_name() -> None:
    texts = (row_of("code", "NoSuchBucket").fix, rows_of_status(403, APPLICATION)[0].fix)
    assert texts[0] == "Check OSS_BUCKET and OSS_REGION: `oss-wsgi doctor --only bucket`."
    assert "the line `refused: status=403`" in texts[1]


def test_what_a_language_lacks_is_in_english() -> None:
    bucket, key = {"meaning": "No bucket.", "fix": "{check}"}, {"meaning": "No key.", "fix": "{check} {look}"}
    tables = {
        "kinds": {"code": {"by": ["OSS"], "shown": ["answer"]}},
        "sources": {},
        "phrases": {"check": "Check it.", "look": "Look.", "zh": {"check": "检查。"}},
        "code": {"NoSuchBucket": {**bucket, "zh": {"meaning": "没有存储空间。"}}, "NoSuchKey": key},
    }
    chinese, english = (rows_in(tables, language)["code"] for language in ("zh", "en"))
    assert [(row.meaning, row.fix) for row in chinese] == [("没有存储空间。", "检查。"), ("No key.", "检查。 Look.")]
    assert [(row.meaning, row.fix) for row in english] == [("No bucket.", "Check it."), ("No key.", "Check it. Look.")]
    assert find("NoSuchKey", language="xx") == find("NoSuchKey")


def texts_of(row: Row) -> tuple[str, str, str]:
    return row.meaning, row.fix, row.source


def test_each_row_that_a_person_reads_is_in_chinese_with_the_same_names() -> None:
    names = re.compile(r"`[^`]*`|OSS_[A-Z_]+|EC [0-9-]+|[0-9]{3,}|\{\w+\}")
    for english, chinese in zip(rows(*KINDS), rows(*KINDS, language="zh"), strict=True):
        for text, other in zip(texts_of(english), texts_of(chinese), strict=True):
            assert bool(text) == bool(re.search("[一-鿿]", other)), english
        texts = [f"{row.meaning} {row.fix}" for row in (english, chinese)]
        assert set(names.findall(texts[0])) == set(names.findall(texts[1])), english
        assert not re.search(r"\. ?[A-Z][a-z]+ ", chinese.fix), "no sentence is left in English"


def test_a_server_that_is_not_listed_has_a_row_all_the_same() -> None:
    assert row_of("server", "nobody's", default="other").name == "other"
    with pytest.raises(KeyError):
        row_of("server", "nobody's")


def test_the_hint_of_a_refusal_is_its_row() -> None:
    assert hint_of("anonymous").startswith("Nobody may upload yet. Pass an authorize callable")
    assert heading_of("reason") == "In this application's log"


@functools.cache
def trees(*, local: bool) -> dict[str, ast.Module]:
    """Return the trees of the local OSS's modules or of production's, by the module's name within the package."""
    house = ROOT / "local_oss" if local else PACKAGE
    modules = {".".join(path.relative_to(house).with_suffix("").parts): path for path in sorted(house.rglob("*.py"))}
    return {
        name.removesuffix(".__init__"): ast.parse(path.read_text(encoding="utf-8"))
        for name, path in modules.items()
        if not name.startswith(("cli.", "testing."))
    }


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


@pytest.mark.slow
def test_the_codes_of_the_local_oss_are_those_whose_rows_say_so() -> None:
    patterns_of_codes: set[str] = set()
    for tree in trees(local=True).values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and called_name(node) == "OSSError":
                patterns_of_codes.update(patterns(argument(node, "code", 1)))
            if isinstance(node, ast.Constant) and re.fullmatch(r"[0-9]{4}-[0-9]{8}", str(node.value)):
                patterns_of_codes.add(str(node.value))
    assert len(patterns_of_codes) > 80
    assert {"SlowDown", "0002-00000705"} <= patterns_of_codes
    assert without_row(patterns_of_codes) == set()
    emitted = {code for code in CODES if any(re.fullmatch(pattern, code) for pattern in patterns_of_codes)}
    assert {row.code for row in rows("code", "ec") if "local OSS" in row.by} == emitted - set(REASON_ROWS)


@functools.cache
def emitters() -> dict[str, set[str]]:
    """Return each reason, or a pattern of reasons, with the modules that emit it.

    Code emits a reason when it raises an error that has one, calls a function that takes a ``reason``, or sets a
    request's ``reason``.
    """
    positions = dict.fromkeys(REASONED_ERRORS, 0)
    for tree in trees(local=False).values():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                names = [parameter.arg for parameter in (*node.args.args, *node.args.kwonlyargs)]
                if "reason" in names and node.name != "__init__":
                    positions[node.name] = names.index("reason") - (names[0] == "self")
    found: defaultdict[str, set[str]] = defaultdict(set)
    for name, tree in trees(local=False).items():
        for node in ast.walk(tree):
            reason: ast.AST | None = None
            if isinstance(node, ast.Call) and called_name(node) in positions:
                reason = argument(node, "reason", positions[called_name(node)])
            elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).endswith(".reason"):
                reason = node.value
            for pattern in patterns(reason):
                found[pattern].add(name)
    return dict(found)


REASON_ROWS = {row.code: row for row in rows("reason")}


def emitting_modules(code: str, *, computed: bool) -> set[str]:
    """Return the modules that emit a reason as a literal; with ``computed`` also those that compose it."""
    modules = [
        names for pattern, names in emitters().items() if pattern == code or (computed and re.fullmatch(pattern, code))
    ]
    return set().union(*modules)


def test_every_reason_in_the_log_has_a_row() -> None:
    assert len(emitters()) > 40
    assert {"anonymous", "ticket_used", "signature_wrong", "too_many_requests", "repeated"} <= emitters().keys()
    assert without_row(set(emitters())) == set()


def test_the_row_of_a_reason_lists_the_modules_that_emit_it() -> None:
    """If this fails, list the modules that emit the reason now, and check that the row's texts fit all of them."""
    for row in REASON_ROWS.values():
        surely, possibly = (emitting_modules(row.code, computed=computed) for computed in (False, True))
        assert possibly, f"no module emits {row.code}: delete the row"
        assert surely <= set(row.by) <= possibly, row.code


def test_every_module_that_computes_a_reason_is_listed_in_a_row() -> None:
    for pattern, names in emitters().items():
        rows = [row for code, row in REASON_ROWS.items() if re.fullmatch(pattern, code)]
        for name in names:
            assert any(name in row.by for row in rows), (pattern, name)


def own_words(module: str) -> set[str]:
    """Return the words that fit one module only: its own name and its public classes and functions."""
    definitions = (
        node.name for node in trees(local=False)[module].body if isinstance(node, ast.ClassDef | ast.FunctionDef)
    )
    return {module.rpartition(".")[2].lower(), *(name.lower() for name in definitions if not name.startswith("_"))}


def blamed_modules(row: Row) -> set[str]:
    """Return the emitting modules that a row's texts name."""
    words = set(re.findall(r"\w+", f"{row.meaning} {row.fix}".lower()))
    return {module for module in row.by if words & own_words(module)}


def test_a_reason_of_several_modules_does_not_blame_one_of_them() -> None:
    for row in (row for row in REASON_ROWS.values() if len(row.by) > 1):
        assert blamed_modules(row) in (set(), set(row.by)), row.code


def test_a_row_that_blames_one_of_several_modules_is_recognised() -> None:
    several = REASON_ROWS["credentials_unavailable"]
    assert len(several.by) == 3
    row = replace(several, meaning="SDKBucket has no access key now.", fix="Check the provider.")
    assert blamed_modules(row) == {"sdk.bucket"}


def test_each_outcome_of_a_sweep_has_a_row() -> None:
    assert {row.code for row in rows("outcome")} == set(OUTCOMES)


def page_names(*sections: str) -> set[str]:
    """Return the names of the page's texts in some sections of its words."""
    names: set[str] = set()
    for section in sections:
        indent, body = re.findall(rf"^( +){section}: \{{\n(.*?)^\1\}}", WORDS, re.MULTILINE | re.DOTALL)[0]
        names |= set(re.findall(rf"^{indent}  (\w+): \"", body, re.MULTILINE))
    return names


def test_what_the_page_shows_is_what_its_rows_say() -> None:
    # `forbidden` is 403's own code, `expired` and `condition` are sentences, 4 and 5 are all others of 4xx and 5xx.
    names = page_names("server", "storage") - {"forbidden", "expired", "condition", "4", "5"}
    assert {"429", "AccessDenied", "size_not_allowed"} <= names
    assert {row.code for row in rows(*CODE_KINDS, "status") if "page" in row.shown} == names


def test_each_failure_that_the_page_tells_in_a_sentence_has_a_row() -> None:
    # The limits stand in these three themselves.
    names = page_names("errors") | {"untold", "unsure", "asking", "expired", "condition"}
    assert {row.name for row in rows("sentence")} == names - {"tooLarge", "tooSmall", "wrongType"}


def statuses_in(folder: Path, names: set[str]) -> set[int]:
    """Return the statuses that are arguments of calls of these names in a folder."""
    statuses = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and called_name(node) in names:
                for each in (*node.args, *(keyword.value for keyword in node.keywords)):
                    if isinstance(each, ast.Constant) and each.value in set(HTTPStatus):
                        statuses.add(int(each.value))
    return statuses


def sent_by(sender: str) -> set[int]:
    return {int(row.code) for row in rows("status") if row.by == (sender,)}


@pytest.mark.slow
def test_every_status_of_the_local_oss_has_a_row() -> None:
    statuses = statuses_in(ROOT / "local_oss", {"OSSError", "Response"})
    assert {200, 203, 304, 403, 409, 411, 503} <= statuses
    assert statuses - sent_by(OSS) == set()
    # A part of an object is no constant there; a real OSS alone has buckets in other regions.
    assert sent_by(OSS) - statuses == {206, 301, 307}


@pytest.mark.slow
def test_every_status_of_the_application_has_a_row() -> None:
    statuses = set(STATUSES.values())
    for room in ("endpoints", "middleware", "wsgi"):
        statuses |= statuses_in(PACKAGE / room, {"refuse", "_refusal", "json_response", "log_refusal"})
    assert {200, 400, 403, 404, 405, 409, 411, 413, 429, 500, 503} <= statuses
    assert statuses - sent_by(APPLICATION) == set()
    # Of a preflight, of a file of the page, of `authorize`, and of the server.
    assert sent_by(APPLICATION) - statuses == {204, 304, 401, 431, 501}


def test_a_status_is_explained_by_each_sender_or_by_one() -> None:
    assert [row.by for row in rows_of_status(403)] == [(OSS,), (APPLICATION,)]
    assert [row.by for row in rows_of_status("413")] == [(APPLICATION,), (FRONT,)]
    assert [row.by for row in rows_of_status(403, APPLICATION)] == [(APPLICATION,)]
    assert [row.by for row in rows_of_status(203, APPLICATION)] == [(OSS,)], "only OSS sends it"
    assert rows_of_status(299) == []
    assert all(rows_of_status(status) for status in (200, 201, 401, 405, 408, 411, 429, 500, 502, 503))
