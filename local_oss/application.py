"""The local OSS as a WSGI application."""

from __future__ import annotations

import logging
import shutil
import tempfile
import weakref
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from email.utils import formatdate
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec
from urllib.parse import urlsplit

from oss_wsgi.explanations.signatures import Scope, find_mistake
from oss_wsgi.private_file import narrow_folder

from .bodies import content_length
from .callbacks.parameters import resolve_host
from .callbacks.sender import CallbackSender, HTTPTransport, WSGITransport
from .callbacks.signing_key import CallbackKey
from .cors import CORS
from .environ import Address, BucketResolver, arrival, host_name, is_bucket_name, is_endpoint
from .errors import (
    TROUBLESHOOT,
    TROUBLESHOOT_INTERNATIONAL,
    OSSError,
    Response,
    insufficient_storage,
    is_disk_full,
)
from .faults import ENVIRON_KEY, ConnectionDroppedError, Faults
from .inspector.access import object_headers
from .inspector.exchange import Exchange
from .inspector.inspector import Inspector
from .kept_keys import kept_keys, new_keys
from .operations.assume_role import assume_role, rpc_parameters
from .operations.buckets import ACLS
from .operations.lifecycle import LifecycleReport, apply_rules
from .operations.routes import check_parameters, find_operation, operation_name
from .options import Options
from .request import PUBLIC_KEY_PATH, Request, Service
from .signatures.account import Account
from .signatures.request_check import signed_address
from .signatures.s3 import as_oss, as_s3, is_s3
from .signatures.v1 import SUB_RESOURCES
from .signatures.v4 import LIFETIME, V4, Credential, signed_path
from .storage.storage import Storage

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

ASSUME_ROLE = "AssumeRole"

#: These headers come before OSS's own; the EC comes last.
_FIRST = ("Content-Type", "Content-Length")
_EC = "x-oss-ec"
_PLACED = frozenset((*_FIRST, _EC))

logger = logging.getLogger(__name__)

P = ParamSpec("P")


def _takes(
    options: Callable[P, Options],
) -> Callable[[Callable[[LocalOSS, Options], None]], Callable[Concatenate[LocalOSS, P], None]]:
    """Return a decorator: callers pass the arguments of `options`, and the method receives the Options."""

    def decorate(function: Callable[[LocalOSS, Options], None]) -> Callable[Concatenate[LocalOSS, P], None]:
        @wraps(Options.__init__)
        def method(self: LocalOSS, /, *args: P.args, **kwargs: P.kwargs) -> None:
            function(self, options(*args, **kwargs))

        return method

    return decorate


