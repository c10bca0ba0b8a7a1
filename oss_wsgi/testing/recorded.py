"""Real callbacks, kept as files: recorded where they come in, replayed in tests."""

from __future__ import annotations

import base64
import io
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from ..callback.upload import Upload
from ..exceptions import CallbackError
from ..wsgi.environ import ReceivedCallback, request_id
from .callbacks import FrozenClock
from .road import read

if TYPE_CHECKING:
    import webob
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RecordedCallback:
    """One callback as OSS sent it.

        callback = RecordedCallback.load("callback.json")
        assert callback.replay(application).status_int == 200

    The file is one JSON object: ``target`` (path and query as they were sent), ``headers``, ``body`` (or
    ``body_base64`` where it is no UTF-8), and ``received`` (Unix seconds). The signature in it stays valid for ever. A
    ticket does not: an application with tickets needs ``clock=callback.clock`` and the secret it had.
    """

    target: str
    headers: Mapping[str, str]
    body: bytes
    received: float = 0.0

    @classmethod
    def load(cls, path: str | Path) -> RecordedCallback:
        """Read a file; ValueError for what is no recorded callback."""
        return cls.from_json(Path(path).read_text(encoding="utf-8"))

    @classmethod
    def from_json(cls, text: str) -> RecordedCallback:
        members = json.loads(text)
        try:
            content = members["body"].encode() if "body" in members else base64.b64decode(members["body_base64"])
            return cls(members["target"], dict(members["headers"]), content, float(members.get("received", 0)))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("A recorded callback is a JSON object of target, headers and body.") from error

    def to_json(self) -> str:
        try:
            content = {"body": self.body.decode()}
        except UnicodeDecodeError:
            content = {"body_base64": base64.b64encode(self.body).decode()}
        members = {"target": self.target, "headers": dict(self.headers), **content, "received": self.received}
        return json.dumps(members, ensure_ascii=False, indent=1) + "\n"

    @property
    def clock(self) -> FrozenClock:
        """A clock that stands at the moment when it came."""
        return FrozenClock(self.received)

    @property
    def upload(self) -> Upload:
        """What it tells, to call a handler with; nothing is verified."""
        types = [value for name, value in self.headers.items() if name.lower() == "content-type"]
        return Upload.parse(self.body, types[0] if types else "", self.target)

    def replay(self, application: WSGIApplication, *, mount: str = "") -> webob.Response:
        """Post it to an application in this process, and give the answer.

        :param mount: SCRIPT_NAME, where the server mounted the application below the target.
        """
        import webob

        path, _, query = self.target.partition("?")
        script_name, path_info = mount.encode().decode("latin-1"), unquote_to_bytes(path).decode("latin-1")
        environ: dict[str, Any] = {
            "REQUEST_URI": self.target.encode().decode("latin-1"),
            "SCRIPT_NAME": script_name,
            "PATH_INFO": path_info.removeprefix(script_name),
            "QUERY_STRING": query,
        }
        request = webob.Request.blank("/", environ, headers=dict(self.headers), method="POST", body=self.body)
        return read(request, application)


class CallbackRecorder:
    """Middleware that keeps the callbacks that come in, each in a file for ``RecordedCallback``.

        application = CallbackRecorder(application, "/var/tmp/callbacks")

    Put it around all else, and take it away when it has what you want. It keeps what names a key of OSS, answered well
    or not, and stops at ``limit`` files. The files are readable by their owner alone: the Authorization in them is a
    signature, no secret, but until it expires the ticket in the body is worth an upload's report, and names of files
    and users are whatever they are to you.
    """

    def __init__(
        self,
        app: WSGIApplication,
        folder: str | Path,
        *,
        limit: int = 100,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._app = app
        self._folder = Path(folder)
        self._limit = limit
        self._clock = clock

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # OSS says the length. What has none is not ours to read to its end.
        if (
            environ["REQUEST_METHOD"] == "POST"
            and environ.get("HTTP_X_OSS_PUB_KEY_URL")
            and "HTTP_TRANSFER_ENCODING" not in environ
        ):
            try:
                received = ReceivedCallback.from_environ(environ)
                if received.body_error is not None:
                    raise received.body_error
                environ = {**environ, "wsgi.input": io.BytesIO(received.body)}
                self._keep(environ, received)
            except (CallbackError, ValueError, OSError) as error:
                log.warning("a callback was not recorded: %s", error)
        return self._app(environ, start_response)

    def _keep(self, environ: WSGIEnvironment, received: ReceivedCallback) -> None:
        now = self._clock()
        self._folder.mkdir(parents=True, exist_ok=True)
        if sum(1 for _ in self._folder.glob("callback-*.json")) >= self._limit:
            return
        recorded = RecordedCallback(received.target.decode(), _headers(environ, received), received.body, now)
        path = self._folder / f"callback-{now:.6f}-{request_id(environ)}.json"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(recorded.to_json())
        log.info("a callback was recorded: %s", path)


def _headers(environ: WSGIEnvironment, received: ReceivedCallback) -> dict[str, str]:
    """Give the headers that make a callback, by their usual names; cookies and the like stay out."""
    names = {"CONTENT_TYPE": "Content-Type", "HTTP_CONTENT_MD5": "Content-MD5", "HTTP_DATE": "Date"}
    names |= {name: name[5:].replace("_", "-").lower() for name in sorted(environ) if name.startswith("HTTP_X_OSS_")}
    return {
        **({"Authorization": received.authorization} if received.authorization else {}),
        **{header: environ[name] for name, header in names.items() if environ.get(name)},
    }
