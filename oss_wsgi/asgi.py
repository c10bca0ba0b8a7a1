"""DirectUpload for Starlette, FastAPI and other ASGI applications: callables such as ``on_upload`` may be async."""

from __future__ import annotations

import asyncio
import functools
import inspect
import io
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from concurrent.futures import wait
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from .application import DirectUpload as WSGIDirectUpload
from .application import ledger_of
from .callback.signed_id import MAX_AGE
from .exceptions import CallbackError
from .serving.bodies import BODIES, RefusedBody
from .settings import Settings
from .wsgi.facts import no_such_path
from .wsgi.responses import THREADS_KEY

try:
    from a2wsgi import WSGIMiddleware
    from a2wsgi.wsgi import build_environ
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("oss_wsgi.asgi needs a2wsgi: pip install 'oss-wsgi[asgi]'.", name=error.name) from error

if TYPE_CHECKING:
    import webob
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from .callback.upload import Upload
    from .recovery.events import EventOutcome
    from .recovery.sweep import Reconciliation
    from .signing.grant import Grant

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
T = TypeVar("T")

# Seconds that a cancelled function gets to finish, for instance to roll a transaction back.
_GRACE = 0.5

#: The members in which the scope for a2wsgi holds the original scope and the body.
_SCOPE_KEY, _BODY_KEY = "original", "body"

#: The event loop of the request that a thread answers.
_LOOP: ContextVar[asyncio.AbstractEventLoop] = ContextVar("loop")


