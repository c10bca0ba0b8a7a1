"""Whole uploads in this process, without a socket: signature, form, report, response."""

from __future__ import annotations

import contextlib
import io
import json
import mimetypes
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple
from urllib.parse import quote, urlencode

from ..application import CALLBACK_PATH, DEFAULT_PREFIX, HEALTH_PATH, RECOVER_PATH, SIGNATURE_PATH, DirectUpload
from ..bucket import BucketClient
from ..callback.parameters import TICKET_MEMBER
from ..callback.public_keys import PublicKeyStore
from ..callback.signed_id import SignedIDBook
from ..callback.ticket import ReceiptBook, TicketBook
from ..callback.upload import Upload
from ..exceptions import CallbackError
from ..recovery.recovery import Recovery
from ..settings import Settings, with_secrets_read
from ..settings_check import PAGE
from ..signing.form_body import FormBody
from ..signing.grant import Grant
from ..wsgi.environ import request_target
from .callbacks import APPLICATION_URL, TICKET_SECRET

if TYPE_CHECKING:
    import webob
    from _typeshed.wsgi import WSGIApplication

    from .local_oss import InProcessOSS


class Uploaded(NamedTuple):
    """The outcome of ``oss_upload``.

    ``upload`` is what the application was told, or None if it did not accept the report; ``answer`` is the response
    that the browser gets.
    """

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
    """Upload a file through ``app`` as a browser does: signature, form to the local OSS, report, response.

        upload, answer = oss_upload(app, "cat.png", data, user="eric", dir="users/eric")

    An application that contains DirectUpload, which its health endpoint shows, is used as it is: its own ``authorize``
    and ``on_upload`` decide. It must use the settings of ``environ_for(oss, folder)``, and under OSS_REPORT_BY=page an
    ``InProcessBucket(oss)`` as its ``bucket_client``. Any other application is wrapped in a DirectUpload that grants
    ``Grant(**grant)`` to everybody.

    :param oss: where the file goes; by default a new local OSS that is removed afterwards.
    :param environ: what a server or a login adds to the environ of the request for the signature.
    :param forward_callback: the application's own view responds to the callback.
    :raises TypeError: for an application that contains DirectUpload, if ``oss`` is missing or if a grant,
        ``on_upload`` or ``forward_callback`` is given.
    """
    client: ExistingAppClient
    if not has_direct_upload(app, prefix):
        client = UploadClient(
            app,
            oss=oss,
            prefix=prefix,
            authorize=lambda _: Grant(**grant),
            on_upload=on_upload,
            forward_callback=forward_callback,
        )
    elif grant or on_upload or forward_callback or oss is None:
        raise TypeError(
            "This application contains DirectUpload already: pass the oss whose settings it was made from, and "
            "leave the grant and the handler to the application."
        )
    else:
        client = ExistingAppClient(app, oss, prefix=prefix)
    try:
        response = client.upload(filename, data, content_type=content_type, environ=environ)
    finally:
        if oss is None:
            client.local_oss.close()
    return Uploaded(client.uploads[-1] if client.uploads else None, response)


def has_direct_upload(app: WSGIApplication, prefix: str = DEFAULT_PREFIX) -> bool:
    """Return whether an application contains DirectUpload, below any middleware."""
    try:
        response = ask(app, quote(prefix) + HEALTH_PATH, base_url=APPLICATION_URL)
        return response.status_int == 200 and response.json == {"status": "ok"}
    except Exception:  # the application does not expect this path
        return False


