"""`oss-wsgi explain` prints what a code means, what to do and the sources."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from oss_wsgi.explanations.rows import CODE_KINDS, rows

from .command import oss_wsgi

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def test_an_ec_number_is_explained_with_a_fix_and_a_source() -> None:
    output = oss_wsgi("explain", "0007-00000203").stdout
    assert output.startswith("0007-00000203: The application did not answer 200")
    assert "oss-wsgi doctor" in output
    assert "https://api.aliyun.com/troubleshoot?q=0007-00000203" in output


def test_a_reason_is_explained_with_the_modules_that_emit_it() -> None:
    output = oss_wsgi("explain", "credentials_unavailable").stdout
    assert "oss_wsgi.sdk.bucket; oss_wsgi.sdk.confirmation; oss_wsgi.wsgi.facts" in output


def test_an_unknown_code_fails_and_lists_similar_codes() -> None:
    process = oss_wsgi("explain", "AccesDenied", status=1)
    assert "AccessDenied" in process.stderr
    assert process.stderr.endswith("`oss-wsgi explain` alone says how to list the table.\n")
    assert process.stdout == ""
    error = json.loads(oss_wsgi("explain", "AccesDenied", "--json", status=1).stdout)["error"]
    assert error["near"][0] == "AccessDenied"
    assert "is not in the table." in oss_wsgi("explain", "?\x1b[31m", status=1).stderr


def test_the_source_of_a_status_is_an_address_that_everybody_can_open() -> None:
    output = oss_wsgi("explain", "403").stdout
    (name,) = re.findall(
        "^Source: https://github.com/oss-wsgi/oss-wsgi/blob/main/(docs/[a-z.]+),", output, re.MULTILINE
    )
    assert (ROOT / name).exists()


def test_the_json_without_a_code_has_every_row() -> None:
    row = json.loads(oss_wsgi("explain", "ticket_foreign", "--json").stdout)
    assert set(row) == {"code", "meaning", "fix", "sources"}
    assert [row["code"] for row in json.loads(oss_wsgi("explain", "--json").stdout)] == [
        row.code for row in rows(*CODE_KINDS)
    ]


def test_the_list_of_a_kind_has_its_rows() -> None:
    listed = oss_wsgi("explain", "--list", "outcome").stdout.splitlines()
    assert [line.partition(":")[0] for line in listed] == [row.code for row in rows("outcome")]
    named = json.loads(oss_wsgi("explain", "--list", "ec", "--json").stdout)
    assert [row["code"] for row in named] == [row.code for row in rows("ec")]


def test_without_a_code_the_kinds_are_listed() -> None:
    lines = oss_wsgi("explain").stdout.splitlines()
    assert [line.rpartition("--list ")[2].rstrip("`") for line in lines[:-1]] == list(CODE_KINDS)
    assert len(lines) == len(CODE_KINDS) + 1


def test_a_list_and_a_code_exclude_each_other() -> None:
    assert "leave out the code" in oss_wsgi("explain", "--list", "ec", "403", status=2).stderr


def test_a_status_is_explained_by_who_sends_it() -> None:
    output = oss_wsgi("explain", "409").stdout
    assert "409 from OSS: " in output
    assert "409 from this application: " in output
    row = json.loads(oss_wsgi("explain", "HTTP 413", "--json").stdout)
    assert [sender["by"] for sender in row["senders"]] == ["this application", "a server in front"]
    assert row["code"] == "413"
    assert all(row[name] for name in ("meaning", "fix", "sources"))


ANSWER = "<Error>\n <Code>CallbackFailed</Code>\n <Message>Error status : 403.</Message><EC>0007-00000203</EC></Error>"


@pytest.mark.parametrize("arguments", [[], ["-"], [ANSWER]])
def test_a_pasted_answer_is_read_from_an_argument_or_the_input(arguments: list[str]) -> None:
    output = oss_wsgi("explain", *arguments, stdin=ANSWER).stdout
    assert output.startswith("0007-00000203: ")
    assert "\nCallbackFailed: " in output
    assert "\n403 from this application: " in output
    assert "\n403 from OSS: " not in output
    row = json.loads(oss_wsgi("explain", "--json", *arguments, stdin=ANSWER).stdout)
    assert [row["code"], *(other["code"] for other in row["also"])] == ["0007-00000203", "CallbackFailed", "403"]


def test_several_words_are_one_text() -> None:
    assert oss_wsgi("explain", "EC", "0006-00000213").stdout.startswith("0006-00000213: ")


def test_an_unknown_number_leads_to_its_page() -> None:
    error = oss_wsgi("explain", "<Error><Code>Odd</Code><EC>0099-00000001</EC></Error>", status=1).stderr
    assert "https://api.aliyun.com/troubleshoot?q=0099-00000001" in error
    run = oss_wsgi("explain", "<Error><Code>InvalidArgument</Code><EC>0099-00000001</EC></Error>")
    assert run.stdout.startswith("InvalidArgument: ")
    assert "q=0099-00000001" in run.stderr


def test_a_text_without_a_code_asks_for_the_whole() -> None:
    text = "the upload did not work, and nobody knows why that may be, for nothing is written anywhere"
    assert "there is no code in this text" in oss_wsgi("explain", text, status=1).stderr
    assert "is not in the table" in oss_wsgi("explain", stdin=b"\xff\xfe\x00", status=1).stderr


CHANGED = """<Error><Code>SignatureDoesNotMatch</Code><Message>no</Message>
<StringToSign>PUT

