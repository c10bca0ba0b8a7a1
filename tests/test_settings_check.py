"""settings_check: what the settings imply, and the sentence for each problem."""

from __future__ import annotations

import dataclasses

import pytest

from oss_wsgi.exceptions import SettingsError
from oss_wsgi.settings import Settings
from oss_wsgi.settings_check import unshared

USUAL = {"OSS_BUCKET": "examplebucket", "OSS_REGION": "cn-hangzhou"}
HOST = "https://examplebucket.oss-cn-hangzhou.aliyuncs.com"
INTERNAL = "https://examplebucket.oss-cn-hangzhou-internal.aliyuncs.com"
ACCELERATED = "https://examplebucket.oss-accelerate.aliyuncs.com"
OVERSEAS = "https://examplebucket.oss-accelerate-overseas.aliyuncs.com"
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


# Bucket, region, endpoint and host


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (USUAL, HOST),
        ({**USUAL, "OSS_REGION": "oss-cn-hangzhou"}, HOST),
        ({**USUAL, "OSS_ENDPOINT": "http://oss-cn-hangzhou.aliyuncs.com"}, HOST.replace("https", "http")),
        ({**USUAL, "OSS_ENDPOINT": "https://oss-accelerate.aliyuncs.com"}, ACCELERATED),
        ({**USUAL, "OSS_ENDPOINT": OVERSEAS.replace("examplebucket.", "")}, OVERSEAS),
        ({**USUAL, "OSS_ENDPOINT": "https://oss.example.com:8443"}, "https://examplebucket.oss.example.com:8443"),
        ({**USUAL, "OSS_HOST": "https://upload.example.com"}, "https://upload.example.com"),
        ({**USUAL, "OSS_HOST": "http://127.0.0.1:8081/examplebucket/"}, "http://127.0.0.1:8081/examplebucket"),
        ({**USUAL, "OSS_HOST": "http://[::1]:8081/examplebucket"}, "http://[::1]:8081/examplebucket"),
        ({"OSS_BUCKET": "examplebucket", "OSS_ENDPOINT": "oss-cn-hangzhou-internal.aliyuncs.com"}, INTERNAL),
        ({"OSS_HOST": HOST}, HOST),
    ],
)
def test_bucket_region_endpoint_and_host_fill_each_other(environ: dict[str, str], expected: str) -> None:
    completed = Settings.from_environ(environ)
    assert completed.bucket_and_host() == ("examplebucket", expected)
    assert completed.region == "cn-hangzhou"
    assert completed.configured is True
    assert dataclasses.replace(completed) == completed, "what was filled in agrees with itself"


def test_the_usual_host_implies_bucket_and_region() -> None:
    completed = Settings.from_environ({"OSS_HOST": "https://my-bucket-1.oss-us-west-1.aliyuncs.com"})
    assert (completed.bucket, completed.region) == ("my-bucket-1", "us-west-1")
    assert completed.endpoint == "https://oss-us-west-1.aliyuncs.com"


def test_an_accelerated_host_implies_the_bucket_only() -> None:
    assert "OSS_REGION must be set" in only_problem(OSS_HOST=ACCELERATED)
    completed = Settings.from_environ({"OSS_HOST": ACCELERATED, "OSS_REGION": "cn-hangzhou"})
    assert completed.bucket_and_host() == ("examplebucket", ACCELERATED)


def test_version_1_needs_no_region_if_the_host_is_known() -> None:
    environ = {"OSS_BUCKET": "examplebucket", "OSS_SIGNATURE_VERSION": "v1"}
    assert Settings.from_environ({**environ, "OSS_HOST": "https://u.example.com"}).region is None
    assert "OSS_REGION, OSS_ENDPOINT or OSS_HOST must be set" in only_problem(**environ)


@pytest.mark.parametrize(
    ("environ", "problem"),
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
    ],
)
def test_a_contradiction_is_refused(environ: dict[str, str], problem: str) -> None:
    assert problem in only_problem(**environ)


@pytest.mark.parametrize("bucket", ["ab", "a" * 64, "Examplebucket", "-ab", "ab-"])
def test_an_invalid_bucket_name_is_refused(bucket: str) -> None:
    assert "OSS_BUCKET must be 3 to 63" in only_problem(OSS_BUCKET=bucket, OSS_REGION="cn-hangzhou")


