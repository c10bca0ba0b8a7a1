"""CallbackParameters: what the form's ``callback`` field holds."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from oss_wsgi.callback.parameters import (
    FORM,
    JSON,
    CallbackParameters,
    TicketedCallback,
    body_template,
    encode_variables,
)
from oss_wsgi.exceptions import PolicyError

URL = "https://app.example.com/oss/callback"
SAMPLE = "filename=${object}&size=${size}&mimeType=${mimeType}&height=${imageInfo.height}&width=${imageInfo.width}"
FURTHER = (
    "&bucket=${bucket}&etag=${etag}&crc64=${crc64}&format=${imageInfo.format}&reqId=${reqId}&operation=${operation}"
)


def decoded(parameters: CallbackParameters) -> dict[str, Any]:
    return json.loads(base64.b64decode(parameters.encode(), validate=True))


def test_the_default_body_begins_like_the_official_samples() -> None:
    assert body_template() == SAMPLE + FURTHER


def test_custom_variables_come_last() -> None:
    assert body_template(["x:order_id", "x:a"]) == SAMPLE + FURTHER + "&x:order_id=${x:order_id}&x:a=${x:a}"


def test_the_field_is_compact_json_in_base64() -> None:
    text = base64.b64decode(CallbackParameters(URL).encode(), validate=True).decode()
    assert text == (
        f'{{"callbackUrl":"{URL}","callbackBody":"{SAMPLE}{FURTHER}",'
        '"callbackBodyType":"application/x-www-form-urlencoded","callbackSNI":true}'
    )


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a.example/cb", True),
        ("HTTPS://a.example/cb", True),
        ("http://a.example/cb;https://b.example/cb", True),
        ("http://a.example/cb", None),
        ("http://a.example/cb;http://b.example/cb?u=https://c.example", None),
    ],
)
def test_sni_is_set_if_a_url_is_https(url: str, expected: bool | None) -> None:
    assert decoded(CallbackParameters(url)).get("callbackSNI") is expected


def test_host_and_json_body_type_are_written_when_given() -> None:
    parameters = CallbackParameters(URL, body='{"o":${object}}', body_type=JSON, host="app.example.com:8443")
    members = decoded(parameters)
    assert members["callbackHost"] == "app.example.com:8443"
    assert members["callbackBodyType"] == "application/json"
    assert members["callbackBody"] == '{"o":${object}}'
    assert "callbackHost" not in decoded(CallbackParameters(URL))


def test_several_urls_are_joined_without_blanks() -> None:
    parameters = CallbackParameters(" http://a.example/1 ; http://b.example/2")
    assert parameters.urls == ["http://a.example/1", "http://b.example/2"]
    assert decoded(parameters)["callbackUrl"] == "http://a.example/1;http://b.example/2"


def test_chinese_in_the_body_is_utf_8() -> None:
    text = base64.b64decode(CallbackParameters(URL, body="t=中&o=${object}").encode()).decode()
    assert '"callbackBody":"t=中&o=${object}"' in text


def test_more_than_five_kilobytes_are_refused() -> None:
    room = 5120 // 4 * 3 - len(base64.b64decode(CallbackParameters(URL, body="x").encode())) + 1
    assert len(CallbackParameters(URL, body="x" * room).encode()) == 5120
    with pytest.raises(PolicyError, match=r"5124 bytes in Base64, and OSS accepts 5120 \(5 KB\): shorten"):
        CallbackParameters(URL, body="x" * (room + 1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"url": "ftp://a.example/"}, "must begin with http"),
        ({"url": ""}, "must begin with http"),
        ({"body": ""}, "The callback body must not be empty"),
        ({"body": "\ud800"}, "surrogate"),
        ({"body_type": "text/plain"}, "body type must be"),
        ({"host": "a b"}, "callback host"),
        ({"host": "a.example\r\nX: y"}, "callback host"),
        ({"host": "a.example:"}, "callback host"),
        ({"host": "a.example:123456"}, "callback host"),
    ],
)
def test_a_value_that_oss_would_refuse_is_refused(arguments: dict[str, str], message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        CallbackParameters(**{"url": URL, **arguments})


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(PolicyError) as raised:
        CallbackParameters("http://[::1]/", body="", body_type="x", host="a b")
    assert len(str(raised.value).splitlines()) == 4


def test_parameters_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        CallbackParameters(URL).url = "http://a.example/"  # type: ignore[misc]


@pytest.mark.parametrize(("body_type", "body"), [(FORM, body_template(["x:id"])), (JSON, '{"id":${x:id}}')])
def test_a_ticket_is_encoded_like_a_constant(body_type: str, body: str) -> None:
    parameters = CallbackParameters(URL, body, body_type)
    for ticket in ("AbC-_9", "x" * 900):
        plain = parameters.with_constant("ticket", ticket)
        assert TicketedCallback(parameters).encode(ticket) == plain.encode()
        if body_type == FORM:
            assert plain.body == f"{parameters.body}&ticket={ticket}"
        else:
            filled = re.sub(r"\$\{[^}]*\}", "1", plain.body)
            assert json.loads(filled)["ticket"] == ticket


def test_a_constant_is_added_to_an_empty_json_body() -> None:
    assert CallbackParameters(URL, "{ }", JSON).with_constant("ticket", "T").body == '{ "ticket":"T"}'


def test_custom_variables_are_compact_json_in_base64_of_five_kilobytes() -> None:
    text = encode_variables({"album": "中", "b": "2"})
    assert base64.b64decode(text, validate=True).decode() == '{"x:album":"中","x:b":"2"}'
    room = 5120 // 4 * 3 - len('{"x:a":""}')
    assert len(encode_variables({"a": "x" * room})) == 5120
    with pytest.raises(PolicyError, match="5124 bytes in Base64"):
        encode_variables({"a": "x" * (room + 1)})


def test_a_ticket_that_makes_the_callback_too_long_is_refused() -> None:
    with pytest.raises(PolicyError, match="shorten"):
        TicketedCallback(CallbackParameters(URL)).encode("x" * 4000)
