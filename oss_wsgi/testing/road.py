"""The whole road of an upload in this process, without a socket."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple
from urllib.parse import quote, urlencode

from ..application import CALLBACK_PATH, DEFAULT_PREFIX, HEALTH_PATH, SIGNATURE_PATH, DirectUpload
from ..callback.parameters import TICKET_MEMBER
from ..callback.public_keys import PublicKeyStore
from ..callback.ticket import TicketBook
from ..callback.upload import Upload
from ..exceptions import CallbackError
from ..settings import Settings
from ..signing.grant import Grant
from ..wsgi.environ import request_target
from .callbacks import multipart

if TYPE_CHECKING:
    import webob
    from _typeshed.wsgi import WSGIApplication

    from .local_oss import InProcessOSS


APPLICATION_URL = "http://127.0.0.1:8080"

#: Of tests alone: what it seals is believed by who reads this line.
TICKET_SECRET = "a ticket secret for tests and nothing else"  # noqa: S105


class FinishedRoad:
    """The road through an application that has DirectUpload in it, and works with a local OSS as ``environ_for`` says.

        application = make_application(Settings.from_environ(environ_for(oss, folder)))
        answer = FinishedRoad(application, oss).upload("cat.png", data)

    :param oss: where the forms go; its callbacks come to ``application`` from now on.
    :param mount: SCRIPT_NAME under which the application is called.
    :param wrap: middleware put around the application and the local OSS, such as ``webtest.lint.middleware``.
    """

    def __init__(
        self,
        application: WSGIApplication,
        oss: InProcessOSS,
        *,
        prefix: str = DEFAULT_PREFIX,
        mount: str = "",
        wrap: Callable[[WSGIApplication], WSGIApplication] = lambda application: application,
        ticket_secret: tuple[str, ...] = (TICKET_SECRET,),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.application = wrap(application)
        self.local_oss = oss
        #: what the application accepted, in order
        self.uploads: list[Upload] = []
        self._oss_application = wrap(oss)
        self._mount = mount
        self._prefix = prefix
        self._tickets = TicketBook(ticket_secret, clock=clock)
        oss.application = self._receive

    def sign(self, filename: str | None = None, **parameters: Any) -> webob.Response:
        """Ask for a signature: ``content_type`` and ``size``, and of the request ``headers`` and ``environ``."""
        import webob

        headers, environ = parameters.pop("headers", {}), parameters.pop("environ", {})
        given = {name: value for name, value in {"filename": filename, **parameters}.items() if value is not None}
        path = f"{quote(self._prefix)}{SIGNATURE_PATH}?{urlencode(given)}"
        request = webob.Request.blank(path, environ, f"{APPLICATION_URL}{quote(self._mount)}", headers)
        return read(request, self.application)

    def upload(
        self,
        filename: str,
        data: bytes,
        *,
        content_type: str | None = None,
        exact: bool = True,
        change: Callable[[dict[str, str]], None] | None = None,
        headers: dict[str, str] | None = None,
        environ: Mapping[str, Any] | None = None,
    ) -> webob.Response:
        """Go the whole road, and give OSS's answer: 200 with the callback's JSON, 203, or an error in XML.

        Without ``exact`` the signature is asked for without a filename. ``change`` may tamper with the form's fields;
        ``headers`` and ``environ`` go with the request for the signature. Where that is refused, the refusal is given.
        """
        import webob

        parameters: dict[str, Any] = {"content_type": content_type, "size": len(data)} if exact else {}
        signed = self.sign(filename if exact else None, headers=headers or {}, environ=environ or {}, **parameters)
        if signed.status_int != 200:
            return signed
        fields = dict(signed.json["fields"])
        if change is not None:
            change(fields)
        request = webob.Request.blank(signed.json["url"], method="POST")
        request.content_type, request.body = multipart(fields, filename, data, content_type)
        return read(request, self._oss_application)

    def _receive(self, environ: Any, start_response: Any) -> Any:
        """Take OSS's callback to the application, as a server that mounts it would."""
        mount = self._mount.encode().decode("latin-1")
        if mount and environ["PATH_INFO"].startswith(mount):
            environ = {**environ, "SCRIPT_NAME": mount, "PATH_INFO": environ["PATH_INFO"][len(mount) :]}
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        environ = {**environ, "wsgi.input": io.BytesIO(body)}
        reported = self._reported(body, environ["CONTENT_TYPE"], request_target(environ).decode())

        def start(status: str, headers: Any, exc_info: Any = None) -> Any:
            if status.startswith("2") and reported is not None:
                self.uploads.append(reported)
            return start_response(status, headers, exc_info) if exc_info else start_response(status, headers)

        return self.application(environ, start)

    def _reported(self, body: bytes, content_type: str, target: str) -> Upload | None:
        """Give what a callback tells, but refuse none: that is the application's to do."""
        upload = None
        try:
            upload = Upload.parse(body, content_type, target)
            ticket = self._tickets.open(upload.members.get(TICKET_MEMBER))
        except CallbackError:
            return upload
        return upload.with_ticket(ticket)


