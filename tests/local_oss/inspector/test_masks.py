import base64
import json

import pytest

from local_oss.inspector.exchange import Exchange
from local_oss.inspector.masks import HIDDEN, Masks, decode

SECRET = "s3cr3t/of+the=account"
TICKET = "AbCdEf0123456789_-" * 8


def encoded(value):
    return base64.b64encode(json.dumps(value).encode()).decode()


@pytest.mark.parametrize(
    "text", [SECRET, "s3cr3t%2Fof%2Bthe%3Daccount", SECRET.encode().hex(), SECRET.encode().hex(" ").upper()]
)
def test_a_secret_is_hidden_in_every_spelling(text):
    assert Masks([SECRET])(f"a {text} b") == f"a {HIDDEN} b"


@pytest.mark.parametrize("before", range(7))
def test_a_secret_in_base64_is_cut_out_at_any_offset(before):
    source = b"x" * before + SECRET.encode() + b"y" * 30
    shown = Masks([SECRET])(base64.b64encode(source).decode())
    head, tail = shown.split("…")
    assert base64.b64decode(head) == b"x" * (before // 3 * 3)
    decoded = base64.b64decode(tail)
    assert set(decoded) == {ord("y")}
    assert len(decoded) >= 28


def test_base64_in_base64_is_searched():
    inner = encoded({"callbackBody": json.dumps({"ticket": TICKET})})
    outer = encoded({"conditions": [{"callback": inner}], "bucket": "examplebucket"})
    shown = Masks([])(outer)
    head, tail = shown.split("…")
    assert outer.startswith(head)
    assert outer.endswith(tail)
    assert len(shown) < len(outer) - len(TICKET)


@pytest.mark.parametrize(
    "text",
    [f"object=a&ticket={TICKET}&size=1", json.dumps({"ticket": TICKET}), json.dumps(json.dumps({"ticket": TICKET}))],
)
def test_a_ticket_is_shortened(text):
    shown = Masks([])(text)
    assert shown == text.replace(TICKET, "AbCdEf…")
    assert Masks([], shorten_tickets=False)(text) == text


def test_a_ticket_of_the_exchange_is_shortened_wherever_it_stands():
    exchange = Exchange(fields={"callback": encoded({"callbackBody": f"ticket={TICKET}"})})
    assert Masks([], exchange)(f"your {TICKET} is bad") == "your AbCdEf… is bad"


def test_tokens_of_a_request_are_secrets():
    exchange = Exchange(headers=(("x-oss-security-token", "a-token-of-somebody"),))
    masks = Masks([], exchange)
    assert masks("x a-token-of-somebody") == f"x {HIDDEN}"
    assert masks.header("X-OSS-Security-Token", "x") == HIDDEN


def test_cookies_of_other_ports_are_hidden():
    assert Masks([]).header("Cookie", "session=1") == HIDDEN


def test_a_query_keeps_its_spelling_where_nothing_is_hidden():
    target = f"/b/a%2fb?x=%2f&security-token=abc&y={SECRET.replace('+', '%2B')}&z"
    assert Masks([SECRET]).target(target) == f"/b/a%2fb?x=%2f&security-token={HIDDEN}&y={HIDDEN}&z"


@pytest.mark.parametrize("text", ["", "plain words", "QUJD" * 20, "/" * 100, "A" * 30 + "=", "_-" * 40])
def test_a_text_without_secrets_stays(text):
    assert Masks([SECRET])(text) == text


def test_what_is_cut_off_is_decoded():
    whole = base64.b64encode("中文 and more text".encode()).decode()
    assert decode(whole[:-9]).startswith("中文 and")
    assert decode(base64.b64encode(bytes(range(200, 255))).decode()) is None


@pytest.mark.parametrize("condition", [{"x-oss-security-token": "abc"}, ["eq", "$x-oss-security-token", "abc"]])
def test_a_condition_on_a_token_hides_it_however_short(condition):
    shown = Masks([])(json.dumps({"conditions": [condition]}))
    assert "abc" not in shown
    assert HIDDEN in shown
    head, tail = Masks([])(encoded({"conditions": [condition]})).split("…")
    assert b"abc" not in base64.b64decode(head) + base64.b64decode(tail)
