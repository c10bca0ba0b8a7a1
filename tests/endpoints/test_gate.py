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


# Authorize.


def second_look(request: webob.Request, user: str | None = None) -> Grant | None:
    session = request.headers.get("X-Session", "eric")
    return Grant(user=session) if user in (None, session) else None


def second_look_by_keyword(request: webob.Request, *, user: str | None = None) -> Grant | None:
    return second_look(request, user)


def second_look_of_another_name(request: webob.Request, ticket_user: str | None) -> Grant | None:
    return second_look(request, ticket_user)


def careless(request: webob.Request, user: str | None = None) -> Grant:
    return Grant(user=request.headers.get("X-Session", "eric"))


def by_any_name(request: webob.Request, **named: Any) -> Grant | None:
    return second_look(request, **named)


def behind_others(request: webob.Request, limit: int = 5, user: str | None = None) -> Grant | None:
    return second_look(request, user)


def by_place_only(request: webob.Request, user: str | None = None, /) -> Grant | None:
    return second_look(request, user)


def with_a_database(database: str, request: webob.Request, user: str | None = None) -> Grant | None:
    assert database == "database"
    return second_look(request, user)


class Account:
    def __call__(self, request: webob.Request, user: str | None = None) -> Grant | None:
        return second_look(request, user)

    def allow(self, request: webob.Request, *, user: str | None = None) -> Grant | None:
        return second_look(request, user)

    def allow_more(self, request: webob.Request, **named: Any) -> Grant | None:
        return second_look(request, **named)

    @classmethod
    def allow_all(cls, request: webob.Request, user: str | None = None) -> Grant | None:
        return second_look(request, user)


@functools.wraps(second_look)
def passed_on(*arguments: Any, **named: Any) -> Grant | None:
    return second_look(*arguments, **named)


@functools.wraps(second_look)
def passed_on_by_place(request: webob.Request, *arguments: Any) -> Grant | None:
    return second_look(request, *arguments)


def plain(request: webob.Request) -> Grant:
    return Grant(user="eric")


@functools.wraps(plain)
def added_by_a_decorator(request: webob.Request, user: str | None = None) -> Grant | None:
    return plain(request) and second_look(request, user)


@functools.wraps(plain)
def added_of_another_name(request: webob.Request, ticket_user: str | None) -> Grant | None:
    return second_look(request, ticket_user)


TAKING = {
    "second": second_look,
    "keyword": second_look_by_keyword,
    "another_name": second_look_of_another_name,
    "careless": careless,
    "any_name": by_any_name,
    "behind_others": behind_others,
    "by_place_only": by_place_only,
    "partial": functools.partial(with_a_database, "database"),
    "partial_by_name": functools.partial(behind_others, limit=7),
    "object": Account(),
    "method": Account().allow,
    "method_any_name": Account().allow_more,
    "class_method": Account.allow_all,
    "passed_on": passed_on,
    "passed_on_by_place": passed_on_by_place,
    "added_by_a_decorator": added_by_a_decorator,
    "added_of_another_name": added_of_another_name,
}


def asked_again(authorize: Any, session: str = "eric", user: str | None = "eric") -> Any:
    return Gate(authorize=authorize).second_look(user, environ_of(X_Session=session))


