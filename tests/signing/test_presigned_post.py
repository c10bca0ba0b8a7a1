"""PresignedPost: the answer written quickly is the answer."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oss_wsgi.callback.ticket import TicketBook
from oss_wsgi.settings import Settings
from oss_wsgi.signing.grant import Grant
from oss_wsgi.signing.presigner import PostPresigner, PresignedPost

VALUES = {"bucket": "examplebucket", "region": "cn-hangzhou", "access_key_id": "id", "access_key_secret": "secret"}


@pytest.mark.parametrize("version", ["v1", "v4"])
@pytest.mark.parametrize("token", [None, "Token+/=="])
@pytest.mark.parametrize("callback_url", [None, "https://app.example.com/oss/callback"])
@pytest.mark.parametrize("filename", [None, "猫\".png"])
def test_json_is_the_payload(
    version: str, token: str | None, callback_url: str | None, filename: str | None
) -> None:
    settings = Settings(
        **VALUES, signature_version=version, session_token=token, callback_url=callback_url, upload_names="original"
    )
    book = TicketBook(["t" * 32], clock=lambda: 1733227932)
    exact = Grant(metadata={"a": 'é"\\'}, custom={"b": "</script>"})
    grant = exact if filename else Grant(dir='用户\u2003"x/')
    form = PostPresigner(settings, clock=lambda: 1733227932, tickets=book).presign(grant, filename=filename)
    assert json.loads(form.json()) == form.payload()
    assert list(json.loads(form.json())["fields"]) == list(form.fields), "in the order to send"
    assert form.json() == json.dumps(form.payload()).encode()


@given(values=st.lists(st.text(), min_size=4, max_size=4))
def test_any_text_is_written_as_json(values: list[str]) -> None:
    fields = {"key": values[0], "policy": "cA==", "Signature": f"s{values[1]}"}
    form = PresignedPost(values[2], fields, 1733228232, values[3], values[0])
    assert form.json() == json.dumps(form.payload()).encode()
