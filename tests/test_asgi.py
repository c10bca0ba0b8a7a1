"""DirectUpload over ASGI: the same answers as over WSGI, async functions on the application's loop, and its threads."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import json
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import starlette.exceptions
import webob
import webob.exc
import webtest

import oss_wsgi
from oss_wsgi import Grant, PublicKeyStore, Settings, Upload
from oss_wsgi.asgi import DirectUpload
from oss_wsgi.exceptions import FetchError, SettingsError
from oss_wsgi.middleware.probe import PROBE_HEADER, prove
from oss_wsgi.serving.bodies import Bodies
from oss_wsgi.serving.bounds import Limits
from oss_wsgi.testing import callback_body, multipart

from .recovery.site import Site
from .support.callbacks import without_signed_id
from .test_application import SIGNER, VALUES, legacy

WAIT = 60
SHORT = 0.5  # seconds; a busy machine's loop begins sooner


class Response(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    body: bytes
    receives: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def application(values: dict[str, Any] | None = None, **options: Any) -> DirectUpload:
    settings = Settings(**{**VALUES, **(values or {})})
    return DirectUpload(settings, **{"public_keys": SIGNER.public_keys, **options})


def scope_of(method: str, target: str, headers: dict[str, str], **more: Any) -> dict[str, Any]:
    path, _, query = target.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "/oss",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("192.0.2.1", 4711),
        "server": ("app.example.com", 80),
        **more,
    }


async def ask(
    app: Any,
    method: str,
    target: str,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    *,
    messages: list[dict[str, Any]] | None = None,
    **more: Any,
) -> Response:
    """Send a request as a server does; ``more`` are members of the scope."""
    headers = dict(headers or {})
    if body:
        headers.setdefault("Content-Length", str(len(body)))
    waiting = messages if messages is not None else [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[dict[str, Any]] = []
    receives = 0

    async def receive() -> dict[str, Any]:
        nonlocal receives
        receives += 1
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope_of(method, target, headers, **more), receive, send)
    if not sent:
        return Response(0, [], b"", receives)
    answer = b"".join(message.get("body", b"") for message in sent[1:])
    pairs = [(name.decode(), value.decode()) for name, value in sent[0]["headers"]]
    return Response(sent[0]["status"], pairs, answer, receives)


async def signed(app: Any, name: str = "a.png", **more: Any) -> Any:
    return (await ask(app, "GET", f"/oss/signature?filename={name}", **more)).json


async def report(app: Any, form: Any = None, target: str = "/oss/callback", **more: Any) -> Response:
    """Send the report of an upload with a form that ``app`` signed."""
    body = callback_body(form or await signed(app), size=6)
    return await ask(app, "POST", target, body, SIGNER.headers(target, body), **more)


async def until(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, WAIT)


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(coroutine, WAIT))


def over_wsgi() -> oss_wsgi.DirectUpload:
    return oss_wsgi.DirectUpload(legacy, Settings(**VALUES), public_keys=SIGNER.public_keys)


@pytest.mark.parametrize(
    ("method", "target", "body", "headers"),
    [
        ("PUT", "/oss/signature", b"", {}),
        ("GET", "/oss/callback", b"", {}),
        ("POST", "/oss/callback", b"x=1", {"Content-Length": "70000"}),
        ("POST", "/oss/callback", b"x=1", {"Content-Length": "three"}),
        ("POST", "/oss/callback", b"x=1", {"Content-Length": "4"}),
        ("POST", "/oss/callback", b"x=1", SIGNER.headers("/oss/callback", b"x=1")),
        ("POST", "/oss/callback", b"", {"Content-Length": "0"}),
        ("HEAD", "/oss/health", b"", {}),
        ("OPTIONS", "/oss/limits", b"", {}),
        ("GET", "/oss/signature?filename=%FF", b"", {}),
        ("GET", "/oss/signature", b"", {"Origin": "https://evil.example.com"}),
        ("GET", "/oss/upload.js", b"", {}),
        ("GET", "/oss/%73ignature/", b"", {}),
        ("GET", "/oss", b"", {}),
        ("POST", "/oss/s3/multipart", b"{}", {"Content-Type": "application/json"}),
    ],
)
def test_a_request_is_answered_as_over_wsgi(method: str, target: str, body: bytes, headers: dict[str, str]) -> None:
    answer = run(ask(application(), method, target, body, headers))
    wsgi = webtest.TestRequest.blank(target, method=method, body=body, headers=headers)
    wsgi.environ["REMOTE_ADDR"] = "192.0.2.1"
    wsgi.environ["HTTP_HOST"] = "app.example.com"
    if body:
        wsgi.environ["CONTENT_LENGTH"] = headers.get("Content-Length", str(len(body)))
    expected = wsgi.get_response(over_wsgi())
    assert answer.status == expected.status_int
    assert answer.body == expected.body
    assert sorted(answer.headers) == sorted((name.lower(), value) for name, value in expected.headerlist)


PARTS = {"multipart": True, "recover": True}
HALF = {"type": "http.request", "body": b"x" * 32_768, "more_body": True}


def signed_headers(**more: str) -> dict[str, str]:
    """Return headers of a report as far as they can be checked without its body."""
    return {**SIGNER.headers("/oss/callback", b"x=1"), "Content-Length": "65536", **more}


UNTRUSTED = base64.b64encode(b"http://oss.evil.example/key.pem").decode()


@pytest.mark.parametrize(
    ("method", "target", "headers", "status"),
    [
        ("POST", "/oss/callback", signed_headers(**{"Content-Length": str(65_537)}), 413),
        ("POST", "/oss/callback", signed_headers(**{"Content-Length": "1" * 4000}), 413),
        ("POST", "/oss/callback", signed_headers(**{"Content-Length": "5, 5"}), 400),
        ("POST", "/oss/callback", {}, 411),
        ("POST", "/oss/callback", {"Transfer-Encoding": "chunked"}, 411),
        ("POST", "/oss/callback", {"Content-Length": "65536"}, 403),
        ("POST", "/oss/callback", signed_headers(Authorization="not one Base64 text"), 403),
        ("POST", "/oss/callback", signed_headers(**{"x-oss-pub-key-url": ""}), 403),
        ("POST", "/oss/callback", signed_headers(**{"x-oss-pub-key-url": UNTRUSTED}), 403),
        ("PUT", "/oss/callback", signed_headers(), 405),
        ("POST", "/oss/s3/multipart/x/complete", {}, 411),
        ("POST", "/oss/s3/multipart/x/complete?key=a", {"Content-Length": str((1 << 20) + 1)}, 413),
        ("POST", "/oss/s3/multipart/x/complete", {"Content-Length": "1048576"}, 400),
        ("POST", "/oss/s3/multipart/x/complete?key=a", {"Content-Length": "1048576"}, 403),
        ("POST", "/oss/s3/multipart", {"Content-Length": "100", "Origin": "https://evil.example"}, 403),
        ("POST", "/oss/s3/multipart/x", {"Content-Length": "100"}, 405),
        ("POST", "/oss/s3/params", {"Content-Length": "100"}, 405),
        ("POST", "/oss/s3/other", {"Content-Length": "100"}, 404),
        ("POST", "/oss/recover", {"Content-Length": "16385"}, 413),
        ("POST", "/oss/recover", {"Content-Length": "100", "Origin": "https://evil.example"}, 403),
        ("PUT", "/oss/recover", {"Content-Length": "100"}, 405),
        ("POST", "/oss/signature", {"Content-Length": "100"}, 405),
        ("GET", "/oss/limits", {"Content-Length": "100"}, 200),
        ("POST", "/oss/elsewhere", {"Content-Length": "100"}, 404),
    ],
)
def test_no_byte_is_read_of_a_body_that_changes_nothing(
    method: str, target: str, headers: dict[str, str], status: int
) -> None:
    answer = run(ask(application(PARTS), method, target, headers=headers, messages=[HALF, HALF]))
    assert (answer.status, answer.receives) == (status, 0)


def test_a_body_that_does_not_end_is_read_no_further_than_was_announced() -> None:
    messages = [{**HALF, "body": b"x" * 65_536} for _ in range(9)]
    assert run(ask(application(), "POST", "/oss/callback", headers=signed_headers(), messages=messages)).receives == 2


class Silent:
    """The messages of a client that sends a piece of a body, and then nothing."""

    def __init__(self, piece: bytes) -> None:
        self.piece: bytes | None = piece
        self.is_read = asyncio.Event()

    async def __call__(self) -> dict[str, Any]:
        piece, self.piece = self.piece, None
        if piece is None:
            self.is_read.set()
            await asyncio.Event().wait()
        return {"type": "http.request", "body": piece, "more_body": True}


async def stall(app: Any, target: str, headers: dict[str, str], piece: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send a piece of a body, wait for the response, and return it."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope_of("POST", target, headers), Silent(piece), send)
    pairs = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], pairs, b"".join(message.get("body", b"") for message in sent[1:])


@pytest.fixture
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> Bodies:
    """Bodies of this process may hold 150 KiB, and have 0.2 s."""
    bodies = Bodies(Limits(body_timeout=0.2, buffered_bytes=150 * 1024), clock=time.monotonic)
    monkeypatch.setattr("oss_wsgi.asgi.BODIES", bodies)
    return bodies


async def begun(app: Any) -> str:
    """Begin an upload in parts, and return the target that completes it."""
    begin = json.dumps({"filename": "a", "type": "image/png", "size": 9}).encode()
    upload = (await ask(app, "POST", "/oss/s3/multipart", begin)).json
    return f"/oss/s3/multipart/{upload['uploadId']}/complete?key={upload['key']}"


def with_parts(**options: Any) -> DirectUpload:
    site = Site(PARTS)
    return application(PARTS, bucket_client=site.bucket, clock=site.clock, **options)


def endpoints_with_bodies(complete: str) -> dict[str, dict[str, str]]:
    length = {"Content-Length": "10000"}
    targets = dict.fromkeys(("/oss/recover", "/oss/s3/multipart", complete), length)
    return {"/oss/callback": signed_headers(), **targets}


@pytest.mark.slow
def test_every_body_has_a_deadline(small_bounds: Bodies, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    counted: list[Any] = []
    app = with_parts(on_refused=lambda reason, status, facts: counted.append((reason, status)))

    async def requests() -> None:
        for target, headers in endpoints_with_bodies(await begun(app)).items():
            status, response_headers, body = await stall(app, target, headers, b"{")
            error = json.loads(body)["error"]
            assert (status, error["code"]) == (408, "request_timeout")
            assert "Retry-After" not in response_headers

    run(requests())
    assert counted == [("body_timeout", 408)] * 4
    assert small_bounds.held == 0


@pytest.mark.slow
def test_beyond_the_memory_of_all_bodies_the_oldest_get_503(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over all mounts of the process together; a report that comes whole is answered meanwhile."""
    bodies = Bodies(Limits(buffered_bytes=30_000), clock=time.monotonic)
    monkeypatch.setattr("oss_wsgi.asgi.BODIES", bodies)
    apps = [with_parts() for _ in range(2)]

    async def requests() -> None:
        form = await signed(apps[0])
        for app in apps:
            for target, headers in endpoints_with_bodies(await begun(app)).items():
                first = asyncio.create_task(stall(app, target, headers, b"x" * 9999))
                while bodies.held < 9999:
                    await asyncio.sleep(0)
                others = [asyncio.create_task(stall(apps[1], target, headers, b"x" * 9999)) for _ in range(1)]
                others += [
                    asyncio.create_task(stall(apps[0], "/oss/recover", {"Content-Length": "10000"}, b"x" * 9999))
                ]
                status, response_headers, body = await first
                assert (status, response_headers["retry-after"]) == (503, "1")
                assert json.loads(body)["error"]["code"] == "service_unavailable"
                assert (await report(apps[0], form)).status == 200
                for task in others:
                    task.cancel()
                await asyncio.gather(*others, return_exceptions=True)
        assert bodies.held == 0

    run(requests())


