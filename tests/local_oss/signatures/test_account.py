from dataclasses import replace

import pytest

from local_oss.errors import OSSError
from local_oss.signatures.account import Account, check_access_key, compare_signatures, too_skewed

from ..form_client import NOW

LASTING = Account("ak", "the-secret")
TEMPORARY = replace(LASTING, security_token="the-token", expires=100.0)


def refusal(function, *arguments, **options):
    with pytest.raises(OSSError) as caught:
        function(*arguments, **options)
    return caught.value


def test_the_key_is_accepted_with_its_token_or_without():
    check_access_key("ak", None, LASTING)
    check_access_key("ak", "", LASTING)
    check_access_key("ak", "the-token", TEMPORARY, 100.0)


@pytest.mark.parametrize(
    ("access_key_id", "token", "account", "code"),
    [
        pytest.param("AK", None, LASTING, "InvalidAccessKeyId", id="unknown key"),
        pytest.param("\xe9", None, LASTING, "InvalidAccessKeyId", id="not ASCII"),
        pytest.param("ak", "t", LASTING, "InvalidAccessKeyId", id="stray token"),
        pytest.param("ak", None, TEMPORARY, "InvalidAccessKeyId", id="no token"),
        pytest.param("ak", "t", TEMPORARY, "InvalidSecurityToken", id="another token"),
        pytest.param("ak", "the-token", TEMPORARY, "SecurityTokenExpired", id="expired token"),
    ],
)
def test_another_key_or_token_is_refused(access_key_id, token, account, code):
    error = refusal(check_access_key, access_key_id, token, account, 100.1)
    assert (error.status, error.code) == (403, code)


POLICY = '{"Version": "1", "Statement": [{"Effect": "Allow", "Action": "oss:Put*", "Resource": "*"}]}'


def test_a_token_holds_all_of_its_session():
    session = LASTING.begin_session(POLICY, 100)
    assert session.access_key_id.startswith("STS.")
    assert session.expires == 100
    assert session.policy.allows("oss:PutObject", "b/a")
    assert not session.policy.allows("oss:GetObject", "b/a")
    assert LASTING.session(session.security_token) == session
    assert LASTING.begin_session("", 100).access_key_id != session.access_key_id


def test_a_token_that_another_secret_made_or_that_was_changed_is_none():
    token = LASTING.begin_session("", 100).security_token
    assert replace(LASTING, access_key_secret="another").session(token) is None
    for position in range(0, len(token), 3):
        changed = token[:position] + ("A" if token[position] != "A" else "B") + token[position + 1 :]
        assert LASTING.session(changed) is None
    for other in ("", "?", "\xe9", "AAAA"):
        assert LASTING.session(other) is None


def test_equal_signatures_are_accepted():
    compare_signatures("0" * 64, "0" * 64, "text", "ec")


def test_different_signatures_show_what_was_signed():
    error = refusal(
        compare_signatures, "expected", "provided", "a\n\u4e2d", "ec", OSSAccessKeyId="ak", CanonicalRequest="c"
    )
    assert (error.status, error.code, error.ec) == (403, "SignatureDoesNotMatch", "ec")
    assert error.members == {
        "OSSAccessKeyId": "ak",
        "SignatureProvided": "provided",
        "StringToSign": "a\n\u4e2d",
        "StringToSignBytes": "61 0A E4 B8 AD ",  # recording 38 has the blank at the end too
        "CanonicalRequest": "c",
    }


def test_a_skewed_request_shows_both_times_as_clients_read_them():
    """Whatever the scheme: by them the SDKs for Java, for Swift and for browsers correct their clocks."""
    error = too_skewed(NOW - 901, NOW)
    assert (error.status, error.code, error.ec) == (403, "RequestTimeTooSkewed", "0002-00000504")
    assert error.members == {
        "MaxAllowedSkewMilliseconds": "900000",
        "RequestTime": "2024-12-03T11:57:11.000Z",
        "ServerTime": "2024-12-03T12:12:12.000Z",
    }


def test_secrets_are_not_in_the_repr():
    assert "the-secret" not in repr(TEMPORARY)
    assert "the-token" not in repr(TEMPORARY)
