"""Masker: what is taken out of a text, and what stays readable."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from urllib.parse import quote

import pytest

from oss_wsgi import Settings
from oss_wsgi.log_format import MASK, Masker

SECRET = "Example/Secret+000000000000000A"
V1_SIGNATURE = "VsxOcOudx5ka0K2mMV8f0pMZ8Dk="
V4_SIGNATURE = "9a" * 32
POLICY = base64.b64encode(json.dumps({"expiration": "2030-01-01T00:00:00Z", "conditions": []}).encode()).decode()
TICKET = "2MmH5AAATlwmqOFw7Iwbeq1_xKmqb1G0kEYmKl9hs0Gj4lBzJm_FzBAQ1sYFa9nZSoM_Xvgjq-ophJwfcxRlZTwd-gKnTAWOPPbUTyj"
RSA = "yNbq6G2zePuhGIPMglajFKXhJSwSpq3ugkUOJq7GGoq4F7UbRmqQKXSrPXBeP0y1bJVyOwMCYDASXVSZPaee7w=="


@pytest.mark.parametrize("written", ["{}", "OSSError({!r})", "x{}x", "https://h/?k={}"])
def test_a_literal_secret_is_taken_out_wherever_it_stands(written: str) -> None:
    mask = Masker([SECRET, None, ""])
    for form in (SECRET, quote(SECRET, safe="")):
        assert mask(written.format(form)) == written.format(MASK if "!r" not in written else "X").replace("X", MASK)


def test_of_two_secrets_of_which_one_begins_the_other_nothing_stays() -> None:
    assert Masker(["abcdef", "abcdefghi"])("abcdefghi abcdef") == f"{MASK} {MASK}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("signature", V1_SIGNATURE),
        ("Signature", V1_SIGNATURE),
        ("x-oss-signature", V4_SIGNATURE),
        ("policy", POLICY),
        ("callback", POLICY),
        ("ticket", "2MmH5AAATlwmqOFw7Iwbeq1_xKmq"),
        ("x-oss-security-token", "CAISabcdefghijklmnopqr"),
        ("SecurityToken", "CAISabcd"),
        ("security_token", "CAISabcd"),
        ("AccessKeySecret", "swordfish"),
        ("access_key_secret", "swordfish"),
        ("OSS_TICKET_SECRET", "swordfish"),
        ("password", "swordfish"),
        ("Authorization", RSA),
    ],
)
@pytest.mark.parametrize(
    "form", ["{}={}", "a&{}={}&b=1", "<{}>{}</", '{{"{}": "{}"}}', "{{'{}': '{}'}}", "{}: {}", '"{}":"{}"']
)
def test_what_has_a_telling_name_is_taken_out(form: str, name: str, value: str) -> None:
    masked = Masker()(form.format(name, value))
    assert value not in masked
    assert name in masked
    assert MASK in masked


@pytest.mark.parametrize("value", [TICKET, RSA, base64.b64encode(POLICY.encode()).decode(), quote(RSA, safe="")])
def test_what_is_long_enough_needs_no_name(value: str) -> None:
    assert Masker()(f"odd {value} odd") == f"odd {MASK} odd"


@pytest.mark.parametrize(
    "text",
    [
        "refused: status=403 reason=signature_wrong hint='the signature has another length' request_id=674EF4EC0000001",
        "a callback does not reach /callback: something stands before it",
        "callback key http://gosspublic.alicdn.com/callback_pub_key_v1.pem: 512 bits, SHA-256 " + "5f" * 32,
        "OSS_TICKET_SECRET is not set: this process made one of its own",
        "127.0.0.1 GET '/oss/signature' 200 1512 bytes 0.3 ms",
        "say the public URL in OSS_CALLBACK_URL=https://app.example.com/oss/callback",
        "user-dir-prefix/20261124-0123456789abcdef0123456789abcdef.png was handled",
    ],
)
def test_what_a_person_needs_to_read_stays(text: str) -> None:
    assert Masker([SECRET])(text) == text


def test_the_settings_tell_all_their_secrets() -> None:
    settings = Settings(
        access_key_id="id", access_key_secret="s1", session_token="s2", ticket_secret=["3" * 32, "4" * 32]
    )
    assert settings.secrets() == ["s1", "s2", "3" * 32, "4" * 32]
    assert Settings().secrets() == []


def test_a_secret_of_a_few_letters_does_not_make_holes_in_every_word() -> None:
    assert Masker(["b", "", None])("a bucket begins") == "a bucket begins"
    assert Masker(["swordf"])("the swordf is out") == f"the {MASK} is out"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"Authorization: OSS LTAI5t:{V1_SIGNATURE}", f"Authorization: {MASK}"),
        ("Cookie: session=abc; csrf=def", f"Cookie: {MASK}"),
        ("{'HTTP_COOKIE': 'session=abc'}", f"{{'HTTP_COOKIE': '{MASK}'}}"),
        (f"GET /a/{V4_SIGNATURE}/b", f"GET /a/{MASK}/b"),
        (f"512 bits, SHA-256 {V4_SIGNATURE}", f"512 bits, SHA-256 {V4_SIGNATURE}"),
        ("Authorization: Basic dXNlcjpwYXNz", f"Authorization: {MASK}"),
        (f"[('Signature', '{V1_SIGNATURE}')]", f"[('Signature', '{MASK}')]"),
        ("('OSS_ACCESS_KEY_SECRET', 'swordfish')", f"('OSS_ACCESS_KEY_SECRET', '{MASK}')"),
        (f'name="Signature"\r\n\r\n{V1_SIGNATURE}\r\n--', f'name="Signature"\r\n\r\n{MASK}\r\n--'),
        (repr(f'name="Signature"\r\n\r\n{V1_SIGNATURE}\r\n--'), repr(f'name="Signature"\r\n\r\n{MASK}\r\n--')),
        (f"a digest of 65: {V4_SIGNATURE}a", f"a digest of 65: {V4_SIGNATURE}a"),
    ],
)
def test_what_stands_in_headers_and_paths_is_taken_out_and_fingerprints_stay(text: str, masked: str) -> None:
    assert Masker()(text) == masked


@pytest.mark.parametrize("secret", ['pa"ss\\word of 32 characters, with é', "it's\nmine, and of 32 characters"])
@pytest.mark.parametrize("write", [repr, json.dumps, lambda text: quote(text, safe="").lower(), str])
def test_a_literal_secret_is_taken_out_however_it_was_quoted(secret: str, write: Callable[[str], str]) -> None:
    assert Masker([secret])(f"x{write(secret)}x").replace('"', "").replace("'", "") == f"x{MASK}x"
