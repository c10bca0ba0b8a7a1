"""PostPresigner: types, sizes and expiry stay within the grant, the settings and the credentials."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from oss_wsgi.credentials import Credentials
from oss_wsgi.exceptions import CredentialsError, GrantError, MalformedRequestError, OutsideGrantError, SettingsError
from oss_wsgi.settings import Settings
from oss_wsgi.signing.grant import Grant
from oss_wsgi.signing.presigner import PostPresigner
from tests.signing.forms import (
    CALLBACK,
    FULL_GRANT,
    ID,
    NOW,
    RANDOM,
    SECRET,
    TOKEN,
    Provider,
    assert_every_field_is_pinned,
    assert_signed,
    conditions,
    document,
    presigner,
)

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
    pinned = [c for c in conditions(form) if c[0] != "content-length-range" and c[1].lower().endswith("content-type")]
    assert pinned == expected
    names = {name for name in form.fields if name.lower().endswith("content-type")}
    assert names == ({"x-oss-content-type", "Content-Type"} if content_type and filename else set())


@pytest.mark.parametrize("content_type", ["image/png2", 'text/html; a="image/png"'])
def test_a_type_outside_the_list_is_not_signed(content_type: str) -> None:
    for signer, grant in (
        (presigner(upload_content_types=("image/png",)), None),
        (presigner(), Grant(content_types=["image/png"])),
    ):
        with pytest.raises(OutsideGrantError) as caught:
            signer.presign(grant, content_type=content_type)
        assert caught.value.reason == "content_type_not_allowed"


def test_an_allowed_type_may_have_parameters_and_any_case() -> None:
    signer = presigner(upload_content_types=("text/plain",))
    form = signer.presign(filename="a", content_type="Text/Plain;charset=UTF-8")
    assert form.fields["x-oss-content-type"] == "Text/Plain;charset=UTF-8"


def test_the_types_of_a_grant_replace_those_of_the_settings() -> None:
    signer = presigner(upload_content_types=("image/png",))
    assert ("in", "content-type", ["text/plain"]) in conditions(signer.presign(Grant(content_types=["text/plain"])))
    assert all("content-type" not in c for c in conditions(signer.presign(Grant(content_types=[]))))
    with pytest.raises(OutsideGrantError):
        signer.presign(Grant(content_types=["text/plain"]), content_type="image/png")


# Sizes


@pytest.mark.parametrize(
    ("grant", "size", "expected"),
    [
        (None, None, (0, 1000)),
        (Grant(max_size=2000), None, (0, 2000)),
        (Grant(min_size=5, max_size=5), None, (5, 5)),
        (None, 0, (0, 0)),
        (None, 1000, (1000, 1000)),
    ],
)
def test_the_size_is_a_range_or_exact(grant: Grant | None, size: int | None, expected: tuple[int, int]) -> None:
    form = presigner(upload_max_size=1000).presign(grant, size=size)
    assert ("content-length-range", *expected) in conditions(form)


@pytest.mark.parametrize(("grant", "size"), [(None, 1001), (None, -1), (Grant(min_size=5), 4), (Grant(max_size=5), 6)])
def test_a_size_outside_the_grant_is_not_signed(grant: Grant | None, size: int) -> None:
    with pytest.raises(OutsideGrantError) as caught:
        presigner(upload_max_size=1000).presign(grant, size=size)
    assert caught.value.reason == "size_not_allowed"


def test_a_range_that_no_file_fits_is_not_signed() -> None:
    with pytest.raises(GrantError, match="min_size 11 is over the largest file allowed, 10 bytes: lower it"):
        presigner(upload_max_size=10).presign(Grant(min_size=11))


GB = 1024**3


@pytest.mark.parametrize(
    ("grant", "expected"),
    [
        (Grant(), (1000, 0, ["image/png"], 60)),
        (Grant(max_size=10, min_size=5, content_types=["text/plain"], expires=7), (10, 5, ["text/plain"], 7)),
        (Grant(content_types=[]), (1000, 0, [], 60)),
    ],
    ids=["settings", "grant", "any type"],
)
def test_the_limits_are_those_of_a_form(grant: Grant, expected: tuple[Any, ...]) -> None:
    settings: dict[str, Any] = {"upload_max_size": 1000, "upload_content_types": ("image/png",), "upload_expires": 60}
    assert presigner(**settings).limits(grant) == expected


@pytest.mark.parametrize(("multipart", "largest"), [(True, 6 * GB), (False, None)])
def test_only_parts_take_more_than_5_gb(multipart: bool, largest: int | None) -> None:
    signer, grant = presigner(multipart=multipart), Grant(max_size=6 * GB)
    if largest is None:
        for refused in (signer.limits, signer.presign):
            with pytest.raises(GrantError, match="set OSS_MULTIPART=on"):
                refused(grant)
    else:
        assert signer.limits(grant).max_size == largest
        assert ("content-length-range", 0, 5 * GB) in conditions(signer.presign(grant)), "a form takes no more"
        with pytest.raises(GrantError, match="min_size"):
            signer.presign(Grant(max_size=6 * GB, min_size=5 * GB + 1))
    assert signer.limits(Grant(max_size=5 * GB)).max_size == 5 * GB


# What parts and folders are granted


def test_an_upload_in_parts_stores_what_a_form_would() -> None:
    fields = {"acl": "private", "storage_class": "IA", "content_disposition": "inline"}
    grant = Grant(dir="u/", metadata={"tag": "v", "empty": ""}, max_size=9, **fields)  # type: ignore[arg-type]
    target = presigner().parts_target(grant, filename="a.mp4", content_type="Video/MP4; x=y", size=None)
    assert target == (
        f"u/20241203/{RANDOM}.mp4",
        (0, 9),
        [],
        {
            "Content-Type": "Video/MP4; x=y",
            "x-oss-forbid-overwrite": "true",
            "x-oss-object-acl": "private",
            "x-oss-storage-class": "IA",
            "Content-Disposition": "inline",
            "x-oss-meta-tag": "v",
        },
    )


def test_parts_without_a_type_are_bytes_that_a_browser_downloads() -> None:
    target = presigner().parts_target(Grant(forbid_overwrite=False), filename="a", content_type=None, size=5)
    assert target.headers == {"Content-Type": "application/octet-stream"}
    assert target.sizes == (5, 5)


@pytest.mark.parametrize("content_types", [None, ["text/html", "text/css"]])
def test_parts_are_of_an_allowed_type(content_types: list[str] | None) -> None:
    signer = presigner(upload_content_types=("image/png", "image/gif"))
    grant = Grant(content_types=content_types)
    allowed, other = ("image/png", "text/html") if content_types is None else ("text/html", "image/png")
    assert signer.parts_target(grant, filename="a", content_type=allowed, size=None).content_types == [allowed]
    for refused in (other, None):
        with pytest.raises(OutsideGrantError):
            signer.parts_target(grant, filename="a", content_type=refused, size=None)


def test_parts_need_a_name_and_may_be_larger_than_a_form() -> None:
    signer = presigner(multipart=True)
    with pytest.raises(MalformedRequestError) as raised:
        signer.parts_target(Grant(), filename=None, content_type=None, size=None)
    assert raised.value.reason == "filename_required"
    target = signer.parts_target(Grant(key="u/a.bin", max_size=6 * GB), filename=None, content_type=None, size=6 * GB)
    assert (target.key, target.sizes) == ("u/a.bin", (6 * GB, 6 * GB))
    with pytest.raises(MalformedRequestError) as raised:
        signer.parts_target(Grant(), filename="", content_type=None, size=None)
    assert raised.value.reason == "filename_malformed"


@pytest.mark.parametrize(
    ("names", "grant", "path", "folder"),
    [
        ("original", Grant(), "a/b/c.png", "user-dir-prefix/a/b/"),
        ("original", Grant(dir="u/"), "a/b/c.png", "u/a/b/"),
        ("original", Grant(dir=""), "a/c.png", "a/"),
        ("original", Grant(dir="u/"), None, "u/"),
        ("original", Grant(dir="u/"), "a/".ljust(1023, "n"), "u/a/"),
        ("original", Grant(dir="u/", key="u/x"), "a/b/c.png", "u/"),
        ("unique", Grant(dir="u/"), "a/b/c.png", "u/"),
    ],
)
def test_original_names_keep_the_folders_of_a_chosen_folder(
    names: str, grant: Grant, path: str | None, folder: str
) -> None:
    assert presigner(upload_names=names).in_folder(grant, path).dir == folder


def test_a_filename_has_4096_characters_at_most() -> None:
    assert presigner().presign(filename="n" * 4096).key
    with pytest.raises(MalformedRequestError):
        presigner().presign(filename="n" * 4097)


def test_an_overlong_path_of_a_folder_is_refused() -> None:
    with pytest.raises(MalformedRequestError) as raised:
        presigner(upload_names="original").in_folder(Grant(), "a/".ljust(1024, "n"))
    assert raised.value.reason == "filename_malformed"


# Time and credentials


def test_only_a_provider_may_wait_and_is_asked_whether_it_can_sign() -> None:
    own = presigner()
    assert own.is_nonblocking
    own.check()
    provider = Provider(CredentialsError("none today"))
    assert not presigner(provider).is_nonblocking
    with pytest.raises(CredentialsError, match="none today"):
        presigner(provider).check()


@pytest.mark.parametrize(
    ("grant", "left", "expected"),
    [
        (None, None, NOW + 300),
        (Grant(expires=60), None, NOW + 60),
        (None, timedelta(seconds=299), NOW + 299),
        (Grant(expires=86400), timedelta(seconds=30, microseconds=999_999), NOW + 30),
        (None, timedelta(seconds=1), NOW + 1),
    ],
)
def test_the_policy_never_outlives_the_credentials(grant: Grant | None, left: timedelta | None, expected: int) -> None:
    expiration = None if left is None else datetime.fromtimestamp(NOW, timezone(timedelta(hours=8))) + left
    form = presigner(Provider(Credentials(ID, SECRET, TOKEN, expiration))).presign(grant)
    assert form.expire == expected
    assert type(form.expire) is int
    written = datetime.strptime(document(form)["expiration"], "%Y-%m-%dT%H:%M:%S.000Z").replace(tzinfo=timezone.utc)
    assert written.timestamp() == expected


@pytest.mark.parametrize("left", [0.999, -1])
def test_expired_credentials_do_not_sign(left: float) -> None:
    expiration = datetime.fromtimestamp(NOW, timezone.utc) + timedelta(seconds=left)
    with pytest.raises(CredentialsError, match="expired"):
        presigner(Provider(Credentials(ID, SECRET, TOKEN, expiration))).presign()


def test_the_provider_is_called_once_for_each_signature() -> None:
    provider = Provider(Credentials(ID, SECRET))
    signer = presigner(provider, callback_url=CALLBACK)
    assert provider.calls == 0
    for count in (1, 2, 3):
        signer.presign(FULL_GRANT, filename="a.png", content_type="image/png", size=1)
        assert provider.calls == count


@pytest.mark.parametrize("version", ["v1", "v4"])
def test_changed_credentials_are_used_at_once_and_never_mixed(version: str) -> None:
    provider = Provider(Credentials(ID, SECRET))
    signer = presigner(provider, signature_version=version)
    for key_id, secret, token in (
        ("STS.one", "s1", "t1"),
        ("STS.two", "s2", "t2"),
        ("STS.two", "s3", "t3"),
        ("x", "s1", None),
    ):
        provider.credentials = Credentials(key_id, secret, token)
        form = signer.presign()
        assert_signed(form, secret)
        assert_every_field_is_pinned(form)
        assert form.access_key_id == key_id
        assert form.fields.get("x-oss-security-token") == token
        assert form.fields.get("OSSAccessKeyId", form.fields.get("x-oss-credential", "").split("/")[0]) == key_id


def test_the_error_of_a_provider_is_raised() -> None:
    with pytest.raises(CredentialsError, match="none today"):
        presigner(Provider(CredentialsError("none today"))).presign()


def test_date_scope_and_key_change_together_at_utc_midnight() -> None:
    times = iter([1767225599.999, 1767225600.0, 1767225599.0])
    signer = presigner(clock=lambda: next(times), region="cn-shanghai")
    for day, date in (
        ("20251231", "20251231T235959Z"),
        ("20260101", "20260101T000000Z"),
        ("20251231", "20251231T235959Z"),
    ):
        form = signer.presign(filename="a.png")
        assert form.fields["x-oss-date"] == date
        assert form.fields["x-oss-credential"] == f"{ID}/{day}/cn-shanghai/oss/aliyun_v4_request"
        assert form.fields["key"].startswith(f"user-dir-prefix/{day}/")
        assert_signed(form, region="cn-shanghai")


def test_the_clock_is_read_once() -> None:
    reads: list[int] = []
    presigner(clock=lambda: (reads.append(1), NOW)[1]).presign(FULL_GRANT, filename="a.png")
    assert reads == [1]


def test_a_presigner_needs_a_bucket_and_a_key() -> None:
    with pytest.raises(SettingsError, match="OSS_BUCKET"):
        PostPresigner(Settings(access_key_id=ID, access_key_secret=SECRET), clock=lambda: NOW)
    with pytest.raises(SettingsError, match="OSS_ACCESS_KEY_ID"):
        PostPresigner(Settings(bucket="examplebucket", region="cn-hangzhou"), clock=lambda: NOW)
    provider = Provider(Credentials(ID, SECRET))
    PostPresigner(Settings(bucket="examplebucket", region="cn-hangzhou"), provider, clock=lambda: NOW).presign()
