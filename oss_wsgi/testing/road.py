"""The whole road of an upload in this process, without a socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote, urlencode

from ..application import CALLBACK_PATH, DEFAULT_PREFIX, SIGNATURE_PATH, DirectUpload
from ..public_keys import PublicKeyStore
from ..settings import Settings
from .bodies import multipart

if TYPE_CHECKING:
    import webob
    from _typeshed.wsgi import WSGIApplication


class Road:
    """Your application, DirectUpload and a local OSS, joined in process without a socket; needs ``[local]``.

        with Road(app, on_upload=save) as road:
            answer = road.upload("cat.png", data, content_type="image/png")
            assert answer.json == {"Status": "Ok"}

    :param settings: values of ``Settings`` that differ from ``Road.DEFAULTS``.
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
    }

    def __init__(
        self,
        app: WSGIApplication,
        settings: dict[str, Any] | None = None,
        *,
        mount: str = "",
        wrap: Callable[[WSGIApplication], WSGIApplication] = lambda application: application,
        **options: Any,
    ) -> None:
        from ..local import LocalOSS

        prefix = options.get("prefix", DEFAULT_PREFIX)
        values = {
            **self.DEFAULTS,
            "host": "http://127.0.0.1:8081/examplebucket",
            "callback_url": f"http://127.0.0.1:8080{quote(mount + prefix)}{CALLBACK_PATH}",
            **(settings or {}),
        }
        self.settings = Settings(**values)
        given: dict[str, Any] = {"clock": options["clock"]} if "clock" in options else {}
        key = self.settings.credentials()
        self.local_oss = LocalOSS(
            bucket=self.settings.place()[0],
            region=self.settings.region or "",
            access_key_id=key.access_key_id,
            access_key_secret=key.access_key_secret,
            security_token=key.security_token,
            transport=self._receive,
            **given,
        )
        public_keys = PublicKeyStore({self.local_oss.public_key_url: self.local_oss.public_key_pem})
        self.application = wrap(DirectUpload(app, self.settings, **{"public_keys": public_keys, **options}))
        self._oss_application = wrap(self.local_oss)
        self._mount = mount
        self._prefix = prefix

    def __enter__(self) -> Road:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove what the local OSS stored."""
        self.local_oss.close()

    def sign(self, filename: str | None = None, **parameters: Any) -> webob.Response:
        """Ask for a signature; ``parameters`` are ``content_type`` and ``size``, and ``headers`` of the request."""
        import webob

        headers = parameters.pop("headers", {})
        given = {name: value for name, value in {"filename": filename, **parameters}.items() if value is not None}
        path = f"{quote(self._prefix)}{SIGNATURE_PATH}?{urlencode(given)}"
        request = webob.Request.blank(path, base_url=f"http://127.0.0.1:8080{quote(self._mount)}", headers=headers)
        return _read(request, self.application)

    def upload(
        self,
        filename: str,
        data: bytes,
        *,
        content_type: str | None = None,
        exact: bool = True,
        change: Callable[[dict[str, str]], None] | None = None,
        headers: dict[str, str] | None = None,
    ) -> webob.Response:
        """Go the whole road, and give OSS's answer: 200 with the callback's JSON, 203, or an error in XML.

        Without ``exact`` the signature is asked for without a filename. ``change`` may tamper with the form's fields;
        ``headers`` go with the request for the signature. Where that is refused, the refusal is given.
        """
        import webob

        parameters: dict[str, Any] = {"content_type": content_type, "size": len(data)} if exact else {}
        signed = self.sign(filename if exact else None, headers=headers or {}, **parameters)
        if signed.status_int != 200:
            return signed
        fields = dict(signed.json["fields"])
        if change is not None:
            change(fields)
        request = webob.Request.blank(signed.json["url"], method="POST")
        request.content_type, request.body = multipart(fields, filename, data, content_type)
        return _read(request, self._oss_application)

    def _receive(self, environ: Any, start_response: Any) -> Any:
        """Take OSS's callback to the application, as a server that mounts it would."""
        mount = self._mount.encode().decode("latin-1")
        if mount and environ["PATH_INFO"].startswith(mount):
            environ = {**environ, "SCRIPT_NAME": mount, "PATH_INFO": environ["PATH_INFO"][len(mount) :]}
        return self.application(environ, start_response)


def _read(request: webob.Request, application: WSGIApplication) -> webob.Response:
    """Call an application and read its answer to the end, which also closes it, as a server owes it."""
    response = request.get_response(application)
    response.body  # noqa: B018 - a property that reads
    return response
