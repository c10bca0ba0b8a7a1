"""Lines without a code: each is explained as the code writes it, and the page's sentences in all languages."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import pytest

from oss_wsgi import DirectUpload, Settings
from oss_wsgi.cli.codes_in_text import FoundCode, codes_of_sentences, find_rows
from oss_wsgi.cli.watch import ApplicationWatch
from oss_wsgi.log_format import JSONFormatter, Masker, TextFormatter

from ..endpoints.test_recover import Site
from .command import oss_wsgi

LANGUAGES = sorted((Path(__file__).parents[2] / "static" / "languages").glob("*.js"))
WORDS = "\n".join(language.read_text(encoding="utf-8") for language in LANGUAGES)
VALUES = {"bucket": "examplebucket", "region": "cn-hangzhou", "access_key_id": "id", "access_key_secret": "secret"}


def names(text: str) -> list[str]:
    return [explanation.code for explanation in find_rows(text)]


def lines_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged, in both of our formats."""
    masker = Masker()
    return [form.format(record) for form in (TextFormatter(masker), JSONFormatter(masker)) for record in caplog.records]


@pytest.mark.parametrize(
    ("callback_url", "name"),
    [
        (None, "OSS_CALLBACK_URL is not set"),
        ("https://app.example.com/other/callback", "OSS_CALLBACK_URL leads to another path"),
    ],
)
def test_a_warning_of_an_upload_that_nobody_hears_of_is_known(
    callback_url: str | None, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(**VALUES, callback_url=callback_url)
    DirectUpload(lambda environ, start: [], settings, on_upload=lambda upload: None)
    assert [names(line) for line in lines_of(caplog)].count([name]) == 2


@pytest.mark.parametrize("prefix", ["/oss", "/shop"])
def test_a_note_of_serve_is_known(prefix: str) -> None:
    said: list[str] = []
    watch = ApplicationWatch(lambda environ, start: start("404 Not Found", []) or [], said.append, said.append, prefix)
    callback = {"HTTP_X_OSS_PUB_KEY_URL": "x", "PATH_INFO": f"{prefix}/callback"}
    watch(callback, lambda *arguments: None)  # type: ignore[arg-type, return-value]
    (note,) = said
    assert names(note) == ["OSS reported an upload, and no DirectUpload is there"]
    assert (f"Start again without --prefix {prefix}:" in note) is (prefix != "/oss")
    assert ("start with --prefix PATH" in note) is (prefix == "/oss")


@pytest.mark.slow
def test_lines_of_handled_and_recovered_uploads_are_known(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    site = Site()
    try:
        site.upload("a.png")
        site.lose("b.png")
        for _ in range(2):
            assert site.recover().status_int == 200
    finally:
        site.close()
    known = [name for line in lines_of(caplog) for name in names(line)]
    for name in ("handled: object=", "recovered: outcome=handled", "recovered: outcome=repeated"):
        assert known.count(name) == 2


@pytest.mark.parametrize(
    ("name", "explained"),
    [
        ("untold", "page: stored, but the application was not told"),
        ("unsure", "page: sent, but without an answer"),
        ("asking", "page: sent, making sure that it arrived"),
        ("unreadable", "page: the file can no longer be read"),
        ("offline", "page: the device seems to be offline"),
        ("serverUnreachable", "page: the server that gives permission could not be reached"),
        ("serverUnexpected", "page: the server gave an answer that the page does not understand"),
        ("storageUnreachable", "page: no answer from storage"),
        ("expired", "page: the permission ran out"),
        ("condition", "page: the file is not what permission was given for"),
    ],
)
def test_a_sentence_of_the_page_is_known_in_all_languages(name: str, explained: str) -> None:
    sentences = re.findall(rf'^ +{name}: "(.+)",$', WORDS, re.MULTILINE)
    assert len(sentences) == len(LANGUAGES) == 11
    for sentence in sentences:
        for text in (sentence, f"cat.png: {sentence}", sentence.upper(), sentence.rstrip(".\u3002")):
            assert names(text) == [explained]
            assert codes_of_sentences(text) == []


CORS_CHROMIUM = (
    "Access to XMLHttpRequest at 'https://b.oss-cn-hangzhou.aliyuncs.com/' from origin 'https://app.example.com' has "
    "been blocked by CORS policy: No 'Access-Control-Allow-Origin' header is present on the requested resource."
)
CORS_FIREFOX = (
    "Cross-Origin Request Blocked: The Same Origin Policy disallows reading the remote resource at https://b/."
)
CORS_SAFARI = "Origin https://app.example.com is not allowed by Access-Control-Allow-Origin. Status code: 403"
CSP_CHROMIUM = (
    "Connecting to 'https://b/' violates the following Content Security Policy directive: \"default-src 'self'\". Note "
    "that 'connect-src' was not explicitly set, so 'default-src' is used as a fallback."
)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (CORS_CHROMIUM, "blocked by CORS policy"),
        (CORS_FIREFOX, "blocked by CORS policy"),
        (CORS_SAFARI, "blocked by CORS policy"),
        (CSP_CHROMIUM, "page: the page's Content-Security-Policy does not allow the bucket"),
        ("Failed to fetch", "Failed to fetch"),
        ("Uncaught (in promise) TypeError: Failed to fetch", "Failed to fetch"),
        ("TypeError: NetworkError when attempting to fetch resource.", "Failed to fetch"),
        ("Unhandled Promise Rejection: TypeError: Load failed", "Failed to fetch"),
    ],
)
def test_what_the_console_of_a_browser_says_is_known(text: str, name: str) -> None:
    assert names(text) == [name]


def test_a_sentence_about_an_error_leads_to_its_code() -> None:
    pairs = re.findall(r'^ {6}([A-Z]\w+|[1-5][0-9]{2}): "(.+)",$', WORDS, re.MULTILINE)
    assert len(pairs) > 60
    meant: dict[str, list[str]] = {}
    for name, sentence in pairs:
        meant.setdefault(sentence, []).append(name)
    for sentence, codes in meant.items():
        (code,) = codes_of_sentences(f"a.png: {sentence}")
        assert code.code in codes, sentence
    assert codes_of_sentences("请先登录，然后再发送文件。") == [FoundCode("401", "this application")]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("2 files stored but not reported", "page: stored, but the application was not told"),
        ("1 个已存储但未通知应用", "page: stored, but the application was not told"),
        ("1 file done, 3 files without an answer", "page: sent, but without an answer"),
    ],
)
def test_a_sum_of_the_page_is_known(text: str, name: str) -> None:
    assert names(text) == [name]


@pytest.mark.parametrize("text", ["", "Done", "stored", "OSS_CALLBACK_URL", "an answer", "AccessDenied", "recovered"])
def test_nothing_else_is(text: str) -> None:
    assert names(text) == []
    assert codes_of_sentences(text) == []


@pytest.mark.slow
def test_the_command_explains_a_sentence_and_a_code_of_one_text() -> None:
    text = "cat.png: Stored, but the application was not told\nrefused: status=403 reason=ticket_foreign hint='x'"
    answer = json.loads(oss_wsgi("explain", "--json", text).stdout)
    assert answer["code"] == "page: stored, but the application was not told"
    assert "oss-wsgi doctor --only callback" in answer["fix"]
    assert [other["code"] for other in answer["also"]] == ["ticket_foreign"]
