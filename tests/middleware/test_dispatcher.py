"""Dispatcher and PathRouter: which application gets a request, with which path, and who observes the response."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import webtest

from oss_wsgi import Dispatcher
from oss_wsgi.middleware.dispatcher import PathRouter, Subtree, at_original_path
from oss_wsgi.wsgi.observers import Observers


def named(name: str) -> Any:
    """Make an application that responds with its name and its path."""

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
def test_the_longest_prefix_of_whole_segments_wins(path: str, expected: str) -> None:
    assert CLIENT.get(path).text == expected


def test_a_prefix_may_be_chinese() -> None:
    native = "/文件".encode().decode("latin-1")
    assert CLIENT.get("/%E6%96%87%E4%BB%B6/a").text == f"chinese {native!r} '/a'"


def test_a_mount_below_a_mount_keeps_the_outer_script_name() -> None:
    response = CLIENT.get("/oss/a", extra_environ={"SCRIPT_NAME": "/site"})
    assert response.text == "oss '/site/oss' '/a'"


def test_the_wrapped_application_gets_the_same_environ() -> None:
    seen = []
    app = Dispatcher(lambda environ, start_response: seen.append(environ) or [], {"/oss": named("oss")})
    environ = {"PATH_INFO": "/else", "SCRIPT_NAME": ""}
    app(environ, lambda *args: None)
    assert seen[0] is environ


def test_a_missing_path_goes_to_the_wrapped_application() -> None:
    app = Dispatcher(lambda environ, start_response: [b"below"], {"/oss": named("oss")})
    assert list(app({}, lambda *args: None)) == [b"below"]


def test_the_empty_prefix_takes_what_no_other_takes() -> None:
    app = webtest.TestApp(Dispatcher(named("legacy"), {"": named("rest"), "/oss": named("oss")}))
    assert app.get("/oss/a").text == "oss '/oss' '/a'"
    assert app.get("/ossified").text == "rest '' '/ossified'"


@pytest.mark.parametrize("prefix", ["/", "oss", "/oss/", "//oss", "/oss?x", "/oss#x"])
def test_a_malformed_prefix_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="A prefix must be like '/uploads'"):
        Dispatcher(named("legacy"), {prefix: named("oss")})


ENVIRON = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "/site"}


def endpoint(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("201 Created", [])
    return [f"{environ['SCRIPT_NAME']} {environ['PATH_INFO']!r}".encode()]


def call(app: Any, path: str) -> tuple[str, bytes]:
    statuses: list[str] = []
    body = b"".join(
        app({**ENVIRON, "PATH_INFO": f"/oss{path}"}, lambda status, headers, exc_info=None: statuses.append(status))
    )
    return statuses[0], body


def test_an_endpoint_is_served_only_at_its_path() -> None:
    app = PathRouter(named("legacy"), "/oss", {"/one": endpoint})
    assert call(app, "/one") == ("201 Created", b"/site/oss/one ''")
    assert {call(app, path)[0] for path in ("", "/", "/one/", "/two", "/oss/one")} == {"404 Not Found"}
    assert call(app, "ified/one")[0] == "200 OK", "not below the prefix"


def test_a_subtree_gets_all_paths_below_its_own() -> None:
    app = PathRouter(
        named("legacy"), "/oss", {"/one": endpoint}, subtrees={"/s3": Subtree(endpoint, lambda method, path: None)}
    )
    assert call(app, "/s3") == ("201 Created", b"/site/oss/s3 ''")
    assert call(app, "/s3/a/b") == ("201 Created", b"/site/oss/s3 '/a/b'")
    assert {call(app, path)[0] for path in ("/s3x", "/s3x/a", "/", "//s3")} == {"404 Not Found"}
    assert call(app, "/one")[0] == "201 Created"


def test_a_subtree_names_its_requests_for_the_observers() -> None:
    responses: list[Any] = []
    observers = Observers(on_answered=[lambda *answer: responses.append(answer[0])], clock=lambda: 0.0)
    names = {"/a": "first"}
    app = PathRouter(
        named("legacy"), "/oss", {}, observers, {"/s3": Subtree(endpoint, lambda method, path: names.get(path))}
    )
    for path in ("/s3/a", "/s3/b"):
        call(app, path)
    assert responses == ["s3/first"]


def test_at_original_path_restores_the_path() -> None:
    app = PathRouter(named("legacy"), "/oss", {"/one": at_original_path(endpoint, "/one", "/oss")})
    assert call(app, "/one") == ("201 Created", b"/site '/oss/one'")


def test_responses_and_failures_are_observed_with_their_seconds() -> None:
    ticks: Iterator[float] = iter([10.0, 10.5, 20.0, 21.0])
    responses: list[Any] = []

    def broken(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise OSError("no")

    observers = Observers(on_answered=[lambda *answer: responses.append(answer)], clock=lambda: next(ticks))
    app = PathRouter(named("legacy"), "/oss", {"/one": endpoint, "/two": broken}, observers)
    call(app, "/one")
    call(app, "/nothing")
    with pytest.raises(OSError, match="no"):
        call(app, "/two")
    assert responses == [("one", 201, 0.5, None), ("two", 0, 1.0, None)]


def test_without_on_answered_the_clock_is_not_called() -> None:
    observers = Observers(on_issued=[lambda grant, facts: None], clock=lambda: 1 / 0)
    assert call(PathRouter(named("legacy"), "/oss", {"/one": endpoint}, observers), "/one")[0] == "201 Created"