def test_a_report_that_finds_a_thread_and_no_other_is_answered_beside_requests_that_hold_all_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bodies = Bodies(Limits(buffered_bytes=12_000), clock=time.monotonic)
    monkeypatch.setattr("oss_wsgi.asgi.BODIES", bodies)
    is_asked, is_told, released = threading.Event(), threading.Event(), threading.Event()

    def authorize(request: Any) -> Grant:
        if request.method == "POST":
            is_asked.set()
            released.wait(WAIT)
        return Grant()

    def on_upload(upload: Upload) -> None:
        is_told.set()
        released.wait(WAIT)

    app = with_parts(authorize=authorize, on_upload=on_upload, threads=1)

    async def requests() -> None:
        forms = [await signed(app), await signed(app)]
        body = json.dumps({"filename": "a", "x": "x" * 9000}).encode()
        slow = asyncio.create_task(ask(app, "POST", "/oss/s3/multipart", body))
        await until(is_asked)
        refused = await ask(app, "POST", "/oss/s3/multipart", body)
        assert (refused.status, dict(refused.headers)["retry-after"]) == (503, "1")
        reported = asyncio.create_task(report(app, forms[0]))
        await until(is_told)
        assert (await report(app, forms[1])).status == 503
        released.set()
        assert ((await reported).status, (await slow).status) == (200, 200)

    run(requests())


