"""Records callbacks to files where they come in, and replays them in tests."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..callback.recording import Recording
from ..callback.upload import Upload
from ..exceptions import CallbackError
from ..private_file import make_private_folder, open_private
from ..wsgi.environ import ReceivedCallback
from ..wsgi.facts import facts_of
from .callbacks import FrozenClock
from .clients import ask

if TYPE_CHECKING:
    import webob
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RecordedCallback(Recording):
    """One callback as OSS sent it.

        callback = RecordedCallback.load("callback.json")
        assert callback.replay(application).status_int == 200

    The file holds one JSON object: ``target`` (path and query as they were sent), ``headers``, ``body`` (or
    ``body_base64`` if the body is not UTF-8) and ``received`` (Unix seconds). The signature stays valid for ever.
    Tickets expire: an application with tickets needs ``clock=callback.clock`` and the ticket secret used then.
    """

    @classmethod
    def load(cls, path: str | Path) -> RecordedCallback:
        """Read a file. Raises ValueError if it holds no recorded callback."""
        return cls.from_json(Path(path).read_text(encoding="utf-8"))

    @property
    def clock(self) -> FrozenClock:
        """A clock that stands at the moment when the callback was received."""
        return FrozenClock(self.received)

    @property
    def upload(self) -> Upload:
        """The upload that the callback reports, to call a handler with. Nothing is verified."""
        return Upload.parse(self.body, self.environ().get("CONTENT_TYPE", ""), self.target)

    def replay(self, application: WSGIApplication, *, mount: str = "") -> webob.Response:
        """Post the callback to an application in this process, and return the response.

        :param mount: SCRIPT_NAME, where the server mounts the application below a path.
        """
        return ask(application, "/", environ=self.environ(mount))


class CallbackRecorder:
    """Middleware that writes each callback that comes in to a file, which ``RecordedCallback`` reads.

        application = CallbackRecorder(application, "/var/tmp/callbacks")

    Put it around everything else, and remove it when it has recorded what you need. It records each request that names
    a public key as callbacks do, whatever the response is, and stops at ``limit`` files. Only their owner can read the
    files: the signature is no secret, but until its ticket expires, anybody who reads the file can replay that report.
    Judge for yourself how private the names of files and users are.

    :param limit: the number of files after which nothing more is recorded.
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
        # OSS announces the length. A body without one may never end, so it is left to the application.
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
                self._record(environ, received)
            except (CallbackError, ValueError, OSError) as error:
                log.warning("a callback was not recorded: %s", error)
        return self._app(environ, start_response)

    def _record(self, environ: WSGIEnvironment, received: ReceivedCallback) -> None:
        now = self._clock()
        make_private_folder(self._folder)
        if sum(1 for _ in self._folder.glob("callback-*.json")) >= self._limit:
            return
        headers = _callback_headers(environ, received.authorization)
        recording = Recording(received.target.decode(), headers, received.body, now)
        path = self._folder / f"callback-{now:.6f}-{facts_of(environ).oss_request_id}.json"
        with open(path, "x", encoding="utf-8", opener=open_private) as file:
            file.write(recording.to_json())
        log.info("a callback was recorded: %s", path)


def _callback_headers(environ: WSGIEnvironment, authorization: str) -> dict[str, str]:
    """Return the headers that belong to a callback, under their usual names; cookies and the like stay out."""
    names = {"CONTENT_TYPE": "Content-Type", "HTTP_CONTENT_MD5": "Content-MD5", "HTTP_DATE": "Date"}
    names |= {name: name[5:].replace("_", "-").lower() for name in sorted(environ) if name.startswith("HTTP_X_OSS_")}
    headers = {header: environ[name] for name, header in names.items() if environ.get(name)}
    return {"Authorization": authorization, **headers} if authorization else headers
