"""Checks of `doctor` on the way to the callback: each thing is broken once and found by its own check."""

from __future__ import annotations

import json
import re
import socket
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from oss_wsgi.cli.doctor import context
from oss_wsgi.cli.doctor.callback import check_arrival, check_response
from oss_wsgi.cli.doctor.probe import ProbeCall
from oss_wsgi.cli.http_client import Response, TooSlowError

from ...support.deployment import Deployment, Front, deployed, moving, saying
from ...support.running_server import REAL_BUCKET
from .runs import finding_of, run_doctor

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("url", "message"),
    [
        pytest.param("ftp://app.example.com/x", "must begin with http", id="another scheme"),
        pytest.param("http://[::1]/oss/callback", "IPv6", id="IPv6"),
        pytest.param(";".join(["https://127.0.0.1/x"] * 6), "OSS takes 5", id="six"),
        pytest.param("https://no-such-host.invalid/oss/callback", "has no address", id="no address"),
    ],
)
def test_a_callback_url_that_oss_does_not_take_is_red(url: str, message: str, deployment: Deployment) -> None:
    findings = run_doctor(deployment.environ | {"OSS_CALLBACK_URL": url}, "--only", "callback-url", status=1)
    assert message in " ".join(finding["said"] for finding in findings if finding["colour"] == "red")


def test_a_missing_callback_url_is_yellow() -> None:
    for check in ("callback-url", "callback", "answer"):
        assert "OSS_CALLBACK_URL is not set" in finding_of(check, {}, "yellow")["said"], check


@pytest.mark.parametrize(
    ("url", "addresses", "colour", "message"),
    [
        pytest.param("https://app.example.com/x", ["2001:db8::1"], "red", "has only IPv6 addresses", id="IPv6 only"),
        pytest.param("https://app.example.com/x", ["8.8.8.8", "2001:db8::1"], "green", "SNI", id="https"),
        pytest.param("http://app.example.com/x", ["8.8.8.8"], "yellow", "is http", id="http"),
        pytest.param("https://app.example.com/x", ["8.8.8.8", "10.0.0.1"], "red", "10.0.0.1", id="one private address"),
    ],
)
def test_the_address_of_the_callback_url_is_checked(
    url: str, addresses: list[str], colour: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, 0)) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: entries)
    environ = {"OSS_CALLBACK_URL": url, "OSS_BUCKET": "examplebucket", "OSS_REGION": "cn-hangzhou"}
    assert message in finding_of("callback-url", environ, colour)["said"]


def test_a_private_address_is_red_for_a_real_bucket(deployment: Deployment) -> None:
    real = {"OSS_HOST": "https://examplebucket.oss-cn-hangzhou.aliyuncs.com"}
    assert "but OSS calls only public addresses" in finding_of("callback-url", deployment.environ | real)["said"]
    multicast = real | {"OSS_CALLBACK_URL": "http://224.0.0.1/oss/callback"}
    assert "but OSS calls only public addresses" in finding_of("callback-url", deployment.environ | multicast)["said"]
    assert "which the local OSS calls" in finding_of("callback-url", deployment.environ, "green")["said"]


def test_an_https_url_with_an_address_is_yellow(deployment: Deployment) -> None:
    environ = deployment.environ | {"OSS_CALLBACK_URL": "https://127.0.0.1/oss/callback"}
    assert "SNI" in finding_of("callback-url", environ, "yellow")["said"]


def without(*keys: str) -> Front:
    """Return a front server that leaves these keys out of the environ."""
    return lambda app: (
        lambda environ, start_response: app(
            {key: value for key, value in environ.items() if key not in keys}, start_response
        )
    )


def changing(**members: Any) -> Front:
    return lambda app: lambda environ, start_response: app({**environ, **members}, start_response)


def shorter(app: Any) -> Any:
    def front(environ: Any, start_response: Any) -> Any:
        return app({**environ, "CONTENT_LENGTH": str(int(environ["CONTENT_LENGTH"] or 0) - 1)}, start_response)

    return front


