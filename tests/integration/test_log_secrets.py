"""Every kind of refusal, with real secrets in place: no secret is in the log, in either format.

The reason codes are read from the source: a test fails if no refusal here produces one of them.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import pytest
import webob
import webob.exc
import webtest

from oss_wsgi import DirectUpload, Grant, Settings, StaticCredentialsProvider, Upload
from oss_wsgi import exceptions as errors
from oss_wsgi.bucket import StoredObject, StoredPart
from oss_wsgi.endpoints.callback import CallbackEndpoint
from oss_wsgi.endpoints.slots import SLOTS
from oss_wsgi.ledger.base import ledger_busy_error
from oss_wsgi.log_format import JSONFormatter, Masker, TextFormatter
from oss_wsgi.middleware.access_log import AccessLog
from oss_wsgi.serving.bodies import Bodies, RefusedBody
from oss_wsgi.serving.bounds import Limits
from oss_wsgi.site import application_for
from oss_wsgi.testing import CallbackSigner, FrozenClock, callback_body

from ..explanations.test_rows import emitters
from ..support.browser_form import CONTENT_TYPE, browser_form
from ..support.callbacks import post_callback

SIGNER = CallbackSigner()
SETTINGS = Settings(
    bucket="examplebucket",
    region="cn-hangzhou",
    access_key_id="LTAI5tExampleKeyId000001",
    access_key_secret="ExampleSecret/00000000000+000A",
    session_token="CAISTheSessionToken" + "aB3" * 40,
    callback_url="https://app.example.com/oss/callback",
    ticket_secret=("the ticket secret of this very test",),
    allow_anonymous=True,
)


class Site:
    """DirectUpload behind an access log, with callbacks for it and the secrets that it has issued."""

    def __init__(self) -> None:
        self.secrets: set[str] = set(SETTINGS.secrets())
        self.clock = FrozenClock()

    def client(self, settings: Settings = SETTINGS, **options: Any) -> webtest.TestApp:
        options = {"public_keys": SIGNER.public_keys, "clock": self.clock, **options}
        app = DirectUpload(lambda environ, start: [], settings, **options)
        return webtest.TestApp(AccessLog(app, clock=lambda: 0.0), extra_environ={"REMOTE_ADDR": "192.0.2.1"})

    def sign(self, query: str = "", path: str = "/oss/signature", **options: Any) -> Any:
        return self.client(**options).get(f"{path}?{query}", expect_errors=True)

    def body(self, query: str = "filename=a.png", size: int = 6, filename: str = "f", **options: Any) -> bytes:
        """Return the body of a report for a new signature, and remember the secrets of both."""
        signed = self.sign(query, **options).json
        fields = signed["fields"]
        body = callback_body(signed, size=size, filename=filename)
        ticket = body.decode().partition("ticket=")[2].partition("&")[0]
        self.secrets |= {fields["policy"], fields["callback"], fields["x-oss-signature"], ticket}
        return body

    def report(self, body: bytes | None = None, headers: dict[str, str] | None = None, **options: Any) -> None:
        body = self.body() if body is None else body
        signed = SIGNER.headers("/oss/callback", body)
        self.secrets.add(signed["Authorization"])
        all_headers = {**signed, "x-oss-request-id": "674EF4EC", **(headers or {})}
        environ = options.pop("environ", {})
        present = {name: value for name, value in all_headers.items() if value}
        request = webob.Request.blank("/oss/callback", method="POST", headers=present, body=body)
        request.environ.update(environ)
        request.get_response(self.client(**options).app)


def raising(error: Exception) -> Callable[..., Any]:
    def callable_(*arguments: Any) -> Any:
        raise error

    return callable_


def leaking(*arguments: Any) -> Any:
    """Raise an error whose message has all secrets, as a careless callable might."""
    secrets = [*SETTINGS.secrets(), *(getattr(argument, "body", b"").decode() for argument in arguments)]
    raise ValueError(f"failed with {secrets} and {arguments!r}")


class Provider:
    def __init__(self, error: Exception) -> None:
        self.get_credentials = raising(error)


class BusyLedger:
    def __init__(self, error: Exception) -> None:
        self.run_once = raising(error)


def encoded(url: str) -> str:
    return base64.b64encode(url.encode()).decode()


def signature_refusals(site: Site) -> None:
    site.sign("filename=a.png&method=patch")
    site.sign(path="/oss/nothing")
    site.client().post("/oss/signature", "policy=x", expect_errors=True)
    for query in ("size=x", "size=1&size=2", "%ff", "size=99999999999", "content_type=x", f"filename={'x' * 5000}"):
        site.sign(query)
    site.sign("filename=a&filename=b")
    site.sign("content_type=a/b&content_type=a/c")
    secret = quote(SETTINGS.access_key_secret or "")
    site.sign(f"filename={secret}&content_type={secret}&size={secret}")
    site.client().get("/oss/signature", headers={"Sec-Fetch-Site": "cross-site"}, expect_errors=True)
    for granted in (None, "no grant", Grant(metadata={"a": "b"}), Grant(content_types=["image/png"])):
        site.sign("content_type=image/gif", authorize=lambda request, granted=granted: granted)
    site.sign(authorize=leaking)
    site.sign(authorize=raising(webob.exc.HTTPFound(location="/login?ticket=" + "x" * 20)))
    site.sign(authorize=raising(errors.GrantError("no such album")))
    site.sign(credentials=Provider(errors.CredentialsError("STS is away")))
    site.sign(credentials=Provider(errors.PolicyError("odd")))
    site.sign(rate_limit=leaking)
    site.sign(rate_limit=lambda who: 5.0)
    closed = Settings(**{**vars(SETTINGS), "allow_anonymous": False})
    site.sign(settings=closed)
    for observer in ({"on_issued": leaking}, {"on_refused": leaking}):
        site.sign("filename=a.png", **observer)
        site.sign("size=x", **observer)
    webtest.TestApp(application_for({})).get("/", status=503)


def header_refusals(site: Site) -> None:
    body = site.body()
    good = SIGNER.headers("/oss/callback", body)["Authorization"]
    for name in ("Authorization", "x-oss-pub-key-url"):
        for value in ("", "no base64", f"{good}, {good}"):
            site.report(body, {name: value})
    site.report(body, {"Authorization": "AAAA"})
    site.report(body, {"Authorization": SIGNER.headers("/elsewhere", body)["Authorization"]})
    site.report(body + b"&more=1", {"Authorization": good})
    site.report(body, {"x-oss-pub-key-url": encoded("https://evil.example/key.pem")})
    site.report(body, {"x-oss-pub-key-url": encoded("https://gosspublic.alicdn.com/callback_pub_key_v2.pem")})
    site.report(b"x" * 70_000)
    site.report(body, {}, environ={"CONTENT_LENGTH": ""})
    site.report(body, {}, environ={"CONTENT_LENGTH": "many"})
    site.report(body, {}, environ={"CONTENT_LENGTH": str(len(body) + 5), "wsgi.input": io.BytesIO(body)})


def refused(**limits: Any) -> RefusedBody:
    """Return the input of a request whose body arrived too late, or beside too many others."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def read() -> RefusedBody:
        with Bodies(Limits(**limits), clock=time.monotonic).count("192.0.2.1") as body:
            try:
                await body.read(receive, 1 << 20, has_thread=lambda: False)
            except errors.CallbackError as error:
                return RefusedBody(error)
        raise AssertionError("the body was read")

    return asyncio.run(read())