class ExistingAppClient:
    """Uploads through an application that contains DirectUpload and uses the settings of ``environ_for``.

        application = make_application(Settings.from_environ(environ_for(oss, folder)))
        response = ExistingAppClient(application, oss).upload("cat.png", data)

    :param oss: where the forms go; from now on its callbacks go to ``application``.
    :param mount: SCRIPT_NAME under which the application is called.
    :param wrap: middleware put around the application and the local OSS, such as ``webtest.lint.middleware``.
    :param ticket_secret: the application's, to read the user and the data from its tickets.
    :ivar uploads: what the application accepted, in order, each with a signed ID.
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
        self.uploads: list[Upload] = []
        self._oss_application = wrap(oss)
        self._mount = mount
        self._prefix = prefix
        self._tickets = TicketBook(ticket_secret, clock=clock)
        self._receipts = ReceiptBook(ticket_secret, clock=clock, keep_seconds=0)
        self._signed_ids = SignedIDBook(ticket_secret, oss.bucket, clock=clock)
        self._clock = clock
        oss.application = self._receive_callback

    def sign(self, filename: str | None = None, **parameters: Any) -> webob.Response:
        """Request a signature, and return the response.

        :param parameters: ``content_type``, ``size``, ``method`` for the query; the request's ``headers``, ``environ``.
        """
        request = {name: dict(parameters.pop(name, None) or {}) for name in ("headers", "environ")}
        query = {name: value for name, value in {"filename": filename, **parameters}.items() if value is not None}
        return self._ask(f"{SIGNATURE_PATH}?{urlencode(query)}", **request)

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
        report: bool = True,
    ) -> webob.Response:
        """Upload a file, and return the response of OSS: 200 with the callback's JSON, 203, or an error in XML.

        If the signature is refused, return that refusal. Under OSS_REPORT_BY=page report the stored file, and return
        the application's response to that.

        :param exact: request the signature for this name, type and size; otherwise for any file.
        :param change: called with the form's fields before they are sent, to tamper with them.
        :param headers: of the request for the signature.
        :param environ: of the request for the signature.
        :param report: False is a page that is closed before it can report.
        """
        parameters: dict[str, Any] = {"content_type": content_type, "size": len(data)} if exact else {}
        signed = self.sign(filename if exact else None, headers=headers, environ=environ, **parameters)
        if signed.status_int != 200:
            return signed
        fields = dict(signed.json["fields"])
        if change is not None:
            change(fields)
        kind, body = multipart(fields, filename, data, content_type)
        answer = ask(self._oss_application, signed.json["url"], method="POST", content_type=kind, body=body)
        return self._report(signed, fields["key"], answer) if report else answer

    def put(
        self,
        filename: str,
        data: bytes,
        *,
        content_type: str,
        change: Callable[[dict[str, str]], None] | None = None,
        headers: dict[str, str] | None = None,
        environ: Mapping[str, Any] | None = None,
        report: bool = True,
    ) -> webob.Response:
        """Upload a file by a signed PUT, and return the response as ``upload`` does.

        :param change: called with the headers of the PUT before they are sent, to tamper with them.
        :param headers: of the request for the signature.
        :param environ: of the request for the signature.
        :param report: as of ``upload``.
        """
        signed = self.sign(
            filename, content_type=content_type, size=len(data), method="put", headers=headers, environ=environ
        )
        if signed.status_int != 200:
            return signed
        sent = dict(signed.json["headers"])
        if change is not None:
            change(sent)
        answer = ask(self._oss_application, signed.json["url"], method="PUT", headers=sent, body=data)
        return self._report(signed, signed.json["key"], answer) if report else answer

    def recover(self, proof: str, key: str, *, headers: dict[str, str] | None = None) -> webob.Response:
        """Ask the application for an upload, as its page does, and return the response.

        :param proof: the member ``ticket`` of the signature; or of an upload whose callback was lost the form's field
            ``callback``, or the ticket in it.
        """
        body = json.dumps({"ticket": proof, "object": key}).encode()
        return self._ask(RECOVER_PATH, headers=headers, method="POST", content_type="application/json", body=body)

    def _report(self, signed: webob.Response, key: str, answer: webob.Response) -> webob.Response:
        """Report a stored file if its page does that, and return the application's response; else return OSS's."""
        ticket = signed.json.get(TICKET_MEMBER)
        if ticket is None or answer.status_int not in (200, 204):
            return answer
        response = self.recover(ticket, key)
        if 200 <= response.status_int < 300:
            with contextlib.suppress(CallbackError):  # only the application may refuse it
                self.uploads.append(self._found_upload(ticket, key))
        return response

    def _found_upload(self, ticket: str, key: str) -> Upload:
        """Return what a page has reported."""
        from .local_oss import InProcessBucket

        bucket = InProcessBucket(self.local_oss)
        recovery = Recovery(bucket, self.local_oss.bucket, self._tickets, self._receipts, clock=self._clock)
        found = recovery.find(recovery.open(ticket, key), key, recovered=False)
        return self._signed_ids.signed(found.upload)

    def _ask(self, path: str, **request: Any) -> webob.Response:
        """Send a request to the application's endpoints, and return the response."""
        base = f"{APPLICATION_URL}{quote(self._mount)}"
        return ask(self.application, f"{quote(self._prefix)}{path}", base_url=base, **request)

    def _receive_callback(self, environ: Any, start_response: Any) -> Any:
        """Pass a callback of OSS to the application, as a server that mounts it does."""
        mount = self._mount.encode().decode("latin-1")
        if mount and environ["PATH_INFO"].startswith(mount):
            environ = {**environ, "SCRIPT_NAME": mount, "PATH_INFO": environ["PATH_INFO"][len(mount) :]}
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        environ = {**environ, "wsgi.input": io.BytesIO(body)}
        upload = self._reported_upload(body, environ["CONTENT_TYPE"], request_target(environ).decode())

        def record_accepted(status: str, headers: Any, exc_info: Any = None) -> Any:
            if status.startswith("2") and upload is not None:
                self.uploads.append(upload)
            return start_response(status, headers, exc_info) if exc_info else start_response(status, headers)

        return self.application(environ, record_accepted)

    def _reported_upload(self, body: bytes, content_type: str, target: str) -> Upload | None:
        """Return what a callback reports, with its ticket if that is valid: only the application may refuse it."""
        upload = None
        try:
            upload = Upload.parse(body, content_type, target)
            ticket = self._tickets.open(upload.members.get(TICKET_MEMBER))
        except CallbackError:
            return upload
        return self._signed_ids.signed(upload.with_ticket(ticket))