text/plain
1733231532
x-oss-forbid-overwrite:true
/examplebucket/a.png</StringToSign></Error>"""
SIGNED = {
    "method": "PUT",
    "url": "https://examplebucket.oss-cn-hangzhou.aliyuncs.com/a.png?OSSAccessKeyId=i&Expires=1733231532&Signature=s",
    "headers": {"Content-Type": "image/png", "x-oss-forbid-overwrite": "true"},
}


def test_what_oss_signed_is_shown_beside_what_we_signed(tmp_path: Path) -> None:
    file = tmp_path / "signature.json"
    file.write_text(json.dumps(SIGNED))
    output = oss_wsgi("explain", "--signed", str(file), stdin=CHANGED).stdout
    assert "  ! content-type\n      OSS:    text/plain\n      signed: image/png\n" in output
    assert "Content-Type is always signed." in output
    answer = json.loads(oss_wsgi("explain", "--json", "--signed", json.dumps(SIGNED), stdin=CHANGED).stdout)
    different = [row for row in answer["signed"] if row["differs"]]
    assert different == [{"name": "content-type", "oss": "text/plain", "ours": "image/png", "differs": True}]


def test_without_what_we_signed_it_says_how_to_compare() -> None:
    output = oss_wsgi("explain", stdin=CHANGED).stdout
    assert "    content-type: text/plain\n" in output
    assert "--signed FILE" in output


def test_there_is_nothing_to_compare_in_a_code_alone() -> None:
    for text in (["SignatureDoesNotMatch"], []):
        error = oss_wsgi("explain", *text, "--signed", json.dumps(SIGNED), status=2).stderr
        assert "--signed compares with OSS's whole answer" in error


def test_a_chinese_locale_reads_chinese_and_json_stays_english() -> None:
    chinese = {"LC_ALL": "", "LC_MESSAGES": "", "LANG": "zh_CN.UTF-8", "PYTHONIOENCODING": "utf-8"}
    output = oss_wsgi("explain", "403", **chinese).stdout
    for words in ("403（来自 OSS）：", "403（来自本应用）：", "来源："):
        assert words in output
    assert "不在表里。" in oss_wsgi("explain", "AccesDenied", status=1, **chinese).stderr
    listed = oss_wsgi("explain", **chinese).stdout.splitlines()
    assert [line for line in listed if not re.search("[一-鿿]", line)] == []
    for arguments in (("403", "--json"), ("--json",), ("--help",)):
        assert oss_wsgi("explain", *arguments, **chinese).stdout == oss_wsgi("explain", *arguments).stdout
    assert oss_wsgi("explain", "403", **{**chinese, "LC_ALL": "C.UTF-8"}).stdout.startswith("403 from OSS: ")


def test_an_output_that_cannot_write_chinese_gets_english() -> None:
    output = oss_wsgi("explain", "403", LC_ALL="zh_CN.UTF-8", PYTHONIOENCODING="latin-1").stdout
    assert output.startswith("403 from OSS: ")


def test_the_comparison_with_what_was_signed_is_in_chinese() -> None:
    answer = "<Error><Code>SignatureDoesNotMatch</Code><StringToSign>PUT\n\n\n123\n/b/k</StringToSign></Error>"
    url = "https://b.oss-cn-hangzhou.aliyuncs.com/k?Expires=124&Signature=x&OSSAccessKeyId=u"
    chinese = {"LC_ALL": "zh_CN.UTF-8", "PYTHONIOENCODING": "utf-8"}
    output = oss_wsgi("explain", answer, "--signed", url, **chinese).stdout
    for words in ("与签名时的内容对比：", "  ! date\n      OSS:    123\n      签名：   124\n", "途中被修改：date。"):
        assert words in output
