import base64
import hashlib
import json
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from webtest import TestApp

from local_oss.callbacks.image_info import read_image_info
from local_oss.callbacks.parameters import NAMES, CallbackParameters, parse_callback_url
from local_oss.callbacks.signing_key import CallbackKey
from local_oss.callbacks.upload_callback import callback_request, callback_values
from local_oss.inspector.exchange import Exchange
from local_oss.storage.storage import Storage

from ..form_client import NOW, callback_field, form, policy, post, sign_v1
from ..signed_client import SignedClient
from .test_image_info import png


class Hosts:
    """An application that answers each host with its status, and records what it received."""

    def __init__(self, **statuses):
        self.statuses = statuses
        self.received = []

    def __call__(self, environ, start_response):
        host = environ["HTTP_HOST"]
        body = environ["wsgi.input"].read()
        self.received.append((host, environ["PATH_INFO"], body, environ["HTTP_AUTHORIZATION"]))
        reply = f'"{host}"'.encode()
        start_response(f"{self.statuses[host]} Status", [("Content-Length", str(len(reply)))])
        return [reply]


def put_to(make_oss, hosts, urls, status):
    headers = {"x-oss-callback": callback_field(callbackUrl=urls, callbackBody="a=${size}")}
    client = SignedClient(make_oss(transport=hosts))
    return client("PUT", "examplebucket", body=b"hi oss", key="a", headers=headers, status=status)


def test_urls_are_tried_in_order_until_one_succeeds(make_oss):
    hosts = Hosts(a=500, b=404, c=200, d=200)
    assert put_to(make_oss, hosts, "http://a/1;b/2;http://c/3;d/4", 200).body == b'"c"'
    assert [(host, path) for host, path, *_ in hosts.received] == [("a", "/1"), ("b", "/2"), ("c", "/3")]


def test_each_url_gets_its_own_signature_over_the_same_body(make_oss):
    hosts = Hosts(a=500, b=200)
    put_to(make_oss, hosts, "a/1;b/2", 200)
    (*_, first_body, first), (*_, second_body, second) = hosts.received
    assert first_body == second_body == b"a=6"
    assert first != second


def test_the_last_failure_is_reported(make_oss):
    response = put_to(make_oss, Hosts(a=500, b=404), "a;b", 203)
    assert response.xml.findtext("Message") == "Error status : 404."


def encoded(**members):
    return base64.b64encode(json.dumps(members).encode()).decode()


@pytest.fixture
def put(oss):
    def put(query="", body=b"hi oss", status=None, **headers):
        headers = {f"x-oss-{name.replace('_', '-')}": value for name, value in headers.items()}
        return SignedClient(oss)("PUT", "examplebucket", query, body, key="a", headers=headers, status=status)

    return put


def test_the_reply_to_the_callback_of_a_put_is_relayed(put, recorder):
    template = "o=${object}&op=${operation}&w=${imageInfo.width}&md5=${contentMd5}&u=${x:user}"
    response = put(
        callback=callback_field(callbackBody=template), callback_var=encoded(**{"x:user": "é"}), body=png(3, 2)
    )
    assert response.json == {"Status": "Ok"}
    assert response.headers["ETag"].startswith('"')
    body_received = recorder.body_received.decode()
    assert body_received.startswith("o=a&op=PutObject&w=3&md5=")
    assert body_received.endswith("%3D%3D&u=%C3%A9")


@pytest.mark.slow
def test_a_picture_in_parts_has_its_size_in_the_callback(oss, recorder):
    ask = SignedClient(oss)
    upload = ask("POST", "examplebucket", "uploads", key="a").xml.findtext("UploadId")
    ask("PUT", "examplebucket", f"partNumber=1&uploadId={upload}", png(3, 2), key="a")
    template = "size=${size}&w=${imageInfo.width}&format=${imageInfo.format}&md5=${contentMd5}"
    headers = {"x-oss-complete-all": "yes", "x-oss-callback": callback_field(callbackBody=template)}
    ask("POST", "examplebucket", f"uploadId={upload}", key="a", headers=headers)
    assert recorder.body_received.decode() == f"size={len(png(3, 2))}&w=3&format=png&md5="


def test_a_signed_url_may_ask_for_a_callback(put, recorder):
    assert put(f"callback={quote(callback_field(callbackBody='size=${size}'))}").json == {"Status": "Ok"}
    assert recorder.body_received == b"size=6"


def test_a_variable_whose_name_lacks_x_is_ignored(put, recorder):
    """oss2's live test sends one, and gets as far as the callback."""
    callback = callback_field(callbackBody="a=${x:a}&b=${bucket}")
    put(callback=callback, callback_var=encoded(**{"x:a": "1", "callbackUrl": "b", "bucket": "c"}), status=200)
    assert recorder.body_received == b"a=1&b=examplebucket"


