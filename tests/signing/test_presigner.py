"""PostPresigner: the signed form, recomputed by hand; every field is pinned, and nothing is signed beyond the key."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from oss_wsgi.callback.ticket import UPLOAD_SECONDS, Ticket, TicketBook
from oss_wsgi.credentials import Credentials
from oss_wsgi.exceptions import (
    CredentialsError,
    GrantError,
    MalformedRequestError,
    OutsideGrantError,
    PolicyError,
    SettingsError,
    UploadRequestError,
)
from oss_wsgi.settings import Settings
from oss_wsgi.signing.grant import Grant
from oss_wsgi.signing.presigner import PostPresigner, PresignedPost

NOW = 1733227932  # 2024-12-03T12:12:12Z
ID = "LTAI5tExampleKeyId000001"
SECRET = "ExampleSecret0000000000000000A"
TOKEN = "CAISexample+Token/With=Padding=="
RANDOM = "0123456789abcdef0123456789abcdef"
HOST = "https://examplebucket.oss-cn-hangzhou.aliyuncs.com"
CALLBACK = "https://app.example.com/oss/callback"
SCOPE = f"{ID}/20241203/cn-hangzhou/oss/aliyun_v4_request"
UNPINNED = {"policy", "Signature", "x-oss-signature", "success_action_status"}
V4_FIELDS = ["x-oss-signature-version", "x-oss-credential", "x-oss-date"]


class Provider:
    def __init__(self, credentials: Credentials | Exception) -> None:
        self.credentials = credentials
        self.asked = 0

    def get_credentials(self) -> Credentials:
        self.asked += 1
        if isinstance(self.credentials, Exception):
            raise self.credentials
        return self.credentials


def presigner(
    provider: Provider | None = None, clock: Callable[[], float] = lambda: NOW + 0.9, **settings: Any
) -> PostPresigner:
    usual = {"bucket": "examplebucket", "region": "cn-hangzhou", "access_key_id": ID, "access_key_secret": SECRET}
    return PostPresigner(Settings(**{**usual, **settings}), provider, clock=clock, token=lambda: RANDOM)


def document(form: PresignedPost) -> dict[str, Any]:
    return json.loads(base64.b64decode(form.fields["policy"], validate=True))


def literal(value: Any) -> Any:
    """Take the policy's escape off a value."""
    return [literal(item) for item in value] if isinstance(value, list) else value.replace("\\$", "$")


def conditions(form: PresignedPost) -> list[tuple[Any, ...]]:
    """Give the conditions as ``(operator, field, operand)``, and the range as it is."""
    found: list[tuple[Any, ...]] = []
    for condition in document(form)["conditions"]:
        if isinstance(condition, dict):
            ((name, value),) = condition.items()
            found.append(("eq", name, literal(value)))
        elif condition[0] == "content-length-range":
            found.append(tuple(condition))
        else:
            operator, name, operand = condition
            assert name.startswith("$")
            found.append((operator, name[1:], literal(operand)))
    return found


def assert_signed(form: PresignedPost, secret: str = SECRET, region: str = "cn-hangzhou") -> None:
    policy = form.fields["policy"].encode()
    if "Signature" in form.fields:
        expected = base64.b64encode(hmac.new(secret.encode(), policy, hashlib.sha1).digest()).decode()
        assert form.fields["Signature"] == expected
        return
    key = b"aliyun_v4" + secret.encode()
    for step in (form.fields["x-oss-date"][:8], region, "oss", "aliyun_v4_request"):
        key = hmac.new(key, step.encode(), hashlib.sha256).digest()
    assert form.fields["x-oss-signature"] == hmac.new(key, policy, hashlib.sha256).hexdigest()


