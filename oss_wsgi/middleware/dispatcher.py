"""Mounts WSGI applications below prefixes of another one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class Dispatcher:
    """Middleware that gives requests below a prefix to the application mounted there, and all others to ``app``.

    The longest prefix wins; it ends at a ``/`` or at the path's end, so that ``/oss`` does not take ``/ossified``. The
    mounted application sees the prefix in SCRIPT_NAME and the rest in PATH_INFO; ``app`` sees the environ untouched.

        application = Dispatcher(legacy_app, {"/oss": upload_app})

    :param mounts: prefix -> application; a prefix begins with ``/``, does not end in one, and is decoded text. Keep it
        to plain ASCII where a server leaves PATH_INFO encoded (Passenger, AJP) or in real Unicode (Paste, Rocket).
    """

    def __init__(self, app: WSGIApplication, mounts: Mapping[str, WSGIApplication]) -> None:
        for prefix in mounts:
            check_prefix(prefix)
        # PATH_INFO holds UTF-8 bytes read as latin-1 (PEP 3333).
        native = {prefix.encode().decode("latin-1"): mounted for prefix, mounted in mounts.items()}
        self._app = app
        self._mounts = sorted(native.items(), key=lambda item: len(item[0]), reverse=True)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO") or ""
        for prefix, mounted in self._mounts:
            if path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "/"):
                script_name = environ.get("SCRIPT_NAME") or ""
                moved = {**environ, "SCRIPT_NAME": script_name + prefix, "PATH_INFO": path[len(prefix) :]}
                return mounted(moved, start_response)
        return self._app(environ, start_response)


def check_prefix(prefix: str) -> None:
    """Raise ValueError unless a prefix begins with ``/`` and does not end in one."""
    if not prefix.startswith("/") or prefix.endswith("/") or "//" in prefix or "?" in prefix or "#" in prefix:
        raise ValueError(f"A prefix must be like '/uploads', beginning with '/' and not ending in one, not {prefix!r}.")
