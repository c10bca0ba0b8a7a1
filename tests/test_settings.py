"""Settings: one table, read from texts or values, and secrets that no repr and no error shows."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oss_wsgi.exceptions import SettingsError
from oss_wsgi.settings import TABLE, Settings, items, lower, pairs, switch, text, whole_number, words

SECRET = "swordfish-0123456789-0123456789-0123456789"

ROWS: dict[str, tuple[str, str, Any, Any]] = {
    # name: variable, text, value, default
    "access_key_id": ("OSS_ACCESS_KEY_ID", " LTAI ", "LTAI", None),
    "access_key_secret": ("OSS_ACCESS_KEY_SECRET", "secret\n", "secret", None),
    "session_token": ("OSS_SESSION_TOKEN", "CAIS+/=", "CAIS+/=", None),
    "credentials_library": ("OSS_CREDENTIALS_LIBRARY", "on", True, False),
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
    "report_by": ("OSS_REPORT_BY", "Page", "page", "oss"),
    "callback_required": ("OSS_CALLBACK_REQUIRED", "off", False, True),
    "upload_dir": ("OSS_UPLOAD_DIR", "a/b/", "a/b/", "user-dir-prefix/"),
    "upload_expires": ("OSS_UPLOAD_EXPIRES", "60", 60, 300),
    "upload_max_size": ("OSS_UPLOAD_MAX_SIZE", "1024", 1024, 1048576000),
    "upload_content_types": ("OSS_UPLOAD_CONTENT_TYPES", "image/PNG, image/jpeg", ("image/png", "image/jpeg"), ()),
    "upload_names": ("OSS_UPLOAD_NAMES", "Original", "original", "unique"),
    "name_shards": ("OSS_NAME_SHARDS", "on", True, False),
    "ticket_secret": ("OSS_TICKET_SECRET", f"{SECRET}, {SECRET}2", (SECRET, f"{SECRET}2"), ()),
    "ticket_secret_file": ("OSS_TICKET_SECRET_FILE", "/run/secrets/tickets", "/run/secrets/tickets", None),
    "ledger": ("OSS_LEDGER", "handled.sqlite3", "handled.sqlite3", None),
    "ledger_keep": ("OSS_LEDGER_KEEP", "2 days", 172800, 604800),
    "receipts": ("OSS_RECEIPTS", "off", False, True),
    "signed_ids": ("OSS_SIGNED_IDS", "off", False, True),
    "recover": ("OSS_RECOVER", "on", True, False),
    "multipart": ("OSS_MULTIPART", "on", True, False),
    "part_size": ("OSS_PART_SIZE", "102400", 102400, 16777216),
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


def test_the_table_lists_every_setting_with_its_default() -> None:
    assert [(row.name, row.variable, row.default) for row in TABLE] == [
        (name, variable, default) for name, (variable, _, _, default) in ROWS.items()
    ]
    assert [field.name for field in dataclasses.fields(Settings)] == list(ROWS)
    assert all(row.help for row in TABLE)
    assert {row.name for row in TABLE if row.secret} == {"access_key_secret", "session_token", "ticket_secret"}


def test_every_setting_is_read_from_its_variable() -> None:
    environ = {variable: text for variable, text, _, _ in ROWS.values()}
    del environ["OSS_TICKET_SECRET_FILE"]  # not beside OSS_TICKET_SECRET
    del environ["OSS_RECEIPTS"]  # not beside OSS_REPORT_BY=page
    loaded = Settings.from_environ(environ)
    others = {"ticket_secret_file": None, "receipts": True}
    values = {name: value for name, (_, _, value, _) in ROWS.items()} | others
    assert {name: getattr(loaded, name) for name in ROWS} == values
    assert Settings.from_environ({"OSS_TICKET_SECRET_FILE": "secrets"}).ticket_secret_file == "secrets"
    assert Settings.from_environ({"OSS_RECEIPTS": "off"}).receipts is False


UNSET = [variable for variable, _, _, _ in ROWS.values() if variable != "OSS_UPLOAD_DIR"]


@pytest.mark.parametrize(
    "environ", [{}, dict.fromkeys(UNSET, ""), dict.fromkeys(UNSET, " \n")], ids=["unset", "empty", "blank"]
)
def test_unset_empty_and_blank_variables_mean_the_default(environ: dict[str, str]) -> None:
    loaded = Settings.from_environ(environ)
    assert {name: getattr(loaded, name) for name in ROWS} == {name: row[3] for name, row in ROWS.items()}
    assert loaded.configured is False


def test_an_empty_upload_dir_means_no_prefix() -> None:
    assert Settings.from_environ({"OSS_UPLOAD_DIR": ""}).upload_dir == ""
    assert Settings(upload_dir="").upload_dir == ""


def test_a_value_may_have_its_type_or_be_text() -> None:
    as_text = Settings(upload_expires="60", callback_required="off", upload_content_types="image/png")  # type: ignore[arg-type]
    as_value = Settings(upload_expires=60, callback_required=False, upload_content_types=["image/png"])  # type: ignore[arg-type]
    assert as_text == as_value
    pair = {"http://a.example/k.pem": "k.pem"}
    assert Settings(trusted_keys=pair).trusted_keys == (("http://a.example/k.pem", "k.pem"),)  # type: ignore[arg-type]


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().bucket = "other"  # type: ignore[misc]


def test_variables_of_other_programs_are_ignored() -> None:
    assert Settings.from_environ({"PATH": "/bin", "OSS_STS_ROLE_ARN": "acs:ram::1:role/x", "oss_x": "1"}) == Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("upload_expires", value) for value in (1.5, True, None)),
        ("upload_dir", None),
        ("bucket", 5),
        ("callback_required", 1),
        ("upload_content_types", None),
        ("upload_content_types", [5]),
        ("trusted_keys", {"http://a.example/k.pem": 5}),
        ("trusted_keys", ["http://a.example/k.pem"]),
        ("trusted_keys", 5),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(name: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=rf"^OSS_{name.upper()} must be (of type|a list|a mapping)"):
        Settings(**{name: value})


# Casts


def test_a_switch_has_four_words_for_each_side_and_no_other() -> None:
    assert {switch(word) for word in ("on", " ON ", "1", "true", "Yes")} == {True}
    assert {switch(word) for word in ("off", " OFF\n", "0", "false", "No")} == {False}
    for word in ("", "2", "onn", "y", "оn"):
        with pytest.raises(ValueError, match="must be 'on' or 'off'"):
            switch(word)


@pytest.mark.parametrize(
    "word",
    ["", "-1", "1.0", "1_000", "１２", "²", "1" * 20, "9" * 100_000],
    ids=lambda word: ascii(word[:21]),
)
def test_only_up_to_19_digits_are_a_whole_number(word: str) -> None:
    assert whole_number(f" {'9' * 19} ") == 10**19 - 1
    with pytest.raises(ValueError, match="must be a whole number, written in digits"):
        whole_number(word)


def test_casts_strip_blanks_around_texts_and_words() -> None:
    assert text(" A b\n") == "A b"
    assert lower(" V4 ") == "v4"
    assert items(" A , b c ,, d,") == ("A", "b c", "d")
    assert words("Image/PNG, TEXT/plain") == ("image/png", "text/plain")
    assert items("") == items(" , ") == ()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("https://a.example/k.pem=/etc/k.pem", (("https://a.example/k.pem", "/etc/k.pem"),)),
        ("https://a.example/k?v=1&w=2=k.pem", (("https://a.example/k?v=1&w=2", "k.pem"),)),
        (" http://a/k = one.pem , http://b/k=two.pem,", (("http://a/k", "one.pem"), ("http://b/k", "two.pem"))),
        ("", ()),
    ],
    ids=["one", "split-at-the-last-equals-sign", "two-with-blanks", "none"],
)
def test_pairs_are_split_at_the_last_equals_sign(value: str, expected: tuple[tuple[str, str], ...]) -> None:
    assert pairs(value) == expected


@pytest.mark.parametrize("value", ["http://a/k", "=k.pem", "http://a/k= ", "http://a/k=x.pem,oops"])
def test_a_pair_without_its_url_or_file_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="must be KEY_URL=PEM_FILE pairs"):
        pairs(value)


# Secrets and keys


def test_credentials_may_have_the_names_of_alibaba() -> None:
    key = {"ACCESS_KEY_ID": "a", "ACCESS_KEY_SECRET": "b", "SECURITY_TOKEN": "c"}
    loaded = Settings.from_environ({f"ALIBABA_CLOUD_{name}": value for name, value in key.items()}).credentials()
    assert (loaded.access_key_id, loaded.access_key_secret, loaded.security_token) == ("a", "b", "c")


def test_secrets_are_in_no_repr() -> None:
    loaded = Settings(
        access_key_id="LTAI", access_key_secret=SECRET, session_token=f"{SECRET}t", ticket_secret=(f"{SECRET}u",)
    )
    for shown in (repr(loaded), str(loaded), f"{loaded}", repr(loaded.credentials()), repr([loaded])):
        assert "swordfish" not in shown
    assert "LTAI" in repr(loaded)


@pytest.mark.parametrize("secret", [SECRET, f"{SECRET} {SECRET}", "swordfish"])
def test_secrets_are_in_no_error(secret: str) -> None:
    names = ("OSS_ACCESS_KEY_SECRET", "OSS_SESSION_TOKEN", "OSS_TICKET_SECRET")
    with pytest.raises(SettingsError) as from_texts:
        Settings.from_environ({**dict.fromkeys(names, secret), "OSS_UPLOAD_EXPIRES": "x", "OSS_BUKET": secret})
    assert "swordfish" not in str(from_texts.value)
    with pytest.raises(SettingsError) as from_values:
        Settings(access_key_secret=secret, session_token=secret, ticket_secret=("swordfish",))
    assert "swordfish" not in str(from_values.value)


def test_a_missing_bucket_or_key_is_an_error_when_used() -> None:
    with pytest.raises(SettingsError, match="OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET must be set"):
        Settings().credentials()
    with pytest.raises(SettingsError, match=r"OSS_BUCKET and OSS_REGION must be set.*`oss-wsgi serve.*`oss-wsgi local"):
        Settings().bucket_and_host()


def test_secrets_lists_all_secrets_of_the_settings() -> None:
    loaded = Settings(
        access_key_id="id",
        access_key_secret="s1",
        session_token="s2",
        ticket_secret=["3" * 32, "4" * 32],
        ledger="redis://app:s5@127.0.0.1/0",
    )
    assert loaded.secrets() == ["s1", "s2", "3" * 32, "4" * 32, "s5"]
    assert Settings().secrets() == []


NAMES = st.sampled_from([row[0] for row in ROWS.values()])
TEXTS = st.text(max_size=20) | st.sampled_from(
    ["on", "v1", "60", "a/", "https://[", "https://a:b", "a=b", "\ud800", "//", "@"]
)


@pytest.mark.slow
@given(environ=st.dictionaries(NAMES, TEXTS | TEXTS.map(lambda text: f"https://{text}"), max_size=6))
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_or_raises_a_settings_error(environ: dict[str, str]) -> None:
    try:
        loaded = Settings.from_environ(environ)
    except SettingsError:
        return
    assert loaded.bucket is None or loaded.bucket_and_host()
    assert loaded.upload_dir == "" or loaded.upload_dir.endswith("/")


KUBERNETES = {
    "OSS_WSGI_SERVICE_HOST": "10.0.171.239",
    "OSS_WSGI_SERVICE_PORT": "8080",
    "OSS_WSGI_SERVICE_PORT_HTTP_METRICS": "9090",
    "OSS_WSGI_PORT": "tcp://10.0.171.239:8080",
    "OSS_WSGI_PORT_8080_TCP": "tcp://10.0.171.239:8080",
    "OSS_WSGI_PORT_8080_TCP_PROTO": "tcp",
    "OSS_WSGI_PORT_8080_TCP_PORT": "8080",
    "OSS_WSGI_PORT_8080_TCP_ADDR": "10.0.171.239",
    "OSS_WSGI_PORT_53_UDP_ADDR": "10.0.171.239",
}


def test_the_variables_of_a_kubernetes_service_are_no_settings() -> None:
    assert Settings.from_environ(KUBERNETES) == Settings()
    for name, value in KUBERNETES.items():
        assert Settings.from_environ({name: value}) == Settings()
    other = {name.replace("OSS_WSGI", "OSS_UPLOAD"): value for name, value in KUBERNETES.items()}
    assert Settings.from_environ(other) == Settings(), "a Service named oss-upload"


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("OSS_BUKET", "OSS_BUCKET"),
        ("OSS_WSGI_BUCKET", "OSS_BUCKET"),
        ("OSS_UPLOAD_EXPIRE", "OSS_UPLOAD_EXPIRES"),
        ("OSS_UPLOAD_PORT", "OSS_UPLOAD_"),
        ("OSS_WSGI_PORTS", ""),
        ("OSS_WSGI_PORT_8080", ""),
        ("OSS_WSGI_SERVICE_HOSTS", ""),
    ],
)
def test_a_misspelt_setting_is_refused_beside_a_service(name: str, nearest: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ({**KUBERNETES, name: "x"})
    (problem,) = caught.value.problems
    assert problem.startswith(f"{name} is not a setting")
    assert f"did you mean {nearest}" in problem or not nearest


def test_a_service_named_oss_hides_no_setting() -> None:
    host = {"OSS_HOST": "https://examplebucket.oss-cn-hangzhou.aliyuncs.com"}
    service = {"OSS_SERVICE_HOST": "10.0.0.1", "OSS_SERVICE_PORT": "80", "OSS_PORT": "tcp://10.0.0.1:80"}
    assert Settings.from_environ({**service, **host}) == Settings.from_environ(host)


def test_what_a_program_needs_is_missed_together_with_all_that_is_wrong() -> None:
    environ = {"OSS_UPLOAD_NAMES": "odd", "OSS_NONSENSE": "x"}
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ(environ, required=("bucket", "access_key"))
    text = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 4
    for part in ("OSS_UPLOAD_NAMES", "OSS_NONSENSE", "OSS_BUCKET and OSS_REGION must", "OSS_ACCESS_KEY_ID and"):
        assert part in text
    with pytest.raises(SettingsError, match="OSS_ACCESS_KEY_SECRET must be set too") as caught:
        Settings.from_environ({"OSS_ACCESS_KEY_ID": "ID"}, required=("access_key",))
    assert len(caught.value.problems) == 1, "half a key has its own sentence"
    host = {"OSS_HOST": "https://examplebucket.oss-cn-hangzhou.aliyuncs.com"}
    assert Settings.from_environ(host, required=("bucket",)).bucket == "examplebucket"
