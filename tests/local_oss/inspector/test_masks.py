import pytest

from local_oss.inspector.masks import HIDDEN, masked
from local_oss.signatures.account import shown_bytes


@pytest.mark.parametrize(
    ("name", "shown"),
    [("X-OSS-Security-Token", HIDDEN), ("security-token", HIDDEN), ("Cookie", HIDDEN), ("x-oss-date", "a+b/c==")],
)
def test_the_value_of_a_token_is_hidden_by_its_name(name, shown):
    assert masked("a+b/c==", name) == shown


@pytest.mark.parametrize(
    "text",
    [
        "/b/a%2fb?x=%2f&security-token={}&z",
        "/b/a?Security%2dToken={}",
        "x-oss-date:1\nx-oss-security-token:{}\nx-oss-user:b",
        "X-OSS-Security-Token: {}",
        '{{"conditions": [{{"x-oss-security-token": "{}"}}]}}',
        '{{"conditions": [["eq", "$x-oss-security-token", "{}"], {{"bucket": "b"}}]}}',
        "<StringToSign>GET\nx-oss-security-token:{}\n/b/a?security-token={}</StringToSign>",
    ],
)
def test_a_token_is_hidden_behind_its_name_in_any_text(text):
    token = "a%2Bb/c+d=="
    assert masked(text.format(token, token)) == text.format(HIDDEN, HIDDEN)


@pytest.mark.parametrize(
    "text",
    ["", "plain words", "AdditionalHeaders=host;x-oss-security-token,Signature=abc", "host;x-oss-security-token\nabc"],
)
def test_a_text_without_a_token_stays(text):
    assert masked(text) == text


@pytest.mark.parametrize("name", ["StringToSignBytes", "CanonicalRequestBytes"])
def test_a_token_is_hidden_among_the_bytes_of_what_was_signed(name):
    signed = "GET\nx-oss-security-token:a%2Bb/c+d==\n/b/a"
    assert masked(f"<{name}>{shown_bytes(signed)}</{name}>") == f"<{name}>{HIDDEN}</{name}>"
    harmless = f"<{name}>{shown_bytes('GET /b/a')}</{name}>"
    assert masked(harmless) == harmless
