"""Dispatcher: longest prefix first, at a segment's end, moved from PATH_INFO to SCRIPT_NAME."""

from __future__ import annotations

from typing import Any

import pytest
import webtest

from oss_wsgi import Dispatcher


def named(name: str) -> Any:
    """Make an application that says its name and what it sees of the path."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain; charset=latin-1")])
        return [f"{name} {environ.get('SCRIPT_NAME')!r} {environ['PATH_INFO']!r}".encode("latin-1")]

    return app


CLIENT = webtest.TestApp(
    Dispatcher(named("legacy"), {"/oss": named("oss"), "/oss/deep": named("deep"), "/文件": named("chinese")})
)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "legacy '' '/'"),
        ("/oss", "oss '/oss' ''"),
        ("/oss/", "oss '/oss' '/'"),
        ("/oss/signature", "oss '/oss' '/signature'"),
        ("/ossified", "legacy '' '/ossified'"),
        ("/x/oss", "legacy '' '/x/oss'"),
        ("/OSS", "legacy '' '/OSS'"),
        ("/oss/deep/er", "deep '/oss/deep' '/er'"),
        ("/oss/deeper", "oss '/oss' '/deeper'"),
    ],
)
def test_the_longest_prefix_that_ends_with_a_segment_wins(path: str, expected: str) -> None:
    assert CLIENT.get(path).text == expected


def test_a_prefix_may_be_chinese() -> None:
    native = "/文件".encode().decode("latin-1")
    assert CLIENT.get("/%E6%96%87%E4%BB%B6/a").text == f"chinese {native!r} '/a'"


def test_a_mount_below_a_mount_keeps_the_outer_script_name() -> None:
    response = CLIENT.get("/oss/a", extra_environ={"SCRIPT_NAME": "/site"})
    assert response.text == "oss '/site/oss' '/a'"


def test_the_application_below_sees_the_very_environ_that_came() -> None:
    seen = []
    app = Dispatcher(lambda environ, start_response: seen.append(environ) or [], {"/oss": named("oss")})
    environ = {"PATH_INFO": "/else", "SCRIPT_NAME": ""}
    app(environ, lambda *args: None)
    assert seen[0] is environ


def test_a_path_that_is_missing_goes_to_the_application_below() -> None:
    app = Dispatcher(lambda environ, start_response: [b"below"], {"/oss": named("oss")})
    assert list(app({}, lambda *args: None)) == [b"below"]


@pytest.mark.parametrize("prefix", ["", "/", "oss", "/oss/", "//oss", "/oss?x", "/oss#x"])
def test_a_prefix_of_another_form_is_refused_in_words(prefix: str) -> None:
    with pytest.raises(ValueError, match="A prefix must be like '/uploads'"):
        Dispatcher(named("legacy"), {prefix: named("oss")})