def assert_every_field_is_pinned(form: PresignedPost) -> None:
    found = conditions(form)
    assert ("eq", "bucket", "examplebucket") in found
    assert sum(condition[0] == "content-length-range" for condition in found) == 1
    for name, value in form.fields.items():
        if name in UNPINNED:
            assert all(condition[1] != name for condition in found)
        elif name == "key" and value.endswith("${filename}"):
            assert ("starts-with", "key", value.removesuffix("${filename}")) in found
        else:
            assert ("eq", name, value) in found, name
    names = [condition[1] for condition in found if condition[0] != "content-length-range"]
    assert len(names) == len(set(names)), "no field has two conditions"
    assert {name for name in names if name not in form.fields} <= {"bucket", "content-type"}


FULL_GRANT = Grant(
    acl="private",
    storage_class="IA",
    content_disposition='attachment; filename="中$.txt"',
    metadata={"tag": "a$b ${filename}", "owner": "艾瑞克"},
    custom={"order_id": "4&7", "a": ""},
)


@pytest.mark.parametrize("version", ["v1", "v4"])
@pytest.mark.parametrize("token", [None, TOKEN], ids=["key", "sts"])
@pytest.mark.parametrize("callback_url", [None, CALLBACK], ids=["no-callback", "callback"])
@pytest.mark.parametrize(
    "request_",
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
def test_every_form_is_signed_over_a_policy_that_pins_every_field(
    request_: dict[str, Any], callback_url: str | None, token: str | None, version: str
) -> None:
    form = presigner(signature_version=version, session_token=token, callback_url=callback_url).presign(**request_)
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


def test_an_exact_form_spells_its_further_fields_as_documented() -> None:
    form = presigner().presign(FULL_GRANT, filename="cat.png", content_type="image/png")
    further = {name: value for name, value in form.fields.items() if name not in (*V4_FIELDS, *UNPINNED, "key")}
    assert further == {
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


def test_overwriting_is_allowed_only_where_the_grant_says_so() -> None:
    form = presigner().presign(Grant(forbid_overwrite=False), filename="cat.png")
    assert form.fields["x-oss-forbid-overwrite"] == "false"
    assert ("eq", "x-oss-forbid-overwrite", "false") in conditions(form)


@pytest.mark.parametrize(
    ("given", "content_type", "issued"),
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
def test_what_a_browser_would_run_is_for_downloading_unless_the_grant_says_otherwise(
    given: str | None, content_type: str | None, issued: str | None
) -> None:
    form = presigner().presign(Grant(content_disposition=given), filename="cat.png", content_type=content_type)
    assert form.fields.get("Content-Disposition") == issued
    assert_every_field_is_pinned(form)


def test_the_acl_of_an_exact_form_is_pinned_so_that_no_browser_adds_one() -> None:
    for grant, acl in ((Grant(), "default"), (Grant(acl="private"), "private")):
        form = presigner().presign(grant, filename="cat.png")
        assert ("eq", "x-oss-object-acl", acl) in conditions(form)
    assert "x-oss-object-acl" not in presigner().presign().fields


# Tickets


def ticket_of(form: PresignedPost, tickets: TicketBook) -> Ticket:
    """Open the ticket in a form's callback body."""
    body = json.loads(base64.b64decode(form.fields["callback"]))["callbackBody"]
    return tickets.open(dict(parse_qsl(body))["ticket"])


def with_tickets(**settings: Any) -> tuple[PostPresigner, TicketBook]:
    tickets = TicketBook([SECRET + SECRET], clock=lambda: NOW)
    values = {"bucket": "examplebucket", "region": "cn-hangzhou", "access_key_id": ID, "access_key_secret": SECRET}
    made = Settings(**{**values, "callback_url": CALLBACK, **settings})
    return PostPresigner(made, clock=lambda: NOW, token=lambda: RANDOM, tickets=tickets), tickets


@pytest.mark.parametrize("custom", [{}, {"order": "7"}])
def test_the_ticket_says_what_the_policy_says(custom: dict[str, str]) -> None:
    signer, tickets = with_tickets()
    grant = Grant("eric", "users/eric/", max_size=10, custom=custom, data={"album": 7})
    form = signer.presign(grant, filename="cat.png", content_type="Image/PNG", size=7)
    ticket = ticket_of(form, tickets)
    assert (ticket.bucket, ticket.key, ticket.prefix) == ("examplebucket", form.fields["key"], "users/eric/")
    assert (ticket.min_size, ticket.max_size, list(ticket.content_types)) == (7, 7, ["image/png"])
    assert (ticket.user, ticket.data) == ("eric", {"album": 7})
    assert ticket.accepted_until == form.expire + UPLOAD_SECONDS
    assert_every_field_is_pinned(form)


def test_the_ticket_of_a_prefix_form_has_the_prefix_and_the_list_of_types() -> None:
    signer, tickets = with_tickets(upload_content_types="image/png,image/jpeg", upload_max_size=99)
    ticket = ticket_of(signer.presign(), tickets)
    assert (ticket.key, ticket.prefix, ticket.user) == (None, "user-dir-prefix/", None)
    assert (ticket.min_size, ticket.max_size) == (0, 99)
    assert list(ticket.content_types) == ["image/png", "image/jpeg"]


def test_each_form_has_a_ticket_of_its_own() -> None:
    signer, tickets = with_tickets()
    assert len({ticket_of(signer.presign(), tickets).id for _ in range(10)}) == 10


def test_a_grant_whose_ticket_does_not_fit_into_the_callback_is_refused() -> None:
    signer, _ = with_tickets(callback_url=";".join(f"https://{'a' * 60}.example.com/{'b' * 350}{i}" for i in range(5)))
    signer.presign()
    with pytest.raises(GrantError, match="5 KB"):
        signer.presign(Grant("eric", data={"a": "b" * 1000}))


# Exact and prefix


def test_with_a_filename_the_key_is_exact_and_made_by_the_server() -> None:
    form = presigner().presign(filename="../../C:\\年度.PNG")
    assert form.fields["key"] == f"user-dir-prefix/20241203/{RANDOM}.png"
    assert ("eq", "key", form.fields["key"]) in conditions(form)
    assert form.dir == "user-dir-prefix/"


def test_with_original_names_the_key_keeps_the_cleaned_name() -> None:
    form = presigner(upload_names="original").presign(Grant(dir="用户/42"), filename="../猫${filename}\u202e.png")
    assert form.fields["key"] == "用户/42/猫__filename_.png"
    assert form.dir == "用户/42/"
    assert "用户/42/猫".encode() in base64.b64decode(form.fields["policy"])


def test_without_a_filename_the_prefix_is_pinned_and_nothing_further_is_issued() -> None:
    form = presigner(session_token=TOKEN).presign(Grant(dir="users/eric"))
    assert form.fields["key"] == "users/eric/${filename}"
    assert ("starts-with", "key", "users/eric/") in conditions(form)
    assert set(form.fields) == {
        "key", "policy", *V4_FIELDS, "x-oss-security-token", "x-oss-signature", "success_action_status",
    }  # fmt: skip


def test_the_dollar_of_a_dir_is_escaped_in_the_policy_and_not_in_the_field() -> None:
    form = presigner().presign(Grant(dir="a$b/"))
    assert form.fields["key"] == "a$b/${filename}"
    assert ["starts-with", "$key", "a\\$b/"] in document(form)["conditions"]


def test_without_a_prefix_any_key_may_begin() -> None:
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


def test_every_unique_name_is_another() -> None:
    made = PostPresigner(
        Settings(bucket="examplebucket", region="cn-hangzhou", access_key_id=ID, access_key_secret=SECRET),
        clock=lambda: NOW,
    )
    keys = {made.presign(filename="a.png").fields["key"] for _ in range(50)}
    assert len(keys) == 50
    assert all(len(key.split("/")[-1]) == 32 + len(".png") for key in keys)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"filename": ""}, "filename_malformed"),
        ({"filename": "a" * 4097}, "filename_malformed"),
        ({"filename": "a.txt", "grant": Grant(dir="d" * 1022)}, "filename_malformed"),
        ({"content_type": ""}, "content_type_malformed"),
        ({"content_type": "png"}, "content_type_malformed"),
        ({"content_type": "image/png\r\nX: y"}, "content_type_malformed"),
        ({"content_type": "image/p${filename}ng"}, "content_type_malformed"),
        ({"content_type": "image/*"}, "content_type_malformed"),
        ({"grant": FULL_GRANT}, "filename_required"),
        ({"grant": Grant(acl="private")}, "filename_required"),
    ],
)
def test_what_is_not_well_formed_is_not_signed(arguments: dict[str, Any], reason: str) -> None:
    provider = Provider(Credentials(ID, SECRET))
    with pytest.raises(MalformedRequestError) as caught:
        presigner(provider).presign(**arguments)
    assert caught.value.reason == reason
    assert provider.asked == 0