def body_refusals(site: Site) -> None:
    body = site.body()
    site.report(b"{" + body)
    site.report(body + b"&size=6")
    site.report(body.replace(b"bucket=examplebucket", b"bucket=evilbucket"))
    ticket = body.partition(b"ticket=")[2].partition(b"&")[0]
    site.report(body.replace(ticket, b""))
    site.report(body.replace(ticket, ticket[:-2] + b"AA"))
    other = Settings(**{**vars(SETTINGS), "ticket_secret": ("another secret of thirty-two letters",)})
    site.secrets |= set(other.secrets())
    site.report(site.body(settings=other))
    site.report(body.replace(b"size=6", b"size=600000000000"))
    for limits in ({"body_timeout": 1e-9}, {"buffered_bytes": 1}):
        site.report(body, environ={"wsgi.input": refused(**limits), "webob.is_body_seekable": False})
    late = site.body()
    site.clock.advance(100_000)
    site.report(late)


def handling_refusals(site: Site) -> None:
    site.report(on_upload=leaking)
    site.report(on_upload=lambda upload: {"ticket": object()})
    for error in (
        ledger_busy_error(4.0),
        errors.LedgerUnavailableError("ledger_unavailable", "the disk is full"),
        errors.HandlerCommittedError("handler_committed", "the handler has committed"),
    ):
        site.report(ledger=BusyLedger(error))
    # A form without an exact name is good for several objects: two are one too many for this grant.
    shared = site.client(authorize=lambda request: Grant(max_objects=1))
    prefix = shared.get("/oss/signature").json
    for name in ("a.txt", "b.txt"):
        body = callback_body(prefix, size=6, filename=name)
        site.secrets.add(body.decode().partition("ticket=")[2].partition("&")[0])
        post_callback(shared, body, SIGNER, expect_errors=True)
    site.report(confirm=lambda upload: False)
    site.report(confirm=leaking)
    for reason in ("confirmation_refused", "credentials_unavailable", "oss_unreachable"):
        for accept in (False, True):
            site.report(confirm=raising(errors.ConfirmationUnavailableError(reason, "no answer", accept=accept)))
    bare = webtest.TestApp(CallbackEndpoint(), extra_environ={"HTTP_AUTHORIZATION": "x"})
    bare.app = lambda environ, start: CallbackEndpoint()({**environ, "PATH_INFO": ""}, start)
    bare.post("/", site.body(), expect_errors=True)