@pytest.mark.parametrize(
    ("front", "message", "fix"),
    [
        pytest.param(
            lambda app: changing(**{"mod_wsgi.version": "5"})(without("HTTP_AUTHORIZATION")(app)),
            "Authorization does not arrive behind Apache mod_wsgi (embedded)",
            "WSGIPassAuthorization On",
            id="mod_wsgi withholds the header",
        ),
        pytest.param(
            changing(HTTP_AUTHORIZATION="Basic abc"),
            "Authorization arrives changed behind wsgiref",
            "OSS sends the header once and bare: look for a rule",
            id="another header",
        ),
        pytest.param(
            changing(HTTP_X_OSS_PUB_KEY_URL="x"), "x-oss-pub-key-url arrives changed", "unchanged", id="another URL"
        ),
        pytest.param(
            changing(CONTENT_TYPE="application/json"),
            "Content-Type arrives as application/json, not application/x-www-form-urlencoded",
            "pass Content-Type unchanged",
            id="another type",
        ),
        pytest.param(
            without("HTTP_X_OSS_PUB_KEY_URL"), "x-oss-pub-key-url does not arrive", "pass all headers", id="no key URL"
        ),
        pytest.param(shorter, "the body does not arrive: it was changed", "pass bodies unchanged", id="a cut body"),
        pytest.param(
            without("HTTP_X_OSS_WSGI_PROBE"), "answers 403, but does not report", "OSS_TICKET_SECRET", id="no proof"
        ),
        pytest.param(changing(REQUEST_METHOD="PUT"), "POST arrives as PUT", "Find the redirect", id="another method"),
        pytest.param(saying("401 Unauthorized"), "answers 401", "AuthType None", id="a password"),
        pytest.param(saying("200 OK", body=b'{"a": 1}'), "answers 200, but", "Another application", id="JSON"),
        pytest.param(
            saying("200 OK", ("Content-Encoding", "gzip")), "compressed (gzip)", "Switch compression", id="compressed"
        ),
        pytest.param(
            saying("301 Moved", ("Location", "https://app.example.com/")),
            "it redirects to https://app.example.com/",
            "Set OSS_CALLBACK_URL to the final URL",
            id="a redirect",
        ),
    ],
)
def test_what_a_front_server_changes_is_red_with_its_fix(front: Front, message: str, fix: str, tmp_path: Path) -> None:
    with deployed(tmp_path, front=front) as deployment:
        findings = run_doctor(deployment.environ, "--only", "callback", status=1)
    reds = [finding for finding in findings if finding["colour"] == "red"]
    assert message in reds[0]["said"]
    assert fix in reds[0]["fix"]


def test_a_lost_content_type_or_a_parameter_of_it_is_green(tmp_path: Path) -> None:
    for number, kind in enumerate(("", "application/X-www-form-urlencoded; charset=utf-8")):
        with deployed(tmp_path / str(number), front=changing(CONTENT_TYPE=kind)) as deployment:
            finding_of("callback", deployment.environ, "green")


@pytest.mark.parametrize(
    ("front", "path"),
    [
        pytest.param(moving("/oss", ""), "/callback", id="stripped"),
        pytest.param(moving("/oss/callback", "/oss/callback/"), "/oss/callback/", id="a slash at the end"),
    ],
)
def test_a_proxy_that_changes_the_path_is_red_with_what_arrives(front: Front, path: str, tmp_path: Path) -> None:
    with deployed(tmp_path, front=front) as deployment:
        environ = deployment.environ | {"OSS_CALLBACK_URL": f"{deployment.url}/oss/callback?a=b"}
        finding = finding_of("callback", environ)
    assert f"but not its callback: it arrives as {path}" in finding["said"]
    assert finding["fix"].startswith(f"`/oss/callback` arrives as `{path}`: a proxy in front changes the path. ")
    assert "PATH_INFO" not in finding["fix"]


def test_a_url_with_another_path_is_red_with_the_callbacks_path(deployment: Deployment) -> None:
    for path in ("/oss/health", "/site/oss/callback"):
        finding = finding_of("callback", deployment.environ | {"OSS_CALLBACK_URL": f"{deployment.url}{path}"})
        assert finding["fix"].startswith("Use the callback's path, /oss/callback, in OSS_CALLBACK_URL, or mount")


def stripped(app: Any) -> Any:
    def front(environ: Any, start_response: Any) -> Any:
        return app({**environ, "PATH_INFO": environ["PATH_INFO"].removeprefix("/site")}, start_response)

    return front