def test_a_key_may_have_1023_bytes_and_no_more() -> None:
    made = presigner(upload_names="original")
    assert len(made.presign(Grant(dir="d" * 1017), filename="a.txt").fields["key"]) == 1023
    with pytest.raises(MalformedRequestError):
        made.presign(Grant(dir="d" * 1017), filename="ab.txt")
    with pytest.raises(MalformedRequestError):
        made.presign(Grant(dir="d" * 1017), filename="中.txt")


# Types


def both_types(value: str) -> list[tuple[str, str, str]]:
    return [("eq", "x-oss-content-type", value), ("eq", "Content-Type", value)]


@pytest.mark.parametrize(
    ("types", "content_type", "filename", "expected"),
    [
        ((), None, None, []),
        ((), None, "a.png", []),
        (("image/png", "image/jpeg"), None, None, [("in", "content-type", ["image/png", "image/jpeg"])]),
        (("image/png",), None, "a.png", [("in", "content-type", ["image/png"])]),
        (("image/png",), "image/png", None, [("eq", "content-type", "image/png")]),
        ((), "text/html", None, [("eq", "content-type", "text/html")]),
        (("image/png",), "image/png", "a.png", both_types("image/png")),
        ((), "text/plain; charset=utf-8", "a", both_types("text/plain; charset=utf-8")),
    ],
    ids=["any", "any-exact", "list", "list-exact", "type-prefix", "any-type-prefix", "type-exact", "parameter-exact"],
)
def test_the_type_is_pinned_as_far_as_it_is_known(
    types: tuple[str, ...], content_type: str | None, filename: str | None, expected: list[Any]
) -> None:
    form = presigner(upload_content_types=types).presign(filename=filename, content_type=content_type)
    found = [c for c in conditions(form) if c[0] != "content-length-range" and c[1].lower().endswith("content-type")]
    assert found == expected
    issued = {name for name in form.fields if name.lower().endswith("content-type")}
    assert issued == ({"x-oss-content-type", "Content-Type"} if content_type and filename else set())


