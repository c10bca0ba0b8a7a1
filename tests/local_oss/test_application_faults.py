"""`fail_next` of a whole LocalOSS: what a browser and the application see."""

import contextlib
import http.client
import time

import pytest
from webtest import TestApp

from local_oss import CORSRule
from local_oss.faults import ConnectionDroppedError

from ..support.server_threads import serving_oss
from .form_client import BOUNDARY, callback_field, form, policy, post, sign_v1, sign_v4, v4_fields
from .forms.test_post_object import stored
from .signed_client import SignedClient
from .signed_client import code_and_ec as code

TIMEOUT = (
    "Error status : -1 app.example.com:80 reply timeout, cost:5000ms, timeout:5000ms"
    " (err -4, errno115, Operation now in progress)."
)
REFUSED = "Error status : -1. OSS can not connect to your callbackUrl, please check it."
NO_LENGTH = "Error Status : 400.User server missing content-length."
TOO_LONG = "Error Status : 400.User server return too long content-length value."
NOT_JSON = "Response body is not valid json format."

CALLBACK_FAULTS = {
    "callback_timeout": (TIMEOUT, "0007-00000203"),
    "callback_status": ("Error status : 500.", "0007-00000203"),
    "callback_not_json": (NOT_JSON, "0007-00000205"),
    "callback_too_long": (TOO_LONG, "0007-00000203"),
    "callback_no_length": (NO_LENGTH, "0007-00000203"),
    "callback_refused": (REFUSED, "0007-00000203"),
}


def upload(app, oss, *, key="a", header=None, **members):
    headers = {"x-oss-local-fault": header} if header else {}
    fields = {"key": key, "callback": callback_field(**members), **sign_v1(oss, policy())}
    return post(app, form(fields), headers={"Origin": "http://page.example", **headers})


@pytest.mark.parametrize(("name", "expected"), CALLBACK_FAULTS.items(), ids=CALLBACK_FAULTS)
def test_a_callback_fault_is_203_and_the_application_is_not_called(app, oss, recorder, name, expected):
    oss.fail_next(name)
    response = upload(app, oss)
    assert (response.status, response.content_type) == ("203 Non-Authoritative Information", "application/xml")
    assert (response.xml.findtext("Message"), response.xml.findtext("EC")) == expected
    assert response.xml.findtext("Code") == "CallbackFailed"
    assert response.headers["x-oss-ec"] == expected[1]
    assert stored(oss) == {"a": b"hi oss"}
    assert recorder.requests == []
    assert upload(app, oss).status_int == 200


@pytest.mark.parametrize("name", [name for name in CALLBACK_FAULTS if name != "callback_refused"])
def test_with_delivered_only_the_reply_is_lost(app, oss, recorder, name):
    oss.fail_next(name, delivered=True)
    assert code(upload(app, oss))[:2] == (203, "CallbackFailed")
    assert recorder.body_received == b"object=a"


def test_the_failure_of_the_last_url_is_reported(app, oss, recorder):
    for name in ("callback_timeout", "callback_not_json", "callback_refused"):
        oss.fail_next(name)
    response = upload(app, oss, callbackUrl="http://a/;http://b/;http://c/")
    assert response.xml.findtext("Message") == REFUSED
    assert recorder.requests == []
    oss.fail_next("callback_timeout", times=2)
    assert upload(app, oss, callbackUrl="http://a/;http://b/;http://c/").status_int == 200


def test_slow_down_is_503_and_stores_nothing(app, oss, recorder):
    oss.fail_next("slow_down")
    response = upload(app, oss)
    assert (response.status, response.content_type) == ("503 Service Unavailable", "application/xml")
    assert [element.tag for element in response.xml] == ["Code", "Message", "RequestId", "HostId"]
    assert response.xml.findtext("Code") == "SlowDown"
    assert response.xml.findtext("Message") == "Please reduce your request rate."
    assert response.headers["Access-Control-Allow-Origin"] == "http://page.example"
    assert (stored(oss), recorder.requests) == ({}, [])
    assert upload(app, oss).status_int == 200


def test_a_slow_upload_waits_before_it_stores(app, oss, monkeypatch):
    waits = []

    def sleep(seconds):
        waits.append((seconds, app.get("/examplebucket/a", status="*").status_int))

    monkeypatch.setattr(time, "sleep", sleep)
    oss.fail_next("slow_upload", seconds=3.5)
    assert upload(app, oss).status_int == 200
    assert waits == [(3.5, 404)]
    assert app.get("/examplebucket/a").body == b"hi oss"