def test_a_probe_of_doctor_has_its_body_read() -> None:
    secret = "any-32-characters-will-do-for-this"
    app = application({"ticket_secret": (secret,)}, clock=lambda: 1000.0)
    for target in ("/oss/callback", "/oss/elsewhere"):
        answer = run(ask(app, "POST", target, b"x=1", {PROBE_HEADER: prove(secret, 1000.0)}))
        assert "body" in answer.json["oss_wsgi_probe"]
    assert run(ask(app, "POST", "/oss/callback", b"x=1", {PROBE_HEADER: prove("another secret", 1000.0)})).receives == 0


def test_a_list_of_parts_may_be_longer() -> None:
    body = json.dumps({"parts": [], "x": "x" * 100_000}).encode()
    app = with_parts()

    async def requests() -> Response:
        return await ask(app, "POST", await begun(app), body)

    answer = run(requests())
    assert (answer.status, answer.receives) == (409, 1), "no part was sent"


def test_a_client_that_leaves_while_it_sends_gets_no_answer() -> None:
    uploads: list[Upload] = []
    app = application(on_upload=uploads.append)
    messages = [{"type": "http.request", "body": b"half", "more_body": True}]
    answer = run(ask(app, "POST", "/oss/callback", headers=signed_headers(), messages=messages))
    assert (answer.status, answer.receives) == (0, 2)
    assert uploads == []