class DirectUpload:
    """Direct uploads to OSS as an ASGI application, to be mounted in another one.

        app.mount("/oss", DirectUpload(Settings.from_environ(os.environ), authorize=allow, on_upload=save))

    It answers as ``oss_wsgi.DirectUpload`` does and takes the same keywords, apart from ``forward_callback``. The
    endpoints are at ``/signature``, ``/callback`` and so on below the mount; every other path there is 404.

    ``authorize``, ``may_complete`` and ``on_upload`` may be ``async def``: then they run on the application's own event
    loop. Plain functions run in a thread, as do all other callables. The request of ``authorize`` has the scope, and
    with it the session, in ``request.environ["asgi.scope"]``. A Starlette ``HTTPException`` that ``authorize`` or
    ``may_complete`` raises is the response.

    OSS's reports have threads of their own, so a slow ``authorize`` does not delay them. Bodies are read before a
    thread is asked, within the bounds of `serving.bodies`: all instances of a process share 48 MiB.

    :param time_limit: seconds that an async callable may take. After that it is cancelled, and the request fails with
        TimeoutError. OSS waits 5 seconds for the response to a report.
    :param threads: the number of threads that answer OSS's reports; as many more answer browsers.
    :param options: further options of ``oss_wsgi.DirectUpload``.

    Raises SettingsError for insufficient settings, TypeError and ValueError for wrong arguments.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        prefix: str = "",
        authorize: Callable[[webob.Request], Grant | Awaitable[Grant | None] | None] | None = None,
        may_complete: Callable[[str | None], bool | Awaitable[bool]] | None = None,
        on_upload: Callable[[Upload], dict[str, Any] | Awaitable[dict[str, Any] | None] | None] | None = None,
        time_limit: float = 4.0,
        threads: int = 20,
        **options: Any,
    ) -> None:
        _check(settings, time_limit, threads, options)
        if options.get("ledger") is None:
            settings.bucket_and_host()
            if options.get("credentials") is None and not settings.credentials_library:
                settings.credentials()  # raises for a missing key, before the ledger opens a file
            options["ledger"] = ledger_of(settings, options.get("clock", time.time), threads=2 * threads)
        self._time_limit = time_limit
        self._threads = threads
        self._last_loop: asyncio.AbstractEventLoop | None = None
        #: The WSGI application that answers; the tools of ``oss_wsgi.testing`` take it.
        self.wsgi = WSGIDirectUpload(
            no_such_path,
            settings,
            prefix=prefix,
            authorize=self._plain(authorize, "authorize"),
            may_complete=self._plain(may_complete, "may_complete"),
            on_upload=self._plain(on_upload, "on_upload"),
            **options,
        )
        self.direct_uploads = self.wsgi.direct_uploads
        respond: Any = self._respond  # a2wsgi has its own types for WSGI
        # Reports have their own threads, so they never wait for a browser's request; refusals wait for neither.
        self._reports = WSGIMiddleware(respond, workers=threads)
        self._browsers = WSGIMiddleware(respond, workers=threads)
        self._refusals = WSGIMiddleware(respond, workers=1)
        self._reports_in_work = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._respond_to(scope, receive, send)
        elif scope["type"] in ("lifespan", "websocket"):  # accepted, and closed
            bridge: Any = self._browsers
            await bridge(scope, receive, send)
        else:
            raise ValueError(f"oss_wsgi.asgi.DirectUpload answers HTTP requests, not {scope['type']!r}.")

    async def _respond_to(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request: read the body, if the application wants it, before a thread calls the application."""
        path = _paths(scope)[1]
        bridge = self._bridge(scope, path)
        length = self._length_to_read(scope, path)
        if not length:
            await self._call(bridge, scope, io.BytesIO(), send)
            return
        with BODIES.count((scope.get("client") or ("", 0))[0]) as body:
            try:
                stream: io.BytesIO | RefusedBody | None = await body.read(
                    receive,
                    length,
                    has_thread=lambda: bridge is self._reports and self._reports_in_work < self._threads,
                )
            except CallbackError as error:
                bridge, stream = self._refusals, RefusedBody(error)
            if stream is not None:
                await self._call(bridge, scope, stream, send)

    def _length_to_read(self, scope: Scope, path: str) -> int:
        """Return how many bytes the body of a request has; 0 if the application refuses or answers without reading."""
        text = dict(scope["headers"]).get(b"content-length", b"")
        length = int(text) if text.isdigit() and len(text) <= 18 else 0
        if not 0 < length <= (self.wsgi.body_limit(scope["method"], path) or 0):
            return 0
        plain: Any = _plain_scope(scope)
        no_body: Any = None
        environ: Any = build_environ(plain, no_body)
        return length if self.wsgi.reads_body(self._environ(environ)) else 0

    async def _call(self, bridge: Any, scope: Scope, body: io.BytesIO | RefusedBody, send: Send) -> None:
        """Have a thread call the application with a body."""
        self._last_loop = asyncio.get_running_loop()
        token = _LOOP.set(self._last_loop)
        is_report = bridge is self._reports
        self._reports_in_work += is_report
        try:
            await bridge({**_plain_scope(scope), _BODY_KEY: body}, _nothing_to_receive, send)
        finally:
            self._reports_in_work -= is_report
            _LOOP.reset(token)

    def find_upload(self, signed_id: str | None, *, user: str | None, max_age: float = MAX_AGE) -> Upload:
        """Return the upload of a signed ID as ``oss_wsgi.DirectUpload.find_upload`` does; it waits for nothing."""
        return self.wsgi.find_upload(signed_id, user=user, max_age=max_age)

    async def reconcile(self, **options: Any) -> Reconciliation:
        """Sweep the bucket as ``oss_wsgi.DirectUpload.reconcile`` does, with its arguments, in a thread."""
        return await self._in_thread(functools.partial(self.wsgi.reconcile, **options))

    async def handle_event(self, body: bytes | str) -> list[EventOutcome]:
        """Handle a message of OSS as ``oss_wsgi.DirectUpload.handle_event`` does, in a thread."""
        return await self._in_thread(functools.partial(self.wsgi.handle_event, body))

    async def _in_thread(self, function: Callable[[], T]) -> T:
        token = _LOOP.set(asyncio.get_running_loop())
        try:
            return await asyncio.to_thread(function)
        finally:
            _LOOP.reset(token)

    def _bridge(self, scope: Scope, path: str) -> WSGIMiddleware:
        """Return the threads for a request: the reports' for reports and requests that never wait, else the browsers'.

        A report whose key has to be fetched first runs in the browsers' threads: anybody may name such a key.
        """
        key_url = dict(scope["headers"]).get(b"x-oss-pub-key-url")
        headers = {} if key_url is None else {"X_OSS_PUB_KEY_URL": key_url.decode("latin-1")}
        for is_so in (self.wsgi.is_callback, self.wsgi.is_nonblocking):
            if is_so(scope["method"], path, headers):
                return self._reports
        return self._browsers

    def _respond(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request in a thread, with an environ that matches the original scope."""
        body = environ["asgi.scope"][_BODY_KEY]
        return self.wsgi({**self._environ(environ), "wsgi.input": body}, start_response)

    def _environ(self, environ: WSGIEnvironment) -> WSGIEnvironment:
        """Return the environ of a request from a2wsgi's, with what `_plain_scope` keeps from it."""
        scope = environ["asgi.scope"][_SCOPE_KEY]
        script_name, path = _paths(scope)
        return {
            **environ,
            "asgi.scope": scope,
            "SCRIPT_NAME": script_name,
            "PATH_INFO": path,
            "QUERY_STRING": scope.get("query_string", b"").decode("latin-1"),
            "wsgi.errors": sys.stderr,
            THREADS_KEY: self._threads,
        }

    def _plain(self, function: Callable[[Any], Any] | None, name: str) -> Callable[[Any], Any] | None:
        """Return a plain function that does what ``function`` does, even if that is ``async def``."""
        if function is None:
            return None

        def call(argument: Any) -> Any:
            try:
                result = function(argument)
                if not inspect.isawaitable(result):
                    return result
                if getattr(argument, "transaction", None) is not None:
                    _close(result)
                    raise TypeError(
                        f"{name} is async, but only this thread can use the ledger's transaction: make it a "
                        "plain function, or use a ledger that does not share its transaction"
                    )
                return self._wait_for(result, name)
            except Exception as error:
                response = None if name == "on_upload" else _response_of(error)
                if response is None:
                    raise
                raise response from error

        return call

    def _wait_for(self, awaitable: Awaitable[Any], name: str) -> Any:
        """Run an awaitable on the application's loop within the time limit, and return its result."""
        loop = self._loop()
        limit = self._time_limit
        deadline = loop.time() + limit
        if _running_loop() is loop:
            _close(awaitable)
            raise RuntimeError(
                f"{name} is async and was called from the thread of its own event loop, which would wait for itself "
                "forever: await the methods of oss_wsgi.asgi.DirectUpload, or call those of its .wsgi in another thread"
            )
        blocked = (
            f"the event loop did not start {name} within {limit:g} s: something in the application blocks it; look "
            "for code in an async def that waits without await, such as time.sleep, requests or a plain database driver"
        )

        async def finish() -> tuple[Any, BaseException | None]:
            if loop.time() >= deadline:
                _close(awaitable)
                raise TimeoutError(blocked)
            task = asyncio.ensure_future(_with_error(awaitable))
            await asyncio.wait({task}, timeout=deadline - loop.time())
            if not task.done():
                task.cancel()
                await asyncio.wait({task}, timeout=_GRACE)
                if not task.done():
                    raise TimeoutError(
                        f"{name} did not end within {limit:g} s and still runs, although it was cancelled"
                    )
                if task.cancelled():
                    raise TimeoutError(
                        f"{name} did not end within {limit:g} s and was cancelled: do slow work after the response, "
                        "because OSS waits only 5 s for it, or give DirectUpload a larger time_limit"
                    )
            return task.result()  # a cancelled one may have finished its work: that counts

        coroutine = finish()
        try:
            future = asyncio.run_coroutine_threadsafe(coroutine, loop)
        except RuntimeError:  # the loop is closed because the server ends
            coroutine.close()
            _close(awaitable)
            raise
        wait([future], timeout=limit + 2 * _GRACE)
        if not future.done():
            raise TimeoutError(blocked)
        result, error = future.result()
        if error is not None:
            raise error
        return result

    def _loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop of the request; outside a request, the loop that served last, or a background loop."""
        loop = _LOOP.get(None)
        if loop is None and self._last_loop is not None and self._last_loop.is_running():
            loop = self._last_loop
        return loop or _background_loop()


def _check(settings: object, time_limit: object, threads: object, options: dict[str, Any]) -> None:
    """Raise TypeError or ValueError for arguments that cannot work."""
    if not isinstance(settings, Settings):
        raise TypeError(
            f"The first argument must be Settings, not {type(settings).__name__}: oss_wsgi.asgi.DirectUpload takes no "
            "application, but is mounted in it: app.mount('/oss', DirectUpload(settings, ...))."
        )
    if isinstance(time_limit, bool) or not isinstance(time_limit, int | float) or not time_limit > 0:
        raise ValueError(f"time_limit must be more than 0 seconds, not {time_limit!r}.")
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise ValueError(f"threads must be a number of at least 1, not {threads!r}.")
    if "forward_callback" in options:
        raise TypeError("There is no WSGI application to forward the callback to: leave forward_callback out.")
    if options.get("forms") or options.get("form_user"):
        raise TypeError("There is no WSGI application that reads forms: use find_upload in place of forms.")
    for name, option in options.items():
        if inspect.iscoroutinefunction(option) or inspect.iscoroutinefunction(getattr(option, "__call__", None)):  # noqa: B004
            raise TypeError(
                f"{name} must be a plain function: only authorize, may_complete and on_upload may be async def."
            )


def _paths(scope: Scope) -> tuple[str, str]:
    """Return SCRIPT_NAME and PATH_INFO of a scope.

    In ASGI ``path`` is the whole path, and begins with ``root_path``. But Starlette adds a mount to ``root_path`` even
    if ``path`` does not begin with the server's own part, ``app_root_path``; and older routers cut ``path``.
    """
    path, root = str(scope["path"]), str(scope.get("root_path") or "").rstrip("/")
    for prefix in (root, root.removeprefix(str(scope.get("app_root_path") or "").rstrip("/"))):
        if path == prefix or path.startswith(f"{prefix}/"):
            path = path[len(prefix) :]
            break
    return _native(root), _native(path)


def _native(text: str) -> str:
    """Return a text as WSGI holds it: its UTF-8 bytes read as latin-1."""
    return text.encode("utf-8", "replace").decode("latin-1")


def _plain_scope(scope: Scope) -> Scope:
    """Return a scope for a2wsgi that contains the original scope.

    Headers with an underscore are left out: WSGI would confuse them with the headers with a hyphen that a proxy sets or
    removes. Path and query are left out too, because a2wsgi fails to decode some; `_respond` takes them from the
    original scope.
    """
    headers = [(name, value) for name, value in scope["headers"] if b"_" not in name]
    return {**scope, "path": "/", "root_path": "", "query_string": b"", "headers": headers, _SCOPE_KEY: scope}


async def _nothing_to_receive() -> MutableMapping[str, Any]:
    raise RuntimeError("the body was read before a thread was called")


def _response_of(error: Exception) -> Exception | None:
    """Convert a Starlette (or FastAPI) ``HTTPException`` to a WebOb response; return None for any other error."""
    starlette: Any = sys.modules.get("starlette.exceptions")
    if starlette is None or not isinstance(error, starlette.HTTPException):
        return None
    import webob.exc  # WebOb warns about `cgi` when imported

    kind = webob.exc.status_map.get(error.status_code) if error.status_code >= 400 else None
    return None if kind is None else kind(detail=str(error.detail), headers=dict(error.headers or {}))


async def _with_error(awaitable: Awaitable[Any]) -> tuple[Any, BaseException | None]:
    """Return an awaitable's result, and SystemExit or KeyboardInterrupt, which would end the loop and the server."""
    try:
        return await awaitable, None
    except (SystemExit, KeyboardInterrupt) as error:
        return None, error


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _close(awaitable: Awaitable[Any]) -> None:
    """Close a coroutine that nobody will await, so that Python does not warn about it."""
    if inspect.iscoroutine(awaitable):
        awaitable.close()


@functools.cache
def _background_loop() -> asyncio.AbstractEventLoop:
    """Return a background loop that runs until the program ends, for a program without a server, such as a sweep."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="oss_wsgi.asgi", daemon=True).start()
    return loop
