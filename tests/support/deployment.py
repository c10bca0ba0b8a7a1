"""Runs a deployment on loopback: the local OSS on one port, the application on another."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_oss import CORSRule, LocalOSS
from oss_wsgi import DirectUpload, Settings
from oss_wsgi.sdk.client import SDKClient
from oss_wsgi.testing.local_oss import environ_for

from .server_threads import serving_application, serving_oss

ORIGIN = "https://app.example.com"
#: A middleware in the place of a web server.
Front = Callable[[Any], Any]


def not_found(environ: Any, start_response: Any) -> list[bytes]:
    start_response("404 Not Found", [("Content-Length", "0")])
    return []


@dataclass
class Deployment:
    """A running deployment; the commands get the same ``environ`` as the application."""

    oss: LocalOSS
    url: str
    environ: dict[str, str]

    @property
    def signature(self) -> str:
        return f"{self.url}/oss/signature"


@contextlib.contextmanager
def deployed(
    folder: Path,
    *,
    front: Callable[[Any], Any] = lambda app: app,
    oss: dict[str, Any] | None = None,
    settings: dict[str, str] | None = None,
    app: dict[str, Any] | None = None,
    view: Any = not_found,
) -> Iterator[Deployment]:
    """Run a deployment; ``front`` is a WSGI middleware in the place of a web server."""
    with contextlib.ExitStack() as stack:
        options = {"cors_rules": [CORSRule([ORIGIN, "http://127.0.0.1:*"])], **(oss or {})}
        local = stack.enter_context(LocalOSS(directory=folder / "objects", **options))
        stack.enter_context(serving_oss(local))
        applications: list[Any] = []
        url = stack.enter_context(serving_application(lambda environ, start: applications[0](environ, start)))
        environ = environ_for(local, folder, url=url)
        environ |= {"OSS_ALLOW_ANONYMOUS": "on", "OSS_ALLOWED_ORIGINS": ORIGIN}
        environ |= {"OSS_LEDGER": str(folder / "ledger.sqlite3"), **(settings or {})}
        applications.append(front(DirectUpload(view, Settings.from_environ(environ), **(app or {}))))
        yield Deployment(local, url, environ)


def set_lifecycle_rule(deployment: Deployment, prefix: str, **members: Any) -> None:
    """Let the bucket have one lifecycle rule; an action is the name of its class in the SDK, and its days."""
    with SDKClient(Settings.from_environ(deployment.environ), clock=time.time, timeout=60.0) as client:
        sdk = client.sdk
        made = {
            name: getattr(sdk, value[0])(days=value[1]) if isinstance(value, tuple) else value
            for name, value in members.items()
        }
        rule = sdk.LifecycleRule(**{"id": "r", "prefix": prefix, "status": "Enabled", **made})
        configuration = sdk.LifecycleConfiguration(rules=[rule])
        client.ask("put_bucket_lifecycle", "PutBucketLifecycleRequest", lifecycle_configuration=configuration)


def saying(status: str, *headers: tuple[str, str], body: bytes = b"<html>") -> Front:
    """Return a front server that answers so itself."""

    def front(app: Any) -> Any:
        def application(environ: Any, start_response: Any) -> list[bytes]:
            start_response(status, [("Content-Length", str(len(body))), *headers])
            return [body]

        return application

    return front


def moving(old: str, new: str) -> Front:
    """Return a front server that replaces the beginning of the path."""

    def server(app: Any) -> Any:
        def front(environ: Any, start_response: Any) -> Any:
            path = environ["PATH_INFO"]
            moved = new + path.removeprefix(old) if path.startswith(old) else path
            return app({**environ, "PATH_INFO": moved, "REQUEST_URI": moved}, start_response)

        return front

    return server