class LocalOSS(Service):
    """An OSS on this machine: form uploads and signed requests, callbacks, CORS, and reading what was stored.

        with LocalOSS("examplebucket", transport=my_app) as oss:
            ...  # post a form to it, signed with oss.access_key_id and oss.access_key_secret

    `Options` describes the arguments.

    :raises ValueError: the bucket has a name that OSS does not allow.
    """

    @_takes(Options)
    def __init__(self, options: Options) -> None:
        _check_bucket_name(options.bucket)
        if options.acl not in ACLS:
            raise ValueError(f"an ACL is one of {', '.join(ACLS)}, not {options.acl!r}")
        rules = tuple(options.cors_rules)
        options = replace(options, region=options.region.removeprefix("oss-"), cors_rules=rules)
        self.options = options
        self.bucket = options.bucket
        self.region = options.region
        self.url = options.url
        is_temporary = not options.directory
        end = ExitStack()
        # Set at once, so that a signal that ends the program during the set-up leaves no folder.
        self._close = weakref.finalize(self, end.close)
        self.directory = Path(options.directory or tempfile.mkdtemp(prefix="local-oss-"))
        if is_temporary:
            end.callback(shutil.rmtree, self.directory, ignore_errors=True)
            narrow_folder(self.directory)  # the umask may have taken even the owner's rights
        self.faults = Faults()
        self.storage = Storage(self.directory)
        end.callback(self.storage.close)
        try:
            make_key = partial(CallbackKey.generate, options.key_bits)
            if is_temporary:
                keys = new_keys(make_key)
            else:
                keys = kept_keys(self.directory, make_key, bits=options.key_bits, reset=options.reset_keys)
        except BaseException:
            self._close()
            raise
        self.access_key_id = options.access_key_id or keys.access_key_id
        self.access_key_secret = options.access_key_secret or keys.access_key_secret
        self.former = tuple(dict.fromkeys((keys.access_key_secret, *keys.former)))
        self.public_key_pem = keys.callback_key.public_pem
        self.configured_buckets = set()
        self.create_bucket(options.bucket)
        self._cnames = {host.lower(): name for host, name in (options.cnames or {}).items()}
        self.account = Account(
            self.access_key_id, self.access_key_secret, options.security_token, options.security_token_expires
        )
        transport = options.transport
        self.sender = CallbackSender(
            keys.callback_key, WSGITransport(transport) if transport else HTTPTransport(options.callback_timeout)
        )
        self.resolve = None if transport else resolve_host
        self.inspector = Inspector(self)

    def create_bucket(self, name: str) -> None:
        """Create a further bucket, beside `bucket`; raise ValueError for a name that OSS does not allow.

        A bucket that an earlier run left in the folder keeps its ACL and its Block Public Access unless the options
        name others.
        """
        _check_bucket_name(name)
        settings = self.options.new_bucket_settings
        if self.options.acl != Options.acl:
            settings["acl"] = self.options.acl
        if not self.storage.create_bucket(name, now=self.options.clock(), settings=settings) and settings:
            self.storage.bucket(name).change(settings)
        self.configured_buckets.add(name)

    @property
    def host(self) -> str:
        """The URL that a form is posted to."""
        return f"{self.url}/{self.bucket}"

    def signed_url(self, key: str, *, bucket: str | None = None, expires: float = 3600) -> str:
        """Return a URL with which anybody may GET an object for some seconds.

        :raises ValueError: `expires` is less than one, or more than the 7 days of signature V4.
        """
        if not 1 <= expires <= LIFETIME:
            raise ValueError(f"a signed URL is valid for 1 to {LIFETIME} seconds, not {expires:g}")
        address = Address(bucket or self.bucket, key)
        return self.url + signed_path(address, self.account, self.region, self.options.clock(), int(expires))

    def fail_next(self, name: str, *, times: int | None = 1, **details: Any) -> None:
        """Let one of the next requests fail: `oss.fail_next("callback_status", status=404)`.

        `slow_down` (503) fails any request except preflights, the inspector and the public key. All others fail
        uploads: forms, PUTs and uploads in parts.

        - `slow_upload`: the file takes `seconds` longer to arrive.
        - `dropped_connection`: no response; with `stored=True`, after the object was stored.
        - `damaged_object`: an object made of parts has another CRC-64 than its parts.
        - `callback_timeout`, `callback_status` (`status`), `callback_not_json`, `callback_too_long`,
          `callback_no_length`, `callback_refused`: one URL of a callback fails; with `delivered=True` (for all but
          the last) the application gets the request and only its reply is lost.

        :param times: how many requests fail; None until `clear_faults()`.
        :raises ValueError: there is no such fault, or it has no such detail.
        """
        self.faults.add(name, times=times, **details)

    def apply_lifecycle(self, now: float | None = None, *, bucket: str | None = None) -> LifecycleReport:
        """Obey the lifecycle rules of a bucket, as OSS does once a day, and return what they removed.

        :param now: Unix seconds, for example 8 days ahead; by default the time of the clock.
        :param bucket: without it, `self.bucket`.
        :raises OSSError: 404 NoSuchBucket.
        """
        storage = self.storage.bucket(bucket or self.bucket)
        return apply_rules(storage, self.options.clock() if now is None else now)

    def clear_faults(self) -> None:
        self.faults.clear()

    def close(self) -> None:
        """Close the storage and remove a temporary directory; a second call does nothing."""
        self._close()

    def __enter__(self) -> LocalOSS:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<LocalOSS {self.host}>"

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        started = self.options.clock()
        inspected = self.inspector.answer(environ)
        if inspected:
            inspected.headers.insert(0, ("Date", formatdate(started, usegmt=True)))
            _complete(inspected, environ["REQUEST_METHOD"])
            return _send(environ, start_response, inspected)
        exchange = Exchange.of(environ, started)
        self.inspector.begin(exchange)
        resolver = self._resolver(environ)
        try:
            response = self._respond(resolver, exchange)
        except ConnectionDroppedError:
            exchange.finish(0)
            self.inspector.record(exchange)
            raise
        except Exception as error:
            refusal = error if isinstance(error, OSSError) else _internal_error(error, exchange.id)
            self._note_error(resolver, exchange, refusal)
            host = environ.get("HTTP_HOST") or host_name(environ)
            is_international = self.options.international
            response = refusal.response(
                exchange.id, host, TROUBLESHOOT_INTERNATIONAL if is_international else TROUBLESHOOT
            )
            _drop_frames(error)
        response.headers += self._cors(resolver).headers(environ)
        _complete(response, environ["REQUEST_METHOD"])
        milliseconds = max(0, round((self.options.clock() - started) * 1000))
        response.headers = [
            ("Server", "AliyunOSS"),
            ("Date", formatdate(started, usegmt=True)),
            *[pair for pair in response.headers if pair[0] in _FIRST],
            ("x-oss-request-id", exchange.id),
            *[pair for pair in response.headers if pair[0] not in _PLACED],
            ("x-oss-server-time", str(milliseconds)),
            *[pair for pair in response.headers if pair[0] == _EC],
        ]
        shown = b"" if exchange.operation == ASSUME_ROLE else response.body  # its body holds a secret
        exchange.finish(response.status, response.headers, shown)
        self.inspector.record(exchange)
        return _send(environ, start_response, response)

    def _note_error(self, resolver: BucketResolver, exchange: Exchange, error: OSSError) -> None:
        exchange.note_error(error)
        is_own = error.members.get("OSSAccessKeyId") == self.access_key_id  # and not a temporary key
        if error.code == "SignatureDoesNotMatch" and is_own:
            try:
                exchange.computed, exchange.mistake = self._mistake_in(error, exchange.fields or {})
            except Exception:  # a failed examination must not change the answer
                logger.exception("request %s: its signature could not be examined", exchange.id)

    def _mistake_in(self, error: OSSError, fields: Mapping[str, str]) -> tuple[str, str]:
        """Return the right signature and the mistake in the received one, for SignatureDoesNotMatch."""
        scope = None
        if fields.get("x-oss-signature-version") == V4:
            credential = Credential.parse(fields["x-oss-credential"], name="x-oss-credential")
            scope = Scope(credential.day, credential.region)
        return find_mistake(
            error.members["SignatureProvided"],
            error.members["StringToSign"],
            error.members.get("CanonicalRequest", ""),
            scope,
            key=(self.account.access_key_id, self.account.access_key_secret),
            former=self.former,
            region=self.region,
        )

    def _respond(self, resolver: BucketResolver, exchange: Exchange) -> Response:
        environ, now = resolver.environ, exchange.started
        content_length(environ.get("CONTENT_LENGTH") or "0")
        method = environ["REQUEST_METHOD"]
        parameters = rpc_parameters(environ)
        if parameters:
            exchange.operation = ASSUME_ROLE
            return assume_role(method, parameters, self.account, arrival(environ, now), exchange.id)
        try:
            candidates = resolver.candidates
        except OSSError:
            if method == "OPTIONS":  # CORS rules do not depend on the object
                return self._cors(resolver).preflight(environ)
            raise
        exchange.note_address(candidates[0], _operation_name(environ, candidates[0], exchange))
        if method == "OPTIONS":
            # Without a bucket in the Host, `/films/a.mp4` may be a key of the first bucket.
            if not candidates[0].key or resolver.bucket_of_host:
                self._check_exists(candidates[0], method)
            return self._cors(resolver).preflight(environ)
        is_key = Address(PUBLIC_KEY_PATH, "") in candidates and not resolver.bucket_of_host
        if method in ("GET", "HEAD") and is_key:
            return Response(200, [("Content-Type", "application/x-pem-file")], self.public_key_pem.encode())
        if is_endpoint(environ) and environ.get("PATH_INFO", "/") != "/":
            message = "The bucket you are attempting to access must be addressed using OSS third level domain."
            raise OSSError(403, "SecondLevelDomainForbidden", message)
        faults = self._request_faults(environ)
        try:
            # The path may be a key of any bucket: only a signature can choose one of these addresses.
            addresses = [*candidates, *resolver.in_each_bucket()]
            arrived, refuse_v1 = arrival(environ, now), self.options.refuse_v1
            address, signer = signed_address(
                environ, addresses, self.account, self.region, arrived, refuse_v1=refuse_v1
            )
        except OSSError as error:
            if error.code == "InvalidAccessKeyId":  # OSS looks for the bucket first
                self._check_exists(candidates[0], method)
            if error.code == "SignatureDoesNotMatch" and "CanonicalRequest" not in error.members:
                # V1 signs some parameters, and an SDK's list of them may differ from ours.
                check_parameters(name for name, _ in exchange.query if name not in SUB_RESOURCES)
            raise
        if resolver.is_s3:
            environ = as_oss(environ, address)
        exchange.note_address(address, _operation_name(environ, address, exchange))
        request = Request(
            environ=environ,
            address=address,
            oss=self,
            signer=signer,
            faults=faults,
            exchange=exchange,
            names_bucket=resolver.names(address),
        )
        response = find_operation(request).handle(request)
        if resolver.is_s3:
            response.headers = as_s3(response.headers)
        if self.inspector.has_pages and method in ("GET", "HEAD") and address.key:
            content_type = dict(response.headers).get("Content-Type")
            if content_type:
                response.headers += object_headers(content_type)  # the pages share the origin of the objects
        return response

    def _request_faults(self, environ: WSGIEnvironment) -> Faults:
        """Return the faults that may strike the request; raise OSSError if `slow_down` does."""
        faults = self.faults.with_header(environ.get(ENVIRON_KEY, "") if self.options.test_mode else "")
        if faults.pop("slow_down"):
            raise OSSError(503, "SlowDown", "Please reduce your request rate.")
        return faults

    def _resolver(self, environ: WSGIEnvironment) -> BucketResolver:
        names = [bucket.name for bucket in self.storage.buckets()]
        host = urlsplit(self.url).hostname or ""
        return BucketResolver(environ, self.bucket, names, host, self._cnames, is_s3(environ))

    def _check_exists(self, address: Address, method: str) -> None:
        """Raise OSSError if there is no such bucket, unless the request creates it."""
        if address.bucket and (address.key or method != "PUT"):
            self.storage.bucket(address.bucket)

    def _cors(self, resolver: BucketResolver) -> CORS:
        try:
            bucket = resolver.candidates[0].bucket
        except OSSError:
            bucket = None
        return self.cors(bucket or "")