class Bucket:
    """A bucket client that returns the object or raises the error that a test sets."""

    def __init__(self, stored: StoredObject | Exception | None) -> None:
        self.stored = stored

    def head(self, key: str) -> StoredObject | None:
        if isinstance(self.stored, Exception):
            raise self.stored
        return self.stored

    def list(self, prefix: str, start_after: str, limit: int) -> list[Any]:
        return []

    begin = list_parts = complete = abort = raising(NotImplementedError())


def recovery_refusals(site: Site) -> None:
    settings = Settings(**{**vars(SETTINGS), "recover": True})

    def recover(stored: Any, changes: dict[str, Any], **options: Any) -> None:
        client = site.client(settings, bucket_client=Bucket(stored), **options)
        fields = client.get("/oss/signature?filename=a.png").json["fields"]
        receipt = fields["x-oss-meta-oss-wsgi"]
        ticket = base64.b64decode(fields["callback"]).decode().partition("ticket=")[2].partition('"')[0]
        site.secrets |= {fields["callback"], receipt, ticket}
        if isinstance(stored, StoredObject):
            metadata = {"oss-wsgi": receipt} if stored.metadata else {}
            stored = stored._replace(key=fields["key"], metadata=metadata)
            client = site.client(settings, bucket_client=Bucket(stored), **options)
        body = {"ticket": ticket, "object": fields["key"], **changes}
        client.post_json("/oss/recover", body, expect_errors=True)

    good = StoredObject("a", 6, "E", 0.0, "image/png", 1, {"oss-wsgi": "there"})
    recover(good, {}, on_upload=leaking)
    recover(good, {"ticket": "no ticket"})
    recover(good, {"ticket": ""})
    recover(good, {"object": "another"})
    recover(good._replace(metadata={}), {})
    recover(None, {})
    reasons = "bucket_unreachable", "bucket_refused", "bucket_failed", "event_malformed", "not_delivered"
    for reason in (*reasons, "sweep_running", "known_failed", "name_unreachable"):
        recover(errors.BucketUnreachableError(reason, "no answer"), {})


class PartsBucket(Bucket):
    """A bucket client whose uploads in parts have the parts that a test sets; None: the upload does not exist."""

    def __init__(self) -> None:
        super().__init__(None)
        self.exists = False
        self.parts: list[StoredPart] | None = []
        self.receipt = ""

    def begin(self, key: str, headers: dict[str, str]) -> str:
        if self.exists:
            raise errors.BucketRefusedError("bucket_refused", "it exists", code="FileAlreadyExists")
        self.receipt = headers["x-oss-meta-oss-wsgi"]
        return "0004B9894A22E5B1888A1E29F8230000"

    def list_parts(self, key: str, upload_id: str) -> list[StoredPart]:
        if self.parts is None:
            raise errors.NotStoredError("not_stored", "NoSuchUpload")
        return self.parts

    def complete(self, key: str, *arguments: Any) -> StoredObject:
        return StoredObject(key, 6, "E-1", 0.0, "image/png", 1, {"oss-wsgi": self.receipt})

    def abort(self, key: str, upload_id: str) -> None:
        pass