@pytest.mark.parametrize("region", ["hangzhou", "CN-hangzhou", "cn-hangzhou/x"])
def test_an_invalid_region_is_refused(region: str) -> None:
    assert "OSS_REGION must be a region's ID" in only_problem(OSS_BUCKET="examplebucket", OSS_REGION=region)


@pytest.mark.parametrize(
    "host",
    [
        "upload.example.com",
        "ftp://upload.example.com",
        "https://",
        "https://upload.example.com?x=1",
        "https://upload.example.com/#x",
        "https://upload.example.com:0",
        "https://upload.example.com:99999",
        "https://up load.example.com",
        "https://*.example.com",
        "https://[::1",
    ],
)
def test_a_host_that_is_not_a_web_address_is_refused(host: str) -> None:
    assert "OSS_HOST must be like https://BUCKET.ENDPOINT" in only_problem(**USUAL, OSS_HOST=host)


@pytest.mark.parametrize("name", ["OSS_HOST", "OSS_ENDPOINT", "OSS_CALLBACK_URL"])
def test_a_password_in_an_address_is_refused_and_not_shown(name: str) -> None:
    problem = only_problem(**USUAL, **{name: "https://user:swordfish@a.example"})
    assert "swordfish" not in problem
    assert "//...@a.example" in problem


# One setting at a time


@pytest.mark.parametrize(
    ("variable", "text", "problem"),
    [
        ("OSS_SIGNATURE_VERSION", "v2", "OSS_SIGNATURE_VERSION must be v4 or v1, not 'v2'."),
        ("OSS_CALLBACK_URL", "http://[::1]/cb", "OSS_CALLBACK_URL: 'http://[::1]/cb' names an IPv6 address"),
        ("OSS_CALLBACK_URL", "http://a.example/" + "x" * 4000, "OSS accepts 5120 (5 KB): shorten its URLs"),
        ("OSS_CALLBACK_REQUIRED", "maybe", "OSS_CALLBACK_REQUIRED must be 'on' or 'off', not 'maybe'."),
        ("OSS_UPLOAD_DIR", "user1", "OSS_UPLOAD_DIR: 'user1' must end in '/'"),
        ("OSS_UPLOAD_EXPIRES", "0", "OSS_UPLOAD_EXPIRES must be 1 to 604800 seconds (7 days), not 0."),
        ("OSS_UPLOAD_EXPIRES", "604801", "OSS_UPLOAD_EXPIRES must be 1 to 604800 seconds (7 days), not 604801."),
        ("OSS_UPLOAD_EXPIRES", "5m", "OSS_UPLOAD_EXPIRES must be a whole number, written in digits, not '5m'."),
        ("OSS_UPLOAD_MAX_SIZE", "0", "OSS_UPLOAD_MAX_SIZE must be 1 to 5368709120 bytes (5 GB), not 0."),
        ("OSS_UPLOAD_MAX_SIZE", "5368709121", "Larger files go in parts: set OSS_MULTIPART=on."),
        ("OSS_PART_SIZE", "102399", "OSS_PART_SIZE must be 102400 to 5368709120 bytes (100 KB to 5 GB), not 102399."),
        ("OSS_PART_SIZE", "5368709121", "OSS_PART_SIZE must be 102400 to 5368709120 bytes"),
        ("OSS_LEDGER_KEEP", "0", "OSS_LEDGER_KEEP must be 1 second to 10 years, not 0 s."),
        ("OSS_LEDGER_KEEP", "3661d", "OSS_LEDGER_KEEP must be 1 second to 10 years"),
        ("OSS_UPLOAD_CONTENT_TYPES", "image/png,image/*", "no wildcards or parameters, not 'image/*'."),
        ("OSS_UPLOAD_CONTENT_TYPES", "image/png;q=1", "no wildcards or parameters, not 'image/png;q=1'."),
        ("OSS_UPLOAD_NAMES", "random", "OSS_UPLOAD_NAMES must be unique or original, not 'random'."),
        ("OSS_TICKET_SECRET", "x" * 31, "OSS_TICKET_SECRET must be at least 32 characters long"),
        ("OSS_TICKET_SECRET", f"{SECRET},short", "OSS_TICKET_SECRET must be at least 32 characters long"),
        ("OSS_ALLOWED_ORIGINS", "https://app.example.com/", "no path or '/', not 'https://app.example.com/'."),
        ("OSS_ALLOWED_ORIGINS", "null", "OSS_ALLOWED_ORIGINS must list origins"),
        ("OSS_ALLOWED_ORIGINS", "https://app.example.com,*", "'*', which means every origin: remove the others."),
        ("OSS_TRUSTED_KEYS", "http://a.example/k.pem", "OSS_TRUSTED_KEYS must be KEY_URL=PEM_FILE pairs"),
        ("OSS_TRUSTED_KEYS", "a.example/k.pem=k.pem", "OSS_TRUSTED_KEYS must name each key by its URL"),
        ("OSS_TRUSTED_KEYS", "http://a/k=1.pem,http://a/k=2.pem", "OSS_TRUSTED_KEYS names a key URL twice: keep one."),
        ("OSS_ACCESS_KEY_ID", "LTAI", "OSS_ACCESS_KEY_SECRET must be set too"),
        ("OSS_ACCESS_KEY_SECRET", SECRET, "OSS_ACCESS_KEY_ID must be set too"),
        ("OSS_SESSION_TOKEN", SECRET, "OSS_SESSION_TOKEN belongs to a temporary access key"),
        ("ALIBABA_CLOUD_SECURITY_TOKEN", SECRET, "OSS_SESSION_TOKEN belongs to a temporary access key"),
    ],
)
def test_an_invalid_value_is_refused(variable: str, text: str, problem: str) -> None:
    assert problem in only_problem(**{variable: text})


