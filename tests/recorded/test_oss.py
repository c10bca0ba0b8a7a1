"""The local OSS against recorded traffic of the real one: `oss.json`, in our own words.

Each row says what was asked, how sure the record is, and what OSS answered: status, headers, and the XML's elements in
order. A text that is null differs from request to request. A row is played to a local OSS, whose answer has to be the
same, except for what `ONLY_THERE` and `ONLY_HERE` give reasons for. Rows of callbacks are compared with what the
application gets. `NOT_PLAYED` has the rest.
"""

import base64
import hashlib
import io
import json
import struct
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from local_oss import CORSRule, LocalOSS
from local_oss.callbacks.sender import CallbackReply, CallbackRequest, CallbackSender, WSGITransport
from local_oss.environ import Address
from oss_wsgi.callback.verifier import CallbackVerifier
from oss_wsgi.recovery.events import read_events

from ..local_oss.form_client import BOUNDARY, NOW, callback_field, form, policy, sign_v1
from ..local_oss.sdk_signer import sign

ROWS: list[dict[str, Any]] = json.loads(Path(__file__).with_name("oss.json").read_text(encoding="utf-8"))
ROW = {row["number"]: row for row in ROWS}
BUCKET = "examplebucket"
FORM_BODY = "filename=${object}&size=${size}&mimeType=${mimeType}&height=${imageInfo.height}&width=${imageInfo.width}"

NOT_PLAYED = {
    10: "the local OSS sends no events; the product reads this one below",
    11: "the local OSS sends no events; the product reads this one below",
    12: "the local OSS sends no events; the product reads this one below",
    17: "AppendObject is refused by name",
    30: "AppendObject is refused by name",
    38: "the local OSS reads no signatures V2 of S3",
    50: "the local OSS is the endpoint of its region, and knows no bucket of another",
    51: "the local OSS cannot know which accounts have buckets that refuse data at their default domain",
}

#: What a recording may lack: OSS sends ECs for some years only, and some people left them out.
_EC = ("EC", "RecommendDoc", "x-oss-ec")
#: What the recording has and the local OSS lacks, with the reason.
ONLY_THERE: dict[int, dict[str, str]] = {
    1: {"eagleeye-rpcid": "a proxy on the way added it"},
    14: {"x-oss-server-side-encryption": "the bucket encrypted by default"},
    26: {"x-oss-version-id": "the bucket had versions"},
    27: {"x-oss-version-id": "the bucket had versions"},
    28: {"x-oss-version-id": "the bucket had versions"},
    35: {"Versioning": "the bucket had versions"},
}
#: What the local OSS has and the recording lacks, with the reason.
ONLY_HERE: dict[int, dict[str, str]] = {
    14: {"x-oss-server-time": "of 2015"},
    28: {"Content-Length": "OSS sent it in chunks"},
    29: {"Content-Length": "OSS sent it in chunks"},
}


@dataclass
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def xml(self) -> ElementTree.Element:
        return ElementTree.fromstring(self.body)


