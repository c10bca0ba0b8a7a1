"""Settings: one table, read from a mapping, everything that is wrong said at once and no secret in it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oss_wsgi.exceptions import SettingsError
from oss_wsgi.settings import TABLE, Settings

USUAL = {"OSS_BUCKET": "examplebucket", "OSS_REGION": "cn-hangzhou"}
HOST = "https://examplebucket.oss-cn-hangzhou.aliyuncs.com"
INTERNAL = "https://examplebucket.oss-cn-hangzhou-internal.aliyuncs.com"
ACCELERATED = "https://examplebucket.oss-accelerate.aliyuncs.com"
BEIJING = "https://oss-cn-beijing.aliyuncs.com"
SECRET = "swordfish-0123456789-0123456789-0123456789"


def problems(**environ: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ(environ)
    assert str(caught.value).splitlines() == list(caught.value.problems)
    return list(caught.value.problems)


def only_problem(**environ: str) -> str:
    (problem,) = problems(**environ)
    return problem


ROWS: dict[str, tuple[str, str, Any, Any]] = {
    # name: variable, text, value, default
    "access_key_id": ("OSS_ACCESS_KEY_ID", " LTAI ", "LTAI", None),
    "access_key_secret": ("OSS_ACCESS_KEY_SECRET", "secret\n", "secret", None),
    "session_token": ("OSS_SESSION_TOKEN", "CAIS+/=", "CAIS+/=", None),
    "bucket": ("OSS_BUCKET", "examplebucket", "examplebucket", None),
    "region": ("OSS_REGION", "oss-cn-hangzhou", "cn-hangzhou", None),
    "endpoint": (
        "OSS_ENDPOINT",
        "oss-cn-hangzhou-internal.aliyuncs.com/",
        "https://oss-cn-hangzhou-internal.aliyuncs.com",
        None,
    ),
    "host": ("OSS_HOST", "https://upload.example.com/", "https://upload.example.com", None),
    "signature_version": ("OSS_SIGNATURE_VERSION", "V1", "v1", "v4"),
    "callback_url": ("OSS_CALLBACK_URL", "https://a.example/oss/callback", "https://a.example/oss/callback", None),
    "callback_required": ("OSS_CALLBACK_REQUIRED", "off", False, True),
    "upload_dir": ("OSS_UPLOAD_DIR", "a/b/", "a/b/", "user-dir-prefix/"),
    "upload_expires": ("OSS_UPLOAD_EXPIRES", "60", 60, 300),
    "upload_max_size": ("OSS_UPLOAD_MAX_SIZE", "1024", 1024, 1048576000),
    "upload_content_types": ("OSS_UPLOAD_CONTENT_TYPES", "image/PNG, image/jpeg", ("image/png", "image/jpeg"), ()),
    "upload_names": ("OSS_UPLOAD_NAMES", "Original", "original", "unique"),
    "ticket_secret": ("OSS_TICKET_SECRET", f"{SECRET}, {SECRET}2", (SECRET, f"{SECRET}2"), ()),
    "ledger": ("OSS_LEDGER", "handled.sqlite3", "handled.sqlite3", None),
    "allow_anonymous": ("OSS_ALLOW_ANONYMOUS", "yes", True, False),
    "allowed_origins": (
        "OSS_ALLOWED_ORIGINS",
        "https://App.example.com,http://localhost:3000",
        ("https://app.example.com", "http://localhost:3000"),
        (),
    ),
    "trusted_keys": (
        "OSS_TRUSTED_KEYS",
        "http://127.0.0.1:8081/k.pem?v=1=/etc/k.pem",
        (("http://127.0.0.1:8081/k.pem?v=1", "/etc/k.pem"),),
        (),
    ),
}


def test_the_table_is_the_list_of_the_design() -> None:
    assert [(row.name, row.variable, row.default) for row in TABLE] == [
        (name, variable, default) for name, (variable, _, _, default) in ROWS.items()
    ]
    assert [field.name for field in dataclasses.fields(Settings)] == list(ROWS)
    assert all(row.help for row in TABLE)
    assert {row.name for row in TABLE if row.secret} == {"access_key_secret", "session_token", "ticket_secret"}


def test_every_row_is_read_from_its_variable() -> None:
    found = Settings.from_environ({variable: text for variable, text, _, _ in ROWS.values()})
    assert {name: getattr(found, name) for name in ROWS} == {name: value for name, (_, _, value, _) in ROWS.items()}


UNSET = [variable for variable, _, _, _ in ROWS.values() if variable != "OSS_UPLOAD_DIR"]


@pytest.mark.parametrize(
    "environ", [{}, dict.fromkeys(UNSET, ""), dict.fromkeys(UNSET, " \n")], ids=["unset", "empty", "blank"]
)
def test_what_is_unset_empty_or_blank_has_its_default(environ: dict[str, str]) -> None:
    found = Settings.from_environ(environ)
    assert {name: getattr(found, name) for name in ROWS} == {name: row[3] for name, row in ROWS.items()}
    assert found.configured is False


def test_an_empty_upload_dir_means_no_prefix() -> None:
    assert Settings.from_environ({"OSS_UPLOAD_DIR": ""}).upload_dir == ""
    assert Settings(upload_dir="").upload_dir == ""


def test_each_value_may_be_given_as_what_it_is_or_as_its_text() -> None:
    as_text = Settings(upload_expires="60", callback_required="off", upload_content_types="image/png")  # type: ignore[arg-type]
    as_value = Settings(upload_expires=60, callback_required=False, upload_content_types=["image/png"])  # type: ignore[arg-type]
    assert as_text == as_value
    pair = {"http://a.example/k.pem": "k.pem"}
    assert Settings(trusted_keys=pair).trusted_keys == (("http://a.example/k.pem", "k.pem"),)  # type: ignore[arg-type]


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().bucket = "other"  # type: ignore[misc]


def test_variables_of_other_programs_do_not_count() -> None:
    assert Settings.from_environ({"PATH": "/bin", "OSS_STS_ROLE_ARN": "acs:ram::1:role/x", "oss_x": "1"}) == Settings()


# Place


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (USUAL, HOST),
        ({**USUAL, "OSS_REGION": "oss-cn-hangzhou"}, HOST),
        ({**USUAL, "OSS_ENDPOINT": "http://oss-cn-hangzhou.aliyuncs.com"}, HOST.replace("https", "http")),
        ({**USUAL, "OSS_ENDPOINT": "https://oss-accelerate.aliyuncs.com"}, ACCELERATED),
        ({**USUAL, "OSS_ENDPOINT": "https://oss.example.com:8443"}, "https://examplebucket.oss.example.com:8443"),
        ({**USUAL, "OSS_HOST": "https://upload.example.com"}, "https://upload.example.com"),
        ({**USUAL, "OSS_HOST": "http://127.0.0.1:8081/examplebucket/"}, "http://127.0.0.1:8081/examplebucket"),
        ({**USUAL, "OSS_HOST": "http://[::1]:8081/examplebucket"}, "http://[::1]:8081/examplebucket"),
        ({"OSS_BUCKET": "examplebucket", "OSS_ENDPOINT": "oss-cn-hangzhou-internal.aliyuncs.com"}, INTERNAL),
        ({"OSS_HOST": HOST}, HOST),
        ({"OSS_HOST": f"{INTERNAL}/"}, INTERNAL),
    ],
)
def test_bucket_region_endpoint_and_host_fill_each_other(environ: dict[str, str], expected: str) -> None:
    found = Settings.from_environ(environ)
    assert found.bucket_and_host() == ("examplebucket", expected)
    assert found.region == "cn-hangzhou"
    assert found.configured is True
    assert dataclasses.replace(found) == found, "what was filled in agrees with itself"


def test_the_host_of_the_seed_says_bucket_and_region() -> None:
    found = Settings.from_environ({"OSS_HOST": "https://my-bucket-1.oss-us-west-1.aliyuncs.com"})
    assert (found.bucket, found.region) == ("my-bucket-1", "us-west-1")
    assert found.endpoint == "https://oss-us-west-1.aliyuncs.com"


def test_an_accelerated_host_says_the_bucket_and_no_region() -> None:
    assert "OSS_REGION must be set" in only_problem(OSS_HOST=ACCELERATED)
    found = Settings.from_environ({"OSS_HOST": ACCELERATED, "OSS_REGION": "cn-hangzhou"})
    assert found.bucket_and_host() == ("examplebucket", ACCELERATED)


def test_version_1_needs_no_region_where_the_host_is_known() -> None:
    environ = {"OSS_BUCKET": "examplebucket", "OSS_SIGNATURE_VERSION": "v1"}
    assert Settings.from_environ({**environ, "OSS_HOST": "https://u.example.com"}).region is None
    assert "OSS_REGION, OSS_ENDPOINT or OSS_HOST must be set" in only_problem(**environ)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"OSS_BUCKET": "other", "OSS_HOST": HOST}, "OSS_BUCKET is 'other', but OSS_HOST says 'examplebucket'"),
        ({"OSS_BUCKET": "other", "OSS_REGION": "cn-hangzhou", "OSS_HOST": ACCELERATED}, "OSS_BUCKET is 'other'"),
        ({"OSS_REGION": "cn-beijing", "OSS_HOST": HOST}, "OSS_REGION is 'cn-beijing', but OSS_HOST says 'cn-hangzhou'"),
        ({**USUAL, "OSS_ENDPOINT": BEIJING}, "OSS_REGION is 'cn-hangzhou', but OSS_ENDPOINT says 'cn-beijing'"),
        ({"OSS_ENDPOINT": BEIJING, "OSS_HOST": HOST}, "but OSS_HOST says 'cn-hangzhou'"),
        ({"OSS_BUCKET": "examplebucket"}, "OSS_REGION must be set: signature version v4 signs it"),
        ({"OSS_BUCKET": "examplebucket", "OSS_HOST": "https://u.example.com"}, "OSS_REGION must be set"),
        ({"OSS_REGION": "cn-hangzhou", "OSS_HOST": "https://u.example.com"}, "OSS_BUCKET must be set"),
        ({**USUAL, "OSS_ENDPOINT": HOST}, "OSS_ENDPOINT must not begin with a bucket's name"),
        ({**USUAL, "OSS_ENDPOINT": "https://oss-cn-hangzhou.aliyuncs.com/x"}, "OSS_ENDPOINT must be like"),
        ({**USUAL, "OSS_ENDPOINT": "ftp://oss-cn-hangzhou.aliyuncs.com"}, "OSS_ENDPOINT must be like"),
    ],
)
def test_a_contradiction_is_refused_in_words(environ: dict[str, str], said: str) -> None:
    assert said in only_problem(**environ)


@pytest.mark.parametrize("bucket", ["ab", "a" * 64, "Examplebucket", "a_b", "-ab", "ab-", "a.b.c", "a/b", "桶桶桶"])
def test_a_bucket_that_oss_would_not_name_so_is_refused(bucket: str) -> None:
    assert "OSS_BUCKET must be 3 to 63" in only_problem(OSS_BUCKET=bucket, OSS_REGION="cn-hangzhou")


@pytest.mark.parametrize("region", ["hangzhou", "CN-hangzhou", "cn_hangzhou", "cn-", "cn-hangzhou/x", "cn hangzhou"])
def test_a_region_that_is_no_id_is_refused(region: str) -> None:
    assert "OSS_REGION must be a region's ID" in only_problem(OSS_BUCKET="examplebucket", OSS_REGION=region)


@pytest.mark.parametrize(
    "host",
    [
        "upload.example.com",
        "//upload.example.com",
        "ftp://upload.example.com",
        "https://",
        "https://upload.example.com?x=1",
        "https://upload.example.com/?",
        "https://upload.example.com/#x",
        "https://upload.example.com:0",
        "https://upload.example.com:99999",
        "https://up load.example.com",
        "https://upload.例.com",
        "https://upload.example.com;script-src",
        "https://upload.example.com'",
        "https://*.example.com",
        "https://[::1",
    ],
)
def test_a_host_that_is_no_web_address_is_refused(host: str) -> None:
    assert "OSS_HOST must be like https://BUCKET.ENDPOINT" in only_problem(**USUAL, OSS_HOST=host)


# One row at a time


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        ("OSS_SIGNATURE_VERSION", "v2", "OSS_SIGNATURE_VERSION must be v4 or v1, not 'v2'."),
        ("OSS_CALLBACK_URL", "http://[::1]/cb", "OSS_CALLBACK_URL: 'http://[::1]/cb' names an IPv6 address"),
        ("OSS_CALLBACK_URL", "http://a.example/cb#x", "has a fragment"),
        ("OSS_CALLBACK_URL", "http://a.example/cb?", "bare '?'"),
        ("OSS_CALLBACK_URL", ";".join(["http://a.example/cb"] * 6), "OSS takes 5"),
        ("OSS_CALLBACK_URL", "http://a.example/" + "x" * 4000, "OSS takes 5120 (5 KB): shorten its URLs"),
        ("OSS_CALLBACK_REQUIRED", "maybe", "OSS_CALLBACK_REQUIRED must be 'on' or 'off', not 'maybe'."),
        ("OSS_ALLOW_ANONYMOUS", "2", "OSS_ALLOW_ANONYMOUS must be 'on' or 'off', not '2'."),
        ("OSS_UPLOAD_DIR", "user1", "OSS_UPLOAD_DIR: 'user1' must end in '/'"),
        ("OSS_UPLOAD_DIR", "/user1/", "must not begin with '/'"),
        ("OSS_UPLOAD_DIR", "/", "must not begin with '/'"),
        ("OSS_UPLOAD_DIR", "a/../b/", "'.' or '..'"),
        ("OSS_UPLOAD_DIR", "${filename}/", "OSS would replace it"),
        ("OSS_UPLOAD_EXPIRES", "0", "OSS_UPLOAD_EXPIRES must be 1 to 604800 seconds (7 days), not 0."),
        ("OSS_UPLOAD_EXPIRES", "604801", "OSS_UPLOAD_EXPIRES must be 1 to 604800 seconds (7 days), not 604801."),
        ("OSS_UPLOAD_EXPIRES", "-1", "OSS_UPLOAD_EXPIRES must be a whole number, written in digits, not '-1'."),
        ("OSS_UPLOAD_EXPIRES", "5m", "OSS_UPLOAD_EXPIRES must be a whole number"),
        ("OSS_UPLOAD_MAX_SIZE", "0", "OSS_UPLOAD_MAX_SIZE must be 1 to 5368709120 bytes (5 GB), not 0."),
        ("OSS_UPLOAD_MAX_SIZE", "5368709121", "OSS_UPLOAD_MAX_SIZE must be 1 to 5368709120"),
        ("OSS_UPLOAD_MAX_SIZE", "1GB", "OSS_UPLOAD_MAX_SIZE must be a whole number"),
        ("OSS_UPLOAD_CONTENT_TYPES", "image/png,image/*", "written out, not 'image/*'."),
        ("OSS_UPLOAD_CONTENT_TYPES", "png", "OSS_UPLOAD_CONTENT_TYPES must list types like image/png"),
        ("OSS_UPLOAD_NAMES", "random", "OSS_UPLOAD_NAMES must be unique or original, not 'random'."),
        ("OSS_TICKET_SECRET", "x" * 31, "OSS_TICKET_SECRET must be at least 32 characters long"),
        ("OSS_TICKET_SECRET", f"{SECRET},short", "OSS_TICKET_SECRET must be at least 32 characters long"),
        ("OSS_ALLOWED_ORIGINS", "https://app.example.com/", "no path or '/', not 'https://app.example.com/'."),
        ("OSS_ALLOWED_ORIGINS", "app.example.com", "OSS_ALLOWED_ORIGINS must list origins"),
        ("OSS_ALLOWED_ORIGINS", "https://*.example.com", "OSS_ALLOWED_ORIGINS must list origins"),
        ("OSS_ALLOWED_ORIGINS", "null", "OSS_ALLOWED_ORIGINS must list origins"),
        ("OSS_ALLOWED_ORIGINS", "*,https://app.example.com", "'*' means every origin"),
        ("OSS_TRUSTED_KEYS", "http://a.example/k.pem", "OSS_TRUSTED_KEYS must be KEY_URL=PEM_FILE pairs"),
        ("OSS_TRUSTED_KEYS", "a.example/k.pem=k.pem", "OSS_TRUSTED_KEYS must name each key by its URL"),
        ("OSS_TRUSTED_KEYS", "http://a/k=1.pem,http://a/k=2.pem", "OSS_TRUSTED_KEYS names a key URL twice."),
        ("OSS_ACCESS_KEY_ID", "LTAI", "OSS_ACCESS_KEY_SECRET must be set too"),
        ("OSS_ACCESS_KEY_SECRET", SECRET, "OSS_ACCESS_KEY_ID must be set too"),
        ("OSS_SESSION_TOKEN", SECRET, "OSS_SESSION_TOKEN belongs to a temporary access key"),
        ("ALIBABA_CLOUD_SECURITY_TOKEN", SECRET, "OSS_SESSION_TOKEN belongs to a temporary access key"),
    ],
)
def test_a_wrong_value_is_refused_in_words(variable: str, text: str, said: str) -> None:
    assert said in only_problem(**{variable: text})


@pytest.mark.parametrize("value", [0, -1, 604801], ids=repr)
def test_numbers_must_be_in_their_range_also_when_given_as_values(value: Any) -> None:
    with pytest.raises(SettingsError, match=r"OSS_UPLOAD_EXPIRES must be 1 to 604800 seconds"):
        Settings(upload_expires=value)
    with pytest.raises(SettingsError, match=r"OSS_UPLOAD_MAX_SIZE must be 1 to"):
        Settings(upload_max_size=-1 if value == 604801 else value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("upload_expires", value) for value in (1.5, float("nan"), True, None)),
        ("upload_max_size", 1e9),
        ("upload_dir", None),
        ("bucket", 5),
        ("callback_required", 1),
        ("upload_content_types", None),
        ("upload_content_types", [5]),
        ("trusted_keys", {"http://a.example/k.pem": 5}),
    ],
)
def test_a_value_of_another_type_is_refused_in_words(name: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=rf"OSS_{name.upper()} cannot be of the type"):
        Settings(**{name: value})


def test_all_problems_are_said_at_once() -> None:
    found = problems(
        OSS_BUKET="x",
        OSS_SECRET="x",
        OSS_ACCESS_KEY_ID="LTAI",
        OSS_BUCKET="B",
        OSS_REGION="x",
        OSS_ENDPOINT="ftp://x",
        OSS_HOST="nonsense",
        OSS_SIGNATURE_VERSION="v3",
        OSS_CALLBACK_URL="http://[::1]:0/cb",
        OSS_CALLBACK_REQUIRED="x",
        OSS_UPLOAD_DIR="a",
        OSS_UPLOAD_EXPIRES="0",
        OSS_UPLOAD_MAX_SIZE="x",
        OSS_UPLOAD_CONTENT_TYPES="x",
        OSS_UPLOAD_NAMES="x",
        OSS_TICKET_SECRET="x",
        OSS_ALLOW_ANONYMOUS="x",
        OSS_ALLOWED_ORIGINS="x",
        OSS_TRUSTED_KEYS="x",
    )
    assert sorted(problem.split(" ")[0].rstrip(":") for problem in found) == sorted(
        [
            "OSS_BUKET",
            "OSS_SECRET",
            "OSS_ACCESS_KEY_SECRET",
            "OSS_BUCKET",
            "OSS_REGION",
            "OSS_ENDPOINT",
            "OSS_HOST",
            "OSS_SIGNATURE_VERSION",
            "OSS_CALLBACK_URL",
            "OSS_CALLBACK_URL",
            "OSS_CALLBACK_REQUIRED",
            "OSS_UPLOAD_DIR",
            "OSS_UPLOAD_EXPIRES",
            "OSS_UPLOAD_MAX_SIZE",
            "OSS_UPLOAD_CONTENT_TYPES",
            "OSS_UPLOAD_NAMES",
            "OSS_TICKET_SECRET",
            "OSS_ALLOW_ANONYMOUS",
            "OSS_ALLOWED_ORIGINS",
            "OSS_TRUSTED_KEYS",
        ]
    )
    assert all(problem.endswith((".", "?")) for problem in found)


# Names


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("OSS_BUKET", "OSS_BUKET is not a setting: did you mean OSS_BUCKET?"),
        ("OSS_ACCESS_KEY", "OSS_ACCESS_KEY is not a setting: did you mean OSS_ACCESS_KEY_ID?"),
        ("OSS_ZZZZZZZZZZZZZZZZZZZZ", "OSS_ZZZZZZZZZZZZZZZZZZZZ is not a setting, remove it."),
    ],
)
def test_an_unknown_name_is_refused_with_the_one_that_was_meant(name: str, said: str) -> None:
    assert only_problem(**{name: SECRET}) == said


# Secrets and keys


ALIBABA = {
    "ALIBABA_CLOUD_ACCESS_KEY_ID": "a",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "b",
    "ALIBABA_CLOUD_SECURITY_TOKEN": "c",
}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (ALIBABA, ("a", "b", "c")),
        ({**ALIBABA, "OSS_ACCESS_KEY_ID": "x", "OSS_ACCESS_KEY_SECRET": "y"}, ("x", "y", None)),
    ],
    ids=["alibaba", "oss-first"],
)
def test_the_credentials_come_from_one_family_of_names(
    environ: dict[str, str], expected: tuple[str, str, str | None]
) -> None:
    found = Settings.from_environ(environ).credentials()
    assert (found.access_key_id, found.access_key_secret, found.security_token) == expected


def test_half_of_each_family_makes_no_whole_key() -> None:
    said = only_problem(OSS_ACCESS_KEY_ID="x", ALIBABA_CLOUD_ACCESS_KEY_SECRET=SECRET)
    assert said == "OSS_ACCESS_KEY_SECRET must be set too: there is an OSS_ACCESS_KEY_ID."


def test_secrets_are_in_no_repr() -> None:
    found = Settings(
        access_key_id="LTAI", access_key_secret=SECRET, session_token=f"{SECRET}t", ticket_secret=(f"{SECRET}u",)
    )
    for shown in (repr(found), str(found), f"{found}", repr(found.credentials()), repr([found])):
        assert "swordfish" not in shown
    assert "LTAI" in repr(found)


@pytest.mark.parametrize("text", [SECRET, f"{SECRET} {SECRET}", f"{SECRET}é", f"{SECRET}\0", "swordfish"])
def test_secrets_are_in_no_error(text: str) -> None:
    names = ("OSS_ACCESS_KEY_SECRET", "OSS_SESSION_TOKEN", "OSS_TICKET_SECRET")
    found = problems(**dict.fromkeys(names, text), OSS_UPLOAD_EXPIRES="x", OSS_BUKET=text)
    assert "swordfish" not in "\n".join(found)
    with pytest.raises(SettingsError) as caught:
        Settings(access_key_secret=text, session_token=text, ticket_secret=("swordfish",))
    assert "swordfish" not in str(caught.value)


@pytest.mark.parametrize("name", ["OSS_HOST", "OSS_ENDPOINT", "OSS_CALLBACK_URL"])
def test_a_password_in_an_address_is_refused_and_not_repeated(name: str) -> None:
    said = only_problem(**USUAL, **{name: "https://user:swordfish@a.example"})
    assert "swordfish" not in said
    assert "//...@a.example" in said


@pytest.mark.parametrize("text", ["LT AI", "LTAI\u00a0x", "钥匙", "a\tb"])
def test_a_key_with_blanks_or_beyond_ascii_is_refused(text: str) -> None:
    found = problems(OSS_ACCESS_KEY_ID=text, OSS_ACCESS_KEY_SECRET=text, OSS_SESSION_TOKEN=text)
    assert [problem.split(" ")[0] for problem in found] == [
        "OSS_ACCESS_KEY_ID",
        "OSS_ACCESS_KEY_SECRET",
        "OSS_SESSION_TOKEN",
    ]


def test_what_is_missing_is_said_when_it_is_asked_for() -> None:
    with pytest.raises(SettingsError, match="OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET must be set"):
        Settings().credentials()
    with pytest.raises(SettingsError, match="OSS_BUCKET and OSS_REGION must be set"):
        Settings().bucket_and_host()


NAMES = st.sampled_from([row[0] for row in ROWS.values()])
TEXTS = st.text(max_size=20) | st.sampled_from(
    ["on", "v1", "60", "a/", "https://[", "https://a:b", "a=b", "\ud800", "//", "@"]
)


@given(environ=st.dictionaries(NAMES, TEXTS | TEXTS.map(lambda text: f"https://{text}"), max_size=6))
@settings(max_examples=300, deadline=None)
def test_no_text_raises_anything_but_a_settings_error(environ: dict[str, str]) -> None:
    try:
        found = Settings.from_environ(environ)
    except SettingsError:
        return
    assert found.bucket is None or found.bucket_and_host()
    assert found.upload_dir == "" or found.upload_dir.endswith("/")