def test_the_least_and_the_most_of_each_limit_are_accepted() -> None:
    least = {"upload_expires": 1, "upload_max_size": 1, "part_size": 102_400, "ledger_keep": 1}
    most = {"upload_expires": 604_800, "upload_max_size": 5 * 1024**3, "part_size": 5 * 1024**3}
    for values in (least, {**most, "ledger_keep": 3660 * 86_400}):
        made = Settings(**values)  # type: ignore[arg-type]
        assert {name: getattr(made, name) for name in values} == values


def test_numbers_out_of_range_are_refused_as_values_too() -> None:
    with pytest.raises(SettingsError, match=r"OSS_UPLOAD_EXPIRES must be 1 to 604800 seconds"):
        Settings(upload_expires=-1)


def test_secrets_come_from_one_place() -> None:
    problem = only_problem(OSS_TICKET_SECRET=SECRET, OSS_TICKET_SECRET_FILE="/run/secrets/tickets")
    assert problem == "OSS_TICKET_SECRET and OSS_TICKET_SECRET_FILE are both set: keep one."


def test_an_id_and_a_secret_of_two_families_are_not_a_key() -> None:
    problem = only_problem(OSS_ACCESS_KEY_ID="x", ALIBABA_CLOUD_ACCESS_KEY_SECRET=SECRET)
    assert problem == "OSS_ACCESS_KEY_SECRET must be set too: there is an OSS_ACCESS_KEY_ID."


@pytest.mark.parametrize("text", ["LT AI", "钥匙", "a\tb"])
def test_a_key_must_be_ascii_without_spaces(text: str) -> None:
    all_problems = problems(OSS_ACCESS_KEY_ID=text, OSS_ACCESS_KEY_SECRET=text, OSS_SESSION_TOKEN=text)
    assert [problem.split(" ")[0] for problem in all_problems] == [
        "OSS_ACCESS_KEY_ID",
        "OSS_ACCESS_KEY_SECRET",
        "OSS_SESSION_TOKEN",
    ]


# All together


