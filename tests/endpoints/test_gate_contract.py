"""What every endpoint does alike: its path and methods, pages of other origins, the rate limit, slots, and loops."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import webob

from oss_wsgi import CallbackEndpoint, Metrics, PostPresigner, Settings, SignatureEndpoint
from oss_wsgi.endpoints.health import HealthEndpoint, ReadinessEndpoint
from oss_wsgi.endpoints.metrics import MetricsEndpoint
from oss_wsgi.endpoints.slots import SLOTS
from oss_wsgi.exceptions import SlotsTakenError
from oss_wsgi.testing import FrozenClock
from oss_wsgi.wsgi.responses import AGAIN_KEY, THREADS_KEY, Again

from ..parts.site import Site, granting
from ..support.closing import closing_fixture
from ..support.example_settings import EXAMPLE

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

PAGES = "https://pages.example.com"
FOREIGN = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example.com"}
READ = "GET, HEAD, OPTIONS"


@dataclass(frozen=True)
class Endpoint:
    """A request that an endpoint answers, and what of the contract holds for it.

    - ``allow``: its methods; ``wrong``: another one.
    - ``for_pages``: pages ask it, those of other origins if they are listed.
    - ``counts``: it counts for the rate limit.
    - ``holds_slot``: it holds a thread while OSS is asked.
    - ``in_loop``: it never waits where no callable of the application's is asked.
    """

    method: str
    path: str
    allow: str = READ
    wrong: str = "POST"
    body: Any = None
    for_pages: bool = True
    counts: bool = True
    holds_slot: bool = False
    in_loop: bool = False


ENDPOINTS = {
    "form": Endpoint("GET", "/signature?filename=a.png", in_loop=True),
    "put": Endpoint("GET", "/signature?method=put&filename=a&content_type=image/png&size=5", in_loop=True),
    "limits": Endpoint("GET", "/limits", in_loop=True),
    "params": Endpoint("GET", "/s3/params?filename=a", in_loop=True),
    "begin": Endpoint("POST", "/s3/multipart", "POST, OPTIONS", "GET", {"filename": "a"}, holds_slot=True),
    "part": Endpoint("GET", "/s3/multipart/{id}/1?key={key}", wrong="DELETE", counts=False, in_loop=True),
    "list": Endpoint("GET", "/s3/multipart/{id}?key={key}", "GET, HEAD, DELETE, OPTIONS", holds_slot=True),
    "complete": Endpoint(
        "POST", "/s3/multipart/{id}/complete?key={key}", "POST, OPTIONS", "GET", {"parts": []}, holds_slot=True
    ),
    "abort": Endpoint("DELETE", "/s3/multipart/{id}?key={key}", "GET, HEAD, DELETE, OPTIONS", holds_slot=True),
    "recover": Endpoint("POST", "/recover", "POST, OPTIONS", "GET", "proof", holds_slot=True),
    "callback": Endpoint("POST", "/callback", "POST", "GET", b"", for_pages=False, counts=False),
    "health": Endpoint("GET", "/health", "GET, HEAD", for_pages=False, counts=False, in_loop=True),
    "ready": Endpoint("GET", "/health/ready", "GET, HEAD", for_pages=False, counts=False),
    "metrics": Endpoint("GET", "/metrics", "GET, HEAD", for_pages=False, counts=False),
    "script": Endpoint("GET", "/upload.js", "GET, HEAD", for_pages=False, counts=False, in_loop=True),
}
FOR_PAGES = [name for name, endpoint in ENDPOINTS.items() if endpoint.for_pages]
WITH_SLOT = [name for name, endpoint in ENDPOINTS.items() if endpoint.holds_slot]

make = closing_fixture(Site)


def with_all(make: Callable[..., Site], settings: dict[str, Any] | None = None, **options: Any) -> Site:
    """Return an application with every endpoint."""
    options = {"authorize": granting(), "metrics": Metrics(), **options}
    return make({"recover": True, **(settings or {})}, **options)


@pytest.fixture
def site(make: Callable[..., Site]) -> Site:
    return with_all(make)


class Asking:
    """What asks an endpoint of a site, about an upload in parts of which none is sent."""

    def __init__(self, site: Site, name: str) -> None:
        self.site, self.endpoint = site, ENDPOINTS[name]
        file = site.begin()
        self.path = self.endpoint.path.format(id=file.id, key=quote(file.key, safe=""))
        self.body = self.endpoint.body
        if self.body == "proof":
            fields = site.ask("GET", "/signature?filename=a.png").json["fields"]
            self.body = {"ticket": fields["callback"], "object": fields["key"]}

    def __call__(self, method: str | None = None, **headers: str) -> webob.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.site.ask(method or self.endpoint.method, self.path, self.body, headers=named)

    @property
    def asked_of_oss(self) -> int:
        return len(self.site.bucket.requests)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ENDPOINTS)
def test_it_is_at_its_own_path_and_has_its_own_methods(site: Site, name: str) -> None:
    ask, endpoint = Asking(site, name), ENDPOINTS[name]
    answer = ask(endpoint.wrong)
    assert (answer.status_int, answer.headers["Allow"]) == (405, endpoint.allow)
    ask.path = f"{ask.path.partition('?')[0]}/x/y"
    assert ask().status_int == 404


@pytest.mark.parametrize(
    "endpoint",
    [
        SignatureEndpoint(PostPresigner(Settings(**EXAMPLE), clock=FrozenClock()), allow_anonymous=True),
        CallbackEndpoint(),
        HealthEndpoint(),
        ReadinessEndpoint({}, clock=FrozenClock()),
        MetricsEndpoint(Metrics()),
    ],
    ids=lambda endpoint: type(endpoint).__name__,
)
def test_an_endpoint_that_somebody_mounts_is_at_its_own_root_only(endpoint: WSGIApplication) -> None:
    for method in ("GET", "POST"):
        response = webob.Request.blank("/below?filename=a", method=method).get_response(endpoint)
        assert (response.status_int, response.json["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("name", [name for name, endpoint in ENDPOINTS.items() if "HEAD" in endpoint.allow])
def test_head_has_the_headers_of_get_and_no_body(site: Site, name: str) -> None:
    ask = Asking(site, name)
    got, head = ask("GET"), ask("HEAD")
    assert (head.status, head.body, len(got.body) > 0) == (got.status, b"", True)
    assert {*head.headers} == {*got.headers}
    assert head.content_type == got.content_type
    assert head.content_length > 0


@pytest.mark.parametrize("name", FOR_PAGES)
def test_a_page_of_a_foreign_origin_is_refused_and_nobody_is_asked(make: Callable[..., Site], name: str) -> None:
    ask = Asking(with_all(make), name)
    ask.site.options["authorize"] = lambda request: pytest.fail("authorize is asked")
    ask.site.application, before = ask.site.start(), ask.asked_of_oss
    for headers in FOREIGN, {"Sec-Fetch-Site": "cross-site"}, {"Origin": FOREIGN["Origin"]}:
        answer = ask(**headers)
        assert (answer.status_int, answer.json["error"]["code"]) == (403, "origin_foreign")
    assert ask.asked_of_oss == before


@pytest.mark.parametrize("name", FOR_PAGES)
def test_a_page_of_a_listed_origin_sends_a_preflight_and_reads_each_response(
    make: Callable[..., Site], name: str
) -> None:
    ask, allow = Asking(with_all(make, {"allowed_origins": (PAGES,)}), name), ENDPOINTS[name].allow
    preflight = {"Access-Control-Request-Method": ENDPOINTS[name].method, "Access-Control-Request-Headers": "x-a"}
    allowed = ask("OPTIONS", Origin=PAGES, **preflight)
    assert (allowed.status_int, allowed.headers["Access-Control-Allow-Headers"]) == (204, "x-a")
    assert allowed.headers["Access-Control-Allow-Methods"] == allow
    for answer in ask(Origin=PAGES), ask(ENDPOINTS[name].wrong, Origin=PAGES), allowed:
        assert answer.headers["Access-Control-Allow-Origin"] == PAGES
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
        assert answer.headers["Vary"] == "Origin"
    assert ask(Origin=PAGES).headers["Access-Control-Expose-Headers"] == "Retry-After"
    for answer in ask(**FOREIGN), ask("OPTIONS", **FOREIGN, **preflight):
        assert not [header for header in answer.headers if header.startswith("Access-Control")]
        assert answer.headers["Vary"] == "Origin"
    assert answer.headers["Allow"] == allow


@pytest.mark.parametrize("name", ENDPOINTS)
def test_one_rate_limit_counts_by_user_and_asks_nobody_beyond_it(make: Callable[..., Site], name: str) -> None:
    seen: list[str] = []
    wait: list[float | None] = [None]
    site = with_all(make, rate_limit=lambda who: seen.append(who) or wait[0])
    ask = Asking(site, name)
    seen.clear()
    wait[0], before = 6.5, ask.asked_of_oss
    for method in {ask.endpoint.method} | {"HEAD"} & {*ask.endpoint.allow.split(", ")}:
        answer = ask(method)
        assert (answer.status_int == 429) is ask.endpoint.counts
        assert answer.headers.get("Retry-After") == ("7" if ask.endpoint.counts else None)
        assert set(seen) == ({"user:eric"} if ask.endpoint.counts else set())
    assert not ask.endpoint.counts or ask.asked_of_oss == before
    counted = len(seen)
    assert ask(ask.endpoint.wrong).status_int == 405
    assert ask("OPTIONS").status_int in (204, 405)
    assert len(seen) == counted, "what is refused before does not count"


@pytest.mark.parametrize("name", ENDPOINTS)
def test_only_what_never_waits_is_answered_in_a_loop(make: Callable[..., Site], name: str) -> None:
    endpoint, headers = ENDPOINTS[name], {"X_OSS_PUB_KEY_URL": "?"}
    path = f"/oss{endpoint.path.partition('?')[0].format(id='x')}"
    alone = with_all(make, authorize=None, metrics=None).application
    assert alone.is_nonblocking(endpoint.method, path, headers) is endpoint.in_loop
    if name != "script":  # a file is in memory, whatever the method
        for method in {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"} - {endpoint.method}:
            assert not alone.is_nonblocking(method, path, headers), method
    asking = with_all(make, authorize=granting()).application
    is_asked = endpoint.for_pages and name != "part"
    assert asking.is_nonblocking(endpoint.method, path, headers) is (endpoint.in_loop and not is_asked)


# Slots.


def slots_are_free() -> bool:
    """Return whether no request holds a slot: of two threads one may be held."""
    with contextlib.suppress(SlotsTakenError), SLOTS.hold({"REMOTE_ADDR": "9", THREADS_KEY: 2}):
        return True
    return False


@pytest.mark.parametrize("name", FOR_PAGES)
def test_only_what_asks_oss_needs_a_slot_and_without_one_nobody_is_asked(site: Site, name: str) -> None:
    ask, is_refused = Asking(site, name), ENDPOINTS[name].holds_slot
    before = ask.asked_of_oss
    with SLOTS.hold({"REMOTE_ADDR": "1"}), SLOTS.hold({"REMOTE_ADDR": "2"}):
        answer = ask()
        assert (answer.status_int == 503, answer.headers.get("Retry-After")) == (
            is_refused,
            "1" if is_refused else None,
        )
        assert ask.asked_of_oss == before
    assert ask().status_int != 503


@pytest.mark.parametrize("name", WITH_SLOT)
@pytest.mark.parametrize("holder", ["user", "address"])
def test_who_holds_two_slots_is_refused_and_the_server_is_asked_for_another_try(
    site: Site, name: str, holder: str
) -> None:
    ask, again = Asking(site, name), Again()
    again.is_offered = True
    environ = {THREADS_KEY: 8, "REMOTE_ADDR": "3", AGAIN_KEY: again}
    inner = site.application
    site.application = lambda env, start: inner({**env, **environ}, start)  # type: ignore[assignment]
    with contextlib.ExitStack() as stack:
        for address in ("3", "3") if holder == "address" else ("1", "2"):
            slot = stack.enter_context(SLOTS.hold({"REMOTE_ADDR": address, THREADS_KEY: 8}))
            if holder == "user":
                slot.share("user:eric")
        assert ask().status_int == 503
        assert again.is_asked
        environ["REMOTE_ADDR"] = "4"
        assert (ask().status_int == 503) is (holder == "user")


class _StartError(Exception):
    pass


@pytest.mark.parametrize("name", WITH_SLOT)
@pytest.mark.parametrize("fault", ["the bucket raises", "start_response raises"])
def test_the_slot_is_free_again_whatever_happens(site: Site, name: str, fault: str) -> None:
    ask = Asking(site, name)
    if fault == "the bucket raises":
        site.bucket.fail_next(RuntimeError("a bug"))  # type: ignore[attr-defined]
    else:
        inner = site.application

        def application(environ: Any, start_response: Any) -> Any:
            def start(*arguments: Any) -> Any:
                raise _StartError

            return inner(environ, start)

        site.application = application  # type: ignore[assignment]
    with contextlib.suppress(RuntimeError, _StartError):
        ask()
    assert slots_are_free()