def test_a_changed_path_is_red_unless_the_application_knows_the_url(tmp_path: Path) -> None:
    with deployed(tmp_path, front=stripped) as deployment:
        environ = deployment.environ | {"OSS_CALLBACK_URL": f"{deployment.url}/site/oss/callback"}
        finding = finding_of("callback", environ)
    assert "/site/oss/callback arrives as /oss/callback, so the application refuses real callbacks" in finding["said"]
    assert "Set OSS_CALLBACK_URL, where the application runs" in finding["fix"]
    # Over the configured URL's target the callback verifies all the same.
    known = {"OSS_CALLBACK_URL": "http://127.0.0.1/site/oss/callback"}
    with deployed(tmp_path / "known", front=stripped, settings=known) as deployment:
        environ = deployment.environ | {"OSS_CALLBACK_URL": f"{deployment.url}/site/oss/callback"}
        assert "as /oss/callback" in finding_of("callback", environ, "green")["said"]


def test_a_query_added_on_the_way_is_red(tmp_path: Path) -> None:
    front, other = changing(QUERY_STRING="x=1"), {"OSS_CALLBACK_URL": "http://127.0.0.1/other"}
    with deployed(tmp_path, front=front, settings=other) as deployment:
        environ = deployment.environ | {"OSS_CALLBACK_URL": f"{deployment.url}/oss/callback"}
        assert "arrives as /oss/callback?x=1" in finding_of("callback", environ)["said"]


def test_another_ticket_secret_than_the_applications_is_red(deployment: Deployment) -> None:
    finding = finding_of("callback", deployment.environ | {"OSS_TICKET_SECRET": "x" * 32})
    assert "Use the same OSS_TICKET_SECRET" in finding["fix"]


def test_without_a_secret_all_but_what_arrives_is_checked(deployment: Deployment) -> None:
    environ = deployment.environ | {"OSS_TICKET_SECRET": ""}
    assert "cannot check whether header, path and body" in finding_of("callback", environ, "yellow")["said"]
    assert "403, JSON with a Content-Length" in finding_of("answer", environ, "green")["said"]
    finding = next(f for f in run_doctor(environ, "--only", "write", status=1) if f["colour"] == "red")
    assert finding["fix"].startswith("Set OSS_TICKET_SECRET to the application's")


@pytest.mark.parametrize(
    ("front", "message"),
    [
        pytest.param(saying("200 OK", body=b"{}"), "with 200, not with the", id="accepts any callback"),
        pytest.param(saying("403 Forbidden"), "with 403, not with the", id="a 403 of another"),
    ],
)
def test_without_a_secret_a_wrong_url_is_red(front: Front, message: str, tmp_path: Path) -> None:
    with deployed(tmp_path, front=front) as deployment:
        assert message in finding_of("callback", deployment.environ | {"OSS_TICKET_SECRET": ""})["said"]


def test_without_a_secret_a_foreign_refusal_is_not_checked(tmp_path: Path) -> None:
    with deployed(tmp_path, front=saying("403 Forbidden", body=b"{}")) as deployment:
        message = finding_of("answer", deployment.environ | {"OSS_TICKET_SECRET": ""})["said"]
    assert "the 403 came from something other than the application" in message


def test_an_unreachable_callback_url_is_red(deployment: Deployment) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        environ = deployment.environ | {"OSS_CALLBACK_URL": f"http://127.0.0.1:{bound.getsockname()[1]}/oss/callback"}
        for check in ("callback", "answer"):
            for secret in ({}, {"OSS_TICKET_SECRET": ""}):
                assert "cannot be reached" in finding_of(check, environ | secret)["said"]


@pytest.mark.parametrize(
    ("front", "message"),
    [
        pytest.param(saying("200 OK", body=b"{}"), "something other than the application", id="another server"),
        pytest.param(saying("200 OK", ("Content-Encoding", "gzip")), "is compressed (gzip)", id="compressed"),
    ],
)
def test_an_answer_that_oss_would_refuse_is_red(front: Front, message: str, tmp_path: Path) -> None:
    with deployed(tmp_path, front=front) as deployment:
        assert message in finding_of("answer", deployment.environ)["said"]


def answered(
    seconds: float = 0.1, length: bool = True, body: bytes = b"{}", complete: bool = True, status: int = 200
) -> Response:
    headers = Message()
    if length:
        headers["Content-Length"] = str(len(body))
    return Response(status, headers, body, seconds, 0.0, complete)


