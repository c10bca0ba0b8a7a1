"""Credentials and their providers: the secret shows nowhere, and the names of two families are never mixed."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from oss_wsgi.credentials import (
    Credentials,
    EnvironmentVariableCredentialsProvider,
    StaticCredentialsProvider,
    from_environ,
)
from oss_wsgi.exceptions import CredentialsError

OSS = {"OSS_ACCESS_KEY_ID": "id", "OSS_ACCESS_KEY_SECRET": "secret", "OSS_SESSION_TOKEN": "token"}
ALIBABA = {
    "ALIBABA_CLOUD_ACCESS_KEY_ID": "other-id",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "other-secret",
    "ALIBABA_CLOUD_SECURITY_TOKEN": "other-token",
}


def test_secret_and_token_are_in_no_repr() -> None:
    credentials = Credentials("the-id", "the-secret", "the-token")
    for shown in (repr(credentials), str(credentials), f"{credentials}", repr([credentials])):
        assert "the-secret" not in shown
        assert "the-token" not in shown
    assert "the-id" in repr(credentials)
    assert "the-secret" not in repr(StaticCredentialsProvider(credentials))
    assert "secret" not in repr(EnvironmentVariableCredentialsProvider(OSS)).lower()


@pytest.mark.parametrize(("key_id", "secret"), [("", "swordfish"), ("the-id", ""), ("", "")])
def test_half_a_key_is_refused_without_naming_it(key_id: str, secret: str) -> None:
    with pytest.raises(CredentialsError, match="needs both its ID and its secret") as caught:
        Credentials(key_id, secret)
    assert "swordfish" not in str(caught.value)


def test_an_expiration_must_know_its_zone() -> None:
    with pytest.raises(CredentialsError, match="aware"):
        Credentials("id", "secret", expiration=datetime(2030, 1, 1))
    aware = datetime(2030, 1, 1, tzinfo=timezone.utc)
    assert Credentials("id", "secret", expiration=aware).expiration == aware


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, (None, None, None)),
        (OSS, ("id", "secret", "token")),
        (ALIBABA, ("other-id", "other-secret", "other-token")),
        ({**ALIBABA, **OSS}, ("id", "secret", "token")),
        ({**ALIBABA, **OSS, "OSS_SESSION_TOKEN": ""}, ("id", "secret", None)),
        ({**ALIBABA, "OSS_ACCESS_KEY_ID": "id"}, ("id", None, None)),
        ({**ALIBABA, "OSS_ACCESS_KEY_SECRET": "secret"}, (None, "secret", None)),
        ({**ALIBABA, "OSS_SESSION_TOKEN": "token"}, (None, None, "token")),
        ({**OSS, "ALIBABA_CLOUD_SECURITY_TOKEN": "other-token", "OSS_SESSION_TOKEN": ""}, ("id", "secret", None)),
        ({**ALIBABA, **dict.fromkeys(OSS, "")}, ("other-id", "other-secret", "other-token")),
        ({**ALIBABA, **dict.fromkeys(OSS, " \n")}, ("other-id", "other-secret", "other-token")),
        ({"OSS_ACCESS_KEY_ID": " id\n", "OSS_ACCESS_KEY_SECRET": "secret\r\n"}, ("id", "secret", None)),
    ],
    ids=[
        "none",
        "oss",
        "alibaba",
        "oss-first",
        "oss-without-token",
        "only-the-id",
        "only-the-secret",
        "only-the-token",
        "foreign-token",
        "empty-counts-as-unset",
        "blank-counts-as-unset",
        "blanks-around",
    ],
)
def test_the_three_values_come_from_one_family(
    environ: dict[str, str], expected: tuple[str | None, str | None, str | None]
) -> None:
    assert from_environ(environ) == expected


def test_the_environment_provider_sees_a_changed_key() -> None:
    environ = dict(OSS)
    provider = EnvironmentVariableCredentialsProvider(environ)
    assert provider.get_credentials() == Credentials("id", "secret", "token")
    environ.update(OSS_ACCESS_KEY_ID="id2", OSS_ACCESS_KEY_SECRET="secret2", OSS_SESSION_TOKEN="")
    assert provider.get_credentials() == Credentials("id2", "secret2", None)


@pytest.mark.parametrize(
    "environ",
    [{}, {"OSS_ACCESS_KEY_ID": "id"}, {"OSS_ACCESS_KEY_SECRET": "swordfish"}, {"OSS_SESSION_TOKEN": "swordfish"}],
    ids=["none", "id", "secret", "token"],
)
def test_the_environment_provider_says_what_to_set_and_not_what_is_set(environ: dict[str, str]) -> None:
    with pytest.raises(CredentialsError, match="Set OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET") as caught:
        EnvironmentVariableCredentialsProvider(environ).get_credentials()
    assert "swordfish" not in str(caught.value)


def test_the_static_provider_gives_the_same_for_ever() -> None:
    credentials = Credentials("id", "secret")
    provider = StaticCredentialsProvider(credentials)
    assert provider.get_credentials() is provider.get_credentials() is credentials