def _operation_name(environ: WSGIEnvironment, address: Address, exchange: Exchange) -> str:
    if exchange.method == "OPTIONS":
        return "Preflight"
    return operation_name(address, exchange.method, dict(exchange.query), is_copy="HTTP_X_OSS_COPY_SOURCE" in environ)


def _internal_error(error: Exception, request_id: str) -> OSSError:
    """Log an unexpected error, and return the error that the client gets."""
    if is_disk_full(error):
        logger.error("request %s failed: the disk is full: %s", request_id, error)
        return insufficient_storage()
    logger.exception("request %s failed", request_id)
    return OSSError(500, "InternalError", "We encountered an internal error. Please try again.")


def _drop_frames(error: BaseException | None) -> None:
    """Remove the frames from an error: a frame that holds its error keeps the body until garbage is collected."""
    while error is not None:
        error.__traceback__ = None
        error = error.__context__


def _complete(response: Response, method: str) -> None:
    """Add the headers that follow from the body."""
    headers, body = response.headers, response.body
    if not isinstance(body, bytes):
        return
    if response.status != 304 and not any(name == "Content-Length" for name, _ in headers):
        headers.append(("Content-Length", str(len(body))))
    if method == "HEAD" and response.status >= 400:
        # A HEAD has no body, so a header carries the XML; the SDKs read the code from it.
        headers.append(("x-oss-err", b64encode(body).decode()))


def _send(environ: WSGIEnvironment, start_response: StartResponse, response: Response) -> Iterable[bytes]:
    body = response.body
    if isinstance(body, bytes):
        body = [] if environ["REQUEST_METHOD"] == "HEAD" or response.status in (204, 304) else [body]
    start_response(response.status_line, response.headers)
    return body


def _check_bucket_name(name: str) -> None:
    if not is_bucket_name(name):
        raise ValueError(f"a bucket name has 3 to 63 lower-case letters, digits and hyphens, not {name!r}")