@pytest.mark.parametrize(
    ("response", "colour", "message"),
    [
        pytest.param(answered(), "green", "200, JSON with a Content-Length", id="good"),
        pytest.param(answered(3.0), "yellow", "took 3.0 s of the 5 s", id="slow"),
        pytest.param(answered(5.5), "red", "the answer took 5.5 s", id="too slow"),
        pytest.param(answered(status=201), "red", "the status is 201", id="another status"),
        pytest.param(answered(complete=False), "red", "ends too early, after 2 bytes", id="cut"),
        pytest.param(answered(body=b"NaN"), "red", "not JSON", id="not a number"),
        pytest.param(answered(length=False), "red", "no Content-Length", id="in chunks"),
        pytest.param(answered(body=b'"' + b"x" * 2**20 + b'"'), "red", "over 1 MB", id="too long"),
    ],
)
def test_an_answer_is_checked_by_the_rules_of_oss(response: Response, colour: str, message: str) -> None:
    (finding,) = check_response("http://x", response)
    assert finding.colour == colour
    assert message in finding.message


def test_an_answer_that_comes_too_late_has_a_fix_of_its_own() -> None:
    error = TooSlowError("http://x did not answer within 6 s")
    (finding,) = check_arrival(ProbeCall("http://x/oss/callback", "", "", True, error))
    assert "OSS waits 5 s" in finding.fix


def test_routing_that_loses_the_prefix_is_red_with_the_diagnosis() -> None:
    report = {"server": "nginx", "target": "/oss/callback", "path_fix": "routing by PATH_INFO is broken here"}
    problems = {"method": "POST", "authorization": None, "body": "", **report}
    response = Response(200, Message(), json.dumps({"oss_wsgi_probe": problems}).encode(), 0.1)
    *_, finding = check_arrival(ProbeCall("https://app.example.com/oss/callback", "", "", True, response))
    assert finding.message.endswith("but not its callback: it arrives as /oss/callback")
    assert finding.fix == (
        "Mount the application so that its callback is at this path; routing by PATH_INFO is broken here."
    )


@pytest.mark.parametrize(
    ("location", "line"),
    [
        ("https://app.example.com/oss/callback", "`export OSS_CALLBACK_URL='https://app.example.com/oss/callback'`"),
        ("/app/oss/callback", "/app/oss/callback'`"),
        ("/login", "`curl -siX POST -d '' '"),
        ("https://user:secret@app.example.com/oss/callback", "https://...@app.example.com/oss/callback"),
    ],
)
def test_a_redirect_is_red_with_the_line_that_cures_it(location: str, line: str, tmp_path: Path) -> None:
    with deployed(tmp_path, front=saying("308 Moved", ("Location", location))) as deployment:
        for secret in ({}, {"OSS_TICKET_SECRET": ""}):
            assert line in finding_of("callback", deployment.environ | secret)["fix"]