@pytest.mark.parametrize("content_type", ["text/html", "image/svg+xml", "image/png2", 'text/html; a="image/png"'])
def test_a_type_outside_the_list_is_not_signed(content_type: str) -> None:
    for made, grant in (
        (presigner(upload_content_types=("image/png",)), None),
        (presigner(), Grant(content_types=["image/png"])),
    ):
        with pytest.raises(OutsideGrantError) as caught:
            made.presign(grant, content_type=content_type)
        assert caught.value.reason == "content_type_not_allowed"


def test_a_type_of_the_list_may_have_parameters_and_any_case() -> None:
    made = presigner(upload_content_types=("text/plain",))
    form = made.presign(filename="a", content_type="Text/Plain;charset=UTF-8")
    assert form.fields["x-oss-content-type"] == "Text/Plain;charset=UTF-8"


def test_the_types_of_a_grant_replace_those_of_the_settings() -> None:
    made = presigner(upload_content_types=("image/png",))
    assert ("in", "content-type", ["text/plain"]) in conditions(made.presign(Grant(content_types=["text/plain"])))
    assert all("content-type" not in c for c in conditions(made.presign(Grant(content_types=[]))))
    with pytest.raises(OutsideGrantError):
        made.presign(Grant(content_types=["text/plain"]), content_type="image/png")


