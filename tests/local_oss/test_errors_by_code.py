"""The error codes of OSS, each with requests that get it; what else such an error says is tested at its module."""

import base64
import functools
import hashlib
import hmac
import json
import re
from pathlib import Path
from urllib.parse import quote

import pytest
from webtest import TestApp

import local_oss
from local_oss.environ import Address
from local_oss.signatures.account import Account

from .form_client import BOUNDARY, NOW, body, callback_field, form, part, policy, post, sign_v1, sign_v4
from .sdk_signer import sign, signed_headers
from .signed_client import SignedClient
from .stored import put


def row(function):
    """Return a function that returns a request of the table, which is sent once it gets its ``oss``."""
    return lambda *arguments, **options: functools.partial(function, *arguments, **options)


def send_form(oss, fields, **options):
    return post(TestApp(oss), form({"key": "a", **fields}, **options))


def encode(text):
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


@row
def with_policy(text, oss):
    """Send a form whose policy is this text, rightly signed."""
    key = oss.access_key_secret.encode()
    signature = encode(hmac.new(key, text.encode(), hashlib.sha1).digest())
    return send_form(oss, {"OSSAccessKeyId": oss.access_key_id, "policy": text, "Signature": signature})


EXPIRATION = "2024-12-03T13:00:00.000Z"


def document(*conditions, **members):
    members = {"expiration": EXPIRATION, "conditions": conditions or [{"bucket": "examplebucket"}], **members}
    return with_policy(encode(json.dumps(members)))


def json_policy(text):
    return with_policy(encode(text))


@row
def conditions(*texts, oss, file=b"hi oss", **fields):
    """Send a form whose policy has these conditions."""
    return send_form(oss, {**fields, **sign_v4(oss, *texts)}, content=file)


@row
def signed(sign, changes, oss):
    """Send a form with a signature, of which fields are changed, or left out where they are None."""
    fields = {**sign(oss, *([policy()] if sign is sign_v1 else [])), **changes}
    return send_form(oss, {name: value for name, value in fields.items() if value is not None})


v1, v4 = functools.partial(signed, sign_v1), functools.partial(signed, sign_v4)


@row
def credential(text, oss):
    return v4({"x-oss-credential": text.format(id=oss.access_key_id)})(oss=oss)


@row
def uncovered(oss):
    """Send a form whose policy does not name the fields of its signature."""
    return send_form(oss, sign_v4(oss, cover={}))


@row
def payload(content, oss):
    return post(TestApp(oss), content)


@row
def altered(change, oss):
    """Send a form, rightly signed, whose bytes are changed."""
    return post(TestApp(oss), change(form({"key": "a", **sign_v1(oss, policy())})))


@row
def altered_digest(oss):
    """Send a form with the Content-MD5 of something else."""
    fields = {"key": "a", **sign_v1(oss, policy())}
    return post(TestApp(oss), form(fields), headers={"Content-MD5": encode("other 16 bytes..")})


@row
def callback(members, oss):
    """Send a form with a callback: a text, or the members of its JSON."""
    text = members if isinstance(members, str) else encode(json.dumps(members))
    return send_form(oss, {"callback": text, **sign_v1(oss, policy())})


GOOD = {"callbackUrl": "http://a.example/cb", "callbackBody": "object=${object}"}