def test_a_dropped_connection_stores_nothing(app, oss, recorder):
    oss.fail_next("dropped_connection")
    with pytest.raises(ConnectionDroppedError):
        upload(app, oss)
    assert (stored(oss), recorder.requests) == ({}, [])
    assert upload(app, oss).status_int == 200


@pytest.mark.parametrize("status", ["200 OK", "500 Oops"])
def test_with_stored_only_the_response_is_lost(app, oss, recorder, status):
    recorder.status = status
    oss.fail_next("dropped_connection", stored=True)
    with pytest.raises(ConnectionResetError):
        upload(app, oss)
    assert stored(oss) == {"a": b"hi oss"}
    assert recorder.body_received == b"object=a"


def test_a_refused_form_uses_up_no_fault(app, oss):
    oss.fail_next("dropped_connection")
    wrong = {"key": "a", **sign_v1(oss, policy({"key": "b"}))}
    assert post(app, form(wrong)).status_int == 403
    with pytest.raises(ConnectionDroppedError):
        upload(app, oss)


# Uploads that are no forms.

PART = b"x" * 100 * 1024


def put(oss, header=None, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    headers |= {"x-oss-local-fault": header} if header else {}
    return SignedClient(oss)("PUT", "examplebucket", key="a", body=b"hi oss", headers=headers, status="*")


def begin(oss):
    return SignedClient(oss)("POST", "examplebucket", "uploads", key="a").xml.findtext("UploadId")


def put_part(oss, upload, header=None):
    headers = {"x-oss-local-fault": header} if header else {}
    query = f"partNumber=1&uploadId={upload}"
    return SignedClient(oss)("PUT", "examplebucket", query, PART, key="a", headers=headers, status="*")


def complete(oss, header=None, **headers):
    """Upload one part and complete the upload with these headers."""
    upload = begin(oss)
    assert put_part(oss, upload).status_int == 200
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    headers |= {"x-oss-complete-all": "yes", **({"x-oss-local-fault": header} if header else {})}
    return SignedClient(oss)("POST", "examplebucket", f"uploadId={upload}", key="a", headers=headers, status="*")


def post_form(oss, header=None, **_):
    return upload(TestApp(oss), oss, header=header)


UPLOADS = pytest.mark.parametrize(("send", "content"), [(put, b"hi oss"), (complete, PART)], ids=["put", "complete"])


@UPLOADS
def test_callback_faults_strike_puts_and_parts(oss, recorder, send, content):
    oss.fail_next("callback_refused")
    response = send(oss, x_oss_callback=callback_field())
    assert (response.status_int, response.xml.findtext("Code")) == (203, "CallbackFailed")
    assert response.xml.findtext("Message") == REFUSED
    assert (stored(oss), recorder.requests) == ({"a": content}, [])
    assert send(oss, x_oss_callback=callback_field()).status_int == 200


@pytest.mark.parametrize(
    ("header", "status"), [("callback_status; status=404", 203), ("slow_down", 503), ("slow", 400)]
)
@pytest.mark.parametrize(
    ("send", "content"), [(put, b"hi oss"), (complete, PART), (post_form, b"hi oss")], ids=["put", "complete", "form"]
)
def test_in_test_mode_a_header_asks_for_a_fault(make_oss, send, content, header, status):
    oss = make_oss(test_mode=True)
    response = send(oss, header, x_oss_callback=callback_field())
    assert response.status_int == status
    assert stored(oss) == ({"a": content} if status < 400 else {})
    assert status != 203 or response.xml.findtext("Message") == "Error status : 404."
    assert send(oss, x_oss_callback=callback_field()).status_int == 200


@UPLOADS
def test_a_slow_put_or_completion_waits_before_it_stores(app, oss, monkeypatch, send, content):
    waits = []
    monkeypatch.setattr(
        time, "sleep", lambda seconds: waits.append((seconds, app.get("/examplebucket/a", status="*").status_int))
    )
    if send is complete:
        # the part is the first to suffer it
        oss.fail_next("slow_upload", seconds=1)
    oss.fail_next("slow_upload", seconds=3.5)
    assert send(oss).status_int == 200
    assert waits[-1] == (3.5, 404)
    assert len(waits) == (2 if send is complete else 1)
    assert stored(oss) == {"a": content}


@UPLOADS
@pytest.mark.parametrize("is_stored", [True, False])
def test_the_connection_of_a_put_or_completion_is_dropped(make_oss, recorder, send, content, is_stored):
    oss = make_oss(test_mode=True)
    with pytest.raises(ConnectionDroppedError):
        send(oss, f"dropped_connection; stored={str(is_stored).lower()}", x_oss_callback=callback_field())
    assert stored(oss) == ({"a": content} if is_stored else {})
    assert len(recorder.requests) == is_stored


@pytest.mark.parametrize("is_stored", [True, False])
def test_the_connection_of_a_part_is_dropped(oss, is_stored):
    upload = begin(oss)
    oss.fail_next("dropped_connection", stored=is_stored)
    with pytest.raises(ConnectionDroppedError):
        put_part(oss, upload)
    bucket = oss.storage.bucket("examplebucket")
    parts, _ = bucket.parts(bucket.upload("a", upload))
    assert [part.size for part in parts] == [len(PART)] * is_stored


def test_a_refused_put_uses_up_no_fault(oss):
    oss.fail_next("dropped_connection")
    assert code(put(oss, x_oss_object_acl="secret"))[:2] == (400, "InvalidArgument")
    with pytest.raises(ConnectionDroppedError):
        put(oss)


@pytest.mark.parametrize(
    ("method", "key", "query"),
    [("GET", "", "list-type=2"), ("GET", "a", ""), ("HEAD", "a", ""), ("DELETE", "a", ""), ("POST", "a", "uploads")],
)
def test_slow_down_strikes_any_request(make_oss, method, key, query):
    oss = make_oss(test_mode=True)
    assert put(oss).status_int == 200
    for header in (None, "slow_down"):
        if header is None:
            oss.fail_next("slow_down")
        headers = {"x-oss-local-fault": header} if header else {}
        response = SignedClient(oss)(method, "examplebucket", query, key=key, headers=headers, status=503)
        assert response.headers["Content-Type"] == "application/xml"
    assert stored(oss) == {"a": b"hi oss"}


def test_preflights_the_key_and_the_page_use_up_no_fault(app, oss):
    oss.fail_next("slow_down")
    headers = {"Origin": "http://page.example", "Access-Control-Request-Method": "POST"}
    app.options("/examplebucket", headers=headers, status=200)
    app.get("/callback_pub_key.pem", status=200)
    app.get("/", status=200)
    assert upload(app, oss).status_int == 503


def test_faults_can_be_cleared(app, oss):
    oss.fail_next("slow_down", times=None)
    assert [upload(app, oss).status_int for _ in range(3)] == [503] * 3
    oss.clear_faults()
    assert upload(app, oss).status_int == 200


# The control header.


def test_without_test_mode_the_header_is_ignored(app, oss):
    assert upload(app, oss, header="slow_down").status_int == 200
    assert upload(app, oss, header="nonsense").status_int == 200


@pytest.mark.parametrize(("test_mode", "status"), [(True, 200), (False, 403)])
def test_preflights_allow_the_header_in_test_mode(make_oss, test_mode, status):
    rules = [CORSRule(["http://page.example"], allowed_headers=["x-requested-with"])]
    app = TestApp(make_oss(test_mode=test_mode, cors_rules=rules))
    headers = {
        "Origin": "http://page.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "X-OSS-Local-Fault, x-requested-with",
    }
    response = app.options("/examplebucket", headers=headers, status=status)
    if test_mode:
        assert response.headers["Access-Control-Allow-Headers"] == "X-OSS-Local-Fault, x-requested-with"
        headers["Access-Control-Request-Headers"] += ", x-other"
        app.options("/examplebucket", headers=headers, status=403)


# Over a real connection.


@pytest.mark.slow
def test_a_server_hangs_up_without_a_response(make_oss):
    oss = make_oss(clock=time.time, transport=None, test_mode=True)
    with serving_oss(oss) as server:
        now = time.time()
        fields = {"key": "a", **sign_v4(oss, fields=v4_fields(oss, now=now), expiration=now + 60)}
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as other:
            other.connect()
            for _ in range(2):
                with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
                    fault = {"x-oss-local-fault": "dropped_connection"}
                    connection.request("POST", "/examplebucket", form(fields), {**headers, **fault})
                    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
                        connection.getresponse()
            # A connection that was open all the while is none of those that were dropped.
            other.request("POST", "/examplebucket", form(fields), headers)
            assert other.getresponse().status == 204
    assert stored(oss) == {"a": b"hi oss"}