# Sizes


@pytest.mark.parametrize(
    ("grant", "size", "expected"),
    [
        (None, None, (0, 1000)),
        (Grant(max_size=2000), None, (0, 2000)),
        (Grant(min_size=5), None, (5, 1000)),
        (Grant(min_size=5, max_size=5), None, (5, 5)),
        (None, 0, (0, 0)),
        (None, 7, (7, 7)),
        (None, 1000, (1000, 1000)),
        (Grant(max_size=0), 0, (0, 0)),
    ],
)
def test_the_size_is_a_range_or_just_so_many_bytes(
    grant: Grant | None, size: int | None, expected: tuple[int, int]
) -> None:
    form = presigner(upload_max_size=1000).presign(grant, size=size)
    assert ("content-length-range", *expected) in conditions(form)


@pytest.mark.parametrize(
    ("grant", "size"), [(None, 1001), (None, -1), (Grant(min_size=5), 4), (Grant(max_size=5), 6), (None, 10**30)]
)
def test_a_size_outside_the_grant_is_not_signed(grant: Grant | None, size: int) -> None:
    with pytest.raises(OutsideGrantError) as caught:
        presigner(upload_max_size=1000).presign(grant, size=size)
    assert caught.value.reason == "size_not_allowed"


def test_a_range_that_no_file_can_meet_is_not_signed() -> None:
    with pytest.raises(GrantError, match="min_size 11 is over"):
        presigner(upload_max_size=10).presign(Grant(min_size=11))


# Time and credentials


@pytest.mark.parametrize(
    ("grant", "left", "expected"),
    [
        (None, None, NOW + 300),
        (Grant(expires=60), None, NOW + 60),
        (Grant(expires=86400), None, NOW + 86400),
        (None, timedelta(hours=1), NOW + 300),
        (None, timedelta(seconds=299), NOW + 299),
        (Grant(expires=86400), timedelta(seconds=30, microseconds=999_999), NOW + 30),
        (None, timedelta(seconds=1), NOW + 1),
    ],
)
def test_the_policy_ends_when_it_should_and_never_after_the_credentials(
    grant: Grant | None, left: timedelta | None, expected: int
) -> None:
    end = None if left is None else datetime.fromtimestamp(NOW, timezone(timedelta(hours=8))) + left
    form = presigner(Provider(Credentials(ID, SECRET, TOKEN, end))).presign(grant)
    assert form.expire == expected
    assert type(form.expire) is int
    written = datetime.strptime(document(form)["expiration"], "%Y-%m-%dT%H:%M:%S.000Z").replace(tzinfo=timezone.utc)
    assert written.timestamp() == expected


@pytest.mark.parametrize("left", [0.999, 0, -1, -86400])
def test_nothing_is_signed_with_credentials_that_have_expired(left: float) -> None:
    end = datetime.fromtimestamp(NOW, timezone.utc) + timedelta(seconds=left)
    with pytest.raises(CredentialsError, match="expired"):
        presigner(Provider(Credentials(ID, SECRET, TOKEN, end))).presign()


def test_the_provider_is_asked_once_for_each_signature() -> None:
    provider = Provider(Credentials(ID, SECRET))
    made = presigner(provider, callback_url=CALLBACK)
    assert provider.asked == 0
    for count in (1, 2, 3):
        made.presign(FULL_GRANT, filename="a.png", content_type="image/png", size=1)
        assert provider.asked == count