class UploadClient(ExistingAppClient):
    """Joins your application, DirectUpload and a local OSS in this process; needs ``oss-wsgi[local]``.

        with UploadClient(app, on_upload=save) as client:
            response = client.upload("cat.png", data, content_type="image/png")
            assert response.json["Status"] == "Ok"

    :param settings: values of ``Settings`` that differ from ``UploadClient.DEFAULTS``.
    :param oss: an existing local OSS; by default a new one, with the names and keys of the settings.
    :param mount: SCRIPT_NAME under which the application is called.
    :param wrap: middleware put around DirectUpload and around the local OSS, such as ``webtest.lint.middleware``.
    :param options: the arguments of DirectUpload: ``authorize``, ``on_upload``, ``prefix``, ``forward_callback``, ...
    :ivar bucket: the ``bucket_client``; by default an InProcessBucket of the local OSS.
    :ivar direct_upload: the DirectUpload, for its ``reconcile`` and ``handle_event``.
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
        from .local_oss import InProcessBucket, InProcessOSS

        prefix = options.get("prefix", DEFAULT_PREFIX)
        clock = options.get("clock", time.time)
        values = {
            **self.DEFAULTS,
            "host": "http://127.0.0.1:8081/examplebucket",
            **(_settings_of(oss) if oss else {}),
            **(settings or {}),
        }
        if values.get("report_by") != PAGE:
            values.setdefault("callback_url", f"{APPLICATION_URL}{quote(mount + prefix)}{CALLBACK_PATH}")
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
        bucket: BucketClient = options.get("bucket_client") or InProcessBucket(oss)
        self.bucket = bucket
        options = {"public_keys": public_keys, "bucket_client": bucket, **options}
        self.direct_upload = DirectUpload(app, self.settings, **options)
        application: WSGIApplication = self.direct_upload
        secret = with_secrets_read(self.settings).ticket_secret
        super().__init__(application, oss, prefix=prefix, mount=mount, wrap=wrap, ticket_secret=secret, clock=clock)

    def __enter__(self) -> UploadClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove what the local OSS stored."""
        self.local_oss.close()


def _settings_of(oss: InProcessOSS) -> dict[str, Any]:
    names = ("bucket", "region", "host", "access_key_id", "access_key_secret")
    return {name: getattr(oss, name) for name in names}


def multipart(
    fields: Mapping[str, str], filename: str, data: bytes, content_type: str | None = None
) -> tuple[str, bytes]:
    """Return the Content-Type and the body of a form as browsers send it: the fields in their order, then ``file``.

    :param content_type: the file's; by default it follows from the end of ``filename``, as in a browser.
    """
    body = FormBody(fields, filename, io.BytesIO(data), len(data), content_type or mimetypes.guess_type(filename)[0])
    return body.content_type, b"".join(body)


def ask(application: WSGIApplication, url: str, **request: Any) -> webob.Response:
    """Send a request to an application, and return its response.

    :param request: as `webob.Request.blank` takes it.
    """
    import webob  # here, because WebOb warns about `cgi` when imported

    return get_response(webob.Request.blank(url, **request), application)


def get_response(request: webob.Request, application: WSGIApplication) -> webob.Response:
    """Call an application, and return its response, read to the end and closed as servers do."""
    response = request.get_response(application)
    response.body  # noqa: B018 - the property reads
    return response
