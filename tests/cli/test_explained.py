"""The tables of `explain` against the sources: every code that the local OSS answers, every reason that our log has."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from oss_wsgi import exceptions
from oss_wsgi.cli.explain import TABLE

PACKAGE = Path(__file__).parent.parent.parent / "oss_wsgi"
CODES = {row.code for row in TABLE}
REASONED = {
    name
    for name, each in vars(exceptions).items()
    if isinstance(each, type) and issubclass(each, exceptions.ReasonedError)
}


def nodes(*folders: str) -> Iterator[ast.AST]:
    for folder in folders:
        for file in sorted((PACKAGE / folder).glob("**/*.py" if folder else "*.py")):
            yield from ast.walk(ast.parse(file.read_text(encoding="utf-8")))


def texts(node: ast.AST | None) -> Iterator[str]:
    """Give the texts that an argument may be, as patterns: a part that is worked out may be any word."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield re.escape(node.value)
    elif isinstance(node, ast.IfExp):
        yield from texts(node.body)
        yield from texts(node.orelse)
    elif isinstance(node, ast.JoinedStr):
        yield "".join(re.escape(v.value) if isinstance(v, ast.Constant) else r"\w+" for v in node.values)


def argument(call: ast.Call, name: str, position: int) -> ast.AST | None:
    named = {keyword.arg: keyword.value for keyword in call.keywords}
    return named.get(name) or (call.args[position] if len(call.args) > position else None)


def called(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]


def unexplained(patterns: set[str]) -> set[str]:
    return {pattern for pattern in patterns if not any(re.fullmatch(pattern, code) for code in CODES)}


def test_every_code_that_the_local_oss_answers_has_a_row() -> None:
    codes: set[str] = set()
    for node in nodes("local"):
        if isinstance(node, ast.Call) and called(node) == "OSSError":
            codes.update(texts(argument(node, "code", 1)))
        if isinstance(node, ast.Constant) and re.fullmatch(r"[0-9]{4}-[0-9]{8}", str(node.value)):
            codes.add(str(node.value))
    assert len(codes) > 80
    assert {"SlowDown", "0002-00000705"} <= codes
    assert unexplained(codes) == set()


def test_every_reason_that_our_log_uses_has_a_row() -> None:
    places = dict.fromkeys(REASONED, 0)
    rooms = ("", "callback", "endpoints", "ledger", "middleware", "sdk", "serving", "signing", "wsgi")
    for node in nodes(*rooms):
        if isinstance(node, ast.FunctionDef):
            names = [each.arg for each in node.args.args]
            if "reason" in names and names[0] != "self":
                places[node.name] = names.index("reason")
    reasons: set[str] = set()
    for node in nodes(*rooms):
        if isinstance(node, ast.Call) and called(node) in places:
            reasons.update(texts(argument(node, "reason", places[called(node)])))
    assert len(reasons) > 40
    assert {"anonymous", "ticket_used", "signature_wrong", "too_many_requests"} <= reasons
    assert unexplained(reasons) == set()
