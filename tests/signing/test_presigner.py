"""PostPresigner: the form is signed, every field is pinned, and the object's name stays below its prefix."""

from __future__ import annotations

import base64
import json
import re
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from oss_wsgi.callback.ticket import UPLOAD_SECONDS, Ticket, TicketBook
from oss_wsgi.credentials import Credentials
from oss_wsgi.exceptions import GrantError, MalformedRequestError, UploadRequestError
from oss_wsgi.settings import Settings
from oss_wsgi.signing import policy, v4
from oss_wsgi.signing import presigner as presigner_module
from oss_wsgi.signing.grant import Grant
from oss_wsgi.signing.presigner import PostPresigner, PresignedPost
from tests.signing.forms import (
    CALLBACK,
    FULL_GRANT,
    ID,
    NOW,
    RANDOM,
    SCOPE,
    SECRET,
    TOKEN,
    UNPINNED,
    V4_FIELDS,
    Provider,
    assert_every_field_is_pinned,
    assert_signed,
    conditions,
    document,
    presigner,
)


@pytest.mark.parametrize(
    ("version", "token", "callback_url"), [("v1", None, CALLBACK), ("v4", None, None), ("v4", TOKEN, CALLBACK)]
)
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"grant": Grant(dir="用户/a$b/")},
        {"grant": Grant(key="a$b/猫.png")},
        {"filename": "cat.png"},
        {"filename": "cat.png", "content_type": "image/png", "size": 7},
        {"content_type": "image/png"},
        {"grant": FULL_GRANT, "filename": "cat.png", "content_type": "image/png"},
    ],
    ids=["prefix", "dollar-prefix", "key", "filename", "filename-type-size", "prefix-type", "everything"],
)
def test_every_form_is_signed_and_every_field_pinned(
    arguments: dict[str, Any], callback_url: str | None, token: str | None, version: str
) -> None:
    form = presigner(signature_version=version, session_token=token, callback_url=callback_url).presign(**arguments)
    assert_signed(form)
    assert_every_field_is_pinned(form)
    assert ("x-oss-security-token" in form.fields) is (token is not None)
    assert ("callback" in form.fields) is (callback_url is not None)
    assert list(form.fields)[:2] == ["key", "policy"]
    assert list(form.fields)[-1] == "success_action_status"
    assert form.fields["success_action_status"] == "200"
    assert "file" not in form.fields
    assert all(isinstance(value, str) for value in form.fields.values())


def test_a_v4_form_has_the_documented_fields_in_order() -> None:
    form = presigner(callback_url=CALLBACK, session_token=TOKEN).presign()
    assert list(form.fields) == [
        "key", "policy", "callback", *V4_FIELDS, "x-oss-security-token", "x-oss-signature", "success_action_status",
    ]  # fmt: skip
    assert form.fields["key"] == "user-dir-prefix/${filename}"
    assert form.fields["x-oss-signature-version"] == "OSS4-HMAC-SHA256"
    assert form.fields["x-oss-credential"] == SCOPE
    assert form.fields["x-oss-date"] == "20241203T121212Z"
    assert form.fields["x-oss-security-token"] == TOKEN


def test_a_v1_form_has_the_documented_fields_in_order() -> None:
    form = presigner(signature_version="v1", callback_url=CALLBACK).presign()
    assert list(form.fields) == ["key", "policy", "callback", "OSSAccessKeyId", "Signature", "success_action_status"]
    assert form.fields["OSSAccessKeyId"] == ID


def test_an_exact_form_spells_its_extra_fields_as_documented() -> None:
    form = presigner().presign(FULL_GRANT, filename="cat.png", content_type="image/png")
    extra = {name: value for name, value in form.fields.items() if name not in (*V4_FIELDS, *UNPINNED, "key")}
    assert extra == {
        "x-oss-forbid-overwrite": "true",
        "x-oss-content-type": "image/png",
        "Content-Type": "image/png",
        "x-oss-object-acl": "private",
        "x-oss-storage-class": "IA",
        "Content-Disposition": 'attachment; filename="中$.txt"',
        "x-oss-meta-tag": "a$b ${filename}",
        "x-oss-meta-owner": "艾瑞克",
        "x:order_id": "4&7",
        "x:a": "",
    }


