"""Routers that choose an application by the request's path: below prefixes, or at exact paths."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from ..wsgi.environ import MAX_BODY_BYTES
from ..wsgi.facts import no_such_path
from ..wsgi.observers import Observers, observed
from ..wsgi.questions import (
    BodyLimit,
    BodyTest,
    CallbackTest,
    NonBlockingTest,
    body_limit_of,
    body_test,
    callback_test,
    nonblocking_test,
)

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from ..wsgi.observers import Step


class _Mount(NamedTuple):
    """An application below a prefix, and its answers about requests."""

    prefix: str
    app: WSGIApplication
    is_nonblocking: NonBlockingTest
    body_limit: BodyLimit
    reads_body: BodyTest
    is_callback: CallbackTest


def _mount(prefix: str, app: WSGIApplication) -> _Mount:
    return _Mount(prefix, app, nonblocking_test(app), body_limit_of(app), body_test(app), callback_test(app))


class _Router(ABC):
    """Passes a request to the mount of its path, which sees the prefix in SCRIPT_NAME and the rest in PATH_INFO."""

    #: The mounts that ``_find`` need not look for, by their whole paths.
    _exact: Mapping[str, _Mount] = {}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO") or ""
        mount = self._exact.get(path) or self._find(path)
        return mount.app(_below(mount.prefix, path, environ), start_response)

    def is_nonblocking(self, method: str, path: str, headers: Mapping[str, str]) -> bool:
        """Return whether the application at a request's path answers without waiting."""
        mount = self._exact.get(path) or self._find(path)
        return mount.is_nonblocking(method, path[len(mount.prefix) :], headers)

    def body_limit(self, method: str, path: str) -> int | None:
        """Return how many bytes the application at a path accepts as a body; None if it does not say."""
        mount = self._exact.get(path) or self._find(path)
        return mount.body_limit(method, path[len(mount.prefix) :])

    def reads_body(self, environ: WSGIEnvironment) -> bool:
        """Return whether the application at a request's path reads the body."""
        path = environ.get("PATH_INFO") or ""
        mount = self._exact.get(path) or self._find(path)
        return mount.reads_body(_below(mount.prefix, path, environ))

    def is_callback(self, method: str, path: str, headers: Mapping[str, str]) -> bool:
        """Return whether OSS sends a request, according to the application at its path."""
        mount = self._exact.get(path) or self._find(path)
        return mount.is_callback(method, path[len(mount.prefix) :], headers)

    @abstractmethod
    def _find(self, path: str) -> _Mount:
        """Return the mount for a path; a mount without a prefix gets the environ unchanged."""


def _below(prefix: str, path: str, environ: WSGIEnvironment) -> WSGIEnvironment:
    """Return the environ of a request for an application below a prefix."""
    if not prefix:
        return environ
    script_name = environ.get("SCRIPT_NAME") or ""
    return {**environ, "SCRIPT_NAME": script_name + prefix, "PATH_INFO": path[len(prefix) :]}


class Dispatcher(_Router):
    """Middleware that passes requests below a prefix to the application mounted there, and all others to ``app``.

    The longest matching prefix wins. A prefix matches up to a ``/`` or the path's end, so ``/oss`` does not match
    ``/ossified``. The mounted application sees the prefix in SCRIPT_NAME and the rest in PATH_INFO; ``app`` gets the
    environ unchanged.

        application = Dispatcher(legacy_app, {"/oss": upload_app})

    :param mounts: prefix -> application; a prefix begins with ``/``, does not end with one, and is decoded text. Use
        only ASCII where the server leaves PATH_INFO encoded (Passenger, AJP) or makes it Unicode text (Paste, Rocket).
        The empty prefix takes all other paths, so ``app`` gets none.
    """

    def __init__(self, app: WSGIApplication, mounts: Mapping[str, WSGIApplication]) -> None:
        for prefix in filter(None, mounts):
            check_prefix(prefix)
        native = {native_path(prefix): mounted for prefix, mounted in mounts.items()}
        self._mounts = [
            _mount(prefix, mounted)
            for prefix, mounted in sorted(native.items(), key=lambda item: len(item[0]), reverse=True)
        ]
        self._unmounted = _mount("", app)
        apps = (*native.values(), app)
        #: The DirectUploads in these applications.
        self.direct_uploads = tuple(uploads for each in apps for uploads in getattr(each, "direct_uploads", ()))

    def _find(self, path: str) -> _Mount:
        for mount in self._mounts:
            if is_below(path, mount.prefix):
                return mount
        return self._unmounted