@row
def request(method="GET", key="a", query="", body=b"", *, oss, bucket="examplebucket", **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return SignedClient(oss)(method, bucket, query, body, key=key, headers=headers, status="*")


def variables(text):
    return request("PUT", body=b"hi oss", x_oss_callback=callback_field(), x_oss_callback_var=text)


@row
def anonymous(path, oss, method="GET", **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return TestApp(oss).request(path, method=method, headers=headers, status="*")


@row
def authorized(text, oss):
    headers = {"Authorization": text.format(id=oss.access_key_id), "x_oss_date": "20241203T121212Z"}
    return anonymous("/examplebucket/a", x_oss_content_sha256="UNSIGNED-PAYLOAD", **headers)(oss=oss)


@row
def of_s3(text, oss, *, in_header=False):
    """Ask for an object as a client of S3 does, with a wrong signature."""
    text = text.format(credential=f"{oss.access_key_id}/20241203/cn-hangzhou/s3/aws4_request", id=oss.access_key_id)
    if not in_header:
        return anonymous(f"/examplebucket/a?{text}")(oss=oss)
    headers = {"x_amz_date": "20241203T121212Z", "x_amz_content_sha256": "UNSIGNED-PAYLOAD"}
    return anonymous("/examplebucket/a", authorization=text, **headers)(oss=oss)


S3_URL = (
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}&X-Amz-Date=20241203T121212Z&X-Amz-Expires=60"
    f"&X-Amz-SignedHeaders=host&X-Amz-Signature={'0' * 64}"
)
S3_HEADER = (
    "AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host;x-amz-content-sha256;x-amz-date,"
    f" Signature={'0' * 64}"
)


def s3_url(old="", new=""):
    return of_s3(S3_URL.replace(old, new))


def s3_header(old="", new=""):
    return of_s3(S3_HEADER.replace(old, new), in_header=True)


def by_sdk(sign_request, oss, *, version="v4", method="GET", key_id=None, **options):
    account = Account(key_id or oss.access_key_id, oss.access_key_secret)
    return sign_request(version, method, address=Address("examplebucket", "a"), account=account, **options)


@row
def header(changes, oss, **options):
    """Ask for an object with a signature in the header, some of which are changed afterwards."""
    headers = {**by_sdk(signed_headers, oss, **options), **changes}
    return TestApp(oss).get("/examplebucket/a", headers=headers, status="*")


@row
def url(further="", *, oss, expires=60, **options):
    """Ask for an object with a signature in the query."""
    query = by_sdk(sign, oss, expires=expires, **options)["QUERY_STRING"]
    return TestApp(oss).get(f"/examplebucket/a?{query}{further}", status="*")


@row
def preflight(oss, origin="http://page.example", method="POST"):
    headers = {"Origin": origin, "Access-Control-Request-Method": method}
    return TestApp(oss).options("/examplebucket", headers={n: v for n, v in headers.items() if v}, status="*")


ORIGIN, METHOD = "<AllowedOrigin>https://a.example</AllowedOrigin>", "<AllowedMethod>PUT</AllowedMethod>"


def cors(*rules, after=""):
    inner = "".join(f"<CORSRule>{text}</CORSRule>" for text in rules)
    return cors_document(f"<CORSConfiguration>{inner}{after}</CORSConfiguration>".encode())


def cors_document(content):
    return request("PUT", "", "cors", content)


def origin(text):
    return cors(f"<AllowedOrigin>{text}</AllowedOrigin>{METHOD}")


def value(text):
    return cors(ORIGIN + METHOD + text)


SCOPE = "20241203/cn-hangzhou/oss/aliyun_v4_request"
AFTER_BOUNDARY = b"\r\n" + part("%s", "x") + f"\r\n--{BOUNDARY}--\r\n".encode()
FILE = part("file", "hi oss", filename="a.txt")
MIXED_RULE = (
    "<LifecycleConfiguration><Rule><Prefix/><Status>Enabled</Status><Expiration><Days>9</Days></Expiration><Transition>"
    "<CreatedBeforeDate>2024-01-01T00:00:00.000Z</CreatedBeforeDate><StorageClass>IA</StorageClass></Transition></Rule>"
    "</LifecycleConfiguration>"
)
COLD = b"<CreateBucketConfiguration><StorageClass>Archive</StorageClass></CreateBucketConfiguration>"
TOKEN = {"x-oss-security-token": "t"}
CREDENTIAL = "OSS4-HMAC-SHA256 Credential={},Signature=0"

#: How an error begins - status, code, EC, message -, and the requests that get it.
ERRORS = {
    # The fields of a form.
    "400 MalformedPOSTRequest 0006-00000104": [
        *(payload(b"\x00\xff" * 100), payload(body(part("key", "a"))), altered(lambda form: form[:-4])),
        *(payload(body(part("key", "a")[:-5])), payload(body(b"Content-Type: text/plain\r\n\r\nx", FILE))),
        payload(body(b"\xff: x\r\n\r\nx", FILE)),
    ],
    "400 IncorrectNumberOfFilesInPOSTRequest 0006-00000107": [
        *(altered(lambda form, name=name: form[:-4] + AFTER_BOUNDARY % name) for name in (b"file", b"File")),
    ],
    "400 FieldItemTooLong 0006-00000110 Your name of form field is too long.": [
        *(payload(body(part("a" * length, "1"), FILE)) for length in (8193, 100_000)),
        payload(body(part("a", bytes(2 * 1024**2 + 1)), FILE)),
    ],
    "400 MaxPOSTPreDataLengthExceededError 0006-00000112": [
        payload(body(*(part(f"a{number}", b"x" * 2 * 1024**2) for number in range(4)), FILE)),
        payload(body(*(part(f"{number:0>8000}", "") for number in range(1050)), FILE)),
    ],
    "400 InvalidArgument 0006-00000117": [v4({"x-oss-forbid-overwrite": "yes"})],
    # The signature of a form.
    "403 AccessDenied 0003-00000001 You have no right to access this object because of bucket acl.": [
        payload(body(part("key", "a"), FILE)),
    ],
    "400 InvalidArgument 0002-00000701": [
        *(v1({"x-oss-signature-version": "OSS2"}), v1({"x-oss-signature-version": ""})),
    ],
    "400 InvalidArgument 0002-00000702": [v4({"policy": None}), v4({"policy": ""})],
    "400 InvalidArgument 0002-00000703": [v1({"Signature": None}), v4({"x-oss-signature": None})],
    "400 InvalidArgument 0002-00000704 Post request signature is empty.": [
        *(v1({"Signature": ""}), v4({"x-oss-signature": ""})),
    ],
    "400 InvalidArgument 0002-00000706": [v1({"OSSAccessKeyId": None})],
    "400 InvalidArgument 0002-00000707 Post request accessKeyId is empty.": [v1({"OSSAccessKeyId": ""})],
    "403 SignatureDoesNotMatch 0002-00000705": [v1({"Signature": "\xe9"}), v4({"x-oss-signature": "A" * 64})],
    "403 InvalidAccessKeyId 0002-00000902": [v1(TOKEN), v4(TOKEN)],
    "400 InvalidArgument 0002-00000708": [credential("a\tb/" + SCOPE)],
    "400 InvalidArgument 0002-00000710": [credential("{id}/20241203/cn-hangzhou/oss/aliyun_v3_request")],
    "403 AccessDenied 0002-00000709": [
        *(credential(f"{{id}}/{day}/cn-hangzhou/oss/aliyun_v4_request") for day in ("2024123", "20241202")),
        *(v4({"x-oss-date": date}) for date in ("2024-12-03T12:12:12Z", "20241303T121212Z")),
    ],
    "400 InvalidArgument None": [
        *(payload(body(part("", "x"), FILE)), payload(body(part("a", "1"), part("A", "2"), FILE))),
        payload(body(part("key", b"\xff"), FILE)),
        *(v4({name: empty}) for name in ("x-oss-credential", "x-oss-date") for empty in (None, "")),
        credential("{id}/20241203/cn-beijing/oss/aliyun_v4_request"),
        credential("{id}/20241203/cn-hangzhou/s3/aliyun_v4_request"),
    ],
    # The text of a policy.
    "400 InvalidPolicyDocument 0006-00000202": [with_policy("%%%"), with_policy("\xe9")],
    "400 InvalidPolicyDocument 0006-00000204 Invalid Policy: Invalid JSON: unknown char e": [
        *(json_policy("expired"), json_policy("eyJleHBpcm")),
    ],
    "400 InvalidPolicyDocument 0006-00000204 Invalid Policy: Invalid JSON: unknown char x": [json_policy('{"a":1} x')],
    "400 InvalidPolicyDocument 0006-00000204 Invalid Policy: Invalid JSON: , or ] expected": [
        *(json_policy('["a" "b"]'), json_policy('{"conditions":[{"a":"b"} {"c":"d"}]}'), json_policy('{"a":[1')),
    ],
    "400 InvalidPolicyDocument 0006-00000204 Invalid Policy: Invalid JSON: , or } expected": [
        *(json_policy('{"a":["[{\\"", {}] "b"}'), json_policy('{"conditions":[{"a":"b" "c":"d"}]}')),
    ],
    "400 InvalidPolicyDocument 0006-00000204 Invalid Policy: Invalid JSON: : expected": [json_policy('{"a" 1}')],
    "400 InvalidPolicyDocument 0006-00000204 Invalid Policy: Invalid JSON: unexpected end": [json_policy('{"a":')],
    "400 InvalidPolicyDocument 0006-00000204 Invalid Policy: Invalid JSON: not a JSON text": [
        *(json_policy('{"a":1,"a":2}'), json_policy('{"a":NaN}'), json_policy("[" * 20000)),
    ],
    "400 InvalidPolicyDocument 0006-00000204": [json_policy(b'{"\xff"'), json_policy("[1]")],
    "400 InvalidPolicyDocument 0006-00000205": [json_policy(" "), v1({"policy": None}), v1({"policy": ""})],
    "400 InvalidPolicyDocument 0006-00000206": [document(version="2")],
    "400 InvalidPolicyDocument 0006-00000207": [json_policy(f'{{"expiration":"{EXPIRATION}"}}')],
    "400 InvalidPolicyDocument 0006-00000208": [json_policy('{"conditions":[]}')],
    "400 InvalidPolicyDocument 0006-00000209": [json_policy("{}")],
    "400 InvalidPolicyDocument 0006-00000210": [document(expiration=1)],
    "400 InvalidPolicyDocument 0006-00000211": [document(expiration="")],
    "400 InvalidPolicyDocument 0006-00000212": [
        *(document(expiration=f"2024-12-03{rest}") for rest in (" 13:00:00Z", "T13:00:00", "T13:00:00+00:00")),
        *(document(expiration=f"2024-12-03T13:00:00{rest}") for rest in (".1234567890Z", "Z\n")),
        *(document(expiration="2023-02-29T00:00:00Z"), document(expiration="٢٠٢٤-12-03T13:00:00Z")),
    ],
    "400 InvalidPolicyDocument 0006-00000214": [document(conditions={})],
    "400 InvalidPolicyDocument 0006-00000215": [document(conditions=[])],
    "400 InvalidPolicyDocument 0006-00000216": [document([])],
    "400 InvalidPolicyDocument 0006-00000217": [document(["EQ", "$key", "a"]), document([["eq"], "$key", "a"])],
    "400 InvalidPolicyDocument 0006-00000218": [
        *(document(["eq", "$key"]), document(["eq", "$key", "a", "b"]), document(["content-length-range", 1])),
        *(document({"a": "1", "b": "2"}), document({})),
    ],
    "400 InvalidPolicyDocument 0006-00000219": [document(["content-length-range", 2, 1])],
    "400 InvalidPolicyDocument 0006-00000221": [
        *(document(["content-length-range", *ends]) for ends in ((-1, 1), (0, 1.5), (False, True))),
    ],
    "400 InvalidPolicyDocument 0006-00000222": [document("bucket")],
    "400 InvalidPolicyDocument 0006-00000224": [
        *(document({"key": 1}), document(["not-in", "$key", "a"]), document(["in", "$key", [1]])),
        *(document(["eq", "$key", ["a"]]), document(["eq", 1, "a"])),
    ],
    # What a policy demands.
    "403 AccessDenied 0006-00000213": [document(expiration="2024-12-03T12:12:11Z")],
    "403 AccessDenied 0006-00000226": [conditions(["eq", "$cache-control", ""])],
    "403 AccessDenied 0006-00000227": [conditions(["eq", "$key", "b"])],
    "403 AccessDenied 0006-00000228": [uncovered()],
    "400 EntityTooLarge 0006-00000003": [conditions(["content-length-range", 0, 5])],
    "400 EntityTooSmall 0006-00000004": [conditions(["content-length-range", 7, 10])],
    # The callback.
    "400 InvalidArgument 0007-00000001 The length of callback exceed max value.": [callback("A" * 5121)],
    "400 InvalidArgument 0007-00000002 The callback configuration is not base64 encoded.": [
        *(callback("{}"), callback("中")),
    ],
    "400 InvalidArgument 0007-00000003 The callback configuration is not json format.": [
        *(callback(encode(text)) for text in (b"{", b"\xff", b"[]", b"[" * 3000)),
    ],
    "400 InvalidArgument 0007-00000004 The callback url configuration is invalid.": [
        *(callback({**GOOD, "callbackUrl": url}) for url in (1, "http://a/;;http://b/", ";", "ftp://a/")),
    ],
    "400 InvalidArgument 0007-00000005 The number of callback url exceed max value.": [
        callback({**GOOD, "callbackUrl": ";".join(["http://a/"] * 6)}),
    ],
    "400 InvalidArgument 0007-00000009 The callback host configuration is invalid.": [
        *(callback({**GOOD, "callbackHost": host}) for host in ("a\r\nX: y", 1)),
    ],
    "400 InvalidArgument 0007-00000010 The callback body is invalid.": [
        *(callback({**GOOD, "callbackBody": text}) for text in (1, "${x}")),
    ],
    "400 InvalidArgument 0007-00000011 The callback body is empty.": [
        *(callback({**GOOD, "callbackBody": ""}), callback({"callbackUrl": "http://a.example/cb"})),
    ],
    "400 InvalidArgument 0007-00000012 The callback body type configuration is invalid.": [
        callback({**GOOD, "callbackBodyType": 1}),
    ],
    "400 InvalidArgument 0007-00000013 The body type of callback is not supported.": [
        callback({**GOOD, "callbackBodyType": "text/plain"}),
    ],
    "400 InvalidArgument 0007-00000014 The callback sni configuration is invalid.": [
        callback({**GOOD, "callbackSNI": "true"}),
    ],
    "400 InvalidArgument 0007-00000027": [
        request("PUT", query=f"callback={quote(callback_field())}", x_oss_callback=callback_field()),
    ],
    "400 InvalidArgument 0007-00000101": [variables("A" * 6000)],
    "400 InvalidArgument 0007-00000102": [variables("%")],
    "400 InvalidArgument 0007-00000103": [
        *(variables(encode(text)) for text in ("{", "[]", '{"x:a": 1}', '{"x:User": "b"}')),
    ],
    # Signed requests; each scheme tests which part of a signature is wrong.
    "403 SignatureDoesNotMatch 0002-00000201": [header({}, method="PUT"), header({}, query="x=2")],
    "403 SignatureDoesNotMatch 0002-00000040": [header({}, version="v1", method="PUT")],
    "400 InvalidArgument 0002-00000226": [header({}, region="cn-shanghai")],
    "400 InvalidArgument 0002-00000076": [url("&x-oss-additional-headers=")],
    "400 InvalidArgument 0002-00000077": [url(additional=["range"], headers={"range": "bytes=0-1"})],
    "400 InvalidArgument 0002-00000209": [
        authorized(f"OSS4-HMAC-SHA256 Credential={{id}}/{SCOPE},AdditionalHeaders=,Signature=0"),
    ],
    "403 RequestTimeTooSkewed 0002-00000504": [header({}, now=NOW - 901), header({}, version="v1", now=NOW - 901)],
    "403 AccessDenied 0002-00000502": [header({"x-oss-date": "20241204T000000Z"})],
    "403 AccessDenied 0002-00000503": [header({"x-oss-date": "", "date": ""})],
    "403 AccessDenied 0002-00000069": [url(now=NOW - 61)],
    "403 AccessDenied 0002-00000070": [anonymous("/examplebucket/a?OSSAccessKeyId=ak&Signature=s&Expires=soon")],
    "403 InvalidSecurityToken 0002-00000006": [header({"x-oss-security-token": "t"}, key_id="STS.ak")],
    "400 InvalidArgument None The Authorization header": [
        *(
            header({"Authorization": f"OSS4-HMAC-SHA256{rest}"})
            for rest in ("", " Signature=0", f" Credential=a/{SCOPE}")
        ),
        header({"Authorization": "OSS4-HMAC-SHA256 Credential=a,Credential=b,Signature=0"}),
    ],
    "400 InvalidArgument 0002-00000061": [authorized("Basic eA==")],
    "400 InvalidArgument 0002-00000213": [header({"Authorization": CREDENTIAL.format(f"a/{SCOPE[:-1]}")})],
    "400 InvalidArgument 0002-00000227 Invalid signing product in Authorization header.": [
        header({"Authorization": CREDENTIAL.format(f"a/{SCOPE.replace('/oss/', '/oss-cloudbox/')}")}),
    ],
    "400 InvalidArgument 0002-00000214 The x-oss-content-sha256": [
        *(header({"x-oss-content-sha256": digest}) for digest in ("", "0" * 64)),
    ],
    # Buckets and objects.
    "404 NoSuchBucket 0015-00000101": [request(bucket="nobucket")],
    "404 NoSuchKey 0026-00000001": [request()],
    "409 BucketAlreadyExists 0015-00000104": [request("PUT", "", body=COLD)],
    "409 BucketNotEmpty 0015-00000301": [request("DELETE", "")],
    "409 FileAlreadyExists 0026-00000121": [request("PUT", "there", x_oss_forbid_overwrite="true")],
    "403 AccessDenied 0003-00001201": [anonymous("/examplebucket?cors")],
    "403 AccessDenied 0003-00000005": [anonymous("/examplebucket/private")],
    "400 InvalidArgument 0015-00000204": [request("PUT", "", x_oss_acl="open")],
    "405 MethodNotAllowed 0017-00000001": [request("PATCH")],
    "400 InvalidArgument 0017-00000804": [
        anonymous(
            "/examplebucket/a",
            method="PUT",
            authorization="AWS4-HMAC-SHA256 Credential=id/20241203/cn-hangzhou/s3/aws4_request",
            content_encoding="aws-chunked",
            x_amz_content_sha256="STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        )
    ],
    "400 InvalidArgument 0002-00000402": [s3_header("SHA256", "SHA1")],
    "400 InvalidArgument 0002-00000403": [s3_header("Credential={credential}, ")],
    "400 InvalidArgument 0002-00000404": [s3_header("{credential}", "{id}/cn-hangzhou/s3/aws4_request")],
    "400 InvalidArgument 0002-00000405": [s3_header("SignedHeaders=host;x-amz-content-sha256;x-amz-date, ")],
    "400 InvalidArgument 0002-00000406": [s3_header(old, "Other=") for old in ("Credential=", "Signature=")],
    "400 InvalidArgument 0002-00000408": [s3_header("0" * 64, "0" * count) for count in (0, 63, 65)],
    "403 AccessDenied 0002-00000409": [s3_header("{credential}", "{id}/20241204/cn-hangzhou/s3/aws4_request")],
    "400 InvalidArgument 0002-00000411": [s3_url("SHA256", "SHA1")],
    "400 InvalidArgument 0002-00000415": [s3_url("20241203T121212Z", "2024-12-03")],
    "400 InvalidArgument 0002-00000420": [s3_url("=host", "=range")],
    "400 InvalidArgument 0002-00000423": [s3_url("0" * 64, "0" * count) for count in (63, 65)],
    "400 InvalidArgument 0002-00000425": [s3_url("{credential}", "{id}")],
    "400 InvalidArgument 0002-00000426": [s3_header("host;"), s3_header("host;x-amz-content-sha256;x-amz-date")],
    "400 InvalidArgument 0002-00000428": [s3_url("=host", "=host;none"), s3_header("host;", "host;host;")],
    "403 SignatureDoesNotMatch 0002-00000429": [s3_url(), s3_header()],
    "400 MissingArgument 0016-00000606": [
        request("POST", "", "delete", b"<Delete><Object><Key>there</Key></Object></Delete>", content_md5=""),
    ],
    "400 InvalidArgument 0017-00000289": [request("GET", "", f"max-keys={number}") for number in ("1001", "-1", "a")],
    "400 InvalidDigest 0017-00000502": [
        *(request("PUT", body=b"hi oss", content_md5=text) for text in ("%", encode("short"))),
    ],
    "400 InvalidDigest 0017-00000503": [
        *(request("PUT", body=b"hi oss", content_md5=text) for text in (encode("other 16 bytes.."), "0" * 32)),
        request("POST", "", "delete", b"<Delete/>", content_md5=encode("other 16 bytes..")),
        altered_digest(),
    ],
    "412 PreconditionFailed 0017-00001001": [request(key="there", if_match="other")],
    "400 InvalidObjectName 0016-00000001": [v4({"key": ""})],
    "400 InvalidObjectName 0016-00000003": [request("PUT", "a" * 1024), request("POST", "a" * 1024, "uploads")],
    "400 InvalidObjectName 0016-00000005": [request("PUT", "/a"), request("PUT", "\\a")],
    "400 InvalidArgument 0017-00000132": [request("PUT", x_oss_storage_class="abc")],
    "400 InvalidArgument 0013-00000101": [
        request("PUT", x_oss_storage_class="abc", x_oss_copy_source="/examplebucket/there"),
    ],
    "400 InvalidBucketName 0015-00000001": [request("PUT", "", bucket="ABC")],
    "404 NoSuchServerSideEncryptionRule 0005-00000004": [request(key="", query="encryption")],
    "404 NoSuchBucketPolicy 0030-00000006": [request(key="", query="policy")],
    "404 NoSuchCORSConfiguration 0034-00000001": [request(key="", query="cors", bucket="without-cors")],
    "400 InvalidArgument 0015-00000401": [request(key="", query="list-type=1")],
    "400 InvalidArgument 0017-00000235 Invalid Encoding Method specified in Request": [
        *(request(key="", query="encoding-type=urlencode"), request("POST", query="uploads&encoding-type=base64")),
    ],
    "400 MalformedXML 0014-00000013": [request("PUT", "", "lifecycle", b"<LifecycleConfiguration/>")],
    "400 InvalidRequest 0014-00000080 Found mixed CreatedBeforeDate and Days based Expiration and Transition for "
    "StorageClass IA actions": [request("PUT", "", "lifecycle", MIXED_RULE.encode())],
    "400 InvalidArgument 0017-00000219 Unexpected query string parameter": [
        request("PUT", query="partNumber=&uploadId=0")
    ],
    "400 InvalidArgument 0017-00000220 Part number must be an integer between 1 and 10000, inclusive.": [
        *(request("PUT", query=f"partNumber={number}&uploadId=0") for number in ("0", "10001", "STR", "1" * 10)),
    ],
    "400 MalformedXML 0016-00000608": [
        *(request("POST", "", "delete", text) for text in (b"", b"<Delete>", b"<Other/>", b"<Delete/>")),
    ],
    "404 NoSuchUpload 0042-00000104": [request("PUT", query="partNumber=1&uploadId=0")],
    "404 NoSuchUpload 0042-00000311": [
        request("PUT", query="partNumber=1&uploadId=0", x_oss_copy_source="/examplebucket/there"),
    ],
    "404 NoSuchUpload 0042-00000002": [request("DELETE", query="uploadId=0"), request(query="uploadId=0")],
    "404 NoSuchUpload None": [request("POST", query="uploadId=0")],
    # Rules of CORS, and preflights.
    "400 BadRequest 0034-00000101": [preflight(origin="")],
    "400 BadRequest 0034-00000102": [preflight(method="")],
    "403 AccessForbidden 0003-00000602": [preflight(origin="http://other.example")],
    "400 InvalidArgument 0034-00000009": [
        *(origin(text) for text in ("", "https://*", "http://*.*", "https://a.example/", "http://a b", "//a")),
    ],
    "400 InvalidArgument 0034-00000013": [
        *(value(f"<ExposeHeader>{text}</ExposeHeader>") for text in ("*", "a: b")),
    ],
    "400 InvalidArgument None The": [
        *(value("<AllowedMethod>OPTIONS</AllowedMethod>"), value("<AllowedHeader>x-*-*</AllowedHeader>")),
        value("<AllowedHeader>a\n b</AllowedHeader>"),
        *(value(f"<MaxAgeSeconds>{seconds}</MaxAgeSeconds>") for seconds in (-1, 9999999999)),
    ],
    "400 MalformedXML None": [
        *(cors(), cors(METHOD), cors(ORIGIN), value("<Other/>"), value("<MaxAgeSeconds>1</MaxAgeSeconds>" * 2)),
        *(cors(ORIGIN + METHOD, after=f"<ResponseVary>{text}</ResponseVary>") for text in ("yes", "1")),
        cors(ORIGIN + METHOD, after="<ResponseVary>true</ResponseVary>" * 2),
        *(cors(ORIGIN + METHOD, after="<Other/>"), cors_document(b"<CORSRule/>"), cors_document(b"")),
    ],
    "400 CORSRuleBeyondLimit 0034-00000006": [cors(*[ORIGIN + METHOD] * 11)],
}

#: The ECs of what needs more than a request (temporary keys, an application that is called, parts, pictures, options),
#: and of what stands in the table of findings, operations/test_routes_findings.py.
ELSEWHERE = {
    *("0017-00000104", "0042-00000205", "0042-00000209", "0042-00000213"),
    *("0002-00000007", "0002-00000080", "0003-00000301", "0003-00000601", "0016-00000901"),
    *("0007-00000007", "0007-00000008", "0007-00000203", "0007-00000205"),
    *("0040-00000007", "0040-00000311", "0042-00000216", "0048-00000001", "0048-00000200", "0048-00000203"),
}


@pytest.fixture
def oss(make_oss):
    oss = make_oss()
    bucket = oss.storage.bucket("examplebucket")
    put(bucket, "there")
    put(bucket, "private")
    oss.storage.create_bucket("without-cors", now=NOW, settings={})
    bucket.change_headers("private", {"x-oss-object-acl": "private"})
    return oss


@pytest.mark.parametrize("begin", ERRORS)
def test_a_request_gets_its_error_and_changes_nothing(oss, begin):
    before = oss.storage.bucket("examplebucket").page()
    for send in ERRORS[begin]:
        response = send(oss=oss)
        code, ec, message = (response.xml.findtext(name) for name in ("Code", "EC", "Message"))
        assert f"{response.status_int} {code} {ec} {message}".startswith(begin), send
        assert oss.storage.bucket("examplebucket").page() == before


def test_the_table_has_each_ec_of_the_local_oss():
    pattern = re.compile(r"\b00[0-9]{2}-00000[0-9]{3}\b")
    sources = Path(local_oss.__file__).parent.rglob("*.py")
    known = {ec for path in sources for ec in pattern.findall(path.read_text(encoding="utf-8"))}
    assert known - {ec for begin in ERRORS for ec in pattern.findall(begin)} == ELSEWHERE