def parts_refusals(site: Site) -> None:
    bucket = PartsBucket()
    settings = Settings(**{**vars(SETTINGS), "multipart": True})
    client = site.client(settings, bucket_client=bucket, on_upload=leaking)
    file = {"filename": "a.png", "type": "image/png", "size": 6, "part_size": 102400}

    def begin(**changes: Any) -> dict[str, Any]:
        answer = client.post_json("/oss/s3/multipart", {**file, **changes}, expect_errors=True).json
        site.secrets |= {bucket.receipt, answer.get("uploadId", bucket.receipt)}
        return dict(answer)

    begun = begin()
    upload = f"/oss/s3/multipart/{begun['uploadId']}"
    query = f"?key={begun['key']}"

    def complete(parts: list[StoredPart], claimed: list[dict[str, Any]] | None = None) -> None:
        bucket.parts = parts
        own = [{"PartNumber": part.number, "ETag": part.etag} for part in parts]
        body = {"parts": own if claimed is None else claimed}
        client.post_json(f"{upload}/complete{query}", body, expect_errors=True)

    begin(part_size=1)
    begin(filename=5)
    bucket.exists = True
    begin()
    client.get(upload, expect_errors=True)
    client.get(f"{upload}?key=other", expect_errors=True)
    client.get(f"{upload}/2{query}", expect_errors=True)
    complete([StoredPart(1, 6, "E", 1)], [])
    complete([StoredPart(1, 7, "E")])
    complete([StoredPart(1, 3, "E"), StoredPart(2, 3, "F")])
    complete([StoredPart(1, 6, "E", 2)])
    complete([StoredPart(1, 6, "E", 1)])
    bucket.parts = None
    client.get(f"{upload}{query}", expect_errors=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bucket, "list_parts", leaking)
        client.get(f"{upload}{query}", expect_errors=True)

    def silent(*arguments: Any) -> StoredObject:
        raise errors.BucketUnreachableError("bucket_unreachable", "no answer")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bucket, "complete", silent)
        complete([StoredPart(1, 6, "E", 1)])
    bucket.parts = None
    client.get(f"{upload}{query}", expect_errors=True)
    with SLOTS.hold({"REMOTE_ADDR": "1"}), SLOTS.hold({"REMOTE_ADDR": "2"}):
        client.get(f"{upload}{query}", expect_errors=True)
    client.delete(f"{upload}{query}")
    client = site.client(settings, bucket_client=bucket, may_complete=leaking)
    complete([])
    site.client().get("/oss/s3/params", expect_errors=True)


def signed_id_refusals(site: Site) -> None:
    signed_ids: list[str] = []
    body = site.body(authorize=lambda request: Grant(user="eric"))
    site.report(body, on_upload=lambda upload: signed_ids.append(upload.signed_id))
    (signed_id,) = signed_ids
    site.secrets.add(signed_id)
    log = logging.getLogger("legacy")

    def view(environ: dict[str, Any], start_response: Any) -> Any:
        find_upload = environ["oss_wsgi.find_upload"]
        for sent, user in ((signed_id[:-4], "eric"), (signed_id, "mallory"), (f"{signed_id}/", "eric")):
            with pytest.raises(errors.SignedIDError):
                find_upload(sent, user=user)
        log.warning("photo=%s, signed_id=%s, %r", signed_id, signed_id, find_upload(signed_id, user="eric"))
        site.clock.advance(90000)
        try:
            find_upload(signed_id, user="eric")
        except errors.SignedIDError:
            log.exception("refused")
        start_response("400 Bad Request", [("Content-Length", "0"), ("Content-Type", "text/plain")])
        return []

    app = AccessLog(DirectUpload(view, SETTINGS, clock=site.clock), clock=lambda: 0.0)
    webtest.TestApp(app).post(f"/{signed_id}?photo={signed_id}", {"photo": signed_id}, status=400)


def form_refusals(site: Site) -> None:
    uploads: list[Upload] = []
    site.report(site.body(authorize=lambda request: Grant(user="eric")), on_upload=uploads.append)
    (upload,) = uploads
    site.secrets.add(upload.signed_id)
    stored = StoredObject(upload.object or "", 6, upload.etag or "", 0.0)

    def post(found: Any = stored, *, text: str = upload.signed_id, user: str = "eric", **options: Any) -> None:
        def legacy(environ: dict[str, Any], start_response: Any) -> Any:
            start_response("200 OK", [("Content-Length", "0"), ("Content-Type", "text/plain")])
            with suppress(OSError):
                environ["wsgi.input"].read()
            return []

        bucket = Bucket(found)
        bucket.read = leaking  # type: ignore[attr-defined]
        options = {
            "authorize": lambda request: Grant(user=user),
            "clock": site.clock,
            "bucket_client": bucket,
            **options,
        }
        app = AccessLog(DirectUpload(legacy, SETTINGS, forms=True, **options), clock=lambda: 0.0)
        body = browser_form([("oss_wsgi.files", "photo"), ("photo", text)])
        request = webob.Request.blank("/save", method="POST", content_type=CONTENT_TYPE, body=body)
        answer = request.get_response(app)
        assert upload.signed_id not in answer.text

    post()
    post(None)
    post(stored._replace(etag="F"))
    post(errors.BucketUnreachableError("bucket_unreachable", "no answer"))
    post(user="mallory")
    post(text=upload.signed_id[:-4])
    post(text=f"{upload.signed_id}/")
    post(text=upload.signed_id + "x" * 4000)
    post(form_user=leaking)
    post(authorize=leaking)