@pytest.mark.parametrize("number", [socket.EAI_AGAIN, socket.EAI_NONAME])
def test_without_a_network_public_names_are_not_checked(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(number, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    environ = REAL_BUCKET | {
        "OSS_TICKET_SECRET": "t" * 32,
        "OSS_CALLBACK_URL": "https://app.example.com/oss/callback",
        "OSS_ALLOWED_ORIGINS": "https://app.example.com",
    }
    context.knows_public_names.cache_clear()
    findings = run_doctor(environ, "--write")
    context.knows_public_names.cache_clear()
    unknown = {finding["check"] for finding in findings if finding["said"].startswith("not checked")}
    assert {"bucket", "clock", "region", "v4", "cors", "recovery", "callback-url", "callback", "write"} <= unknown


def test_without_a_network_a_local_deployment_is_as_good_as_ever(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo

    def local_only(host: object, *arguments: object, **options: object) -> object:
        if host not in ("127.0.0.1", "localhost", b"127.0.0.1"):
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return real(host, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", local_only)
    assert {finding["colour"] for finding in run_doctor(deployment.environ, "--write")} == {"green"}


def test_every_finding_that_is_not_green_has_a_line_to_copy(deployment: Deployment) -> None:
    broken = [
        {"OSS_REGION": ""},
        {"OSS_REGION": "cn-beijing"},
        {"OSS_BUCKET": "Bad_Name"},
        {"OSS_ACCESS_KEY_SECRET": "another"},
        {"OSS_ACCESS_KEY_ID": "LTAIunknown"},
        {"OSS_CALLBACK_URL": ""},
        {"OSS_CALLBACK_URL": "http://[::1]/oss/callback"},
        {"OSS_TICKET_SECRET": "x" * 32},
        {"OSS_LEDGER": "/no/such/folder/ledger"},
        {"OSS_HOST": "http://127.0.0.1:1/examplebucket"},
    ]
    for change in broken:
        environ = {name: value for name, value in {**deployment.environ, **change}.items() if value}
        status = 0 if change in ({"OSS_CALLBACK_URL": ""},) else 1
        for finding in run_doctor(environ, status=status):
            if finding["colour"] != "green":
                assert "`" in finding["fix"] or re.search("OSS_[A-Z_]+=", finding["fix"]), finding


# Who reports uploads.

PAGE = {"OSS_REPORT_BY": "page", "OSS_CALLBACK_URL": ""}


@pytest.mark.parametrize("url", ["", "https://no-such-host.invalid/oss/callback"])
def test_a_region_without_callbacks_is_red_and_the_page_can_report(url: str) -> None:
    environ = REAL_BUCKET | {"OSS_REGION": "cn-nanjing", "OSS_CALLBACK_URL": url}
    findings = run_doctor(environ, "--only", "callback-url", status=1)
    assert findings[0]["colour"] == "red"
    assert "OSS sends no callbacks from the region cn-nanjing (the list of 2026-" in findings[0]["said"]
    assert "what it answers there to a form with a callback is not known" in findings[0]["said"]
    assert findings[0]["fix"] == "Let the page report: `export OSS_REPORT_BY=page`."
    assert len(findings) == 2, "the URL is checked all the same"


def test_in_a_region_without_callbacks_no_check_asks_for_a_callback_url() -> None:
    findings = run_doctor(REAL_BUCKET | {"OSS_REGION": "cn-nanjing", "OSS_CALLBACK_URL": ""}, status=1)
    assert not [finding for finding in findings if "export OSS_CALLBACK_URL" in (finding["fix"] or "")]
    fixes = {finding["check"]: finding["fix"] for finding in findings if "no callback" in finding["said"]}
    assert fixes["settings"] == fixes["callback-url"] == "Let the page report: `export OSS_REPORT_BY=page`."


def test_of_a_region_that_is_not_listed_it_says_that_nothing_is_known() -> None:
    environ = REAL_BUCKET | {"OSS_REGION": "cn-hangzhou-finance"}
    said = finding_of("callback-url", environ, "green")["said"]
    assert "whether OSS sends callbacks from the region cn-hangzhou-finance is not known" in said
    assert len(run_doctor(REAL_BUCKET, "--only", "callback-url")) == 1, "nothing is said of a region with callbacks"


def test_where_pages_report_no_region_and_no_url_is_wrong() -> None:
    environ = REAL_BUCKET | PAGE | {"OSS_REGION": "cn-nanjing"}
    for check in ("callback-url", "answer"):
        assert "pages report uploads (OSS_REPORT_BY=page)" in finding_of(check, environ, "green")["said"]
    ignored = finding_of("callback-url", environ | {"OSS_CALLBACK_URL": "ftp://x"}, "yellow")
    assert ignored["said"].startswith("OSS_CALLBACK_URL is ignored")


def test_where_pages_report_the_application_is_checked_at_its_endpoint(tmp_path: Path) -> None:
    with deployed(tmp_path, settings=PAGE) as deployment:
        for check in ("callback", "signature", "machines"):
            assert "no --signature-url says where" in finding_of(check, deployment.environ, "yellow")["said"]
        for check in ("callback", "signature"):
            more = ["--signature-url", deployment.signature]
            assert "reaches the application" in finding_of(check, deployment.environ, "green", more)["said"]
            (found,) = run_doctor(deployment.environ | {"OSS_TICKET_SECRET": ""}, "--only", check, *more)
            assert found["colour"] == "green"
        elsewhere = finding_of(
            "callback", deployment.environ, "red", ["--signature-url", f"{deployment.url}/x/signature"]
        )
        assert "reaches the application as /x/recover, but pages report at /oss/recover" in elsewhere["said"]


def test_a_body_that_changes_on_its_way_is_found_where_pages_report(tmp_path: Path) -> None:
    def front(app: Any) -> Any:
        def without_body(environ: Any, start_response: Any) -> Any:
            return app({**environ, "CONTENT_LENGTH": "0"}, start_response)

        return without_body

    with deployed(tmp_path, settings=PAGE, front=front) as deployment:
        finding = finding_of("callback", deployment.environ, "red", ["--signature-url", deployment.signature])
        assert "arrives changed" in finding["said"]