@dataclass
class Play:
    """A local OSS, and the application that it calls back."""

    folder: Path
    options: dict[str, Any] = field(default_factory=dict)
    reply: tuple[str, bytes] = "200 OK", b'{"Status":"Ok"}'
    reports: list[CallbackRequest] = field(default_factory=list)
    opened: list[LocalOSS] = field(default_factory=list)

    def oss(self, bucket: str = BUCKET, **options: Any) -> LocalOSS:
        defaults = {"directory": self.folder, "key_bits": 512, "clock": lambda: NOW, "transport": self.application}
        oss = LocalOSS(bucket, **{"inspector": False, **defaults, **options})
        self.opened.append(oss)
        if "transport" not in options:
            oss.sender = CallbackSender(oss.sender.key, self.report)
        return oss

    def report(self, request: CallbackRequest) -> CallbackReply:
        self.reports.append(request)
        return WSGITransport(self.application)(request)

    def application(self, environ: Any, start_response: Any) -> list[bytes]:
        status, body = self.reply
        start_response(status, [("Content-Length", str(len(body)))])
        return [body]

    def ask(
        self,
        oss: LocalOSS,
        method: str,
        key: str = "",
        query: str = "",
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        *,
        bucket: str | None = BUCKET,
        host: str = "local-oss.example",
        signed: str = "v4",
        now: float = NOW,
        **signing: Any,
    ) -> Answer:
        headers = headers or {}
        environ: dict[str, Any] = {"REQUEST_METHOD": method, "QUERY_STRING": query}
        if signed:
            kinds = {name.lower(): value for name, value in headers.items()}
            address = Address(bucket, key)
            environ = sign(
                signed, method, address=address, query=query, headers=kinds, account=oss.account, now=now, **signing
            )
        is_named_by_host = bool(bucket) and host.startswith(f"{bucket}.")
        path = f"/{key}" if is_named_by_host else f"/{bucket or ''}{'/' if key else ''}{key}"
        for name, value in headers.items():
            name = name.upper().replace("-", "_")
            environ[name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}"] = value
        environ |= {
            "PATH_INFO": path.encode().decode("latin-1"),
            "HTTP_HOST": host,
            "SERVER_NAME": host,
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
        }
        return self.call(oss, environ)

    def call(self, oss: LocalOSS, environ: dict[str, Any]) -> Answer:
        begun: list[Any] = []
        pieces = oss(environ, lambda status, headers: begun.extend((status, headers)))  # type: ignore[arg-type,func-returns-value]
        try:
            body = b"".join(pieces)
        finally:
            getattr(pieces, "close", lambda: None)()
        return Answer(int(begun[0][:3]), begun[1], body)

    def post(
        self, oss: LocalOSS, fields: dict[str, str], content: bytes = b"hi oss", kind: str = "text/plain"
    ) -> Answer:
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        body = form(fields, content, content_type=kind)
        return self.ask(oss, "POST", body=body, headers=headers, bucket=oss.bucket, signed="")

    def upload(self, key: str, content: bytes, kind: str, bucket: str = BUCKET, /, **callback: Any) -> Answer:
        """Post a form with a callback, whose variables have names with `x:`."""
        variables = {name: value for name, value in callback.items() if name.startswith("x:")}
        members = {name: value for name, value in callback.items() if name not in variables}
        oss = self.oss(bucket)
        document = policy(["starts-with", "$key", ""])
        document["conditions"][0] = {"bucket": bucket}
        fields = {"key": key, "callback": callback_field(**members), **variables, **sign_v1(oss, document)}
        return self.post(oss, fields, content, kind)


def picture(width: int, height: int, kind: str, size: int) -> bytes:
    """Return the beginning of a picture, as long as the picture was."""
    if kind == "jpg":
        frame = struct.pack(">HBHHB", 17, 8, height, width, 3)
        head = b"\xff\xd8\xff\xc0" + frame.ljust(17, b"\0") + b"\xff\xda"  # the picture itself follows
    else:
        head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height)
    return head.ljust(size, b"\0")


PLAYS: dict[int, Callable[[Play], Answer]] = {}


def plays(number: int) -> Callable[[Callable[[Play], Answer]], Callable[[Play], Answer]]:
    def keep(function: Callable[[Play], Answer]) -> Callable[[Play], Answer]:
        PLAYS[number] = function
        return function

    return keep


def target_of(number: int) -> str:
    return f"http://app.example{ROW[number]['callback']['target'] or '/'}"


@plays(1)
def _(play: Play) -> Answer:
    content = picture(200, 278, "jpg", 108904)
    return play.upload(
        "headSculpture/jikang2.jpg", content, "image/jpeg", callbackUrl=target_of(1), callbackBody=FORM_BODY
    )


@plays(2)
def _(play: Play) -> Answer:
    key = "test/caipu/5/a/2/5aa308723660421a560fcc062d745502.jpg"
    content = picture(650, 400, "jpg", 10606)
    return play.upload(key, content, "image/jpeg", callbackUrl=target_of(2), callbackBody=FORM_BODY)


@plays(3)
def _(play: Play) -> Answer:
    content = picture(256, 256, "png", 5385)
    return play.upload(
        "local/var/www/zhuye.png",
        content,
        "application/octet-stream",
        callbackUrl=target_of(3),
        callbackBody=FORM_BODY,
        callbackBodyType="application/json",
    )