def test_only_a_grant_can_allow_overwriting() -> None:
    form = presigner().presign(Grant(forbid_overwrite=False), filename="cat.png")
    assert form.fields["x-oss-forbid-overwrite"] == "false"
    assert ("eq", "x-oss-forbid-overwrite", "false") in conditions(form)


@pytest.mark.parametrize(
    ("disposition", "content_type", "expected"),
    [
        (None, "image/png", None),
        (None, "text/html", "attachment"),
        (None, "image/svg+xml", "attachment"),
        (None, None, "attachment"),
        ("inline", "text/html", "inline"),
        ("", "text/html", None),
        ('attachment; filename="a.png"', "image/png", 'attachment; filename="a.png"'),
    ],
)
def test_a_type_that_browsers_run_is_downloaded_by_default(
    disposition: str | None, content_type: str | None, expected: str | None
) -> None:
    form = presigner().presign(Grant(content_disposition=disposition), filename="cat.png", content_type=content_type)
    assert form.fields.get("Content-Disposition") == expected
    assert_every_field_is_pinned(form)


def test_an_exact_form_always_pins_the_acl() -> None:
    for grant, acl in ((Grant(), "default"), (Grant(acl="private"), "private")):
        form = presigner().presign(grant, filename="cat.png")
        assert ("eq", "x-oss-object-acl", acl) in conditions(form)
    assert "x-oss-object-acl" not in presigner().presign().fields


# Names


def test_a_filename_makes_an_exact_key_of_the_servers_own() -> None:
    form = presigner().presign(filename="../../C:\\年度.PNG")
    assert form.fields["key"] == f"user-dir-prefix/20241203/{RANDOM}.png"
    assert ("eq", "key", form.fields["key"]) in conditions(form)
    assert form.dir == "user-dir-prefix/"


def test_original_names_keep_the_cleaned_filename() -> None:
    form = presigner(upload_names="original").presign(Grant(dir="用户/42"), filename="../猫${filename}\u202e.png")
    assert form.fields["key"] == "用户/42/猫__filename_.png"
    assert form.dir == "用户/42/"
    assert "用户/42/猫".encode() in base64.b64decode(form.fields["policy"])


def test_a_dollar_in_dir_is_escaped_in_the_policy_only() -> None:
    form = presigner().presign(Grant(dir="a$b/"))
    assert form.fields["key"] == "a$b/${filename}"
    assert ["starts-with", "$key", "a\\$b/"] in document(form)["conditions"]


def test_an_empty_prefix_allows_any_key() -> None:
    form = presigner(upload_dir="").presign()
    assert (form.fields["key"], form.dir) == ("${filename}", "")
    assert ("starts-with", "key", "") in conditions(form)


@pytest.mark.parametrize(
    ("grant", "dir_"),
    [(Grant(key="a/b/c.txt"), "a/b/"), (Grant(key="c.txt"), ""), (Grant(dir="a", key="a/b/c.txt"), "a/")],
)
def test_the_key_of_a_grant_wins_over_the_filename(grant: Grant, dir_: str) -> None:
    form = presigner().presign(grant, filename="evil.html")
    assert form.fields["key"] == grant.key
    assert ("eq", "key", grant.key) in conditions(form)
    assert form.dir == dir_


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"filename": ""}, "filename_malformed"),
        ({"content_type": ""}, "content_type_malformed"),
        ({"content_type": "image/*"}, "content_type_malformed"),
        ({"grant": FULL_GRANT}, "filename_required"),
        ({"grant": Grant(acl="private")}, "filename_required"),
    ],
)
def test_a_malformed_request_is_not_signed(arguments: dict[str, Any], reason: str) -> None:
    provider = Provider(Credentials(ID, SECRET))
    with pytest.raises(MalformedRequestError) as caught:
        presigner(provider).presign(**arguments)
    assert caught.value.reason == reason
    assert provider.calls == 0


def test_a_key_has_at_most_1023_bytes() -> None:
    signer = presigner(upload_names="original")
    assert len(signer.presign(Grant(dir="d" * 1017), filename="a.txt").fields["key"]) == 1023
    with pytest.raises(MalformedRequestError) as raised:
        signer.presign(Grant(dir="d" * 1017), filename="é.txt")
    assert raised.value.reason == "filename_malformed"


# Callbacks and tickets


