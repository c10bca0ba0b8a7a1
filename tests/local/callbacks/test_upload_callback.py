import base64
import json
from urllib.parse import quote

import pytest

from ..form_client import callback_field
from ..signed_client import SignedClient, code
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


def test_a_failed_callback_is_203_and_the_object_stays(put, recorder, app):
    recorder.status = "500 No"
    response = put(callback=callback_field(), status=203)
    assert code(response) == (203, "CallbackFailed")
    assert app.get("/examplebucket/a").body == b"hi oss"


@pytest.mark.parametrize(
    ("var", "ec"),
    [
        ("A" * 6000, "0007-00000101"),
        ("%", "0007-00000102"),
        (base64.b64encode(b"{").decode(), "0007-00000103"),
        (base64.b64encode(b"[]").decode(), "0007-00000103"),
        (encoded(**{"x:a": 1}), "0007-00000103"),
        (encoded(a="b"), "0007-00000103"),
        (encoded(**{"x:User": "b"}), "0007-00000103"),
    ],
)
def test_invalid_variables_store_nothing(put, oss, var, ec):
    response = put(callback=callback_field(), callback_var=var, status=400)
    assert (response.xml.findtext("Code"), response.xml.findtext("EC")) == ("InvalidArgument", ec)
    assert oss.storage.bucket("examplebucket").get("a") is None


def test_two_callbacks_are_refused(put):
    response = put(f"callback={quote(callback_field())}", callback=callback_field(), status=400)
    assert response.xml.findtext("EC") == "0007-00000027"