@pytest.mark.parametrize("version", ["v1", "v4"])
def test_credentials_that_change_are_used_at_once_and_never_mixed(version: str) -> None:
    provider = Provider(Credentials(ID, SECRET))
    made = presigner(provider, signature_version=version)
    for key_id, secret, token in (
        ("STS.one", "s1", "t1"),
        ("STS.two", "s2", "t2"),
        ("STS.two", "s3", "t3"),
        ("x", "s1", None),
    ):
        provider.credentials = Credentials(key_id, secret, token)
        form = made.presign()
        assert_signed(form, secret)
        assert_every_field_is_pinned(form)
        assert form.access_key_id == key_id
        assert form.fields.get("x-oss-security-token") == token
        assert form.fields.get("OSSAccessKeyId", form.fields.get("x-oss-credential", "").split("/")[0]) == key_id


def test_the_provider_of_the_application_wins_over_the_key_of_the_settings() -> None:
    form = presigner(Provider(Credentials("other", "other-secret"))).presign()
    assert form.access_key_id == "other"
    assert_signed(form, "other-secret")


def test_what_a_provider_raises_comes_out() -> None:
    with pytest.raises(CredentialsError, match="none today"):
        presigner(Provider(CredentialsError("none today"))).presign()


def test_the_day_changes_at_utc_midnight_in_date_scope_and_key_alike() -> None:
    times = iter([1767225599.999, 1767225600.0, 1767225599.0])
    made = presigner(clock=lambda: next(times), region="cn-shanghai")
    for day, date in (
        ("20251231", "20251231T235959Z"),
        ("20260101", "20260101T000000Z"),
        ("20251231", "20251231T235959Z"),
    ):
        form = made.presign(filename="a.png")
        assert form.fields["x-oss-date"] == date
        assert form.fields["x-oss-credential"] == f"{ID}/{day}/cn-shanghai/oss/aliyun_v4_request"
        assert form.fields["key"].startswith(f"user-dir-prefix/{day}/")
        assert_signed(form, region="cn-shanghai")


def test_the_clock_is_read_once() -> None:
    asked: list[int] = []
    presigner(clock=lambda: (asked.append(1), NOW)[1]).presign(FULL_GRANT, filename="a.png")
    assert asked == [1]


def test_without_a_bucket_or_a_key_no_presigner_is_made() -> None:
    with pytest.raises(SettingsError, match="OSS_BUCKET"):
        PostPresigner(Settings(access_key_id=ID, access_key_secret=SECRET), clock=lambda: NOW)
    with pytest.raises(SettingsError, match="OSS_ACCESS_KEY_ID"):
        PostPresigner(Settings(bucket="examplebucket", region="cn-hangzhou"), clock=lambda: NOW)
    provider = Provider(Credentials(ID, SECRET))
    PostPresigner(Settings(bucket="examplebucket", region="cn-hangzhou"), provider, clock=lambda: NOW).presign()


# Callback


def test_the_callback_names_our_url_and_is_pinned_as_its_base64_text() -> None:
    form = presigner(callback_url=CALLBACK).presign()
    members = json.loads(base64.b64decode(form.fields["callback"], validate=True))
    assert members["callbackUrl"] == CALLBACK
    assert members["callbackSNI"] is True
    assert members["callbackBody"].startswith("filename=${object}&size=${size}&mimeType=${mimeType}&height=")
    assert {"callback": form.fields["callback"]} in document(form)["conditions"]


def test_where_the_callback_is_not_required_it_is_issued_and_not_pinned() -> None:
    form = presigner(callback_url=CALLBACK, callback_required=False).presign()
    assert form.fields["callback"]
    assert all(condition[1] != "callback" for condition in conditions(form))


def test_custom_variables_are_reported_by_the_callback_too() -> None:
    form = presigner(callback_url=CALLBACK).presign(Grant(custom={"order_id": "7"}), filename="a.png")
    body = json.loads(base64.b64decode(form.fields["callback"]))["callbackBody"]
    assert body.endswith("&x:order_id=${x:order_id}")
    assert ("eq", "x:order_id", "7") in conditions(form)