def test_the_callback_is_pinned_as_its_base64_text() -> None:
    form = presigner(callback_url=CALLBACK).presign()
    members = json.loads(base64.b64decode(form.fields["callback"], validate=True))
    assert members["callbackUrl"] == CALLBACK
    assert members["callbackSNI"] is True
    assert members["callbackBody"].startswith("filename=${object}&size=${size}&mimeType=${mimeType}&height=")
    assert {"callback": form.fields["callback"]} in document(form)["conditions"]


def test_a_callback_that_is_not_required_is_not_pinned() -> None:
    form = presigner(callback_url=CALLBACK, callback_required=False).presign()
    assert form.fields["callback"]
    assert all(condition[1] != "callback" for condition in conditions(form))


def test_the_callback_reports_custom_variables() -> None:
    urls = f"{CALLBACK};https://b.example.com/cb"
    form = presigner(callback_url=urls).presign(Grant(custom={"order_id": "7"}), filename="a.png")
    callback = json.loads(base64.b64decode(form.fields["callback"]))
    assert callback["callbackUrl"] == urls
    assert callback["callbackBody"].endswith("&x:order_id=${x:order_id}")
    assert ("eq", "x:order_id", "7") in conditions(form)


def ticket_of(form: PresignedPost, tickets: TicketBook) -> Ticket:
    """Open the ticket in a form's callback body."""
    body = json.loads(base64.b64decode(form.fields["callback"]))["callbackBody"]
    return tickets.open(dict(parse_qsl(body))["ticket"])


def with_tickets(**settings: Any) -> tuple[PostPresigner, TicketBook]:
    tickets = TicketBook([SECRET + SECRET], clock=lambda: NOW)
    return presigner(tickets=tickets, **{"callback_url": CALLBACK, **settings}), tickets


@pytest.mark.parametrize("custom", [{}, {"order": "7"}])
def test_the_ticket_has_the_limits_of_the_policy(custom: dict[str, str]) -> None:
    signer, tickets = with_tickets()
    grant = Grant("eric", "users/eric/", max_size=10, custom=custom, data={"album": 7})
    form = signer.presign(grant, filename="cat.png", content_type="Image/PNG", size=7)
    ticket = ticket_of(form, tickets)
    assert (ticket.bucket, ticket.key, ticket.prefix) == ("examplebucket", form.fields["key"], "users/eric/")
    assert (ticket.min_size, ticket.max_size, list(ticket.content_types)) == (7, 7, ["image/png"])
    assert (ticket.user, ticket.data) == ("eric", {"album": 7})
    assert ticket.expires_at == form.expire + UPLOAD_SECONDS
    assert_every_field_is_pinned(form)


def test_a_prefix_form_has_a_ticket_for_the_prefix_and_types() -> None:
    signer, tickets = with_tickets(upload_content_types="image/png,image/jpeg", upload_max_size=99)
    ticket = ticket_of(signer.presign(Grant(max_objects=7)), tickets)
    assert (ticket.key, ticket.prefix, ticket.user, ticket.max_objects) == (None, "user-dir-prefix/", None, 7)
    assert (ticket.min_size, ticket.max_size) == (0, 99)
    assert list(ticket.content_types) == ["image/png", "image/jpeg"]


@pytest.mark.parametrize("forbid", [True, False])
def test_the_ticket_of_an_exact_form_says_what_it_pins(forbid: bool) -> None:
    signer, tickets = with_tickets()
    for parameters in ({"filename": "cat.png"}, {"grant": Grant(key="a/b.png", forbid_overwrite=forbid)}):
        parameters.setdefault("grant", Grant(forbid_overwrite=forbid))
        form = signer.presign(**parameters)
        assert form.fields["x-oss-forbid-overwrite"] == str(forbid).lower()
        assert ticket_of(form, tickets).forbid_overwrite is forbid
    prefix_form = signer.presign(Grant(forbid_overwrite=forbid))
    assert "x-oss-forbid-overwrite" not in prefix_form.fields
    assert ticket_of(prefix_form, tickets).forbid_overwrite is False


def test_each_form_has_its_own_ticket() -> None:
    signer, tickets = with_tickets()
    assert len({ticket_of(signer.presign(), tickets).id for _ in range(10)}) == 10


