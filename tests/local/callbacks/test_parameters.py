import base64
import json

import pytest

from oss_wsgi.local.callbacks.parameters import FORM, JSON, parse_callback
from oss_wsgi.local.errors import OSSError

GOOD = {"callbackUrl": "http://a.example/cb", "callbackBody": "object=${object}"}


def encode(members):
    text = members if isinstance(members, bytes) else json.dumps(members).encode()
    return base64.b64encode(text).decode()


def test_the_defaults_are_the_url_host_and_a_form_body():
    callback = parse_callback(encode(GOOD))
    assert [url.netloc for url in callback.urls] == ["a.example"]
    assert (callback.host, callback.body, callback.body_type) == ("", "object=${object}", FORM)
    assert callback.sni is False


def test_every_member_is_read():
    members = {
        "callbackUrl": "http://a/1;https://b:8443/2",
        "callbackHost": "c.example:90",
        "callbackBody": "{}",
        "callbackBodyType": JSON,
        "callbackSNI": True,
        "callbackStage": "x",
    }
    callback = parse_callback(encode(members))
    assert [url.netloc + url.target for url in callback.urls] == ["a/1", "b:8443/2"]
    assert (callback.host, callback.body, callback.body_type) == ("c.example:90", "{}", JSON)
    assert callback.sni is True


def test_nothing_behind_the_last_semicolon_is_no_url():
    for urls in ("http://a/;http://b/;", "http://a/;http://b/; ;"):
        callback = parse_callback(encode({**GOOD, "callbackUrl": urls}))
        assert [url.netloc for url in callback.urls] == ["a", "b"]
    assert len(parse_callback(encode({**GOOD, "callbackUrl": "http://a/;" * 5})).urls) == 5


@pytest.mark.parametrize("text", ["", encode({"callbackBody": "a=b"}), encode({**GOOD, "callbackUrl": ""})])
def test_without_a_url_there_is_no_callback(text):
    assert parse_callback(text) is None


@pytest.mark.parametrize(
    ("text", "message", "ec"),
    [
        pytest.param("A" * 5121, "The length of callback exceed max value.", "001", id="too long"),
        pytest.param("{}", "The callback configuration is not base64 encoded.", "002", id="not base64"),
        pytest.param("中", "The callback configuration is not base64 encoded.", "002", id="not even ASCII"),
        pytest.param(encode(b"{"), "The callback configuration is not json format.", "003", id="not JSON"),
        pytest.param(encode(b"\xff"), "The callback configuration is not json format.", "003", id="not UTF-8"),
        pytest.param(encode([]), "The callback configuration is not json format.", "003", id="no object"),
        pytest.param(encode(b"[" * 3000), "The callback configuration is not json format.", "003", id="too deep"),
        pytest.param(encode({**GOOD, "callbackUrl": 1}), "The callback url configuration is invalid.", "004", id="url"),
        pytest.param(
            encode({**GOOD, "callbackUrl": "http://a/;;http://b/"}),
            "The callback url configuration is invalid.",
            "004",
            id="empty",
        ),
        pytest.param(
            encode({**GOOD, "callbackUrl": ";"}),
            "The callback url configuration is invalid.",
            "004",
            id="a semicolon alone",
        ),
        pytest.param(
            encode({**GOOD, "callbackUrl": ";".join(["http://a/"] * 6)}),
            "The number of callback url exceed max value.",
            "005",
            id="six urls",
        ),
        pytest.param(
            encode({**GOOD, "callbackHost": "a\r\nX: y"}),
            "The callback host configuration is invalid.",
            "009",
            id="host",
        ),
        pytest.param(
            encode({**GOOD, "callbackHost": 1}),
            "The callback host configuration is invalid.",
            "009",
            id="host no string",
        ),
        pytest.param(encode({**GOOD, "callbackBody": 1}), "The callback body is invalid.", "010", id="body no string"),
        pytest.param(
            encode({**GOOD, "callbackBody": "${x}"}), "The callback body is invalid.", "010", id="bad variable"
        ),
        pytest.param(encode({**GOOD, "callbackBody": ""}), "The callback body is empty.", "011", id="body empty"),
        pytest.param(
            encode({"callbackUrl": GOOD["callbackUrl"]}), "The callback body is empty.", "011", id="body missing"
        ),
        pytest.param(
            encode({**GOOD, "callbackBodyType": 1}),
            "The callback body type configuration is invalid.",
            "012",
            id="type no string",
        ),
        pytest.param(
            encode({**GOOD, "callbackBodyType": "text/plain"}),
            "The body type of callback is not supported.",
            "013",
            id="other type",
        ),
        pytest.param(
            encode({**GOOD, "callbackSNI": "true"}), "The callback sni configuration is invalid.", "014", id="SNI"
        ),
    ],
)
def test_a_wrong_parameter_is_refused_with_its_message_and_number(text, message, ec):
    with pytest.raises(OSSError) as caught:
        parse_callback(text)
    error = caught.value
    assert (error.status, error.code) == (400, "InvalidArgument")
    assert (error.message, error.ec) == (message, f"0007-00000{ec}")


def test_five_urls_and_five_kilobytes_are_allowed():
    members = {**GOOD, "callbackUrl": ";".join(["http://a/"] * 5)}
    members["callbackBody"] = "x" * (3840 - len(json.dumps(members)) + len(members["callbackBody"]))
    text = encode(members)
    assert len(text) == 5120
    assert len(parse_callback(text).urls) == 5


def test_the_refused_text_is_shown_decoded():
    with pytest.raises(OSSError) as caught:
        parse_callback(encode(b"<not json>"))
    assert caught.value.members == {"ArgumentName": "callback", "ArgumentValue": "<not json>"}
