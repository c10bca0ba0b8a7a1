"""Applications say which requests they answer without waiting, and more; what they do not say has a careful answer."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from oss_wsgi import (
    AccessLog,
    AuthorizationPassthrough,
    CallbackGuard,
    CallbackVerifier,
    MemoryLedger,
    OncePerUpload,
    PublicKeyStore,
    SQLiteLedger,
)
from oss_wsgi.middleware.dispatcher import Blocking, Dispatcher, PathRouter
from oss_wsgi.testing import CallbackSigner, FrozenClock
from oss_wsgi.wsgi.questions import body_limit_of, callback_test, nonblocking_test

SIGNER = CallbackSigner()
KEY = {"X_OSS_PUB_KEY_URL": SIGNER.headers("/", b"")["x-oss-pub-key-url"]}


def unknown(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"unknown"]


class Quick:
    """An application that answers GET and POST without waiting, and records the paths it is asked about."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"quick"]

    def is_nonblocking(self, method: str, path: str, headers: Mapping[str, str]) -> bool:
        self.paths.append(path)
        return method in ("GET", "POST")

    def body_limit(self, method: str, path: str) -> int | None:
        return 7

    def is_callback(self, method: str, path: str, headers: Mapping[str, str]) -> bool:
        return True


def answers(app: Any) -> tuple[bool, int | None, bool]:
    """Return what an application answers to the three questions."""
    return nonblocking_test(app)("GET", "/", {}), body_limit_of(app)("GET", "/"), callback_test(app)("GET", "/", {})


def test_an_application_that_does_not_say_blocks_and_knows_no_limit_and_no_callback() -> None:
    assert answers(unknown) == (False, None, False)
    assert answers(Quick()) == (True, 7, True)


def test_a_dispatcher_asks_the_application_at_the_path() -> None:
    below, mounted, deeper = Quick(), Quick(), Quick()
    app = Dispatcher(below, {"/oss": mounted, "/oss/deep": deeper, "/slow": unknown})
    for path in ("/", "/ossified", "/oss", "/oss/x", "/oss/deep/er"):
        assert app.is_nonblocking("GET", path, {})
    assert (below.paths, mounted.paths, deeper.paths) == (["/", "/ossified"], ["", "/x"], ["/er"])
    assert not app.is_nonblocking("GET", "/slow/x", {})
    assert not app.is_nonblocking("PUT", "/oss", {})


def test_a_router_asks_the_endpoint_at_the_path() -> None:
    endpoint = Quick()
    app = PathRouter(unknown, "/oss", {"/one": endpoint, "/two": unknown})
    assert app.is_nonblocking("GET", "/oss/one", {})
    assert endpoint.paths == [""]
    assert not any(app.is_nonblocking("GET", path, {}) for path in ("/oss/two", "/oss/three", "/one"))


def test_a_blocking_application_answers_as_before_and_blocks() -> None:
    app = Blocking(Quick())
    assert list(app({}, lambda *arguments: lambda data: None)) == [b"quick"]
    assert not nonblocking_test(app)("GET", "/", {})


@pytest.mark.parametrize("middleware", [AuthorizationPassthrough, lambda app: AccessLog(app, clock=FrozenClock())])
def test_what_waits_for_nothing_asks_the_application_behind_it(middleware: Any) -> None:
    for app in (Quick(), unknown):
        assert answers(middleware(app)) == answers(app)


def test_once_is_nonblocking_only_with_a_ledger_of_this_machine(tmp_path: Any) -> None:
    clock = FrozenClock()
    assert OncePerUpload(Quick(), MemoryLedger(clock=clock)).is_nonblocking("POST", "", {})
    assert not OncePerUpload(unknown, MemoryLedger(clock=clock)).is_nonblocking("POST", "", {})
    with SQLiteLedger(tmp_path / "ledger.sqlite3", clock=clock) as ledger:
        assert OncePerUpload(Quick(), ledger).is_nonblocking("POST", "", {})
        custom: Any = SimpleNamespace(run_once=ledger.run_once)
        assert not OncePerUpload(Quick(), custom).is_nonblocking("POST", "", {})


def test_the_guard_is_nonblocking_only_for_a_pinned_key() -> None:
    guard = CallbackGuard(Quick(), CallbackVerifier(SIGNER.public_keys))
    assert guard.is_nonblocking("POST", "", KEY)
    assert not guard.is_nonblocking("GET", "", KEY)
    assert not guard.is_nonblocking("POST", "", {})
    assert not CallbackGuard(Quick(), CallbackVerifier()).is_nonblocking("POST", "", KEY)
    assert not CallbackGuard(unknown, CallbackVerifier(SIGNER.public_keys)).is_nonblocking("POST", "", KEY)


def named(version: int) -> dict[str, str]:
    url = f"https://gosspublic.alicdn.com/callback_pub_key_v{version}.pem"
    return {"X_OSS_PUB_KEY_URL": base64.b64encode(url.encode()).decode()}


def test_a_report_posts_the_url_of_a_key_that_need_not_be_fetched() -> None:
    keys = PublicKeyStore(fetcher=lambda url: b"", clock=FrozenClock())
    guard = CallbackGuard(unknown, CallbackVerifier(keys))
    assert guard.is_callback("POST", "", named(1)) is True
    for refused_at_once in (KEY, {"X_OSS_PUB_KEY_URL": "no Base64"}):
        assert guard.is_callback("POST", "", refused_at_once) is True
    for method, headers in (("GET", named(1)), ("POST", {}), ("POST", named(2))):
        assert guard.is_callback(method, "", headers) is False


def test_a_custom_verifier_blocks() -> None:
    class Verifier(CallbackVerifier):
        pass

    assert not CallbackGuard(Quick(), Verifier(SIGNER.public_keys)).is_nonblocking("POST", "", KEY)


def test_oss_own_keys_are_pinned() -> None:
    urls = {f"{scheme}://gosspublic.alicdn.com/callback_pub_key_v1.pem" for scheme in ("http", "https")}
    assert {base64.b64decode(url).decode() for url in CallbackVerifier().pinned_key_urls()} == urls