def test_a_temporary_key_is_another_requester_than_the_owner(make_oss, recorder):
    oss = make_oss(security_token="token")
    fields = {"key": "a", "callback": callback_field(), "x-oss-security-token": "token", **sign_v1(oss, policy())}
    post(TestApp(oss), form(fields), status=200)
    names = ("HTTP_X_OSS_OWNER", "HTTP_X_OSS_REQUESTER")
    assert [recorder.environ[name] for name in names] == ["1000000000000001", "300000000000000001"]


def test_two_callbacks_are_refused(put):
    response = put(f"callback={quote(callback_field())}", callback=callback_field(), status=400)
    assert response.xml.findtext("EC") == "0007-00000027"


@pytest.mark.parametrize(
    ("body_type", "template", "body"),
    [
        ("application/x-www-form-urlencoded", "a=${x:a}", b"a=%E4%B8%AD"),
        ("application/json", '{"a":${x:a}}', '{"a":"中"}'.encode()),
    ],
)
def test_the_body_type_decides_how_values_are_written(put, recorder, body_type, template, body):
    field = callback_field(callbackBody=template, callbackBodyType=body_type)
    put(callback=field, callback_var=encoded(**{"x:a": "中"}))
    assert recorder.body_received == body


URL = parse_callback_url("http://app.example.com:8080/oss/callback?a=b")


def parameters(**changes):
    return CallbackParameters(
        **{
            "urls": [URL],
            "host": "",
            "body": "a=${object}",
            "body_type": "application/x-www-form-urlencoded",
            **changes,
        }
    )


def request(body=b"a=b", **changes):
    key = CallbackKey.generate(512)
    oss = SimpleNamespace(
        sender=SimpleNamespace(key=key),
        options=SimpleNamespace(clock=lambda: NOW),
        public_key_url="http://127.0.0.1:8081/callback_pub_key.pem",
    )
    upload = SimpleNamespace(oss=oss, bucket="examplebucket", exchange=Exchange(id="674EF4EC0000000000000001"))
    return callback_request(upload, parameters(**changes), URL, body)


def test_the_headers_are_those_of_oss():
    headers = dict(request().headers)
    assert len(base64.b64decode(headers.pop("Authorization"), validate=True)) == 64
    assert headers == {
        "Host": "app.example.com:8080",
        "Connection": "close",
        "Content-Length": "3",
        "Content-MD5": base64.b64encode(hashlib.md5(b"a=b").digest()).decode(),
        "Content-Type": "application/x-www-form-urlencoded",
        "Date": "Tue, 03 Dec 2024 12:12:12 GMT",
        "User-Agent": "aliyun-oss-callback",
        "x-oss-additional-headers": "",
        "x-oss-bucket": "examplebucket",
        "x-oss-owner": "1000000000000001",
        "x-oss-pub-key-url": "aHR0cDovLzEyNy4wLjAuMTo4MDgxL2NhbGxiYWNrX3B1Yl9rZXkucGVt",
        "x-oss-request-id": "674EF4EC0000000000000001",
        "x-oss-requester": "1000000000000001",
        "x-oss-signature-version": "1.0",
        "x-oss-tag": "CALLBACK",
    }


def test_content_md5_equals_the_published_one():
    body = b"bucket=examplebucket&object=user%2Feric%2Fa.txt&size=6"
    assert dict(request(body).headers)["Content-MD5"] == "LX9KL9eMHEqJULad3D+cvQ=="


def test_callback_host_replaces_the_host_header():
    assert dict(request(host="other.example").headers)["Host"] == "other.example"


def test_the_request_has_the_sni_flag():
    assert request(sni=True).sni
    assert not request().sni


@pytest.fixture
def values(tmp_path):
    storage = Storage(tmp_path)
    storage.create_bucket("examplebucket", now=0.0)
    bucket = storage.bucket("examplebucket")

    def make(content, **variables):
        with bucket.incoming() as incoming:
            incoming.write(content)
            with incoming.open() as file:
                image = read_image_info(file)
            stored = incoming.commit("user/a", "image/png", {}, now=0.0)
        exchange = Exchange(id="674EF4EC0000000000000001", client="192.0.2.1")
        request = SimpleNamespace(bucket="examplebucket", exchange=exchange)
        return callback_values(request, parameters(variables=variables), stored, image, "PutObject")

    yield make
    storage.close()


def test_every_variable_has_its_value(values):
    assert values(b"hi oss", **{"x:uid": "42"}) == {
        "x:uid": "42",
        "bucket": "examplebucket",
        "object": "user/a",
        "etag": "B22E0DC370A7F7067FACF5F75D7FA385",
        "size": 6,
        "mimeType": "image/png",
        "crc64": 8707180448768400016,
        "contentMd5": "si4Nw3Cn9wZ/rPX3XX+jhQ==",
        "clientIp": "192.0.2.1",
        "reqId": "674EF4EC0000000000000001",
        "operation": "PutObject",
    }


def test_a_picture_adds_its_size_and_format(values):
    picture = values(png(3, 2))
    assert (picture["imageInfo.width"], picture["imageInfo.height"], picture["imageInfo.format"]) == (3, 2, "png")


def test_all_values_have_names_that_templates_may_use(values):
    assert set(values(png(3, 2))) <= set(NAMES)
