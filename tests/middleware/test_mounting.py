"""Endpoints at their own paths, and who hears of their answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from oss_wsgi.middleware.dispatcher import at_original_path, PathRouter
from oss_wsgi.wsgi.observers import Observers

ENVIRON = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "/site/oss"}


def endpoint(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("201 Created", [])
    return [f"{environ['SCRIPT_NAME']} {environ['PATH_INFO']!r}".encode()]


def call(app: Any, path: str) -> tuple[str, bytes]:
    statuses: list[str] = []
    body = b"".join(app({**ENVIRON, "PATH_INFO": path}, lambda status, headers, exc_info=None: statuses.append(status)))
    return statuses[0], body


def test_an_endpoint_stands_at_its_path_and_nowhere_else() -> None:
    app = PathRouter({"/one": endpoint})
    assert call(app, "/one") == ("201 Created", b"/site/oss/one ''")
    assert {call(app, path)[0] for path in ("", "/", "/one/", "/two")} == {"404 Not Found"}


def test_an_application_that_was_moved_sees_its_path_as_it_came() -> None:
    app = PathRouter({"/one": at_original_path(endpoint, "/one", "/oss")})
    assert call(app, "/one") == ("201 Created", b"/site '/oss/one'")


def test_answers_are_told_with_their_seconds_and_failures_too() -> None:
    ticks: Iterator[float] = iter([10.0, 10.5, 20.0, 21.0])
    heard: list[Any] = []

    def broken(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise OSError("no")

    events = Observers(on_answered=[lambda *answer: heard.append(answer)], clock=lambda: next(ticks))
    app = PathRouter({"/one": endpoint, "/two": broken}, events)
    call(app, "/one")
    call(app, "/nothing")
    with pytest.raises(OSError, match="no"):
        call(app, "/two")
    assert heard == [("one", 201, 0.5, None), ("two", 0, 1.0, None)]


def test_where_nobody_hears_of_answers_no_clock_is_asked() -> None:
    events = Observers(on_issued=[lambda grant, facts: None], clock=lambda: 1 / 0)
    assert call(PathRouter({"/one": endpoint}, events), "/one")[0] == "201 Created"