@plays(4)
def _(play: Play) -> Answer:
    return play.upload(
        "ipa/demo/4c7ccb26-8495-4f46-be10-df2b3296b7f6.png",
        bytes(1081151),
        "image/png",
        "oss-mixmedia-com",
        callbackUrl=target_of(4),
        callbackBody='{"mimeType":${mimeType}, "size":${size}, "filename",${object}, "bucket":${bucket}}',
        callbackBodyType="application/json",
    )


@plays(5)
def _(play: Play) -> Answer:
    names = ("bucket", "object", "etag", "size", "mimeType", "imageInfo")
    body = "{" + ",".join(f'"{name}":${{{name}}}' for name in names) + "}"
    return play.upload(
        "42cf77bf-2d25-485a-947c-b9216ee079ee",
        bytes(31),
        "image/jpeg",
        "post-test",
        callbackUrl=target_of(5),
        callbackBody=body,
        callbackBodyType="application/json",
    )


@plays(6)
def _(play: Play) -> Answer:
    file = "20210617101029468110173.jpg"
    body = '{"dir":"img/","file":${x:file}}'
    return play.upload(
        f"img/{file}",
        b"hi oss",
        "image/jpeg",
        callbackBody=body,
        callbackBodyType="application/json",
        **{"x:file": file},
    )


@plays(7)
def _(play: Play) -> Answer:
    body = "bucket=${bucket}&object=${object}&userId=${x:user}"
    return play.upload("test.mp3", b"hi oss", "audio/mpeg", "multimedia-input", callbackBody=body, **{"x:user": "30"})


def failed_callback(play: Play, status: str, body: bytes = b"", **callback: Any) -> Answer:
    play.reply = status, body
    return play.upload("a", b"hi oss", "text/plain", **callback)


@plays(8)
def _(play: Play) -> Answer:
    return failed_callback(play, "502 Bad Gateway")


@plays(9)
def _(play: Play) -> Answer:
    return failed_callback(play, "502 Bad Gateway")


def called_back_put(play: Play, body: bytes) -> Answer:
    play.reply = "200 OK", body
    return play.ask(play.oss(), "PUT", "a", body=b"hi oss", headers={"x-oss-callback": callback_field()})


@plays(15)
def _(play: Play) -> Answer:
    return called_back_put(play, b"OK")


@plays(21)
def _(play: Play) -> Answer:
    return called_back_put(play, b"<html></html>")


@plays(53)
def _(play: Play) -> Answer:
    oss = play.oss(transport=None)
    fields = {
        "key": "a",
        "callback": callback_field(callbackUrl="http://127.0.0.1:1/"),
        **sign_v1(oss, policy(["starts-with", "$key", ""])),
    }
    return play.post(oss, fields)


@plays(13)
def _(play: Play) -> Answer:
    moment = 1650095001.0  # Sat, 16 Apr 2022 07:43:21 GMT
    oss = play.oss("ljp-blog", clock=lambda: moment)
    headers = {
        "Content-Type": "image/png",
        "Date": "Sat, 16 Apr 2022 07:43:21 GMT",
        "Authorization": f"OSS {oss.access_key_id}:{base64.b64encode(bytes(20)).decode()}",
    }
    return play.ask(oss, "PUT", "1.c  环境测试.png", body=b"hi", headers=headers, bucket="ljp-blog", signed="")


@plays(14)
def _(play: Play) -> Answer:
    oss = play.oss()
    headers = {
        "Date": "Tue, 03 Dec 2024 12:12:12 GMT",
        "Authorization": f"OSS {oss.access_key_id}:{base64.b64encode(bytes(20)).decode()}",
    }
    return play.ask(oss, "GET", "a", headers=headers, signed="")


def begun_upload(play: Play, oss: LocalOSS, key: str = "a") -> str:
    answer = play.ask(oss, "POST", key, "uploads")
    return answer.xml.findtext("UploadId") or ""


def uploaded_part(play: Play, oss: LocalOSS) -> str:
    upload = begun_upload(play, oss)
    assert play.ask(oss, "PUT", "a", f"partNumber=1&uploadId={upload}", b"hi oss").status == 200
    return upload


@plays(16)
def _(play: Play) -> Answer:
    oss = play.oss()
    query = f"uploadId={uploaded_part(play, oss)}"
    return play.ask(oss, "POST", "a", query, b"<x/>", {"x-oss-complete-all": "yes"})


