"""Routes requests by their path: applications mounted below prefixes of another one, and endpoints at exact paths."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ..wsgi.body_limit import BodyLimit, body_limit_of
from ..wsgi.environ import MAX_BODY_BYTES
from ..wsgi.nonblocking import NonBlockingTest, WouldWaitError, nonblocking_test
from ..wsgi.observers import Observers, facts_of
from ..wsgi.responses import not_found

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)


class _Mount(NamedTuple):
    """An application below a prefix, and what it says of requests."""

    prefix: str
    app: WSGIApplication
    is_nonblocking: NonBlockingTest
    body_limit: BodyLimit


class Dispatcher:
    """Middleware that passes requests below a prefix to the application mounted there, and all others to ``app``.

    The longest prefix wins; it ends at a ``/`` or at the path's end, so that ``/oss`` does not match ``/ossified``. The
    mounted application sees the prefix in SCRIPT_NAME and the rest in PATH_INFO; ``app`` gets the environ unchanged.

        application = Dispatcher(legacy_app, {"/oss": upload_app})

    :param mounts: prefix -> application; a prefix begins with ``/``, does not end with one, and is decoded text. Use
        only ASCII where the server leaves PATH_INFO encoded (Passenger, AJP) or makes it Unicode text (Paste, Rocket).
        The empty prefix takes every path that no other one takes, so that ``app`` gets none.
    """

    def __init__(self, app: WSGIApplication, mounts: Mapping[str, WSGIApplication]) -> None:
        for prefix in filter(None, mounts):
            check_prefix(prefix)
        # PATH_INFO holds UTF-8 bytes read as latin-1 (PEP 3333).
        native = {prefix.encode().decode("latin-1"): mounted for prefix, mounted in mounts.items()}
        self._mounts = [
            _Mount(prefix, mounted, nonblocking_test(mounted), body_limit_of(mounted))
            for prefix, mounted in sorted(native.items(), key=lambda item: len(item[0]), reverse=True)
        ]
        self._unmounted = _Mount("", app, nonblocking_test(app), body_limit_of(app))

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO") or ""
        mount = self._find(path)
        prefix, app = mount.prefix, mount.app
        if mount is self._unmounted:
            return app(environ, start_response)
        script_name = environ.get("SCRIPT_NAME") or ""
        moved = {**environ, "SCRIPT_NAME": script_name + prefix, "PATH_INFO": path[len(prefix) :]}
        return app(moved, start_response)

    def is_nonblocking(self, method: str, path: str, headers: Mapping[str, str]) -> bool:
        """Return whether the application that a request is passed to answers it without waiting."""
        mount = self._find(path)
        return mount.is_nonblocking(method, path[len(mount.prefix) :], headers)

    def body_limit(self, method: str, path: str) -> int | None:
        """Return how long a body the application takes that a request is passed to; None if it does not say."""
        mount = self._find(path)
        return mount.body_limit(method, path[len(mount.prefix) :])

    def _find(self, path: str) -> _Mount:
        """Return the mount that a path is below."""
        for mount in self._mounts:
            prefix = mount.prefix
            if path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "/"):
                return mount
        return self._unmounted


def check_prefix(prefix: str) -> None:
    """Raise ValueError unless a prefix begins with ``/`` and does not end with one."""
    if not prefix.startswith("/") or prefix.endswith("/") or "//" in prefix or "?" in prefix or "#" in prefix:
        raise ValueError(f"A prefix must be like '/uploads', beginning with '/' and not ending in one, not {prefix!r}.")


class Subtree(NamedTuple):
    """An application that answers all paths below one, ``(method, path) -> name`` for the metrics, and its bodies."""

    app: WSGIApplication
    name: Callable[[str, str], str | None]
    body_limit: BodyLimit | None = None


class PathRouter:
    """Application that passes each of the given paths to its endpoint, and responds 404 to any other.

    It must be mounted by a ``Dispatcher``, because it changes the environ that it gets.

    :param endpoints: path -> application, which sees the path in SCRIPT_NAME and an empty PATH_INFO.
    :param observers: called for each refusal and each response of an endpoint.
    :param subtrees: path -> application, which sees the path in SCRIPT_NAME and what follows its ``/`` in PATH_INFO.
    """

    def __init__(
        self,
        endpoints: Mapping[str, WSGIApplication],
        observers: Observers | None = None,
        subtrees: Mapping[str, Subtree] | None = None,
    ) -> None:
        self._endpoints = dict(endpoints)
        self._subtrees = dict(subtrees or {})
        self._nonblocking_tests = {path: nonblocking_test(endpoint) for path, endpoint in endpoints.items()}
        self._observers = observers

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self._observers is None:
            return self._route(environ, start_response)
        return self._observe(self._observers, environ, start_response)

    def is_nonblocking(self, method: str, path: str, headers: Mapping[str, str]) -> bool:
        """Return whether the endpoint at a path answers a request without waiting."""
        test = self._nonblocking_tests.get(path)
        if test is None:
            top = self._top(path)
            subtree = self._subtrees.get(top)
            return subtree is not None and nonblocking_test(subtree.app)(method, path[len(top) :], headers)
        return test(method, "", headers)

    def body_limit(self, method: str, path: str) -> int | None:
        """Return how many bytes the body of a request may have: 64 KiB at a path whose subtree says nothing."""
        top = self._top(path)
        subtree = self._subtrees.get(top)
        body_limit = None if subtree is None else subtree.body_limit
        most = None if body_limit is None else body_limit(method, path[len(top) :])
        return MAX_BODY_BYTES if most is None else most

    def _route(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        endpoint = self._endpoints.get(path)
        if endpoint is None:
            top = self._top(path)
            subtree = self._subtrees.get(top)
            if subtree is None:
                return not_found(log, environ, start_response)
            environ["SCRIPT_NAME"] += top
            environ["PATH_INFO"] = path[len(top) :]
            return subtree.app(environ, start_response)
        environ["SCRIPT_NAME"] += path
        environ["PATH_INFO"] = ""
        return endpoint(environ, start_response)

    def _observe(
        self, observers: Observers, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        name = self._name(environ["REQUEST_METHOD"], path)
        timed = observers.is_timed and name is not None
        started = observers.clock() if timed else 0.0
        facts = facts_of(environ)
        status = 0

        def start(text: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            nonlocal status
            status = int(text[:3])
            return start_response(text, headers, exc_info)

        def observe() -> None:
            if facts.reason is not None and facts.refused is not None:
                observers.refused(facts.reason, facts.refused, facts.fields(environ))
            if timed and name is not None:
                observers.answered(name, status, observers.clock() - started, facts.reason)

        try:
            response = self._route(environ, start)
        except WouldWaitError:
            raise
        except BaseException:
            observe()
            raise
        if not status:
            return _ObservedBody(response, observe)
        observe()
        return response

    def _name(self, method: str, path: str) -> str | None:
        """Return the name of the endpoint at a path, for the metrics; None if there is none."""
        if path in self._endpoints:
            return path[1:]
        top = self._top(path)
        subtree = self._subtrees.get(top)
        name = None if subtree is None else subtree.name(method, path[len(top) :])
        return None if name is None else f"{top[1:]}/{name}"

    @staticmethod
    def _top(path: str) -> str:
        """Return the first segment of a path, with the ``/`` before it."""
        return path[: path.find("/", 1)] if "/" in path[1:] else path


class _ObservedBody:
    """The body of a response that begins when it is iterated; it is observed at its end."""

    def __init__(self, body: Iterable[bytes], observe: Callable[[], None]) -> None:
        self._body = body
        self._observe = observe

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            self._observe()


def at_original_path(app: WSGIApplication, path: str, prefix: str) -> WSGIApplication:
    """Return an application that calls ``app`` with the original SCRIPT_NAME and PATH_INFO.

    It stands at ``path`` of a ``PathRouter`` that is mounted at ``prefix``.
    """
    original = prefix.encode().decode("latin-1") + path

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        script_name = environ["SCRIPT_NAME"].removesuffix(original)
        return app({**environ, "SCRIPT_NAME": script_name, "PATH_INFO": original}, start_response)

    return application


def blocking(app: WSGIApplication) -> WSGIApplication:
    """Return an application that does the same as ``app``, and that a server never runs in its I/O loop."""
    return lambda environ, start_response: app(environ, start_response)
