"""Dispatcher and PathRouter: which application gets a request, with which path, and who observes the response."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import webtest

from oss_wsgi import AccessLog, Dispatcher
from oss_wsgi.endpoints.gate import readable
from oss_wsgi.middleware.dispatcher import Blocking, PathRouter, Subtree, at_original_path
from oss_wsgi.wsgi.facts import facts_of
from oss_wsgi.wsgi.observers import Observers
from oss_wsgi.wsgi.questions import WouldWaitError


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


def test_a_server_that_leaves_script_name_out_is_served() -> None:
    app = Dispatcher(named("legacy"), {"/oss": lambda environ, start_response: [environ["SCRIPT_NAME"].encode()]})
    assert list(app({"PATH_INFO": "/oss/a"}, lambda *args: None)) == [b"/oss"]


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
    with pytest.raises(ValueError, match="A prefix must be like '/uploads'"):
        PathRouter(named("legacy"), prefix, {})


class Telling:
    """An application that says of requests what it is asked, as their method and path."""

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        return []

    def body_limit(self, method: str, path: str) -> int | None:
        return {("POST", "/short"): 9}.get((method, path))

    def is_callback(self, method: str, path: str, headers: Mapping[str, str]) -> bool:
        return (method, path, headers) == ("POST", "/short", {"A": "b"})

    def reads_body(self, environ: dict[str, Any]) -> bool:
        return bool(environ["PATH_INFO"] == "/short" and environ["SCRIPT_NAME"].startswith("/mount/"))


@pytest.mark.parametrize(
    "app",
    [
        Dispatcher(named("legacy"), {"/oss": Telling()}),
        PathRouter(named("legacy"), "/oss", {}, subtrees={"/short": Subtree(Telling(), lambda *_: None, lambda *_: 9)}),
        PathRouter(Dispatcher(named("legacy"), {"/oss": Telling()}), "/own", {}),
    ],
    ids=["mounted", "subtree", "not below the prefix"],
)
def test_who_gets_a_request_says_how_long_its_body_may_be(app: Any) -> None:
    assert app.body_limit("POST", "/oss/short") == 9
    assert app.body_limit("POST", "/short") is None


def test_what_is_our_own_takes_64_kib_where_it_says_nothing_else() -> None:
    subtrees = {
        "/silent": Subtree(Telling(), lambda *_: None),
        "/own": Subtree(Telling(), lambda *_: None, lambda method, path: {("PUT", "/a"): 7}.get((method, path), 9)),
    }
    app = PathRouter(named("legacy"), "/oss", {"/one": Telling()}, subtrees=subtrees)
    limits = {path: app.body_limit("PUT", f"/oss{path}") for path in ("/one", "/silent/a", "/own/a", "/own/b", "/x")}
    assert limits == {"/one": 65536, "/silent/a": 65536, "/own/a": 7, "/own/b": 9, "/x": 65536}


def test_who_gets_a_request_says_whether_it_reads_the_body() -> None:
    app = PathRouter(Telling(), "/oss", {"/one": named("one")}, subtrees={"/own": Subtree(Telling(), lambda *_: None)})
    blocking = Dispatcher(named("legacy"), {"/blocking": Blocking(Telling())})
    for router, path, expected in (
        (app, "/oss/own/short", True),
        (app, "/oss/own/long", False),
        (app, "/oss/one", False),
        (app, "/oss/x", False),
        (app, "/short", True),
        (blocking, "/blocking/short", True),
        (blocking, "/short", False),
    ):
        assert router.reads_body({"SCRIPT_NAME": "/mount/", "PATH_INFO": path}) is expected, path


def test_who_gets_a_request_says_whether_oss_sends_it() -> None:
    app = Dispatcher(named("legacy"), {"/oss": Telling(), "/blocking": Blocking(Telling())})
    headers = {"A": "b"}
    for prefix in ("/oss", "/blocking"):
        assert app.is_callback("POST", f"{prefix}/short", headers) is True
        assert app.is_callback("PUT", f"{prefix}/short", headers) is False
    assert app.is_callback("POST", "/short", headers) is False
    assert PathRouter(Telling(), "/own", {}).is_callback("POST", "/short", headers) is True


def test_a_router_with_an_empty_prefix_takes_every_path() -> None:
    app = PathRouter(named("legacy"), "", {"/oss/one": endpoint})
    assert call(app, "/one") == ("201 Created", b"/site/oss/one ''")
    assert call(app, "/two")[0] == "404 Not Found"


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


@pytest.mark.parametrize(
    "wrap",
    [
        lambda app: AccessLog(app, clock=lambda: 0.0),
        lambda app: PathRouter(named("legacy"), "/oss", {"": app}, Observers(clock=lambda: 0.0)),
        lambda app: readable(app, {"*"}, "GET"),
    ],
    ids=["AccessLog", "PathRouter", "CORS"],
)
def test_what_is_written_and_an_error_after_the_start_reach_the_server(wrap: Callable[[Any], Any]) -> None:
    started: list[tuple[str, Any]] = []
    written: list[bytes] = []

    def failing(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])(b"begun")
        try:
            raise OSError("no")
        except OSError:
            start_response("500 Internal Server Error", [], sys.exc_info())
        return []

    def start(status: str, headers: Any, exc_info: Any = None) -> Any:
        started.append((status[:3], exc_info and exc_info[0]))
        return written.append

    list(wrap(failing)({**ENVIRON, "PATH_INFO": "/oss"}, start))
    assert (started, written) == ([("200", None), ("500", OSError)], [b"begun"])


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


def test_refusals_are_observed_once_with_their_facts() -> None:
    refused: list[Any] = []
    observers = Observers(
        on_refused=[lambda reason, status, facts: refused.append((reason, status, facts["path"]))], clock=lambda: 0.0
    )

    def repeated(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        facts_of(environ).reason = "repeated"
        return endpoint(environ, start_response)

    app = PathRouter(named("legacy"), "/oss", {"/one": endpoint, "/again": repeated}, observers)
    for path in ("/one", "/again", "/nothing"):
        call(app, path)
    assert refused == [("not_found", 404, "/site/oss/nothing")]


def test_a_response_that_begins_late_is_observed_when_it_is_closed() -> None:
    responses: list[Any] = []

    def late(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("202 Accepted", [])
        yield b"late"

    observers = Observers(on_answered=[lambda *answer: responses.append(answer[:2])], clock=lambda: 0.0)
    app = PathRouter(named("legacy"), "/oss", {"/one": late}, observers)
    body: Any = app({**ENVIRON, "PATH_INFO": "/oss/one"}, lambda *arguments: None)
    assert (list(body), responses) == ([b"late"], [])
    body.close()
    assert responses == [("one", 202)]


def test_a_try_that_would_wait_is_not_observed() -> None:
    responses: list[Any] = []

    def waiting(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise WouldWaitError

    observers = Observers(on_answered=[lambda *answer: responses.append(answer)], clock=lambda: 0.0)
    with pytest.raises(WouldWaitError):
        call(PathRouter(named("legacy"), "/oss", {"/one": waiting}, observers), "/one")
    assert responses == []


def test_without_on_answered_the_clock_is_not_called() -> None:
    observers = Observers(on_issued=[lambda grant, facts: None], clock=lambda: 1 / 0)
    assert call(PathRouter(named("legacy"), "/oss", {"/one": endpoint}, observers), "/one")[0] == "201 Created"
