"""Callback URLs: what OSS accepts, and the target that it signs for one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oss_wsgi.callback.url import callback_url_problems, split_urls, target_of


@pytest.mark.parametrize(
    "text",
    [
        "https://app.example.com/oss/callback",
        "http://app.example.com:8080/oss/callback?tenant=7&x=%2F",
        "https://app.example.com",
        "https://app.example.com/a??",
        "https://my_app.example.com/%E4%b8%ad",
        "http://127.0.0.1:1/cb;http://127.0.0.1:65535/cb",
        "http://a.example/1;http://a.example/2;http://a.example/3;http://a.example/4;http://a.example/5",
        " http://a.example/1 ; http://a.example/2 ",
    ],
)
def test_a_url_that_oss_can_call_has_no_problem(text: str) -> None:
    assert callback_url_problems(text) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must begin with http:// or https://"),
        ("//app.example.com/cb", "must begin with http:// or https://"),
        ("https:///cb", "must begin with http:// or https://"),
        ("https://a.example/cb;", "must begin with http:// or https://"),
        ("http://[::1]/cb", "IPv6"),
        ("http://a.example/cb#", "fragment"),
        ("http://a.example/cb#top", "fragment"),
        ("http://a.example/cb?", "bare '?'"),
        ("http://a.example:0/cb", "port from 1 to 65535"),
        ("http://a.example:/cb", "port from 1 to 65535"),
        ("http://a.example:65536/cb", "port from 1 to 65535"),
        ("http://[::1/cb", "is not a URL"),
        ("http://a.example/c b", "percent-encode"),
        ("http://a.example/cb\nX: y", "percent-encode"),
        ("http://a.example/中", "percent-encode"),
        ("http://a.example/%zz", "two hex digits"),
        ("http://user@a.example/cb", "user name or password"),
        ("http://%61.example/cb", "letters, digits, hyphens and dots"),
        ("http://-/cb", "letters, digits, hyphens and dots"),
        ("http://a.example-/cb", "letters, digits, hyphens and dots"),
    ],
)
def test_a_url_that_oss_cannot_call_has_a_problem(text: str, message: str) -> None:
    assert any(message in problem for problem in callback_url_problems(text)), callback_url_problems(text)


def test_more_than_five_urls_are_a_problem() -> None:
    six = ";".join(["http://a.example/cb"] * 6)
    assert callback_url_problems(six) == ["6 URLs are joined by ';': OSS takes 5 at most."]


def test_the_problems_of_all_urls_are_reported_at_once() -> None:
    problems = callback_url_problems("http://a.example/ok;http://[::1]:0/cb#x;nonsense")
    assert len(problems) == 4
    assert [problem.split(" ")[0] for problem in problems] == ["'http://[::1]:0/cb#x'"] * 3 + ["'nonsense'"]


@pytest.mark.parametrize(
    "url",
    ["https://user:swordfish@a.example/cb", "https://x@swordfish@a.example/cb", "https://a:sword?fish@b/swordfish@"],
)
def test_a_password_is_not_shown(url: str) -> None:
    assert callback_url_problems(url)
    assert "swordfish" not in "".join(callback_url_problems(url))


def test_urls_are_split_at_semicolons_and_lose_blanks() -> None:
    assert split_urls(" http://a/1 ;http://b/2") == ["http://a/1", "http://b/2"]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a.example/oss/callback", "/oss/callback"),
        ("https://a.example/oss/callback/", "/oss/callback/"),
        ("https://a.example", "/"),
        ("https://a.example?x=1", "/?x=1"),
        ("https://a.example/a%20b+c?next=%2Fhome+page&x=?", "/a%20b+c?next=%2Fhome+page&x=?"),
        ("https://a.example//double", "//double"),
    ],
)
def test_the_target_is_path_and_query_as_written(url: str, expected: str) -> None:
    assert target_of(url) == expected


@pytest.mark.slow
@given(text=st.text(max_size=60) | st.text("htps:/@?#[];%.0a", max_size=30).map(lambda rest: f"http://{rest}"))
@settings(max_examples=200, deadline=None)
def test_every_text_has_problems_or_an_ascii_target(text: str) -> None:
    if not callback_url_problems(text):
        for url in split_urls(text):
            target = target_of(url)
            assert target.startswith("/")
            assert target.isascii() and target.isprintable() and " " not in target