@pytest.mark.parametrize(
    ("scope", "target"),
    [
        ({}, "/oss/callback"),  # Starlette's Mount
        ({"root_path": "", "path": "/callback"}, "/callback"),  # served by itself
        ({"root_path": "/oss/", "path": "/oss/callback"}, "/oss/callback"),
        ({"root_path": "/oss", "path": "/callback"}, "/oss/callback"),  # an older router cuts the path
        # uvicorn --root-path adds it to both paths, and the proxy has removed it.
        ({"root_path": "/api/oss", "app_root_path": "/api", "path": "/api/oss/callback"}, "/api/oss/callback"),
        # hypercorn --root-path and FastAPI(root_path=...) add it to root_path alone.
        ({"root_path": "/api/oss", "app_root_path": "/api", "path": "/oss/callback"}, "/oss/callback"),
        ({"root_path": "/上传", "path": "/上传/callback"}, "/%E4%B8%8A%E4%BC%A0/callback"),
        ({"root_path": None, "raw_path": None, "path": "/callback"}, "/callback"),
        ({"path": "/callback", "root_path": "/call"}, "/callback"),  # not a whole segment
    ],
)
def test_a_report_fits_wherever_it_is_mounted(scope: dict[str, Any], target: str) -> None:
    scope = {"raw_path": target.encode(), **scope}
    app = application({"callback_url": "https://elsewhere.example.com/x/callback"})

    async def requests() -> Response:
        return await report(app, target=target, **scope)

    assert without_signed_id(run(requests()).json) == {"Status": "Ok"}


