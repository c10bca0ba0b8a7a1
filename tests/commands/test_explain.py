"""`oss-wsgi explain`: every code that the local OSS and this application know has a row, with sources."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from oss_wsgi.commands.explanations import TABLE, find

from .command import oss_wsgi

PACKAGE = Path(__file__).parent.parent.parent / "oss_wsgi"
CODES = {row.code for row in TABLE}
#: Reasons that explain themselves to the browser that asked, or say in the log all there is to say.
PLAIN = re.compile(
    r"(filename|content_type|size|query|content_length)_\w+|not_(found|configured|signed|guarded)|confirm_failed"
)


def test_an_ec_number_is_explained_with_what_to_do_and_a_source() -> None:
    said = oss_wsgi("explain", "0007-00000203").stdout
    assert said.startswith("0007-00000203: The application answered another status than 200")
    assert "oss-wsgi doctor" in said
    assert "https://api.aliyun.com/troubleshoot?q=0007-00000203" in said


@pytest.mark.parametrize("code", ["EC 0006-00000213", "ec:0006-00000213", " 0006-00000213 ", "accessdenied"])
def test_codes_are_found_however_they_are_written(code: str) -> None:
    assert find(code) is not None


def test_an_unknown_code_is_a_finding_and_names_its_neighbours() -> None:
    ended = oss_wsgi("explain", "AccesDenied", status=1)
    assert "AccessDenied" in ended.stderr
    assert ended.stdout == ""
    error = json.loads(oss_wsgi("explain", "AccesDenied", "--json", status=1).stdout)["error"]
    assert error["near"][0] == "AccessDenied"
    assert "is not in the table." in oss_wsgi("explain", "?\x1b[31m", status=1).stderr


def test_json_and_the_whole_list() -> None:
    row = json.loads(oss_wsgi("explain", "ticket_foreign", "--json").stdout)
    assert set(row) == {"code", "meaning", "do", "sources"}
    assert {row["code"] for row in json.loads(oss_wsgi("explain", "--json").stdout)} == CODES
    assert len(oss_wsgi("explain").stdout.splitlines()) == len(TABLE)


def constants(*folders: str) -> set[str]:
    files = [file for folder in folders for file in (PACKAGE / folder).glob("*.py")]
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))]
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_every_number_that_the_local_oss_answers_to_a_form_has_a_row() -> None:
    answered = {text for text in constants("local") if re.fullmatch(r"000[267]-[0-9]{8}", text)}
    assert len(answered) > 20
    form = {number for number in answered if number[:4] in ("0006", "0007") or number > "0002-00000700"}
    assert form - CODES == set()


def test_every_reason_of_a_refused_callback_has_a_row() -> None:
    reasons = set()
    for file in [*PACKAGE.glob("*.py"), *(PACKAGE / "middleware").glob("*.py"), *(PACKAGE / "endpoints").glob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and re.search(r"Error$", ast.unparse(node.func)) and len(node.args) == 2:
                first = node.args[0]
                if isinstance(first, ast.Constant) and re.fullmatch(r"[a-z]+_[a-z_]+", str(first.value)):
                    reasons.add(first.value)
    assert len(reasons) > 10
    assert {reason for reason in reasons if not PLAIN.fullmatch(reason)} - CODES == set()


def test_the_rows_are_in_order_and_come_once_and_name_commands_that_are() -> None:
    codes = [row.code for row in TABLE]
    assert len(set(codes)) == len(codes)
    for row in TABLE:
        assert row.meaning.endswith("."), row.code
        assert row.cure.endswith("."), row.code
        assert row.sources