@pytest.mark.parametrize("authorize", TAKING.values(), ids=TAKING)
def test_an_authorize_that_takes_the_user_looks_again(authorize: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert Gate(authorize=authorize).grant(environ_of()) == Grant(user="eric")
    assert asked_again(authorize) is None
    assert refused(lambda: asked_again(authorize, "mallory")) == (403, "forbidden")
    assert "reason=not_authorized " in caplog.text


def options_without_user(request: webob.Request, limit: int = 5, *, folder: str = "u/") -> Grant:
    assert (limit, folder) == (5, "u/")
    return Grant(user="eric")


@functools.wraps(plain)
def any_that_is_passed_on(*arguments: Any, **named: Any) -> Grant:
    return plain(*arguments, **named)


def passed_on_unseen(*arguments: Any, **named: Any) -> Grant:
    return plain(*arguments, **named)


def of_a_user(request: webob.Request, user: str) -> Grant:
    assert user == "filled in"
    return Grant(user="eric")


class Plain:
    def __call__(self, request: webob.Request) -> Grant:
        return plain(request)

    def allow(self, request: webob.Request) -> Grant:
        return plain(request)


def third_by_place_only(request: webob.Request, limit: int = 5, user: str | None = None, /) -> Grant:
    assert (limit, user) == (5, None), "it cannot be given alone"
    return Grant(user="eric")


def request_called_user(user: webob.Request) -> Grant:
    return plain(user)


NOT_TAKING = {
    "plain": plain,
    "options": options_without_user,
    "partial": functools.partial(options_without_user, limit=5),
    "filled_in": functools.partial(of_a_user, user="filled in"),
    "object": Plain(),
    "method": Plain().allow,
    "passed_on": any_that_is_passed_on,
    "passed_on_unseen": passed_on_unseen,
    "third_by_place_only": third_by_place_only,
    "request_called_user": request_called_user,
}


@pytest.mark.parametrize("authorize", NOT_TAKING.values(), ids=NOT_TAKING)
def test_an_authorize_that_takes_no_user_is_not_asked_again(authorize: Any) -> None:
    assert Gate(authorize=authorize).grant(environ_of()) == Grant(user="eric")
    assert asked_again(authorize, "mallory") is None


def test_a_gate_without_authorize_looks_once() -> None:
    assert Gate(allow_anonymous=True).second_look("eric", environ_of()) is None


def test_a_grant_for_nobody_lets_anybody_finish() -> None:
    assert asked_again(lambda request, user=None: Grant()) is None


def test_a_ticket_without_a_user_is_asked_for_as_at_first() -> None:
    seen: list[Any] = []

    def authorize(request: webob.Request, user: str = "nobody named") -> Grant:
        seen.append(user)
        return Grant()

    assert asked_again(authorize, user=None) is None
    assert asked_again(authorize, user="eric") is None
    assert seen == ["nobody named", "eric"]
    assert refused(lambda: asked_again(lambda request, user=None: Grant(user="eric"), user=None)) == (403, "forbidden")


def test_what_a_decorator_fills_in_is_no_user() -> None:
    def with_session(function: Callable[[webob.Request, str], Grant]) -> Callable[[webob.Request], Grant]:
        return functools.wraps(function)(lambda request: function(request, request.headers.get("X-Session", "eric")))

    @with_session
    def authorize(request: webob.Request, session: str) -> Grant:
        return Grant(user=session)

    assert Gate(authorize=authorize).grant(environ_of(X_Session="eric")) == Grant(user="eric")
    assert asked_again(authorize, "mallory") is None


def test_what_takes_any_name_is_asked_without_a_user_at_first() -> None:
    seen: list[dict[str, Any]] = []

    def authorize(request: webob.Request, **named: Any) -> Grant:
        seen.append(named)
        return Grant()

    Gate(authorize=authorize).grant(environ_of())
    assert asked_again(authorize) is None
    assert seen == [{}, {"user": "eric"}]


@pytest.mark.parametrize("authorize", [lambda request: 1 / 0, lambda request: "eric"], ids=["it raises", "no grant"])
def test_an_authorize_that_fails_is_named_in_the_log(authorize: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert refused(lambda: Gate(authorize=authorize).grant(environ_of())) == (500, "internal_server_error")
    assert "reason=authorize_failed " in caplog.text


def test_a_second_look_may_raise_a_response_of_its_own() -> None:
    def authorize(request: webob.Request, user: str | None = None) -> Grant:
        raise webob.exc.HTTPUnauthorized

    response = answered(lambda: asked_again(authorize))
    assert response.status_int == 401
    assert response.headers["X-Content-Type-Options"] == "nosniff"


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