@plays(18)
def _(play: Play) -> Answer:
    return play.ask(play.oss(), "GET", "walker-not-.txt")


@plays(19)
def _(play: Play) -> Answer:
    oss = play.oss()
    return play.ask(oss, "GET", "a", f"encoding-type=url&uploadId={uploaded_part(play, oss)}")


def stored(play: Play, content: bytes = b"0123456789012345678", kind: str = "text/plain") -> LocalOSS:
    oss = play.oss()
    assert play.ask(oss, "PUT", "a", body=content, headers={"Content-Type": kind}).status == 200
    return oss


@plays(20)
def _(play: Play) -> Answer:
    return play.ask(stored(play), "GET")


@plays(22)
def _(play: Play) -> Answer:
    headers = {"If-Unmodified-Since": "Sun, 03 Dec 2023 12:12:12 GMT"}
    return play.ask(stored(play), "GET", "a", headers=headers)


@plays(23)
def _(play: Play) -> Answer:
    return play.ask(play.oss(), "PUT", headers={"x-oss-acl": "invalid-permission"}, bucket="new-bucket")


@plays(24)
def _(play: Play) -> Answer:
    return play.ask(play.oss(), "GET", query="max-keys=100000", bucket=None)


@plays(25)
def _(play: Play) -> Answer:
    return play.ask(play.oss(), "PUT", "a", body=b"hi oss")


@plays(26)
def _(play: Play) -> Answer:
    return play.ask(stored(play), "HEAD", "a")


@plays(27)
def _(play: Play) -> Answer:
    return play.ask(stored(play), "HEAD", "a", "objectMeta")


@plays(28)
def _(play: Play) -> Answer:
    oss = stored(play, bytes(20))
    return play.ask(oss, "PUT", "b", headers={"x-oss-copy-source": f"/{BUCKET}/a"})


@plays(29)
def _(play: Play) -> Answer:
    oss = stored(play, bytes(20))
    query = f"partNumber=1&uploadId={begun_upload(play, oss)}"
    return play.ask(oss, "PUT", "a", query, headers={"x-oss-copy-source": f"/{BUCKET}/a"})


@plays(31)
def _(play: Play) -> Answer:
    return play.ask(play.oss(), "PUT", bucket="new-bucket")


@plays(32)
def _(play: Play) -> Answer:
    return play.ask(play.oss(), "DELETE")


@plays(33)
def _(play: Play) -> Answer:
    return play.ask(play.oss(), "DELETE", query="lifecycle")


@plays(34)
def _(play: Play) -> Answer:
    oss = play.oss()
    begun_upload(play, oss)
    return play.ask(oss, "GET", query="uploads")


@plays(35)
def _(play: Play) -> Answer:
    return play.ask(play.oss(), "GET", query="bucketInfo")


@plays(36)
def _(play: Play) -> Answer:
    return play.ask(play.oss(), "GET", query="stat")


@plays(37)
def _(play: Play) -> Answer:
    oss = play.oss()
    oss.create_bucket("another-bucket")
    return play.ask(oss, "GET", query="max-keys=1", bucket=None)


@plays(39)
def _(play: Play) -> Answer:
    return play.ask(play.oss(), "PUT", "a", body=b"hi oss", region="cn-shanghai")


@plays(40)
def _(play: Play) -> Answer:
    oss = play.oss()
    fields = sign_v1(oss, policy(["starts-with", "$key", ""]))
    del fields["OSSAccessKeyId"]
    return play.post(oss, {"key": "a", **fields})


@plays(41)
def _(play: Play) -> Answer:
    oss = play.oss()
    query = f"uploadId={uploaded_part(play, oss)}"
    part = "<Part><PartNumber>1</PartNumber><ETag>undefined</ETag></Part>"
    return play.ask(oss, "POST", "a", query, f"<CompleteMultipartUpload>{part}</CompleteMultipartUpload>".encode())