def test_the_paths_of_the_environ_are_those_of_the_mount(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRIPT_NAME", "/of/the/process")
    seen: list[dict[str, Any]] = []
    app = application(authorize=lambda request: seen.append(request.environ))
    more = {"root_path": "/é", "path": "/é/signature", "query_string": b"filename=\xff"}
    assert run(ask(app, "GET", "/", **more)).status in (400, 403)
    run(ask(app, "GET", "/", **{**more, "query_string": b"filename=a"}))
    assert seen[-1]["SCRIPT_NAME"] == "/Ã©/signature"
    assert seen[-1]["QUERY_STRING"] == "filename=a"


def test_with_a_prefix_the_endpoints_are_below_it() -> None:
    app = application(prefix="/files")
    assert run(ask(app, "GET", "/oss/files/health")).status == 200
    for path in ("/oss/health", "/oss/filesystem", "/oss"):
        assert run(ask(app, "GET", path)).json["error"]["code"] == "not_found"
    assert run(ask(app, "POST", "/oss/other", b"x")).receives == 0


def test_authorize_sees_the_scope_with_the_session() -> None:
    def allow(request: Any) -> Grant | None:
        user = request.environ["asgi.scope"]["session"].get("user")
        return Grant(user=user, dir=f"users/{user}/") if user else None

    app = application(authorize=allow)
    assert run(ask(app, "GET", "/oss/signature?filename=a", session={})).status == 403
    assert run(signed(app, session={"user": "eric"}))["fields"]["key"].startswith("users/eric/")


def test_the_scope_is_the_one_that_came_and_headers_with_an_underscore_are_none_of_wsgi() -> None:
    seen: list[Any] = []
    app = application(authorize=lambda request: seen.append(request), threads=7)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def requests() -> dict[str, Any]:
        scope = scope_of("GET", "/oss/signature", {"X-Forwarded-User": "eric", "X_Forwarded_User": "root"})
        await app(scope, None, send)  # type: ignore[arg-type]
        return scope

    scope = run(requests())
    assert seen[0].environ["asgi.scope"] is scope
    assert seen[0].environ["oss_wsgi.threads"] == 7
    assert seen[0].headers["X-Forwarded-User"] == "eric"
    assert seen[0].remote_addr == "192.0.2.1"


def test_async_functions_run_on_the_loop_of_the_application() -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    async def allow(request: Any) -> Grant:
        loops.append(asyncio.get_running_loop())
        await asyncio.sleep(0)
        return Grant(user="eric")

    async def save(upload: Upload) -> dict[str, Any]:
        loops.append(asyncio.get_running_loop())
        await asyncio.sleep(0)
        return {"name": upload.user, "file": upload.filename}

    app = application(authorize=allow, on_upload=save)

    async def requests() -> Response:
        answer = await report(app)
        assert loops == [asyncio.get_running_loop()] * 2
        return answer

    for _ in range(2):  # another loop serves the second time
        answer = run(requests())
        assert without_signed_id(answer.json) == {"Status": "Ok", "name": "eric", "file": "a.png"}
        assert dict(answer.headers)["content-length"] == str(len(answer.body))
        loops.clear()


def test_a_view_finds_the_upload_of_a_form() -> None:
    app = application(authorize=lambda request: Grant(user="eric"))

    async def found() -> Upload:
        answer = await report(app)
        return app.find_upload(answer.json["signed_id"], user="eric", max_age=60)

    assert run(found()).filename == "a.png"


def test_plain_functions_run_in_a_thread() -> None:
    threads: list[str] = []

    def allow(request: Any) -> Grant:
        threads.append(threading.current_thread().name)
        return Grant(user="eric")

    def save(upload: Upload) -> None:
        threads.append(threading.current_thread().name)

    assert run(report(application(authorize=allow, on_upload=save))).status == 200
    assert len(threads) == 2
    assert threading.current_thread().name not in threads


def test_a_function_may_hide_that_it_is_async() -> None:
    async def allow(who: str, request: Any, *, folder: str) -> Grant:
        return Grant(user=who, dir=folder)

    class Saver:
        async def __call__(self, upload: Upload) -> dict[str, Any]:
            return {"user": upload.user}

    app = application(authorize=functools.partial(allow, "eric", folder="a/"), on_upload=Saver())
    assert run(report(app)).json["user"] == "eric"
    assert run(report(application(on_upload=lambda upload: Saver()(upload)))).json["user"] is None


@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize(
    ("answer", "status"),
    [(True, 409), (False, 403), (None, 500), (starlette.exceptions.HTTPException(410), 410), (LookupError("x"), 500)],
    ids=str,
)
def test_may_complete_is_asked_before_an_upload_in_parts_is_completed(is_async: bool, answer: Any, status: int) -> None:
    asked: list[str | None] = []

    def decide(user: str | None) -> Any:
        asked.append(user)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def decide_async(user: str | None) -> Any:
        return decide(user)

    values = {"multipart": True, "recover": True}
    site = Site(values)
    app = application(
        values,
        authorize=lambda request: Grant(user="eric"),
        may_complete=decide_async if is_async else decide,
        bucket_client=site.bucket,
        clock=site.clock,
    )

    async def complete() -> int:
        begin = json.dumps({"filename": "a", "type": "image/png", "metadata": {"name": "a"}, "size": 9}).encode()
        begun = (await ask(app, "POST", "/oss/s3/multipart", begin)).json
        path = f"/oss/s3/multipart/{begun['uploadId']}/complete?key={begun['key']}"
        return (await ask(app, "POST", path, b'{"parts": []}')).status

    assert run(complete()) == status, "409: no part was sent"
    assert asked == ["eric"]


@pytest.mark.slow
def test_one_handler_at_a_time_and_once_for_each_upload_of_fifty_reports() -> None:
    saved: list[str] = []

    async def save(upload: Upload) -> dict[str, Any]:
        await asyncio.sleep(0)
        saved.append(upload.object)
        return {"name": upload.object}

    app = application(on_upload=save)

    async def requests() -> list[Response]:
        forms = await asyncio.gather(*[signed(app, f"{number}.png") for number in range(50)])
        return await asyncio.gather(*[report(app, form) for form in forms])

    answers = run(requests())
    assert [answer.status for answer in answers] == [200] * 50
    assert len({answer.json["name"] for answer in answers}) == 50
    assert sorted(saved) == sorted(answer.json["name"] for answer in answers)


@pytest.mark.parametrize("is_async", [True, False])
def test_reports_and_probes_do_not_wait_for_a_slow_authorize(is_async: bool) -> None:
    begun, released = threading.Semaphore(0), threading.Event()

    def wait(request: Any) -> Grant | None:
        if request.environ["asgi.scope"].get("is_slow"):
            begun.release()
            assert released.wait(WAIT)
        return Grant(user="eric")

    async def wait_async(request: Any) -> Grant | None:
        return await asyncio.to_thread(wait, request)

    app = application(authorize=wait_async if is_async else wait, threads=2, time_limit=WAIT)

    async def requests() -> list[int]:
        form = await signed(app)
        slow = [asyncio.create_task(ask(app, "GET", "/oss/signature", is_slow=True)) for _ in range(8)]
        for _ in range(2):
            assert await asyncio.to_thread(begun.acquire, timeout=WAIT)
        assert (await ask(app, "GET", "/oss/health")).status == 200
        assert (await report(app, form)).status == 200
        assert not any(task.done() for task in slow)
        released.set()
        return [answer.status for answer in await asyncio.gather(*slow)]

    assert run(requests()) == [200] * 8


def test_reports_do_not_wait_for_the_keys_that_forged_ones_name() -> None:
    begun, released = threading.Semaphore(0), threading.Event()

    def fetch(url: str) -> bytes:
        begun.release()
        assert released.wait(WAIT)
        raise FetchError("no answer")

    keys = PublicKeyStore({SIGNER.url: SIGNER.pem}, fetcher=fetch, clock=time.monotonic)
    app = application(public_keys=keys, threads=2)

    async def forged(version: int) -> int:
        url = f"https://gosspublic.alicdn.com/callback_pub_key_v{version}.pem"
        headers = {"x-oss-pub-key-url": base64.b64encode(url.encode()).decode(), "Authorization": "AAAA"}
        return (await ask(app, "POST", "/oss/callback", b"x=1", headers)).status

    async def requests() -> list[int]:
        form = await signed(app)
        slow = [asyncio.create_task(forged(version)) for version in range(2, 6)]
        for _ in range(2):
            assert await asyncio.to_thread(begun.acquire, timeout=WAIT)
        honest = asyncio.create_task(report(app, form))
        await asyncio.wait([honest], timeout=WAIT / 2)
        assert honest.done()
        released.set()
        assert honest.result().status == 200
        return list(await asyncio.gather(*slow))

    assert run(requests()) == [503] * 4


def test_an_exception_fails_the_report_and_the_next_one_is_handled(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[Upload] = []

    async def save(upload: Upload) -> None:
        calls.append(upload)
        if len(calls) == 1:
            raise LookupError("no such album")

    app = application(on_upload=save)

    async def requests() -> list[int]:
        form = await signed(app)
        return [(await report(app, form)).status for _ in range(3)]

    assert run(requests()) == [500, 200, 200]
    assert len(calls) == 2
    assert "reason=handler_failed" in caplog.text
    assert "no such album" in caplog.text


def test_an_async_handler_is_none_for_a_shared_transaction(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sqlalchemy = pytest.importorskip("sqlalchemy")
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'app.sqlite3'}")
    ledger = oss_wsgi.SQLLedger.sharing(engine.begin, clock=time.time)
    seen: list[Any] = []

    async def save(upload: Upload) -> None:
        seen.append(upload.transaction)

    assert run(report(application(on_upload=save, ledger=ledger))).status == 500
    assert seen == []
    assert "on_upload is async, but only this thread can use the ledger's transaction" in caplog.text
    plain = application(on_upload=lambda upload: seen.append(upload.transaction), ledger=ledger)
    assert run(report(plain)).status == 200
    assert seen[0] is not None
    engine.dispose()


@pytest.mark.parametrize("raised", [SystemExit, KeyboardInterrupt, asyncio.CancelledError, TimeoutError("of its own")])
def test_what_an_async_handler_raises_ends_neither_thread_nor_loop(
    caplog: pytest.LogCaptureFixture, raised: Any
) -> None:
    async def save(upload: Upload) -> None:
        raise raised

    assert run(report(application(on_upload=save))).status == 500
    assert "reason=handler_failed" in caplog.text
    if isinstance(raised, TimeoutError):
        assert "TimeoutError: of its own" in caplog.text


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (webob.exc.HTTPUnauthorized(), 401),
        (webob.exc.HTTPFound(location="/login"), 302),
        (LookupError("x"), 500),
    ],
)
def test_authorize_may_raise_as_over_wsgi(error: Exception, status: int) -> None:
    async def allow(request: Any) -> Grant:
        raise error

    assert run(ask(application(authorize=allow), "GET", "/oss/signature")).status == status