def test_a_ticket_too_long_for_the_callback_is_refused() -> None:
    urls = ";".join(f"https://{'a' * 60}.example.com/{'b' * 350}{i}" for i in range(5))
    signer, _ = with_tickets(callback_url=urls)
    signer.presign()
    with pytest.raises(GrantError, match="5 KB"):
        signer.presign(Grant("eric", data={"a": "b" * 1000}))


@pytest.mark.parametrize("names", ["unique", "original"])
def test_the_longest_name_fits_beside_the_longest_data(names: str) -> None:
    name = "猫" * 4000 + ".png"
    signer, tickets = with_tickets(upload_names=names)
    grant = Grant("0" * 64, data={"a": "b" * 1014}, content_types=["image/png", "image/jpeg", "image/webp"])
    filename = ticket_of(signer.presign(grant, filename=name), tickets).filename
    assert filename is not None and name.startswith(filename) and len(filename.encode()) == 255
    signer.presign_put(grant, filename=name, size=1, content_type="image/png")


def test_sharded_names_spread_over_256_parts() -> None:
    settings = Settings(
        bucket="examplebucket", region="cn-hangzhou", access_key_id=ID, access_key_secret=SECRET,
        name_shards=True, upload_dir="a/",
    )  # fmt: skip
    signer = PostPresigner(settings, clock=lambda: NOW)
    keys = [signer.presign(filename="a.png").fields["key"] for _ in range(300)]
    assert all(re.fullmatch(r"a/([0-9a-f]{2})/20241203/\1[0-9a-f]{30}\.png", key) for key in keys)
    assert len({key[2:4] for key in keys}) > 100
    original = presigner(name_shards=True, upload_names="original").presign(filename="a.png")
    assert original.fields["key"].endswith("/a.png")


# Properties


@pytest.mark.slow
@given(
    filename=st.text(min_size=1, max_size=40),
    names=st.sampled_from(["unique", "original"]),
    version=st.sampled_from(["v1", "v4"]),
    content_type=st.none() | st.sampled_from(["image/png", "text/plain; a=b"]) | st.text(max_size=10),
)
@examples(max_examples=60, deadline=None)
def test_no_filename_takes_the_key_out_of_its_prefix(
    filename: str, names: str, version: str, content_type: str | None
) -> None:
    signer = presigner(upload_names=names, signature_version=version, callback_url=CALLBACK)
    try:
        form = signer.presign(Grant(dir="用户/$x/"), filename=filename, content_type=content_type)
    except UploadRequestError:
        return
    assert_signed(form)
    assert_every_field_is_pinned(form)
    name = form.fields["key"].removeprefix("用户/$x/")
    assert name != form.fields["key"]
    assert "${filename}" not in name
    assert name.count("/") == (1 if names == "unique" else 0)
    assert ".." not in name.split("/")


GRANTS = st.sampled_from(
    [
        Grant(),
        Grant(user="eric", dir="users/eric"),
        Grant(acl="private"),
        Grant(forbid_overwrite=False),
        Grant(storage_class="IA", content_disposition="inline"),
        Grant(metadata={"a": "1"}),
        Grant(metadata={"a": "2"}, custom={"b": "3"}),
    ]
)
REQUESTS = st.tuples(
    GRANTS,
    st.sampled_from([None, "cat.png"]),
    st.sampled_from([None, "image/png", "text/html"]),
    st.sampled_from([NOW, NOW + 1]),
    st.sampled_from([Credentials(ID, SECRET), Credentials("STS.other", SECRET, TOKEN)]),
)


@pytest.mark.slow
@given(requests=st.lists(REQUESTS, min_size=2, max_size=6))
def test_cached_fields_never_leak_into_another_form(requests: list[Any]) -> None:
    now = [0]
    provider = Provider(Credentials(ID, SECRET))
    cached = presigner(provider, lambda: now[0])
    # All presigners share them, the fresh ones too.
    modules = policy, presigner_module, v4
    caches = [value for module in modules for value in vars(module).values() if hasattr(value, "cache_clear")]
    for grant, filename, content_type, now[0], provider.credentials in requests:
        arguments = {"filename": filename, "content_type": content_type}
        if filename is None and grant.has_fields:
            continue
        form = cached.presign(grant, **arguments)
        for cache in caches:
            cache.cache_clear()
        assert form.json() == presigner(provider, lambda: now[0]).presign(grant, **arguments).json()