def test_a_callback_over_5_kb_is_not_signed() -> None:
    custom = {f"{'a' * 60}{number}": "v" for number in range(30)}
    with pytest.raises(PolicyError, match="5 KB"):
        presigner(callback_url=CALLBACK).presign(Grant(custom=custom), filename="a.png")


# Payload


def test_the_payload_serves_the_clients_of_v1() -> None:
    form = presigner(signature_version="v1", callback_url=CALLBACK).presign()
    assert form.payload() == {
        "method": "POST",
        "url": HOST,
        "fields": form.fields,
        "headers": {},
        "expire": NOW + 300,
        "accessid": ID,
        "host": HOST,
        "policy": form.fields["policy"],
        "signature": form.fields["Signature"],
        "callback": form.fields["callback"],
        "dir": "user-dir-prefix/",
    }


@pytest.mark.parametrize("token", [None, TOKEN], ids=["key", "sts"])
def test_the_payload_serves_the_clients_of_v4(token: str | None) -> None:
    form = presigner(session_token=token).presign()
    assert form.payload() == {
        "method": "POST",
        "url": HOST,
        "fields": form.fields,
        "headers": {},
        "expire": NOW + 300,
        "accessid": ID,
        "host": HOST,
        "policy": form.fields["policy"],
        "signature": form.fields["x-oss-signature"],
        "callback": "",
        "dir": "user-dir-prefix/",
        "x_oss_signature_version": "OSS4-HMAC-SHA256",
        "version": "OSS4-HMAC-SHA256",
        "x_oss_credential": SCOPE,
        "x_oss_date": "20241203T121212Z",
        "security_token": token or "",
    }


def test_the_payload_is_json_and_holds_no_secret() -> None:
    form = presigner(session_token=TOKEN, callback_url=CALLBACK).presign(filename="猫.png")
    text = json.dumps(form.payload())
    assert json.loads(text) == form.payload()
    assert SECRET not in text


def test_the_host_has_no_slash_at_its_end() -> None:
    form = presigner(host="https://upload.example.com/").presign()
    assert form.payload()["host"] == form.payload()["url"] == "https://upload.example.com"


def test_the_form_and_the_presigner_show_no_secret() -> None:
    made = presigner(session_token=TOKEN)
    form = made.presign()
    for shown in (repr(made), repr(form), str(form)):
        assert SECRET not in shown
        assert TOKEN not in shown
        assert form.fields["x-oss-signature"] not in shown


@given(
    filename=st.text(min_size=1, max_size=40),
    names=st.sampled_from(["unique", "original"]),
    version=st.sampled_from(["v1", "v4"]),
    content_type=st.none() | st.sampled_from(["image/png", "text/plain; a=b"]) | st.text(max_size=10),
)
@examples(max_examples=60, deadline=None)
def test_whatever_a_file_is_called_its_form_is_pinned_and_its_key_stays_below_the_prefix(
    filename: str, names: str, version: str, content_type: str | None
) -> None:
    made = presigner(upload_names=names, signature_version=version, callback_url=CALLBACK)
    try:
        form = made.presign(Grant(dir="用户/$x/"), filename=filename, content_type=content_type)
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


@given(requests=st.lists(REQUESTS, min_size=2, max_size=6))
def test_what_is_kept_from_form_to_form_changes_none(requests: list[Any]) -> None:
    moment = [0]
    provider = Provider(Credentials(ID, SECRET))
    one = presigner(provider, lambda: moment[0])
    for grant, filename, content_type, moment[0], provider.credentials in requests:
        arguments = {"filename": filename, "content_type": content_type}
        if filename is None and grant.has_fields:
            continue
        new = presigner(provider, lambda: moment[0]).presign(grant, **arguments)
        assert one.presign(grant, **arguments).json() == new.json()
