"""`oss-wsgi explain`: codes are found however they are written, with what to do and the sources."""

from __future__ import annotations

import json

import pytest

from oss_wsgi.cli.explain import TABLE, find

from .command import oss_wsgi

CODES = {row.code for row in TABLE}


def test_an_ec_number_is_explained_with_what_to_do_and_a_source() -> None:
    said = oss_wsgi("explain", "0007-00000203").stdout
    assert said.startswith("0007-00000203: The application answered another status than 200")
    assert "oss-wsgi doctor" in said
    assert "https://api.aliyun.com/troubleshoot?q=0007-00000203" in said


@pytest.mark.parametrize(
    ("written", "code"),
    [
        *((text, "0006-00000213") for text in ("EC 0006-00000213", "ec:0006-00000213", "ec0006-00000213")),
        *((text, "0006-00000213") for text in (" 0006-00000213 ", "(EC 0006-00000213)", "EC=0006-00000213.")),
        *((text, "ticket_foreign") for text in ("reason=ticket_foreign", "reason: ticket_foreign,")),
        *((text, "AccessDenied") for text in ("accessdenied", "Code: AccessDenied", "(AccessDenied)")),
    ],
)
def test_codes_are_found_however_they_are_written(written: str, code: str) -> None:
    found = find(written)
    assert found is not None
    assert found.code == code


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


def test_each_code_comes_once_and_says_in_sentences_what_to_do() -> None:
    codes = [row.code for row in TABLE]
    assert len(set(codes)) == len(codes)
    for row in TABLE:
        assert row.meaning.endswith("."), row.code
        assert row.cure.endswith("."), row.code
        assert not row.cure.startswith("`oss-wsgi"), "a cure is a sentence"
        assert row.sources
        assert not any("\u00a7" in source for source in row.sources), "nobody outside has our digest"