class Road(FinishedRoad):
    """Your application, DirectUpload and a local OSS, joined in process without a socket; needs ``[local]``.

        with Road(app, on_upload=save) as road:
            answer = road.upload("cat.png", data, content_type="image/png")
            assert answer.json == {"Status": "Ok"}

    :param settings: values of ``Settings`` that differ from ``Road.DEFAULTS``.
    :param oss: a local OSS that is there already; without it one is made, with the settings' names and keys.
    :param mount: SCRIPT_NAME under which the application is called.
    :param wrap: middleware put around DirectUpload and around the local OSS, such as ``webtest.lint.middleware``.
    :param options: what DirectUpload takes: ``authorize``, ``on_upload``, ``prefix``, ``forward_callback``, ...
    """

    DEFAULTS: ClassVar[dict[str, Any]] = {
        "bucket": "examplebucket",
        "region": "cn-hangzhou",
        "access_key_id": "LTAI5tExampleKeyId000001",
        "access_key_secret": "ExampleSecret0000000000000000A",
        "allow_anonymous": True,
        "ticket_secret": (TICKET_SECRET,),
    }

    def __init__(
        self,
        app: WSGIApplication,
        settings: dict[str, Any] | None = None,
        *,
        oss: InProcessOSS | None = None,
        mount: str = "",
        wrap: Callable[[WSGIApplication], WSGIApplication] = lambda application: application,
        **options: Any,
    ) -> None:
        from .local_oss import InProcessOSS

        prefix = options.get("prefix", DEFAULT_PREFIX)
        clock = options.get("clock", time.time)
        values = {
            **self.DEFAULTS,
            "host": "http://127.0.0.1:8081/examplebucket",
            "callback_url": f"{APPLICATION_URL}{quote(mount + prefix)}{CALLBACK_PATH}",
            **(_settings_of(oss) if oss else {}),
            **(settings or {}),
        }
        self.settings = Settings(**values)
        key = self.settings.credentials()
        oss = oss or InProcessOSS(
            self.settings.bucket_and_host()[0],
            self.settings.region or "",
            access_key_id=key.access_key_id,
            access_key_secret=key.access_key_secret,
            security_token=key.security_token,
            clock=clock,
        )
        public_keys = PublicKeyStore({oss.public_key_url: oss.public_key_pem})
        application = DirectUpload(app, self.settings, **{"public_keys": public_keys, **options})
        secret = self.settings.ticket_secret
        super().__init__(application, oss, prefix=prefix, mount=mount, wrap=wrap, ticket_secret=secret, clock=clock)

    def __enter__(self) -> Road:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove what the local OSS stored."""
        self.local_oss.close()


def _settings_of(oss: InProcessOSS) -> dict[str, Any]:
    names = ("bucket", "region", "host", "access_key_id", "access_key_secret")
    return {name: getattr(oss, name) for name in names}


def read(request: webob.Request, application: WSGIApplication) -> webob.Response:
    """Call an application and read its answer to the end, which also closes it, as a server owes it."""
    response = request.get_response(application)
    response.body  # noqa: B018 - a property that reads
    return response


class Uploaded(NamedTuple):
    """What the application heard, None unless it accepted the callback; and what the browser was answered."""

    upload: Upload | None
    answer: webob.Response


def oss_upload(
    app: WSGIApplication,
    filename: str,
    data: bytes,
    /,
    *,
    oss: InProcessOSS | None = None,
    content_type: str | None = None,
    on_upload: Callable[[Upload], dict[str, Any] | None] | None = None,
    forward_callback: bool = False,
    prefix: str = DEFAULT_PREFIX,
    environ: Mapping[str, Any] | None = None,
    **grant: Any,
) -> Uploaded:
    """Upload through ``app`` as a browser would: signature, form to the local OSS, callback, answer.

        upload, answer = oss_upload(app, "cat.png", data, user="eric", dir="users/eric")

    An application that has DirectUpload in it already (its health endpoint tells) goes as it is: its own ``authorize``
    and ``on_upload`` decide. It must have been made from the settings of ``environ_for(oss, folder)``. Any other is
    wrapped in a DirectUpload that grants ``Grant(**grant)`` to everybody.

    :param oss: where the file goes; without it one that is gone afterwards.
    :param environ: what a server or a login would put into the environ of the request for the signature.
    :param forward_callback: the application's own view answers the callback.
    """
    if not is_finished(app, prefix):
        with_handler: dict[str, Any] = {"on_upload": on_upload, "forward_callback": forward_callback}
        road: FinishedRoad = Road(app, oss=oss, prefix=prefix, authorize=lambda _: Grant(**grant), **with_handler)
    elif grant or on_upload or forward_callback or oss is None:
        raise TypeError(
            "This application has DirectUpload in it already: give the oss whose settings it was made from, and "
            "leave grant and handler to the application."
        )
    else:
        road = FinishedRoad(app, oss, prefix=prefix)
    try:
        answer = road.upload(filename, data, content_type=content_type, environ=environ)
    finally:
        if oss is None:
            road.local_oss.close()
    return Uploaded(road.uploads[-1] if road.uploads else None, answer)


def is_finished(app: WSGIApplication, prefix: str = DEFAULT_PREFIX) -> bool:
    """Tell whether an application has DirectUpload in it, whatever stands around that."""
    import webob

    request = webob.Request.blank(quote(prefix) + HEALTH_PATH, base_url=APPLICATION_URL)
    try:
        answer = read(request, app)
        return answer.status_int == 200 and answer.json == {"status": "ok"}
    except Exception:  # of an application that does not expect this path
        return False
