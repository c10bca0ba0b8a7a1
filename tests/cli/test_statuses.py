"""Every status that OSS, this application or its server sends has a row."""

from __future__ import annotations

import ast
import re
from http import HTTPStatus
from pathlib import Path

from oss_wsgi.cli.statuses import APPLICATION, FRONT, OSS, STATUSES, rows_of
from oss_wsgi.wsgi.responses import STATUSES as OUR_STATUSES

PACKAGE = Path(__file__).parents[2] / "oss_wsgi"


def statuses_in(folder: Path, names: set[str]) -> set[int]:
    """Return the statuses that are arguments of calls of these names in a folder."""
    statuses = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in names:
                for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
                    if isinstance(argument, ast.Constant) and argument.value in set(HTTPStatus):
                        statuses.add(int(argument.value))
    return statuses


def sent_by(sender: str) -> set[int]:
    return {row.status for row in STATUSES if row.sender == sender}


def test_every_status_of_the_local_oss_has_a_row() -> None:
    statuses = statuses_in(PACKAGE / "local", {"OSSError", "Response"})
    assert {200, 203, 304, 403, 409, 411, 503} <= statuses
    assert statuses - sent_by(OSS) == set()


def test_every_status_of_the_application_has_a_row() -> None:
    statuses = set(OUR_STATUSES.values())
    for room in ("endpoints", "middleware", "wsgi"):
        statuses |= statuses_in(PACKAGE / room, {"refuse", "_refusal", "json_response", "log_refusal"})
    assert {200, 400, 403, 404, 405, 409, 411, 413, 429, 500, 503} <= statuses
    assert statuses - sent_by(APPLICATION) == set()


def test_a_status_is_explained_by_each_sender_or_by_one() -> None:
    assert [row.sender for row in rows_of(403)] == [OSS, APPLICATION]
    assert [row.sender for row in rows_of(413)] == [APPLICATION, FRONT]
    assert [row.sender for row in rows_of(403, APPLICATION)] == [APPLICATION]
    assert [row.sender for row in rows_of(203, APPLICATION)] == [OSS], "only OSS sends it"
    assert rows_of(299) == []


def test_rows_are_sentences_and_come_once() -> None:
    assert len({(row.status, row.sender) for row in STATUSES}) == len(STATUSES)
    for row in STATUSES:
        assert row.meaning.endswith("."), row
        assert row.fix.endswith((".", "`.")), row
        assert re.match("[A-Z`]", row.meaning), row