@plays(42)
def _(play: Play) -> Answer:
    moment = 1761239729.0  # 23 Oct 2025, 17:15:29
    oss = play.oss(
        "airspace", region="cn-shanghai", clock=lambda: moment, access_key_id="masked", access_key_secret="s"
    )
    query = {
        "x-oss-credential": "masked/20251023/cn-shanghai/oss/aliyun_v4_request",
        "x-oss-date": "20251023T171529Z",
        "x-oss-expires": "3600",
        "x-oss-signature": "0" * 64,
        "x-oss-signature-version": "OSS4-HMAC-SHA256",
    }
    text = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
    return play.ask(oss, "GET", "Task_chat_CN.png", text, bucket="airspace", signed="")


DOMAIN = f"{BUCKET}.oss-cn-hangzhou.aliyuncs.com"


@plays(43)
def _(play: Play) -> Answer:
    oss = play.oss(acl="public-read")
    encrypted = {"x-oss-server-side-encryption": "AES256"}
    upload = play.ask(oss, "POST", "a.apk", "uploads", headers=encrypted).xml.findtext("UploadId")
    play.ask(oss, "PUT", "a.apk", f"partNumber=1&uploadId={upload}", b"hi oss")
    play.ask(oss, "POST", "a.apk", f"uploadId={upload}", headers={"x-oss-complete-all": "yes"})
    return play.ask(oss, "GET", "a.apk", host=DOMAIN, signed="")


@plays(47)
def _(play: Play) -> Answer:
    return play.ask(play.oss(), "GET", "a", host="oss-cn-hangzhou.aliyuncs.com")


@plays(49)
def _(play: Play) -> Answer:
    oss = play.oss(acl="public-read")
    play.ask(oss, "PUT", "a", body=b"<html></html>", headers={"Content-Type": "text/html"})
    return play.ask(oss, "GET", "a", host=DOMAIN, signed="")


@plays(54)
def _(play: Play) -> Answer:
    return play.ask(play.oss(), "PUT", "a", body=b"hi oss", headers={"x-oss-object-acl": "public-read"})


@plays(44)
def _(play: Play) -> Answer:
    return play.ask(play.oss(), "POST", "key")


@plays(45)
def _(play: Play) -> Answer:
    oss = play.oss(acl="public-read")
    play.ask(oss, "PUT", "a", body=b"hi oss", headers={"x-oss-object-acl": "private"})
    return play.ask(oss, "GET", "a", signed="")


@plays(46)
def _(play: Play) -> Answer:
    return play.ask(play.oss(), "GET", bucket=None, signed="")


@plays(48)
def _(play: Play) -> Answer:
    headers = {"Content-MD5": "2c6d3039a7c38bffd146cf420f3b53d2"}
    return play.ask(play.oss(), "PUT", "a", body=b"hi oss", headers=headers)


@plays(52)
def _(play: Play) -> Answer:
    oss = play.oss()
    fields = sign_v1(oss, policy(["starts-with", "$key", ""], ["content-length-range", 0, 1048576]))
    return play.post(oss, {"key": "a", **fields}, bytes(1168727))


@plays(55)
def _(play: Play) -> Answer:
    methods = ("GET", "POST", "PUT", "DELETE", "HEAD")
    oss = play.oss(cors_rules=[CORSRule(["*"], methods, [], [], 0)])
    headers = {"Origin": "https://localhost:3333", "Access-Control-Request-Method": "GET"}
    return play.ask(oss, "OPTIONS", "a", headers=headers, signed="")


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Play]:
    play = Play(tmp_path)
    yield play
    for oss in play.opened:
        oss.close()


def named(row: dict[str, Any]) -> Any:
    return pytest.param(row, id=f"{row['number']}: {row['asks']}")


def compare(
    row: dict[str, Any], recorded: list[list[Any]], here: list[tuple[str, str | None]], *, in_order: bool
) -> None:
    """Compare names, their order, and the texts that do not differ from request to request."""
    there = [(name, text) for name, text in recorded if name not in ONLY_THERE.get(row["number"], {})]
    names = {name.lower() for name, _ in there}
    allowed = {name.lower() for name in (*ONLY_HERE.get(row["number"], ()), *_EC)} - names
    ours = [(name, text) for name, text in here if name.lower() not in allowed]
    ordered = list if in_order else sorted
    assert ordered(name.lower() for name, _ in ours) == ordered(name.lower() for name, _ in there)
    texts = {name.lower(): text for name, text in ours}
    for name, text in there:
        assert text is None or texts[name.lower()] == text, name