def test_authorize_may_raise_an_exception_of_starlette() -> None:
    def refuse(status: int, headers: dict[str, str] | None = None) -> Response:
        async def allow(request: Any) -> Grant:
            raise starlette.exceptions.HTTPException(status, "log in first", headers)

        answer: Response = run(ask(application(authorize=allow), "GET", "/oss/signature"))
        return answer

    answer = refuse(401, {"WWW-Authenticate": "Bearer"})
    assert (answer.status, dict(answer.headers)["www-authenticate"]) == (401, "Bearer")
    assert b"log in first" in answer.body
    assert refuse(429).status == 429
    assert refuse(303, {"Location": "/login"}).status == 500
    assert refuse(499).status == 500


def test_an_exception_of_starlette_in_a_handler_is_an_error_as_any_other(caplog: pytest.LogCaptureFixture) -> None:
    async def save(upload: Upload) -> None:
        raise starlette.exceptions.HTTPException(409, "taken")

    assert run(report(application(on_upload=save))).status == 500
    assert "HTTPConflict" not in caplog.text


@pytest.mark.slow
def test_a_handler_that_takes_too_long_is_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    ended: list[str] = []

    async def save(upload: Upload) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("rolled back")
            raise

    app = application(on_upload=save, time_limit=SHORT)
    assert run(report(app)).status == 500
    assert ended == ["rolled back"]
    assert "on_upload did not end within 0.5 s and was cancelled" in caplog.text
    assert "time_limit" in caplog.text


