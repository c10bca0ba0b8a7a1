"""`oss-wsgi explain` prints what a code means, what to do and the sources."""

from __future__ import annotations

import json

import pytest

from oss_wsgi.cli.error_codes import TABLE

from .command import oss_wsgi

pytestmark = pytest.mark.slow


def test_an_ec_number_is_explained_with_a_fix_and_a_source() -> None:
    output = oss_wsgi("explain", "0007-00000203").stdout
    assert output.startswith("0007-00000203: The application did not answer 200")
    assert "oss-wsgi doctor" in output
    assert "https://api.aliyun.com/troubleshoot?q=0007-00000203" in output


def test_a_reason_is_explained_with_the_modules_that_emit_it() -> None:
    output = oss_wsgi("explain", "not_guarded").stdout
    assert "oss_wsgi.endpoints.callback; oss_wsgi.middleware.confirmation; oss_wsgi.middleware.once" in output


def test_an_unknown_code_fails_and_lists_similar_codes() -> None:
    process = oss_wsgi("explain", "AccesDenied", status=1)
    assert "AccessDenied" in process.stderr
    assert process.stdout == ""
    error = json.loads(oss_wsgi("explain", "AccesDenied", "--json", status=1).stdout)["error"]
    assert error["near"][0] == "AccessDenied"
    assert "is not in the table." in oss_wsgi("explain", "?\x1b[31m", status=1).stderr


def test_the_json_and_the_list_have_every_row() -> None:
    row = json.loads(oss_wsgi("explain", "ticket_foreign", "--json").stdout)
    assert set(row) == {"code", "meaning", "do", "sources"}
    assert [row["code"] for row in json.loads(oss_wsgi("explain", "--json").stdout)] == [row.code for row in TABLE]
    assert len(oss_wsgi("explain").stdout.splitlines()) == len(TABLE)
