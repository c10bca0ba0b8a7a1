"""The local OSS as a WSGI application."""

from __future__ import annotations

import logging
import secrets
import shutil
import tempfile
import time
import weakref
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from email.utils import formatdate
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .callbacks.parameters import resolve
from .callbacks.sender import CallbackSender
from .callbacks.signing_key import CallbackKey
from .callbacks.transports import HTTPTransport, WSGITransport
from .cors import CORS, MAX_RULES, BucketRules, CORSRule
from .environ import Address, Names, arrival, host_name
from .errors import Answer, Headers, OSSError, content_length
from .faults import ENVIRON_KEY, HEADER, ConnectionDroppedError, Faults, slow_down
from .forms.post_object import PostObject
from .index_page import asks_for_page, index_page
from .operations.buckets import is_bucket_name
from .operations.routes import find_operation
from .request import Request, Service
from .signatures.form_check import Account
from .signatures.request_check import signed_address
from .storage.indexed import directory_storage
from .storage.interface import Storage

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PUBLIC_KEY_PATH = "callback_pub_key.pem"

logger = logging.getLogger(__name__)


class LocalOSS:
    """One bucket of OSS on this machine: form uploads, callbacks, CORS, and reading what was stored.

        with LocalOSS("examplebucket", transport=my_app) as oss:
            ...  # post a form to it, signed with oss.access_key_id and oss.access_key_secret

    :param bucket: the one that is meant where a request names none.
    :param region: with or without the `oss-` that some of OSS's pages put before it.
    :param security_token: when given, forms and signed requests must carry exactly this token.
    :param security_token_expires: Unix seconds; after that the token is refused.
    :param directory: where objects are kept; without it a folder that close() removes.
    :param storage: keeps the objects in place of `directory`, and is the caller's to close.
    :param url: the base URL as clients see it; a server sets it when it has bound its port.
    :param cnames: host names that are bound to a bucket: `{"img.example.com": "examplebucket"}`.
    :param cors_rules: of `bucket` and of those of `create_bucket()`, until `?cors` gives one others; and of no bucket.
    :param max_cors_rules: how many `?cors` takes; the pages of the real OSS say 10 and 20.
    :param key_bits: of the key that signs callbacks; OSS's own has 512.
    :param transport: a WSGI application that receives the callbacks in this process; without it they go over HTTP.
    :param strict: refuse every form field that the policy does not name, but for the policy, the fields that sign it
        and `success_action_status` (P§14.2): what passes is pinned.
    :param exact_field_names: refuse form fields that are not spelled as documented (P§14.1).
    :param space_as_plus: in callbacks of the form type, `+` for a space in a value, not `%20` (P§14.6).
    :param test_mode: a request may bring faults with it, in the header `x-oss-local-fault`, as `fail_next` has them:
        `callback_status; status=404; times=2, slow_upload`.
    :param allow_private_callback: OSS calls public addresses only; a stand-in must call this machine (P§14.13).
    """

    def __init__(
        self,
        bucket: str = "examplebucket",
        region: str = "cn-hangzhou",
        *,
        access_key_id: str | None = None,
        access_key_secret: str | None = None,
        security_token: str | None = None,
        security_token_expires: float | None = None,
        directory: str | Path | None = None,
        storage: Storage | None = None,
        url: str = "http://127.0.0.1:8081",
        cnames: Mapping[str, str] | None = None,
        cors_rules: Sequence[CORSRule] = (),
        max_cors_rules: int = MAX_RULES,
        key_bits: int = 2048,
        transport: WSGIApplication | None = None,
        callback_timeout: float = 5.0,
        strict: bool = False,
        exact_field_names: bool = False,
        space_as_plus: bool = False,
        test_mode: bool = False,
        allow_private_callback: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        _check_name(bucket)
        region = region.removeprefix("oss-")
        self.bucket = bucket
        self.region = region
        self.access_key_id = access_key_id or f"LOCAL{secrets.token_hex(10)}"
        self.access_key_secret = access_key_secret or secrets.token_urlsafe(24)
        self.url = url
        self.directory = Path(directory or ("" if storage else tempfile.mkdtemp(prefix="local-oss-")))
        self._clock = clock
        self._faults = Faults()
        self._test_mode = test_mode
        key = CallbackKey.generate(key_bits)
        self.public_key_pem = key.public_pem
        self.storage = directory_storage(self.directory) if storage is None else storage
        self.storage.create_bucket(bucket, now=clock())
        self._configured = {bucket}
        always_allowed = [HEADER] if test_mode else []
        self._rules = BucketRules(self.storage, self._configured, tuple(cors_rules), always_allowed, max_cors_rules)
        self._cnames = {host.lower(): name for host, name in (cnames or {}).items()}
        remove = not (directory or storage)
        self._close = weakref.finalize(
            self, _close, None if storage else self.storage, self.directory if remove else None
        )
        self._account = Account(self.access_key_id, self.access_key_secret, security_token, security_token_expires)
        sender = CallbackSender(
            key,
            WSGITransport(transport) if transport else HTTPTransport(callback_timeout),
            clock,
            space_as_plus=space_as_plus,
        )
        post_object = PostObject(
            bucket=bucket,
            region=region,
            account=self._account,
            storage=self.storage.bucket(bucket),
            sender=sender,
            clock=clock,
            allow_private_callback=allow_private_callback,
            resolve=None if transport else resolve,
            strict=strict,
            exact_field_names=exact_field_names,
        )
        self._service = Service(region, self.storage, sender, post_object, clock, self._rules)

    def create_bucket(self, name: str) -> None:
        """A further bucket, beside `bucket`; ValueError for what is no name."""
        _check_name(name)
        self.storage.create_bucket(name, now=self._clock())
        self._configured.add(name)

    @property
    def host(self) -> str:
        """The URL that a form is posted to."""
        return f"{self.url}/{self.bucket}"

    @property
    def public_key_url(self) -> str:
        return f"{self.url}/{PUBLIC_KEY_PATH}"

    def fail_next(self, name: str, *, times: int | None = 1, **details: Any) -> None:
        """Lets one of the next requests fail: `oss.fail_next("callback_status", status=404)`.

        `slow_down` (503) strikes any request but a preflight and those for the page and the key, all others an upload:
        a form, a PUT, one in parts. There are `slow_upload` (`seconds`), `dropped_connection` (`stored`: the object is
        there all the same), `callback_timeout`, `callback_status` (`status`), `callback_not_json`, `callback_too_long`,
        `callback_no_length`, `callback_refused`. A callback's fault strikes one of its URLs; with `delivered` the
        application gets the request all the same.

        :param times: None for until `clear_faults()`.
        """
        self._faults.add(name, times=times, **details)

    def clear_faults(self) -> None:
        self._faults.clear()

    def close(self) -> None:
        self._close()

    def __enter__(self) -> LocalOSS:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<LocalOSS {self.host}>"

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        started = self._clock()
        request_id = f"{int(started) & 0xFFFFFFFF:08X}{secrets.token_hex(8).upper()}"
        host_id = environ.get("HTTP_HOST") or host_name(environ)
        try:
            answer = self._answer(environ, request_id, started)
        except ConnectionDroppedError:
            raise
        except OSSError as error:
            answer = error.answer(request_id, host_id)
        except Exception:
            logger.exception("request %s failed", request_id)
            message = "We encountered an internal error. Please try again."
            answer = OSSError(500, "InternalError", message).answer(request_id, host_id)
        headers: Headers = [
            ("Server", "AliyunOSS"),
            ("Date", formatdate(started, usegmt=True)),
            ("x-oss-request-id", request_id),
            ("x-oss-server-time", str(max(0, round((self._clock() - started) * 1000)))),
            *answer.headers,
            *self._cors(environ).headers(environ),
        ]
        body = answer.body
        if isinstance(body, bytes):
            if answer.status not in (204, 304) and not any(name == "Content-Length" for name, _ in headers):
                headers.append(("Content-Length", str(len(body))))
            if environ["REQUEST_METHOD"] == "HEAD" and answer.status >= 400:
                # The XML that a HEAD has no body for; the SDKs read the code from it.
                headers.append(("x-oss-err", b64encode(body).decode()))
            body = [] if environ["REQUEST_METHOD"] == "HEAD" or answer.status in (204, 304) else [body]
        start_response(answer.status_line, headers)
        return body

    def _answer(self, environ: WSGIEnvironment, request_id: str, now: float) -> Answer:
        content_length(environ.get("CONTENT_LENGTH") or "0")
        method = environ["REQUEST_METHOD"]
        if method == "OPTIONS":
            return self._cors(environ).preflight(environ)
        names = self._names()
        readings = names.readings(environ)
        if method in ("GET", "HEAD") and not names.bucket_of_host(environ):
            if Address(PUBLIC_KEY_PATH, "") in readings:
                return Answer(200, [("Content-Type", "application/x-pem-file")], self.public_key_pem.encode())
            if asks_for_page(environ, readings[0]):
                return index_page(self.storage.buckets())
        faults = self._faults_of(environ)
        moment = arrival(environ, now)
        address, signed = signed_address(
            environ, readings, self._account, self.region, moment, further=lambda: self._each_bucket(environ)
        )
        request = Request(
            environ=environ,
            address=address,
            service=self._service,
            id=request_id,
            now=now,
            url=self.url,
            public_key_url=self.public_key_url,
            signed=signed,
            faults=faults,
        )
        return find_operation(request).handle(request)

    def _faults_of(self, environ: WSGIEnvironment) -> Faults:
        faults = self._faults.of_request(environ.get(ENVIRON_KEY, "") if self._test_mode else "")
        if faults.take("slow_down"):
            raise slow_down()
        return faults

    def _names(self) -> Names:
        return Names(self.bucket, self._is_bucket, urlsplit(self.url).hostname or "", self._cnames)

    def _each_bucket(self, environ: WSGIEnvironment) -> list[Address]:
        """What a request means whose bucket is not on the wire, as in a URL of ali-oss for an IP address."""
        names = self._names()
        if names.bucket_of_host(environ):
            return []
        return [names.whole_path(environ, held.name) for held in self.storage.buckets()]

    def _is_bucket(self, name: str) -> bool:
        try:
            return bool(self.storage.bucket(name).name)
        except OSSError:
            return False

    def _cors(self, environ: WSGIEnvironment) -> CORS:
        try:
            bucket = self._names().readings(environ)[0].bucket
        except OSSError:
            bucket = None
        return self._rules.cors(bucket or "")


def _check_name(bucket: str) -> None:
    if not is_bucket_name(bucket):
        raise ValueError(f"a bucket name has 3 to 63 lower-case letters, digits and hyphens, not {bucket!r}")


def _close(storage: Storage | None, directory: Path | None) -> None:
    if storage:
        storage.close()
    if directory:
        shutil.rmtree(directory, ignore_errors=True)
