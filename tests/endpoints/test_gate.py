"""Gate: how ``authorize`` is asked, whose rate and slots count, and what pages of other origins may read."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import webob
import webob.exc

from oss_wsgi import Grant, RateLimit
from oss_wsgi.endpoints.gate import Gate, readable
from oss_wsgi.endpoints.slots import SLOTS
from oss_wsgi.exceptions import CredentialsError, GrantError, OSSWSGIError, PolicyError
from oss_wsgi.testing import FrozenClock
from oss_wsgi.testing.clients import get_response
from oss_wsgi.wsgi.responses import Again

LOG = logging.getLogger("oss_wsgi.tests")
PAGES = "https://pages.example.com"


def environ_of(method: str = "POST", path: str = "", environ: dict[str, Any] | None = None, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = webob.Request.blank("/", method=method, headers=named, environ={"SCRIPT_NAME": "/oss/sign"})
    return {**request.environ, "PATH_INFO": path, **(environ or {})}


def answered(act: Callable[[], object]) -> webob.Response:
    """Return the response to a request in which ``act`` raises."""

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        return Gate().answer(LOG, {**environ, "PATH_INFO": ""}, start_response, "GET", lambda *_: act())

    return get_response(webob.Request.blank("/"), app)


def refused(act: Callable[[], object]) -> tuple[int, str]:
    """Return the status of the response, and the code that a browser gets."""
    response = answered(act)
    return response.status_int, response.json["error"]["code"]


# Authorize, and may_complete.


def plain(request: webob.Request) -> Grant:
    return Grant(user="eric")


def test_authorize_gets_the_request_and_nothing_else() -> None:
    seen: list[Any] = []

    def authorize(*arguments: Any, **named: Any) -> Grant:
        seen.append((arguments, named))
        return Grant(user="eric")

    gate = Gate(authorize=authorize, may_complete=lambda user: True)
    environ = environ_of()
    assert gate.grant(environ) == Grant(user="eric")
    gate.check_completion("eric", environ)
    ((arguments, named),) = seen
    assert (len(arguments), named) == (1, {})
    assert arguments[0].environ is environ


def test_authorize_refuses_by_none(caplog: pytest.LogCaptureFixture) -> None:
    assert refused(lambda: Gate(authorize=lambda request: None).grant(environ_of())) == (403, "forbidden")
    assert "reason=not_authorized hint='authorize returned None'" in caplog.text


@pytest.mark.parametrize("user", ["eric", None])
def test_may_complete_gets_the_tickets_user_and_decides(user: str | None, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[tuple[Any, ...]] = []

    def may_complete(*arguments: Any) -> bool:
        seen.append(arguments)
        return len(seen) > 1

    gate = Gate(authorize=plain, may_complete=may_complete)
    assert refused(lambda: gate.check_completion(user, environ_of())) == (403, "forbidden")
    assert "reason=not_authorized hint='may_complete returned False'" in caplog.text
    gate.check_completion(user, environ_of())
    assert seen == [(user,), (user,)]


def test_without_may_complete_everybody_completes_what_began() -> None:
    Gate(authorize=lambda request: None).check_completion("eric", environ_of())


#: What a gate does with one of the application's callables, by its parameter.
ASKED: dict[str, Callable[[Any], Any]] = {
    "authorize": lambda function: Gate(authorize=function).grant(environ_of()),
    "may_complete": lambda function: Gate(may_complete=function).check_completion("eric", environ_of()),
}


def raising(error: BaseException) -> Callable[[Any], Any]:
    def function(argument: Any) -> Any:
        raise error

    return function


@pytest.mark.parametrize("name", ASKED)
@pytest.mark.parametrize("error", [LookupError("x"), SystemExit(), KeyboardInterrupt(), GeneratorExit()], ids=repr)
def test_a_callable_that_fails_is_named_in_the_log(
    name: str, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    assert refused(lambda: ASKED[name](raising(error))) == (500, "internal_server_error")
    assert f"reason={name}_failed hint='{name} raised {type(error).__name__}'" in caplog.text
    assert "in function" in caplog.text, "the traceback"


@pytest.mark.parametrize(
    ("name", "answers"),
    [
        (
            "authorize",
            [True, False, "", "eric", {}, [Grant()], Grant, Grant.__init__, webob.exc.HTTPOk(), ValueError()],
        ),
        ("may_complete", [None, 0, 1, "no", Grant()]),
    ],
)
def test_an_answer_of_another_type_is_an_error(name: str, answers: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    for answer in answers:
        assert refused(functools.partial(ASKED[name], lambda argument, answer=answer: answer)) == (
            500,
            "internal_server_error",
        )
        assert f"reason={name}_failed hint='{name} must return " in caplog.messages[-1]
        assert caplog.messages[-1].partition("' oss_request_id")[0].endswith(f", not {type(answer).__name__}")


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("authorize", "(it gets the request alone; may_complete says who may complete an upload in parts)"),
        ("may_complete", "(it gets the ticket's user alone)"),
    ],
)
def test_the_log_says_what_a_callable_with_other_parameters_gets(
    name: str, advice: str, caplog: pytest.LogCaptureFixture
) -> None:
    def function(argument: Any, user: str) -> None:
        raise AssertionError

    assert refused(lambda: ASKED[name](function))[0] == 500
    assert f"{name} raised TypeError {advice}" in caplog.messages[-1]
    assert "missing 1 required positional argument: 'user'" in caplog.text


def test_only_a_grant_may_be_contradictory() -> None:
    with pytest.raises(GrantError):
        ASKED["authorize"](raising(GrantError("x")))
    assert refused(lambda: ASKED["may_complete"](raising(GrantError("x"))))[0] == 500


@pytest.mark.parametrize("name", ASKED)
def test_a_callable_may_raise_a_response_of_its_own(name: str, caplog: pytest.LogCaptureFixture) -> None:
    response = answered(lambda: ASKED[name](raising(webob.exc.HTTPUnauthorized())))
    assert response.status_int == 401
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert f"status=401 reason=not_authorized hint='{name} raised HTTPUnauthorized'" in caplog.text


def test_what_a_raised_response_says_of_itself_stays(caplog: pytest.LogCaptureFixture) -> None:
    def authorize(request: webob.Request) -> Grant:
        raise webob.exc.HTTPForbidden(headers={"Cache-control": "private"})

    response = answered(lambda: Gate(authorize=authorize).grant(environ_of()))
    assert response.headers.getall("Cache-Control") == ["private"]
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert "reason=not_authorized " in caplog.text


@pytest.mark.parametrize(
    ("options", "nonblocking"),
    [
        ({}, True),
        ({"rate_limit": RateLimit(1, 1, clock=FrozenClock())}, True),
        ({"rate_limit": lambda who: None}, False),
        ({"authorize": plain}, False),
    ],
    ids=["nothing", "our limit", "their limit", "authorize"],
)
def test_a_gate_waits_only_for_what_is_the_users_own(options: dict[str, Any], nonblocking: bool) -> None:
    assert Gate(allow_anonymous=True, **options).is_nonblocking is nonblocking


def test_a_gate_that_nobody_has_opened_is_closed() -> None:
    assert refused(lambda: Gate().grant(environ_of())) == (403, "forbidden")


# The rate, and slots.


def test_a_request_that_is_tried_again_counts_once() -> None:
    seen: list[str] = []
    gate = Gate(allow_anonymous=True, rate_limit=seen.append)
    first = environ_of(environ={"oss_wsgi.again": Again()})
    for environ in (first, first, environ_of(environ={"oss_wsgi.again": Again()}), environ_of(), environ_of()):
        gate.count("eric", environ)
    assert seen == ["user:eric"] * 4
    gate.count(None, environ_of(environ={"REMOTE_ADDR": "192.0.2.7"}), ticket="t1")
    assert seen[4:] == ["address:192.0.2.7"], "so does a ticket of nobody"


@pytest.mark.parametrize(
    ("user", "ticket", "callers"),
    [
        (None, None, set()),
        ("eric", None, {"user:eric"}),
        ("eric", "t1", {"user:eric", "ticket:t1"}),
        (None, "t1", {"ticket:t1"}),
    ],
)
def test_a_slot_counts_for_user_and_ticket(user: str | None, ticket: str | None, callers: set[str]) -> None:
    environ = environ_of(environ={"REMOTE_ADDR": "192.0.2.7"})
    with SLOTS.hold(environ) as slot:
        Gate(allow_anonymous=True).count(user, environ, slot, ticket)
        assert slot.callers == callers | {"address:192.0.2.7"}


def test_a_slot_counts_for_the_granted_user() -> None:
    environ = environ_of()
    with SLOTS.hold(environ) as slot:
        assert Gate(authorize=plain).grant(environ, slot) == Grant(user="eric")
        assert "user:eric" in slot.callers


# Origins.


def echo(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
    start_response("404 Not Found", [("Content-Type", "text/plain")])
    yield b"nothing"


def test_what_answers_any_path_is_readable_for_listed_pages_only() -> None:
    assert readable(echo, frozenset(), "GET") is echo
    app = readable(echo, frozenset({PAGES}), "GET, POST")
    asking = {"Origin": PAGES, "Access-Control-Request-Method": "POST"}
    request = webob.Request.blank("/any", method="OPTIONS", headers=asking)
    assert list(app(request.environ, lambda *arguments: lambda data: None)) == []
    preflight = get_response(request, app)
    assert preflight.status_int == 204
    assert preflight.headers["Allow"] == preflight.headers["Access-Control-Allow-Methods"] == "GET, POST"
    assert preflight.headers["Access-Control-Max-Age"] == "600"
    assert "Access-Control-Allow-Headers" not in preflight.headers
    for method, headers in (("GET", {"Origin": PAGES}), ("GET", asking), ("OPTIONS", {"Origin": PAGES})):
        response = get_response(webob.Request.blank("/any", method=method, headers=headers), app)
        assert (response.status_int, response.body) == (404, b"nothing")
        assert response.headers["Access-Control-Allow-Origin"] == PAGES
    assert "Access-Control-Allow-Origin" not in get_response(webob.Request.blank("/any"), app).headers


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (GrantError("no"), 403, "grant_refused"),
        (CredentialsError("none now"), 503, "credentials_unavailable"),
        (PolicyError("too long"), 500, "not_signed"),
    ],
    ids=["grant", "credentials", "another"],
)
def test_what_cannot_be_signed_is_refused_with_the_reason_in_the_log(
    error: OSSWSGIError, status: int, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    def act() -> None:
        raise error

    answer = answered(act)
    assert answer.status_int == status
    assert f"reason={reason} " in caplog.text
    assert str(error) in caplog.text
    assert str(error) not in answer.text