def elements(document: ElementTree.Element | None) -> list[tuple[str, str | None]]:
    assert document is not None
    return [(child.tag, child.text or "") for child in document]


@pytest.mark.parametrize("row", [named(row) for row in ROWS if row["number"] in PLAYS and "callback" not in row])
def test_the_local_oss_answers_as_recorded(row: dict[str, Any], play: Play) -> None:
    answer = PLAYS[row["number"]](play)
    assert answer.status == row.get("status", answer.status)
    if "elements" in row:
        here = elements(answer.xml)
        if "is_excerpt" in row:
            names = [name for name, _ in row["elements"]]
            here = [pair for pair in here if pair[0] in names]
        compare(row, row["elements"], here, in_order=True)
    if "headers" in row:
        headers = [pair for pair in row["headers"] if pair[0].lower() != "connection"]
        names = [name for name, _ in headers]
        here = [pair for pair in answer.headers if pair[0] in names] if "is_excerpt" in row else list(answer.headers)
        compare(row, headers, here, in_order=row["headers_in_order"])
    for path, names in row.get("document", {}).items():
        if path != "order":
            document = answer.xml.find(path) if path else answer.xml
            recorded = [[name, None] for name in names]
            compare(row, recorded, elements(document), in_order=row["document"]["order"])


@pytest.mark.parametrize("row", [named(row) for row in ROWS if row["number"] in PLAYS and "callback" in row])
def test_the_application_gets_the_recorded_callback(row: dict[str, Any], play: Play) -> None:
    PLAYS[row["number"]](play)
    [report] = play.reports
    callback = row["callback"]
    # The file of row 5 is not published.
    etag = hashlib.md5(bytes(31), usedforsecurity=False).hexdigest().upper()
    assert report.body.decode() == callback["body"].replace("97E1A27874032FC4B29F007C90DFA372", etag)
    assert report.url.target == (callback["target"] or report.url.target)
    if callback["headers"]:
        compare(row, callback["headers"], list(report.headers), in_order=True)


@pytest.mark.parametrize("row", [named(row) for row in ROWS if row.get("callback", {}).get("target")])
def test_a_recorded_callback_has_the_signature_of_osss_key(row: dict[str, Any]) -> None:
    callback = row["callback"]
    CallbackVerifier().verify(
        target=callback["target"].encode(),
        body=callback["body"].encode(),
        authorization=callback["authorization"],
        pub_key_url=callback["public_key_url"],
    )


@pytest.mark.parametrize("row", [named(row) for row in ROWS if "event" in row])
def test_a_recorded_event_names_the_object(row: dict[str, Any]) -> None:
    [event] = read_events(json.dumps(row["event"]))
    oss = row["event"]["events"][0]["oss"]
    assert event == ("ObjectCreated:PostObject", oss["bucket"]["name"], oss["object"]["key"], oss["object"]["eTag"])


def test_each_row_is_played_or_has_a_reason() -> None:
    assert sorted([*PLAYS, *NOT_PLAYED]) == sorted(ROW)
    for number in (17, 30):
        assert "append" in ROW[number]["asks"].lower()


@pytest.mark.parametrize("number", [17, 30])
def test_appending_is_refused_by_name(number: int, play: Play) -> None:
    answer = play.ask(play.oss(), "POST", "a", "append&position=7", b"hi oss")
    assert (answer.status, "?append" in (answer.xml.findtext("Message") or "")) == (501, True)


def test_an_account_of_the_international_site_has_its_page_in_errors(play: Play) -> None:
    """Row 50."""
    answer = play.ask(play.oss(international=True), "GET", "none")
    begins = dict(ROW[50]["elements"])["RecommendDoc"].partition("?")[0]
    assert (answer.xml.findtext("RecommendDoc") or "").startswith(f"{begins}?q=")


def test_xml_is_printed_as_recorded(play: Play) -> None:
    """Row 8 is recorded with its line breaks, row 20 with its indentation."""
    lines = PLAYS[8](play).body.decode().split("\n")
    assert lines[:3] == ['<?xml version="1.0" encoding="UTF-8"?>', "<Error>", "  <Code>CallbackFailed</Code>"]
    assert lines[-2:] == ["</Error>", ""]