def check_prefix(prefix: str) -> None:
    """Raise ValueError unless a prefix begins with ``/`` and does not end with one."""
    if not prefix.startswith("/") or prefix.endswith("/") or "//" in prefix or "?" in prefix or "#" in prefix:
        raise ValueError(f"A prefix must be like '/uploads', beginning with '/' and not ending in one, not {prefix!r}.")


def native_path(path: str) -> str:
    """Return a path as PATH_INFO holds it: its UTF-8 bytes read as latin-1 (PEP 3333)."""
    return path.encode().decode("latin-1")


def is_below(path: str, prefix: str) -> bool:
    """Return whether a path is a prefix or begins with it and a ``/``."""
    return path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "/")


def _usual_body_limit(method: str, path: str) -> int:
    return MAX_BODY_BYTES


class Subtree(NamedTuple):
    """An application for all paths below one, with ``(method, path) -> step`` for the metrics, and its body limit."""

    app: WSGIApplication
    step: Step
    body_limit: BodyLimit = _usual_body_limit


class PathRouter(_Router):
    """Middleware that passes each of the given paths below a prefix to its endpoint, and responds 404 to any other.

    Requests outside the prefix go to ``app`` unchanged; with an empty prefix there are none.

    :param endpoints: path below the prefix -> application, which sees an empty PATH_INFO; or a `Subtree` of such an
        application, whose step is part of its name for the metrics.
    :param observers: called for each refusal and each response of an endpoint.
    :param subtrees: path of one segment below the prefix -> application, which sees the rest of the path in PATH_INFO.
    """

    def __init__(
        self,
        app: WSGIApplication,
        prefix: str,
        endpoints: Mapping[str, WSGIApplication | Subtree],
        observers: Observers | None = None,
        subtrees: Mapping[str, Subtree] | None = None,
    ) -> None:
        if prefix:
            check_prefix(prefix)
        self._prefix = prefix = native_path(prefix)

        def own(path: str, part: Subtree) -> _Mount:
            def name_of(method: str, rest: str) -> str | None:
                step = part.step(method, rest)
                return None if step is None else f"{path[1:]}/{step}".removesuffix("/")

            app = part.app if observers is None else observed(part.app, name_of, observers)
            return _mount(prefix + path, part.app)._replace(app=app, body_limit=part.body_limit)

        self._app = _mount("", app)
        self._exact = {
            prefix + path: own(path, part if isinstance(part, Subtree) else Subtree(part, lambda method, rest: ""))
            for path, part in endpoints.items()
        }
        self._subtrees = {prefix + path: own(path, subtree) for path, subtree in (subtrees or {}).items()}
        self._nothing = own("", Subtree(no_such_path, lambda method, rest: None))

    def _find(self, path: str) -> _Mount:
        if not is_below(path, self._prefix):
            return self._app
        end = path.find("/", len(self._prefix) + 1)
        return self._subtrees.get(path if end < 0 else path[:end], self._nothing)


def at_original_path(app: WSGIApplication, path: str, prefix: str) -> WSGIApplication:
    """Return an application that calls ``app`` with the original SCRIPT_NAME and PATH_INFO.

    Mount it at ``path`` of a ``PathRouter`` for ``prefix``.
    """
    original = native_path(prefix) + path

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        script_name = environ["SCRIPT_NAME"].removesuffix(original)
        return app({**environ, "SCRIPT_NAME": script_name, "PATH_INFO": original}, start_response)

    return application


class Blocking:
    """Application that answers as ``app`` does, but never in a server's I/O loop."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app
        self.is_callback = callback_test(app)
        self.reads_body = body_test(app)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return self._app(environ, start_response)
