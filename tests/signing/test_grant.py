"""Grant: what one request may upload, checked when it is made."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oss_wsgi.exceptions import GrantError
from oss_wsgi.object_names import path_problem
from oss_wsgi.signing.grant import Grant

GIGABYTES_5 = 5 * 1024**3
WEEK = 7 * 24 * 3600


def test_an_empty_grant_leaves_the_limits_to_the_settings() -> None:
    grant = Grant()
    assert (grant.user, grant.dir, grant.key, grant.max_size, grant.content_types, grant.expires) == (None,) * 6
    assert grant.min_size == 0
    assert grant.forbid_overwrite is True
    assert grant.has_fields is False


def test_a_missing_slash_is_added_to_dir() -> None:
    assert Grant(dir="user1").dir == "user1/"
    assert Grant(dir="user1/").dir == "user1/"
    assert Grant(dir="").dir == ""
    assert Grant(dir="用户/42").dir == "用户/42/"


def test_content_types_are_lower_case() -> None:
    assert Grant(content_types=["Image/PNG", "image/jpeg"]).content_types == ("image/png", "image/jpeg")
    assert Grant(content_types=[]).content_types == ()


def test_a_grant_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Grant().dir = "other/"  # type: ignore[misc]


@pytest.mark.parametrize(
    "arguments",
    [
        {"key": "a$b.txt"},
        {"key": "a" * 1023},
        {"min_size": GIGABYTES_5, "max_size": GIGABYTES_5},
        {"expires": 1},
        {"expires": WEEK},
        {"acl": "private", "storage_class": "IA", "content_disposition": 'attachment; filename="中.txt"'},
        *({"acl": acl} for acl in ("default", "public-read", "public-read-write")),
        *({"storage_class": name} for name in ("Standard", "Archive", "ColdArchive", "DeepColdArchive")),
        {"user": "u" * 256, "data": {"a": "b" * 1015}},
        {"metadata": {"tag-1": "值 $ ${filename}", "a" * 128: "v"}, "custom": {"order_id": "4&7", "a" * 64: ""}},
    ],
    ids=lambda arguments: ascii(arguments)[:40],
)
def test_a_valid_grant_keeps_its_values(arguments: dict[str, Any]) -> None:
    grant = Grant(**arguments)
    assert all(getattr(grant, name) == value for name, value in arguments.items() if name != "dir")


@pytest.mark.parametrize(
    "arguments",
    [
        {"acl": "private"},
        {"storage_class": "IA"},
        {"content_disposition": "inline"},
        {"metadata": {"a": "b"}},
        {"custom": {"a": "b"}},
    ],
    ids=str,
)
def test_a_grant_with_extra_fields_has_fields(arguments: dict[str, Any]) -> None:
    assert Grant(**arguments).has_fields is True


INVALID: list[tuple[dict[str, Any], str]] = [
    ({"dir": "/a"}, "dir: '/a/' must not begin with '/'"),
    ({"dir": ".."}, "'.' or '..'"),
    ({"dir": "a" * 1023}, "too long"),
    ({"key": ""}, "key: must not be empty"),
    ({"key": "/a"}, "key: '/a' must not begin with '/'"),
    ({"dir": "user1/", "key": "user10/a"}, "'user10/a' is not below dir 'user1/': use a key"),
    ({"min_size": -1}, "0 <= min_size <= max_size"),
    ({"min_size": 2, "max_size": 1}, "0 <= min_size <= max_size"),
    ({"max_size": 10_000 * GIGABYTES_5 + 1}, "(48.8 TB)"),
    ({"min_size": 10_000 * GIGABYTES_5 + 1}, "(48.8 TB)"),
    ({"max_size": 1e6}, "whole numbers"),
    ({"max_size": True}, "whole numbers"),
    ({"expires": 0.5}, "whole numbers"),
    ({"expires": 0}, "expires must be 1 to 604800"),
    ({"expires": WEEK + 1}, "expires must be 1 to 604800"),
    ({"content_types": "image/png"}, "must be a list of types, not the text 'image/png'"),
    ({"content_types": ["image/*"]}, "not 'image/*'"),
    ({"content_types": ["text/plain; charset=utf-8"]}, "content_types must list types"),
    ({"acl": "public"}, "acl must be one of"),
    ({"acl": ""}, "acl must be one of"),
    ({"storage_class": "standard"}, "storage_class must be one of"),
    ({"metadata": {"Tag": "v"}}, "metadata: 'Tag' must be"),
    ({"metadata": {"a\n": "v"}}, "metadata: "),
    ({"metadata": {"": "v"}}, "metadata: "),
    ({"metadata": {"oss-wsgi": "v"}}, "this server's own receipt"),
    ({"metadata": {"a": "v\r\nX: y"}}, "control or invisible"),
    ({"custom": {"x:a": "v"}}, "without 'x:'"),
    ({"custom": {"A": "v"}}, "custom: 'A' must be"),
    ({"metadata": {"a" * 129: "v"}}, "metadata: "),
    ({"custom": {"a" * 65: "v"}}, "custom: "),
    ({"custom": {"1a": "v"}}, "custom: "),
    ({"custom": {"a=${object}&b": "v"}}, "custom: "),
    ({"custom": {"a": "v\u202e"}}, "control or invisible"),
    ({"content_disposition": "inline\r\nX: y"}, "control or invisible"),
    ({"user": 7}, "user must be a text"),
    ({"user": "a" * 257}, "at most 256 characters"),
    ({"data": {1: "a"}}, "data must be a dict that JSON keeps unchanged"),
    ({"data": {"a": (1, 2)}}, "data must be a dict that JSON keeps unchanged"),
    ({"data": {"a": b"1"}}, "data must be a dict that JSON keeps unchanged"),
    ({"data": {"a": float("inf")}}, "data must be a dict that JSON keeps unchanged"),
    ({"data": ["a"]}, "data must be a dict that JSON keeps unchanged"),
    ({"data": {"a": "b" * 1016}}, "data is 1025 bytes of JSON"),
    ({"data": {"a": "值" * 400}}, "data is 2409 bytes of JSON"),
]


@pytest.mark.parametrize(("arguments", "message"), INVALID, ids=lambda value: ascii(value)[:40])
def test_an_invalid_grant_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(GrantError) as caught:
        Grant(**arguments)
    assert message in str(caught.value)


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(GrantError) as caught:
        Grant(dir="../", key="/", min_size=-1, expires=0, content_types=["x"], acl="x", metadata={"A": "\n"})
    starts = [line.split(" ")[0].rstrip(":") for line in str(caught.value).splitlines()]
    assert starts == ["dir", "key", "min_size", "expires", "content_types", "acl", "metadata", "content_disposition,"]


@pytest.mark.slow
@given(name=st.text(st.sampled_from("ab/.\\${}filename \u202e\n中"), max_size=20))
@settings(max_examples=200, deadline=None)
def test_a_valid_dir_ends_in_a_slash_and_never_leaves_its_place(name: str) -> None:
    try:
        grant = Grant(dir=f"users/{name}")
    except GrantError:
        return
    assert grant.dir is not None
    assert grant.dir.startswith("users/") and grant.dir.endswith("/")
    assert path_problem(grant.dir) is None
    assert ".." not in grant.dir.split("/")


def test_the_first_arguments_have_the_documented_order() -> None:
    grant = Grant("eric", "users/eric/", "users/eric/a.txt", 10, 1, ["text/plain"], 60)
    assert (grant.user, grant.dir, grant.key, grant.max_size, grant.min_size) == (
        *("eric", "users/eric/", "users/eric/a.txt", 10, 1),
    )
    assert (grant.content_types, grant.expires) == (("text/plain",), 60)


def test_data_is_not_in_the_repr() -> None:
    grant = Grant(data={"album": 7, "secret": "swordfish"})
    assert grant.data == {"album": 7, "secret": "swordfish"}
    assert "swordfish" not in repr(grant)


@pytest.mark.parametrize("number", [1, 1_000_000])
def test_a_grant_may_be_for_any_number_of_objects(number: int) -> None:
    assert Grant(max_objects=number).max_objects == number


@pytest.mark.parametrize("number", [0, 1_000_001, True, "5"])
def test_a_number_of_objects_that_cannot_be_is_refused(number: Any) -> None:
    with pytest.raises(GrantError, match="max_objects must be a whole number of 1 to 1000000"):
        Grant(max_objects=number)


def test_a_grant_is_for_a_thousand_objects_by_default() -> None:
    assert Grant().max_objects == 1000