def test_all_problems_are_reported_at_once() -> None:
    wrong = {
        "OSS_BUKET": "x",
        "OSS_SECRET": "x",
        "OSS_BUCKET": "B",
        "OSS_REGION": "x",
        "OSS_ENDPOINT": "ftp://x",
        "OSS_HOST": "nonsense",
        "OSS_SIGNATURE_VERSION": "v3",
        "OSS_CALLBACK_REQUIRED": "x",
        "OSS_UPLOAD_DIR": "a",
        "OSS_UPLOAD_EXPIRES": "0",
        "OSS_UPLOAD_MAX_SIZE": "x",
        "OSS_UPLOAD_CONTENT_TYPES": "x",
        "OSS_UPLOAD_NAMES": "x",
        "OSS_TICKET_SECRET": "x",
        "OSS_ALLOWED_ORIGINS": "x",
        "OSS_TRUSTED_KEYS": "x",
    }
    all_problems = problems(**wrong, OSS_ACCESS_KEY_ID="LTAI", OSS_CALLBACK_URL="http://[::1]:0/cb")
    named = [*wrong, "OSS_ACCESS_KEY_SECRET", "OSS_CALLBACK_URL", "OSS_CALLBACK_URL"]
    assert sorted(problem.split(" ")[0].rstrip(":") for problem in all_problems) == sorted(named)
    assert all(problem.endswith((".", "?")) for problem in all_problems)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("OSS_BUKET", "OSS_BUKET is not a setting: did you mean OSS_BUCKET?"),
        ("OSS_ACCESS_KEY", "OSS_ACCESS_KEY is not a setting: did you mean OSS_ACCESS_KEY_ID?"),
        ("OSS_ZZZZZZZZZZZZZZZZZZZZ", "OSS_ZZZZZZZZZZZZZZZZZZZZ is not a setting, remove it."),
    ],
)
def test_an_unknown_name_is_refused_with_the_closest_one(name: str, problem: str) -> None:
    assert only_problem(**{name: SECRET}) == problem


def test_several_processes_need_what_they_share() -> None:
    assert unshared(1, has_ledger=False, has_secret=False) is None
    assert unshared(2, has_ledger=True, has_secret=True) is None
    assert unshared(4, has_ledger=False, has_secret=True) == (
        "4 processes need a ledger that they share; set, for example:\n"
        "    export OSS_LEDGER=/var/lib/oss-wsgi/ledger.sqlite3"
    )


def test_with_parts_files_may_be_over_5_gb() -> None:
    largest = 10_000 * 5 * 1024**3
    assert Settings(upload_max_size=largest, multipart=True).upload_max_size == largest
    with pytest.raises(SettingsError, match=rf"1 to {largest} bytes \(48.8 TB\)"):
        Settings(upload_max_size=largest + 1, multipart=True)


# Who reports uploads.


def test_where_pages_report_what_they_need_is_on() -> None:
    settings = Settings.from_environ({**USUAL, "OSS_REPORT_BY": "PAGE ", "OSS_RECOVER": ""})
    assert (settings.report_by, settings.pages_report, settings.recover, settings.receipts) == (
        "page",
        True,
        True,
        True,
    )
    assert dataclasses.replace(Settings(), report_by="page").recover, "what was not set is no contradiction"
    assert not Settings.from_environ({**USUAL, "OSS_REPORT_BY": "oss"}).recover


@pytest.mark.parametrize("name", ["OSS_RECEIPTS", "OSS_RECOVER"])
def test_pages_cannot_report_without_receipts_or_the_endpoint(name: str) -> None:
    problem = only_problem(**USUAL, OSS_REPORT_BY="page", **{name: "off"})
    assert f"remove {name}=off" in problem
    assert "or set OSS_REPORT_BY=oss" in problem
    assert not Settings.from_environ({**USUAL, name: "off"}).pages_report


def test_nobody_else_reports_uploads() -> None:
    assert only_problem(**USUAL, OSS_REPORT_BY="event") == "OSS_REPORT_BY must be oss or page, not 'event'."


def test_a_callback_url_is_not_even_checked_where_pages_report() -> None:
    urls = "https://app.example.com/oss/callback;https://b.example.com/oss/callback"
    assert Settings.from_environ({**USUAL, "OSS_CALLBACK_URL": urls}).callback_urls == urls.split(";")
    for url in (urls, "ftp://app.example.com", "http://["):
        settings = Settings.from_environ({**USUAL, "OSS_REPORT_BY": "page", "OSS_CALLBACK_URL": url})
        assert (settings.callback_url, settings.callback_urls) == (url, [])
