import base64
import hashlib

import pytest

from oss_wsgi.local.callbacks.message import callback_body, callback_request
from oss_wsgi.local.callbacks.parameters import CallbackParameters, parse_callback_url
from oss_wsgi.local.callbacks.signing_key import CallbackKey

from ..form_client import NOW

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
    return callback_request(
        URL,
        parameters(**changes),
        body,
        key=CallbackKey.generate(512),
        public_key_url="http://127.0.0.1:8081/callback_pub_key.pem",
        bucket="examplebucket",
        request_id="674EF4EC0000000000000001",
        now=NOW,
    )


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


@pytest.mark.parametrize(
    ("body_type", "template", "body"),
    [
        ("application/x-www-form-urlencoded", "a=${object}", b"a=%E4%B8%AD"),
        ("application/json", '{"a":${object}}', '{"a":"中"}'.encode()),
    ],
)
def test_the_body_type_decides_how_values_are_written(body_type, template, body):
    assert callback_body(parameters(body_type=body_type, body=template), {"object": "中"}) == body


def test_the_request_has_the_sni_flag():
    assert request(sni=True).sni
    assert not request().sni
