"""PresignedPost: its payload for each kind of client, and the same as JSON."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oss_wsgi.callback.ticket import TicketBook
from oss_wsgi.signing.grant import Grant
from oss_wsgi.signing.presigner import PresignedPost
from tests.signing.forms import CALLBACK, HOST, ID, NOW, SCOPE, SECRET, TOKEN, presigner


@pytest.mark.parametrize(
    ("version", "token", "callback_url", "filename"), [("v1", None, None, None), ("v4", TOKEN, CALLBACK, '猫".png')]
)
def test_json_is_written_as_json_dumps_writes_it(
    version: str, token: str | None, callback_url: str | None, filename: str | None
) -> None:
    signer = presigner(
        tickets=TicketBook(["t" * 32], clock=lambda: NOW),
        signature_version=version,
        session_token=token,
        callback_url=callback_url,
        upload_names="original",
    )
    exact = Grant(metadata={"a": 'é"\\'}, custom={"b": "</script>"})
    grant = exact if filename else Grant(dir='用户\u2003"x/')
    form = signer.presign(grant, filename=filename)
    assert list(form.payload()["fields"].items()) == list(form.fields.items()), "in the order to send"
    assert form.json() == json.dumps(form.payload()).encode()


@pytest.mark.slow
@given(values=st.lists(st.text(), min_size=4, max_size=4))
def test_any_text_is_escaped_as_json(values: list[str]) -> None:
    fields = {"key": values[0], "policy": "cA==", "Signature": f"s{values[1]}"}
    form = PresignedPost(values[2], fields, 1733228232, values[3], values[0])
    payload = form.payload()
    assert (payload["fields"], payload["url"], payload["dir"]) == (fields, values[2], values[3])
    assert form.json() == json.dumps(form.payload()).encode()


@pytest.mark.parametrize("token", [None, TOKEN], ids=["key", "sts"])
@pytest.mark.parametrize("version", ["v1", "v4"])
def test_the_payload_serves_the_clients_of_both_versions(version: str, token: str | None) -> None:
    form = presigner(signature_version=version, session_token=token, callback_url=CALLBACK).presign()
    of_v4 = {
        "x_oss_signature_version": "OSS4-HMAC-SHA256",
        "version": "OSS4-HMAC-SHA256",
        "x_oss_credential": SCOPE,
        "x_oss_date": "20241203T121212Z",
        "security_token": token or "",
    }
    assert form.payload() == {
        "method": "POST",
        "url": HOST,
        "fields": form.fields,
        "headers": {},
        "expire": NOW + 300,
        "accessid": ID,
        "host": HOST,
        "policy": form.fields["policy"],
        "signature": form.fields["Signature" if version == "v1" else "x-oss-signature"],
        "callback": form.fields["callback"],
        "dir": "user-dir-prefix/",
        **({} if version == "v1" else of_v4),
    }


def test_without_a_callback_the_payload_has_an_empty_one() -> None:
    assert presigner().presign().payload()["callback"] == ""


def test_the_payload_has_no_secret() -> None:
    form = presigner(session_token=TOKEN, callback_url=CALLBACK).presign(filename="猫.png")
    assert SECRET not in form.json().decode()


def test_no_repr_shows_a_secret() -> None:
    signer = presigner(session_token=TOKEN)
    form = signer.presign()
    for shown in (repr(signer), repr(form), str(form)):
        assert SECRET not in shown
        assert TOKEN not in shown
        assert form.fields["x-oss-signature"] not in shown


def test_a_form_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        presigner().presign().expire = 0  # type: ignore[misc]