KINDS = (
    *(signature_refusals, header_refusals, body_refusals, handling_refusals, recovery_refusals),
    *(parts_refusals, signed_id_refusals, form_refusals),
)


class LogCapture(logging.Handler):
    """All records of every logger in both formats, and their reason codes."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        mask = Masker(SETTINGS.secrets())
        self.forms = TextFormatter(mask), JSONFormatter(mask)
        self.texts: list[list[str]] = [[], []]
        self.raw: list[str] = []
        self.reasons: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        for texts, form in zip(self.texts, self.forms, strict=True):
            texts.append(form.format(record))
        self.raw.append(logging.Formatter().format(record))
        self.reasons.add(getattr(record, "reason", None) or "-")


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[LogCapture]:
    handler, root = LogCapture(), logging.getLogger()
    caplog.set_level(logging.DEBUG)
    root.addHandler(handler)
    yield handler
    root.removeHandler(handler)


@pytest.mark.parametrize("kind", KINDS)
def test_no_refusal_logs_a_secret_ticket_policy_or_signature(kind: Callable[[Site], None], log: LogCapture) -> None:
    site = Site()
    kind(site)
    assert len(log.raw) > 10
    for secret in site.secrets:
        assert len(secret) > 20
        for form in {secret, quote(secret), quote(secret, safe=""), json.dumps(secret)[1:-1]}:
            for line in (line for texts in log.texts for line in texts):
                assert form not in line
    for line in log.texts[1]:
        assert json.loads(line)["message"]


def test_without_the_masks_secrets_would_be_logged() -> None:
    """The traceback of a careless handler has secrets, so the test above can fail."""
    handler, root = LogCapture(), logging.getLogger()
    root.addHandler(handler)
    try:
        handling_refusals(Site())
    finally:
        root.removeHandler(handler)
    assert any(secret in text for secret in SETTINGS.secrets() for text in handler.raw)


def test_every_reason_in_the_source_is_produced_here(log: LogCapture) -> None:
    site = Site()
    for kind in KINDS:
        kind(site)
    composed = {f"{name}_{how}" for name in ("authorization", "pub_key_url") for how in ("missing", "malformed")}
    composed |= {f"{name}_malformed" for name in ("filename", "content_type", "size")}
    known = {pattern for pattern in emitters() if re.fullmatch(r"\w+", pattern)}
    assert len(known) > 40
    assert (known | composed) - log.reasons == {"repeated"}, "which is no refusal"


def test_a_refusal_and_its_access_log_line_share_one_id(log: LogCapture) -> None:
    site = Site()
    app = site.client(authorize=lambda request: Grant(user="eric"))
    app.get("/oss/signature?filename=a.png", headers={"X-Request-ID": "given-1"})
    app.get("/oss/signature?size=x", expect_errors=True)
    lines = [json.loads(line) for line in log.texts[1]]
    lines = [line for line in lines if "request_id" in line]
    issued, refused, refused_too = lines
    assert issued["request_id"] == "given-1"
    assert (issued["user"], issued["status"], issued["method"]) == ("eric", 200, "GET")
    assert issued["object"].endswith(".png")
    assert issued["bytes"] > 1000
    assert issued["seconds"] == 0.0
    assert refused["request_id"] == refused_too["request_id"] != "given-1"
    assert refused["reason"] == refused_too["reason"] == "size_malformed"
    assert refused["logger"] != refused_too["logger"] == "oss_wsgi.middleware.access_log"


def test_static_credentials_are_in_no_line(log: LogCapture) -> None:
    site = Site()
    site.sign("size=x", credentials=StaticCredentialsProvider(SETTINGS.credentials()))
    assert not any(secret in text for secret in SETTINGS.secrets() for text in log.raw)