@pytest.mark.slow
def test_an_authorize_that_takes_too_long_is_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    async def allow(request: Any) -> Grant:
        await asyncio.Event().wait()
        raise AssertionError

    assert run(ask(application(authorize=allow, time_limit=SHORT), "GET", "/oss/signature")).status == 500
    assert "authorize did not end within 0.5 s" in caplog.text


@pytest.mark.slow
def test_what_a_cancelled_handler_has_done_counts() -> None:
    async def save(upload: Upload) -> dict[str, Any]:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return {"saved": True}

    app = application(on_upload=save, time_limit=SHORT)

    async def requests() -> list[Response]:
        form = await signed(app)
        return [await report(app, form) for _ in range(2)]

    assert [without_signed_id(answer.json) for answer in run(requests())] == [{"Status": "Ok", "saved": True}] * 2


@pytest.mark.slow
def test_a_handler_that_does_not_let_itself_be_cancelled_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def requests() -> None:
        released = asyncio.Event()

        async def save(upload: Upload) -> None:
            while not released.is_set():
                try:
                    await released.wait()
                except asyncio.CancelledError:
                    continue

        assert (await report(application(on_upload=save, time_limit=SHORT))).status == 500
        released.set()

    run(requests())
    assert "and still runs, although it was cancelled" in caplog.text


class _Refused(logging.Handler):
    """Sets an event when something is refused."""

    def __init__(self) -> None:
        super().__init__()
        self.event = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if "handler_failed" in record.getMessage():
            self.event.set()


def test_a_blocked_loop_ends_in_an_error_that_says_so(caplog: pytest.LogCaptureFixture) -> None:
    called = threading.Event()
    refused = _Refused()
    saved: list[Upload] = []

    def save(upload: Upload) -> Awaitable[None]:
        called.set()

        async def saving() -> None:
            saved.append(upload)

        return saving()

    app = application(on_upload=save, time_limit=0.01)

    async def requests() -> int:
        form = await signed(app)
        task = asyncio.create_task(report(app, form))
        while not called.is_set():
            await asyncio.sleep(0)
            if called.wait(0.001):
                break
        assert refused.event.wait(WAIT)  # this blocks the loop
        return (await task).status

    logger = logging.getLogger("oss_wsgi")
    logger.addHandler(refused)
    try:
        assert run(requests()) == 500
    finally:
        logger.removeHandler(refused)
    assert saved == [], "a handler whose report was refused does not begin later"
    assert "the event loop did not start on_upload within 0.01 s" in caplog.text
    assert "time.sleep" in caplog.text


def test_a_request_that_is_cancelled_does_not_cancel_the_handler() -> None:
    saved: list[str] = []

    async def requests() -> int:
        begun, released, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def save(upload: Upload) -> dict[str, Any]:
            begun.set()
            await released.wait()
            saved.append(upload.object)
            done.set()
            return {}

        # The thread of the first report answers the second one too, so it ends before the loop does.
        app = application(on_upload=save, time_limit=WAIT, threads=1)
        form = await signed(app)
        task = asyncio.create_task(report(app, form))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        released.set()
        await done.wait()
        return (await report(app, form)).status

    assert run(requests()) == 200
    assert len(saved) == 1


@pytest.mark.parametrize(
    ("scope", "sent"),
    [
        ({"type": "websocket", "path": "/oss/signature"}, [{"type": "websocket.close", "code": 1000}]),
        ({"type": "lifespan"}, [{"type": "lifespan.startup.complete"}, {"type": "lifespan.shutdown.complete"}]),
    ],
)
def test_other_scopes_are_answered(scope: dict[str, Any], sent: list[Any]) -> None:
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    answers: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        answers.append(message)

    run(application()(scope, receive, send))
    assert answers == sent


def test_an_unknown_scope_is_an_error() -> None:
    with pytest.raises(ValueError, match="answers HTTP requests, not 'mqtt'"):
        run(ask(application(), "GET", "/oss/health", type="mqtt"))


