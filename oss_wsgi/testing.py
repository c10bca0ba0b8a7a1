"""What you need to test an application that uses oss_wsgi: a clock, signed callbacks, and the whole road in process."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote, urlencode

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import MD5
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .application import CALLBACK_PATH, DEFAULT_PREFIX, SIGNATURE_PATH, DirectUpload
from .public_keys import PublicKeyStore
from .settings import Settings
from .verifier import string_to_sign

if TYPE_CHECKING:
    import webob
    from _typeshed.wsgi import WSGIApplication

KEY_URL = "http://127.0.0.1/callback_pub_key_test.pem"


class FrozenClock:
    """A clock that stands still until it is moved; call it for Unix seconds."""

    def __init__(self, now: float = 1733227932.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Move the clock on."""
        self.now += seconds


class CallbackSigner:
    """Signs callbacks as OSS does, with a key of its own; give ``public_keys`` to what shall believe it.

        signer = CallbackSigner()
        application = DirectUpload(app, settings, public_keys=signer.public_keys)
        headers = signer.headers("/oss/callback", body)

    :param private_key: an RSA key; without it one of 2,048 bits is made.
    """

    def __init__(self, private_key: rsa.RSAPrivateKey | None = None, *, url: str = KEY_URL) -> None:
        self._key = private_key or rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.url = url
        self.pem = self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        self.public_keys = PublicKeyStore({url: self.pem})

    def headers(
        self, target: str, body: bytes, content_type: str = "application/x-www-form-urlencoded"
    ) -> dict[str, str]:
        """Give the headers of a callback to ``target`` (path and query, percent-encoded) with this body (P§8.1)."""
        text = string_to_sign(target.encode(), body)
        signature = self._key.sign(text, padding.PKCS1v15(), MD5())  # noqa: S303 - OSS's own choice
        return {
            "Authorization": base64.b64encode(signature).decode(),
            "Content-MD5": base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode(),
            "Content-Type": content_type,
            "User-Agent": "aliyun-oss-callback",
            "x-oss-pub-key-url": base64.b64encode(self.url.encode()).decode(),
            "x-oss-request-id": "674EF4EC0000000000000001",
            "x-oss-signature-version": "1.0",
            "x-oss-tag": "CALLBACK",
        }


def callback_body(
    signed: Mapping[str, Any],
    *,
    size: int,
    mime_type: str = "application/octet-stream",
    etag: str = "5B3C1A2E053D763E1B002CC607C5A0FE",
    filename: str = "file",
    **variables: str,
) -> bytes:
    """Give the body that OSS would report for an upload with a signed form, ticket included.

    ``signed`` is the signature endpoint's JSON; ``filename`` the browser's, where the form's key leaves it open;
    ``variables`` are further variables of the body template, dots written as underscores.

        signed = app.get("/oss/signature", {"filename": "cat.png", "size": 3}).json
        body = callback_body(signed, size=3)
        app.post("/oss/callback", body, headers=signer.headers("/oss/callback", body))
    """
    template = json.loads(base64.b64decode(signed["callback"]))["callbackBody"]
    fields = signed["fields"]
    conditions = json.loads(base64.b64decode(fields["policy"]))["conditions"]
    values = {
        "bucket": next(condition["bucket"] for condition in conditions if "bucket" in condition),
        "object": fields["key"].replace("${filename}", filename),
        "size": str(size),
        "mimeType": mime_type,
        "etag": etag,
        "operation": "PostObject",
        "reqId": "674EF4EC0000000000000001",
        **{name.replace("_", "."): value for name, value in variables.items()},
        **{name: value for name, value in fields.items() if name.startswith("x:")},
    }
    return re.sub(r"\$\{([^}]*)\}", lambda match: quote(values.get(match[1], ""), safe=""), template).encode()


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
        from .local import LocalOSS

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


def multipart(
    fields: dict[str, str], filename: str, data: bytes, content_type: str | None = None
) -> tuple[str, bytes]:
    """Make Content-Type and body of a form as browsers send it: the fields in their order, then ``file``."""
    boundary = f"----oss_wsgi{hashlib.sha256(data).hexdigest()[:24]}"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    quoted = filename.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{quoted}"\r\n'
        f"Content-Type: {content_type or 'application/octet-stream'}\r\n\r\n"
    )
    return f"multipart/form-data; boundary={boundary}", b"".join(
        [*parts, head.encode(), data, f"\r\n--{boundary}--\r\n".encode()]
    )