class Async:
    async def __call__(self, argument: object) -> bool:
        return True


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"settings": legacy}, TypeError, "must be Settings, not function: oss_wsgi.asgi.DirectUpload takes no appl"),
        ({"forward_callback": True}, TypeError, "leave forward_callback out"),
        ({"time_limit": 0}, ValueError, "time_limit must be more than 0 seconds, not 0"),
        ({"time_limit": "4"}, ValueError, "time_limit must be more than 0 seconds"),
        ({"time_limit": True}, ValueError, "time_limit must be more than 0 seconds"),
        ({"time_limit": float("nan")}, ValueError, "time_limit must be more than 0 seconds"),
        ({"threads": 0}, ValueError, "threads must be a number of at least 1, not 0"),
        ({"threads": 2.5}, ValueError, "threads must be a number"),
        ({"threads": True}, ValueError, "threads must be a number"),
        ({"prefix": "oss"}, ValueError, "A prefix must be like '/uploads'"),
        ({"nonsense": 1}, TypeError, "nonsense"),
        ({"confirm": asyncio.sleep}, TypeError, "confirm must be a plain function: only authorize, may_"),
        ({"confirm": Async()}, TypeError, "confirm must be a plain function"),
        ({"settings": Settings()}, SettingsError, "OSS_BUCKET"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        DirectUpload(**{"settings": Settings(**VALUES), **arguments})


def test_insufficient_settings_open_no_ledger(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite3"
    for missing in ("access_key_secret", "bucket"):
        with pytest.raises(SettingsError):
            application({missing: None, "ledger": str(ledger)})
    assert not ledger.exists()


class _Lost:
    """An application with a lost report."""

    def __init__(self) -> None:
        self.loops: list[asyncio.AbstractEventLoop] = []
        self.site = Site()
        self.key = self.site.upload()
        self.site.clock.advance(3600)
        self.app = DirectUpload(
            self.site.application.settings, on_upload=self.save, bucket_client=self.site.bucket, clock=self.site.clock
        )

    async def save(self, upload: Upload) -> None:
        self.loops.append(asyncio.get_running_loop())


def test_a_sweep_runs_handlers_on_the_loop_that_awaits_it() -> None:
    lost = _Lost()

    async def sweep() -> None:
        assert (await lost.app.reconcile(until=0, dry_run=True)).counts["untold"] == 1
        report = await lost.app.reconcile(until=0)
        assert report.counts["recovered"] == 1
        assert lost.loops == [asyncio.get_running_loop()]

    run(sweep())


def test_a_sweep_in_a_thread_runs_handlers_on_the_loop_that_serves() -> None:
    lost = _Lost()

    async def sweep() -> None:
        await ask(lost.app, "GET", "/oss/health")
        with_no_context = threading.Thread(target=lost.app.wsgi.reconcile, kwargs={"until": 0})
        with_no_context.start()
        await asyncio.to_thread(with_no_context.join)
        assert lost.loops == [asyncio.get_running_loop()]

    run(sweep())


def test_a_sweep_of_a_program_without_a_loop_has_one() -> None:
    lost = _Lost()
    assert lost.app.wsgi.reconcile(until=0).counts["recovered"] == 1
    assert len(lost.loops) == 1


def test_a_sweep_that_blocks_its_own_loop_fails_at_once(caplog: pytest.LogCaptureFixture) -> None:
    lost = _Lost()

    async def sweep() -> None:
        await ask(lost.app, "GET", "/oss/health")
        assert lost.app.wsgi.reconcile(until=0).counts["failed"] == 1

    run(sweep())
    assert "which would wait for itself forever: await the methods of oss_wsgi.asgi.DirectUpload" in caplog.text
    assert lost.loops == []


def test_an_event_is_handled_on_the_loop_that_awaits_it() -> None:
    lost = _Lost()
    event = json.dumps(
        {
            "events": [
                {
                    "eventName": "ObjectCreated:PostObject",
                    "eventSource": "acs:oss",
                    "oss": {"bucket": {"name": "examplebucket"}, "object": {"key": lost.key}},
                }
            ]
        }
    )
    outcomes: list[str] = run(_handle(lost.app.handle_event, event))
    assert outcomes == ["recovered"]
    assert len(lost.loops) == 1


async def _handle(handle: Callable[[str], Awaitable[Any]], event: str) -> list[str]:
    return [outcome.outcome for outcome in await handle(event)]


def test_a_page_reports_to_an_async_handler_on_the_loop_of_its_request() -> None:
    loops: list[tuple[asyncio.AbstractEventLoop, bool]] = []

    async def save(upload: Upload) -> dict[str, Any]:
        loops.append((asyncio.get_running_loop(), upload.recovered))
        return {"size": upload.size}

    async def report_twice(site: Site) -> None:
        settings = site.application.settings
        app = DirectUpload(settings, on_upload=save, bucket_client=site.bucket, clock=site.clock)
        form = await signed(app)
        content_type, body = multipart(form["fields"], "a.png", b"hello")
        request = webob.Request.blank(form["url"], method="POST", content_type=content_type, body=body)
        assert request.get_response(site.client.local_oss).status_int == 200
        proof = json.dumps({"ticket": form["ticket"], "object": form["fields"]["key"]}).encode()
        for _ in range(2):
            answer = await ask(app, "POST", "/oss/recover", proof)
            assert (answer.status, answer.json["size"]) == (200, 5)
        assert loops == [(asyncio.get_running_loop(), False)]

    with contextlib.closing(Site({"report_by": "page"})) as site:
        run(report_twice(site))
