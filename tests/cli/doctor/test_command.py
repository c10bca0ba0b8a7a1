"""`oss-wsgi doctor`: all is well on loopback, offline; each thing is broken once and found by its own check."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from oss_wsgi.cli.doctor.callback import Call, judged_answer, judged_way
from oss_wsgi.cli.doctor.command import CHECKS
from oss_wsgi.cli.http_client import Answer, TooSlowError
from oss_wsgi.local import CORSRule

from ..command import oss_wsgi
from ..deployment import ORIGIN, Deployment, deployed

Front = Callable[[Any], Any]


def findings(environ: dict[str, str], *arguments: str, status: int = 0) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(oss_wsgi("doctor", "--json", *arguments, status=status, **environ).stdout)
    assert (status == 1) == any(finding["colour"] == "red" for finding in found)
    assert all(finding["cure"] for finding in found if finding["colour"] != "green")
    return found


def only(check: str, environ: dict[str, str], colour: str = "red") -> dict[str, str]:
    """Run one check alone, and give its one finding of a colour."""
    found = findings(environ, "--only", check, status=1 if colour == "red" else 0)
    (one,) = (finding for finding in found if finding["colour"] == colour)
    assert one["check"] == check
    return one


def test_where_all_is_well_all_is_green_but_the_handler_and_nothing_is_stored(deployment: Deployment) -> None:
    found = findings(deployment.environ)
    (handler,) = (finding for finding in found if finding["colour"] != "green")
    assert (handler["check"], handler["colour"]) == ("answer", "yellow")
    assert "not your own handler" in handler["said"]
    assert "is measured by --write" in handler["cure"]
    assert {finding["check"] for finding in found} == set(CHECKS) - {"write"}
    bucket = deployment.oss.storage.bucket(deployment.oss.bucket)
    assert bucket.page() == ([], False)


def test_the_words_for_a_person(deployment: Deployment) -> None:
    said = oss_wsgi("doctor", "--only", "callback", "--only", "key", **deployment.environ).stdout
    assert f"green  callback: {deployment.url}/oss/callback: header, path and body arrive, behind wsgiref" in said
    assert "http://gosspublic.alicdn.com" not in said or "https://gosspublic.alicdn.com" in said
    assert "512 bits, SHA-256 " in said
    assert "\x1b" not in said


def test_with_write_an_object_is_stored_told_and_deleted(deployment: Deployment) -> None:
    stored, deleted = findings(deployment.environ, "--only", "write")
    assert "was stored, and the application answered 200 and JSON" in stored["said"]
    assert deleted["said"].endswith("was deleted")
    assert deployment.oss.storage.bucket(deployment.oss.bucket).page() == ([], False)
    found = findings(deployment.environ, "--write")
    assert "write" in {finding["check"] for finding in found}
    assert {finding["colour"] for finding in found} == {"green"}, "the handler was measured"


def test_write_runs_beside_what_only_names(deployment: Deployment) -> None:
    found = findings(deployment.environ, "--only", "clock", "--write")
    assert [finding["check"] for finding in found] == ["clock", "write", "write"]


def test_no_secret_is_printed(deployment: Deployment) -> None:
    environ = deployment.environ
    for broken in ({}, {"OSS_ACCESS_KEY_SECRET": "another-secret-of-nobody"}, {"OSS_REGION": "cn-beijing"}):
        given = environ | broken
        run = oss_wsgi("doctor", "--write", "--json", status=1 if broken else 0, **given)
        for name in ("OSS_ACCESS_KEY_SECRET", "OSS_TICKET_SECRET"):
            assert given[name] not in run.stdout + run.stderr


def test_settings_that_are_wrong_are_all_said(deployment: Deployment) -> None:
    environ = deployment.environ | {"OSS_UPLOAD_DIR": "no-slash", "OSS_BUKET": "x"}
    found = findings(environ, status=1)
    said = [finding["said"] for finding in found if finding["check"] == "settings"]
    assert len(said) == 2
    assert {finding["colour"] for finding in found if finding["check"] == "v4"} == {"green"}, "it needs neither"


def test_what_needs_a_setting_that_is_wrong_is_not_checked_and_that_is_a_finding(deployment: Deployment) -> None:
    environ = deployment.environ | {"OSS_CALLBACK_URL": "http://[::1]/oss/callback"}
    for check in ("callback", "answer"):
        assert only(check, environ)["said"] == "not checked: OSS_CALLBACK_URL is wrong"
    assert only("write", environ)["said"] == "not checked: the settings are wrong"
    for check in ("clock", "bucket", "v4", "key", "credentials", "region", "cors"):
        assert {finding["colour"] for finding in findings(environ, "--only", check)} == {"green"}, check


@pytest.mark.parametrize(
    ("change", "checks"),
    [
        pytest.param({"OSS_HOST": "nonsense"}, ["clock", "bucket", "region", "v4", "cors", "credentials"], id="place"),
        pytest.param({"OSS_ACCESS_KEY_SECRET": ""}, ["credentials", "v4", "region"], id="half a key"),
        pytest.param({"OSS_TICKET_SECRET": "short"}, ["callback", "answer"], id="a short secret"),
        pytest.param({"OSS_REGION": ""}, ["clock", "v4", "callback", "key"], id="what all needs"),
    ],
)
def test_a_wrong_setting_is_a_finding_of_each_check_that_needs_it(
    change: dict[str, str], checks: list[str], deployment: Deployment
) -> None:
    for check in checks:
        assert only(check, deployment.environ | change)["said"].startswith("not checked: "), check


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"OSS_TICKET_SECRET": ""}, "OSS_TICKET_SECRET is not set", id="no ticket secret"),
        pytest.param({"OSS_CALLBACK_URL": ""}, "no callback", id="no callback"),
        pytest.param({"OSS_LEDGER": ""}, "OSS_LEDGER is not set", id="no ledger"),
        pytest.param({"OSS_ALLOW_ANONYMOUS": ""}, "OSS_ALLOW_ANONYMOUS is off", id="nobody may upload"),
    ],
)
def test_what_production_needs_is_yellow(change: dict[str, str], said: str, deployment: Deployment) -> None:
    assert said in only("settings", deployment.environ | change, "yellow")["said"]


def test_that_anybody_may_upload_is_yellow_where_the_bucket_is_a_real_one(deployment: Deployment) -> None:
    real = {"OSS_HOST": "https://examplebucket.oss-cn-hangzhou.aliyuncs.com"}
    assert "anybody may upload" in only("settings", deployment.environ | real, "yellow")["said"]


def test_a_ledger_that_cannot_be_used_is_found(deployment: Deployment, tmp_path: Path) -> None:
    (tmp_path / "no-ledger").write_text("hello")
    for path in (tmp_path / "no-ledger", tmp_path / "no-folder" / "ledger"):
        assert "the ledger" in only("settings", deployment.environ | {"OSS_LEDGER": str(path)})["said"].lower()
    environ = deployment.environ | {"OSS_LEDGER": str(tmp_path / "not-yet")}
    findings(environ, "--only", "settings")
    assert not (tmp_path / "not-yet").exists(), "a check makes none"


def test_no_bucket_is_found() -> None:
    assert "no bucket" in only("settings", {})["said"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"OSS_ACCESS_KEY_ID": "", "OSS_ACCESS_KEY_SECRET": ""}, "there is no access key", id="none"),
        pytest.param({"OSS_ACCESS_KEY_ID": "LTAInobody"}, "OSS does not take it: InvalidAccessKeyId", id="unknown"),
        pytest.param({"OSS_ACCESS_KEY_SECRET": "wrong"}, "the secret is not that of this ID", id="a wrong secret"),
        pytest.param({"OSS_ACCESS_KEY_ID": "STS.Nobody"}, "without its token", id="a temporary one without its token"),
    ],
)
def test_credentials_that_do_not_open_are_found(change: dict[str, str], said: str, deployment: Deployment) -> None:
    assert said in only("credentials", deployment.environ | change)["said"]


def test_a_temporary_key_is_yellow_and_red_when_it_has_expired(tmp_path: Path) -> None:
    token = {"OSS_SESSION_TOKEN": "token"}
    with deployed(tmp_path, oss={"security_token": "token"}, settings=token) as deployment:
        assert "temporary key" in only("credentials", deployment.environ, "yellow")["said"]
    expired = {"security_token": "token", "security_token_expires": time.time() - 1}
    with deployed(tmp_path, oss=expired, settings=token) as deployment:
        assert "SecurityTokenExpired" in only("credentials", deployment.environ)["said"]


@contextlib.contextmanager
def key_service(**members: str) -> Iterator[str]:
    """Give the URL of a service that hands out one temporary key, as the official library asks it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"Code": "Success", **members}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.parametrize(
    ("minutes", "colour", "said"),
    [(50, "green", "which its provider renews"), (9, "yellow", "no signature outlives"), (-5, "red", "no access key")],
)
def test_a_key_that_the_official_library_finds_says_when_it_ends(
    minutes: int, colour: str, said: str, tmp_path: Path
) -> None:
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60 * minutes))
    key = {"AccessKeyId": "STS.Example", "AccessKeySecret": "the-temporary-secret", "SecurityToken": "token"}
    oss = {"access_key_id": "STS.Example", "access_key_secret": "the-temporary-secret", "security_token": "token"}
    with deployed(tmp_path, oss=oss, settings={"OSS_SESSION_TOKEN": "token"}) as deployment:
        with key_service(**key, Expiration=until) as uri:
            environ = deployment.environ | {
                "OSS_ACCESS_KEY_ID": "",
                "OSS_ACCESS_KEY_SECRET": "",
                "OSS_SESSION_TOKEN": "",
                "HOME": str(tmp_path),
                "ALIBABA_CLOUD_CREDENTIALS_URI": uri,
                "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true",
            }
            found = findings(
                environ, "--only", "credentials", "--only", "v4", "--credentials-library", status=colour == "red"
            )
    assert [finding["colour"] for finding in found] == [colour, "red" if colour == "red" else "green"]
    assert said in found[0]["said"]


@pytest.mark.parametrize(("apart", "colour"), [(3600, "red"), (-3600, "red"), (200, "yellow")])
def test_a_clock_that_is_wrong_is_found(apart: int, colour: str, tmp_path: Path) -> None:
    with deployed(tmp_path, oss={"clock": lambda: time.time() - apart}) as deployment:
        finding = only("clock", deployment.environ, colour)
    assert ("ahead of" if apart > 0 else "behind") in finding["said"]
    assert "NTP" in finding["cure"]


def test_a_wrong_region_is_found_and_the_right_one_named(deployment: Deployment) -> None:
    environ = deployment.environ | {"OSS_REGION": "cn-beijing"}
    assert only("region", environ)["cure"] == "Set OSS_REGION=cn-hangzhou."
    assert "does not take a form" in only("v4", environ)["said"]


def test_a_bucket_that_is_not_there_is_found(deployment: Deployment) -> None:
    host = deployment.oss.host.replace(deployment.oss.bucket, "another-bucket")
    environ = deployment.environ | {"OSS_BUCKET": "another-bucket", "OSS_HOST": host}
    assert "there is no bucket" in only("bucket", environ)["said"]


def test_a_bucket_that_the_hosts_path_does_not_name_is_found(deployment: Deployment) -> None:
    said = only("bucket", deployment.environ | {"OSS_BUCKET": "nobucket"})["said"]
    assert said == f"OSS_BUCKET is nobucket, and the path of {deployment.oss.host} names {deployment.oss.bucket}"


def test_a_host_that_is_not_oss_is_found(deployment: Deployment) -> None:
    assert "does not answer as OSS" in only("bucket", deployment.environ | {"OSS_HOST": deployment.url})["said"]


def test_nobody_at_the_host_is_found_by_all_that_ask(deployment: Deployment) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        environ = deployment.environ | {"OSS_HOST": f"http://127.0.0.1:{bound.getsockname()[1]}"}
        for check in ("clock", "bucket", "v4", "cors", "write"):
            assert "cannot be reached" in only(check, environ)["said"], check


def test_cors_rules_that_do_not_let_a_page_upload_are_found(deployment: Deployment, tmp_path: Path) -> None:
    environ = deployment.environ | {"OSS_ALLOWED_ORIGINS": f"{ORIGIN},https://new.example.com"}
    finding = only("cors", environ)
    assert finding["cure"] == "Add the rule: `oss-wsgi cors apply 'https://new.example.com'`."
    nothing = deployment.environ | {"OSS_ALLOWED_ORIGINS": "", "OSS_CALLBACK_URL": ""}
    assert "no origin to try" in only("cors", nothing, "yellow")["said"]
    hides = CORSRule([ORIGIN, "http://127.0.0.1:*"], expose_headers=())
    with deployed(tmp_path / "other", oss={"cors_rules": [hides]}) as other:
        found = findings(other.environ, "--only", "cors")
        assert {finding["colour"] for finding in found} == {"yellow"}
        assert "do not see ETag" in found[0]["said"]


def test_the_origin_of_the_callback_is_tried_too(deployment: Deployment, tmp_path: Path) -> None:
    own = f"{deployment.url} (taken from OSS_CALLBACK_URL)"
    assert own in findings(deployment.environ, "--only", "cors")[1]["said"]
    with deployed(tmp_path / "others", oss={"cors_rules": [CORSRule([ORIGIN])]}) as others:
        assert "(taken from OSS_CALLBACK_URL)" in only("cors", others.environ, "yellow")["said"]
        alone = others.environ | {"OSS_ALLOWED_ORIGINS": ""}
        assert "(taken from OSS_CALLBACK_URL)" in only("cors", alone)["said"], "there are no other pages"
    with deployed(tmp_path / "none", oss={"cors_rules": []}) as none:
        found = findings(none.environ, "--only", "cors", status=1)
        assert {finding["colour"] for finding in found} == {"red"}
        assert f"cors apply '{none.url}'" in found[1]["cure"]


def test_the_signature_is_judged_without_the_callback(tmp_path: Path) -> None:
    with deployed(tmp_path, oss={"allow_private_callback": False}) as deployment:
        assert "takes signatures V4" in only("v4", deployment.environ, "green")["said"]
        assert "0007-00000008" in only("write", deployment.environ)["said"]


def test_a_signature_v1_is_yellow(tmp_path: Path) -> None:
    with deployed(tmp_path, settings={"OSS_SIGNATURE_VERSION": "v1"}) as deployment:
        assert "OSS_SIGNATURE_VERSION is v1" in only("v4", deployment.environ, "yellow")["said"]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        pytest.param("ftp://app.example.com/x", "must begin with http", id="another scheme"),
        pytest.param("http://[::1]/oss/callback", "IPv6", id="IPv6"),
        pytest.param(";".join(["https://127.0.0.1/x"] * 6), "OSS takes 5", id="six"),
        pytest.param("https://no-such-host.invalid/oss/callback", "has no address", id="no address"),
    ],
)
def test_a_callback_url_against_the_rules_is_found(url: str, said: str, deployment: Deployment) -> None:
    found = findings(deployment.environ | {"OSS_CALLBACK_URL": url}, "--only", "callback-url", status=1)
    assert said in " ".join(finding["said"] for finding in found if finding["colour"] == "red")


def test_a_private_address_is_found_where_the_bucket_is_a_real_one(deployment: Deployment) -> None:
    real = {"OSS_HOST": "https://examplebucket.oss-cn-hangzhou.aliyuncs.com"}
    assert "no public address, and OSS calls no other" in only("callback-url", deployment.environ | real)["said"]
    multicast = real | {"OSS_CALLBACK_URL": "http://224.0.0.1/oss/callback"}
    assert "no public address" in only("callback-url", deployment.environ | multicast)["said"]
    assert "which the local OSS calls" in only("callback-url", deployment.environ, "green")["said"]


def test_an_address_has_no_name_for_tls(deployment: Deployment) -> None:
    environ = deployment.environ | {"OSS_CALLBACK_URL": "https://127.0.0.1/oss/callback"}
    assert "SNI" in only("callback-url", environ, "yellow")["said"]


def without(*keys: str) -> Front:
    """Give a front server that withholds what it puts into the environ under these keys."""
    return lambda app: lambda environ, start_response: app(
        {key: value for key, value in environ.items() if key not in keys}, start_response
    )


def changing(**members: Any) -> Front:
    return lambda app: lambda environ, start_response: app({**environ, **members}, start_response)


def shorter(app: Any) -> Any:
    def front(environ: Any, start_response: Any) -> Any:
        return app({**environ, "CONTENT_LENGTH": str(int(environ["CONTENT_LENGTH"] or 0) - 1)}, start_response)

    return front


def saying(status: str, *headers: tuple[str, str], body: bytes = b"<html>") -> Front:
    def front(app: Any) -> Any:
        def application(environ: Any, start_response: Any) -> list[bytes]:
            start_response(status, [("Content-Length", str(len(body))), *headers])
            return [body]

        return application

    return front


@pytest.mark.parametrize(
    ("front", "said", "cure"),
    [
        pytest.param(
            lambda app: changing(**{"mod_wsgi.version": "5"})(without("HTTP_AUTHORIZATION")(app)),
            "Authorization does not arrive behind Apache mod_wsgi (embedded)",
            "WSGIPassAuthorization On",
            id="mod_wsgi withholds the header",
        ),
        pytest.param(
            lambda app: changing(SERVER_SOFTWARE="Apache/2.4", GATEWAY_INTERFACE="CGI/1.1", **{"wsgi.run_once": True})(
                without("HTTP_AUTHORIZATION")(app)
            ),
            "Authorization does not arrive behind Apache CGI",
            "CGIPassAuth On",
            id="CGI withholds the header",
        ),
        pytest.param(
            changing(HTTP_AUTHORIZATION="Basic abc"),
            "Authorization arrives changed behind wsgiref",
            "OSS sends the header once and bare: look for a rule",
            id="another header",
        ),
        pytest.param(
            changing(HTTP_X_OSS_PUB_KEY_URL="x"), "x-oss-pub-key-url arrives changed", "as they are", id="another URL"
        ),
        pytest.param(
            changing(CONTENT_TYPE="application/json"),
            "Content-Type arrives as application/json, and not application/x-www-form-urlencoded",
            "pass Content-Type as it is",
            id="another type",
        ),
        pytest.param(
            without("HTTP_X_OSS_PUB_KEY_URL"), "x-oss-pub-key-url does not arrive", "pass all headers", id="no key URL"
        ),
        pytest.param(shorter, "the body does not arrive: it was changed", "pass bodies as they are", id="a cut body"),
        pytest.param(
            without("HTTP_X_OSS_WSGI_PROBE"), "answers 403, and not to the probe", "OSS_TICKET_SECRET", id="no proof"
        ),
        pytest.param(saying("401 Unauthorized"), "answers 401", "AuthType None", id="a password"),
        pytest.param(saying("404 Not Found"), "answers 404", "Mount the application", id="not there"),
        pytest.param(saying("200 OK"), "answers 200, and not to the probe", "Something else answers", id="a page"),
        pytest.param(
            saying("200 OK", body=b"{}"), "answers 200, and not to the probe", "Something else answers", id="a stranger"
        ),
        pytest.param(saying("503 No"), "answers 503, and not", "does not reach the application", id="nobody behind"),
        pytest.param(
            saying("200 OK", ("Content-Encoding", "gzip")), "is compressed (gzip)", "Switch it off", id="compressed"
        ),
        pytest.param(
            saying("301 Moved", ("Location", "https://app.example.com/")),
            "it redirects, to https://app.example.com/",
            "Set OSS_CALLBACK_URL to the last URL",
            id="a redirect",
        ),
    ],
)
def test_a_front_server_that_loses_something_is_found(front: Front, said: str, cure: str, tmp_path: Path) -> None:
    with deployed(tmp_path, front=front) as deployment:
        found = findings(deployment.environ, "--only", "callback", status=1)
    reds = [finding for finding in found if finding["colour"] == "red"]
    assert said in reds[0]["said"]
    assert cure in reds[0]["cure"]


def test_a_type_that_is_lost_or_has_a_parameter_does_no_harm(tmp_path: Path) -> None:
    for number, kind in enumerate(("", "application/X-www-form-urlencoded; charset=utf-8")):
        with deployed(tmp_path / str(number), front=changing(CONTENT_TYPE=kind)) as deployment:
            only("callback", deployment.environ, "green")


def moving(old: str, new: str) -> Front:
    """Give a front server that replaces the path's front."""

    def server(app: Any) -> Any:
        def front(environ: Any, start_response: Any) -> Any:
            path = environ["PATH_INFO"]
            moved = new + path.removeprefix(old) if path.startswith(old) else path
            return app({**environ, "PATH_INFO": moved, "REQUEST_URI": moved}, start_response)

        return front

    return server


@pytest.mark.parametrize(
    ("front", "path"),
    [
        pytest.param(moving("/oss", ""), "/callback", id="stripped"),
        pytest.param(moving("/oss", "/app/oss"), "/app/oss/callback", id="added"),
        pytest.param(moving("/oss/callback", "/oss/callback/"), "/oss/callback/", id="a slash at the end"),
        pytest.param(moving("/oss/callback", "/OSS/CALLBACK"), "/OSS/CALLBACK", id="in capitals"),
    ],
)
def test_a_proxy_that_leads_past_the_callback_is_named_with_what_arrives(
    front: Front, path: str, tmp_path: Path
) -> None:
    with deployed(tmp_path, front=front) as deployment:
        finding = only("callback", deployment.environ | {"OSS_CALLBACK_URL": f"{deployment.url}/oss/callback?a=b"})
    assert f"and not its callback: it arrives as {path}" in finding["said"]
    assert finding["cure"].startswith(f"`/oss/callback` arrives as `{path}`: a proxy in front changes the path; ")
    assert "PATH_INFO" not in finding["cure"]


def test_a_url_of_another_path_is_told_the_callbacks(deployment: Deployment) -> None:
    for path in ("/oss/health", "/site/oss/callback"):
        finding = only("callback", deployment.environ | {"OSS_CALLBACK_URL": f"{deployment.url}{path}"})
        assert finding["cure"].startswith("The callback is at /oss/callback: let OSS_CALLBACK_URL say so, or mount")


def stripped(app: Any) -> Any:
    """A front server that strips /site."""

    def front(environ: Any, start_response: Any) -> Any:
        return app({**environ, "PATH_INFO": environ["PATH_INFO"].removeprefix("/site")}, start_response)

    return front


def test_a_path_that_is_changed_on_the_way_is_red_unless_the_application_knows_of_it(tmp_path: Path) -> None:
    with deployed(tmp_path, front=stripped) as deployment:
        environ = deployment.environ | {"OSS_CALLBACK_URL": f"{deployment.url}/site/oss/callback"}
        finding = only("callback", environ)
    assert "/site/oss/callback arrives as /oss/callback: real callbacks are refused" in finding["said"]
    assert "Set OSS_CALLBACK_URL, where the application runs" in finding["cure"]
    # Over the configured URL's target the callback verifies all the same.
    known = {"OSS_CALLBACK_URL": "http://127.0.0.1/site/oss/callback"}
    with deployed(tmp_path / "known", front=stripped, settings=known) as deployment:
        environ = deployment.environ | {"OSS_CALLBACK_URL": f"{deployment.url}/site/oss/callback"}
        assert "as /oss/callback" in only("callback", environ, "green")["said"]


def test_a_query_that_is_added_on_the_way_is_red_where_no_configured_url_makes_it_good(tmp_path: Path) -> None:
    front, other = changing(QUERY_STRING="x=1"), {"OSS_CALLBACK_URL": "http://127.0.0.1/other"}
    with deployed(tmp_path, front=front, settings=other) as deployment:
        environ = deployment.environ | {"OSS_CALLBACK_URL": f"{deployment.url}/oss/callback"}
        assert "arrives as /oss/callback?x=1" in only("callback", environ)["said"]


def test_another_secret_here_than_there_is_found(deployment: Deployment) -> None:
    finding = only("callback", deployment.environ | {"OSS_TICKET_SECRET": "x" * 32})
    assert "OSS_TICKET_SECRET must be the same" in finding["cure"]


def test_without_a_secret_here_all_is_checked_but_what_arrives(deployment: Deployment) -> None:
    environ = deployment.environ | {"OSS_TICKET_SECRET": ""}
    assert "arrive as they were sent is not known" in only("callback", environ, "yellow")["said"]
    assert "403, JSON with a length" in only("answer", environ, "green")["said"]
    finding = next(f for f in findings(environ, "--only", "write", status=1) if f["colour"] == "red")
    assert finding["cure"].startswith("OSS_TICKET_SECRET is not set here")


@pytest.mark.parametrize(
    ("front", "said"),
    [
        pytest.param(lambda app: saying("404 Not Found")(app), "answers 404, and not", id="not there"),
        pytest.param(lambda app: saying("200 OK", body=b"{}")(app), "answers 200, and not", id="who believes anybody"),
        pytest.param(lambda app: saying("403 Forbidden")(app), "answers 403, and not", id="a 403 of another"),
        pytest.param(lambda app: saying("302 Found", ("Location", "/x"))(app), "it redirects, to /x", id="a redirect"),
    ],
)
def test_without_a_secret_here_what_is_not_the_callback_is_found(front: Front, said: str, tmp_path: Path) -> None:
    with deployed(tmp_path, front=front) as deployment:
        assert said in only("callback", deployment.environ | {"OSS_TICKET_SECRET": ""})["said"]


def test_without_a_secret_here_a_refusal_of_somebody_else_is_not_judged(tmp_path: Path) -> None:
    with deployed(tmp_path, front=saying("403 Forbidden", body=b"{}")) as deployment:
        said = only("answer", deployment.environ | {"OSS_TICKET_SECRET": ""})["said"]
    assert "something else than the application that answers 403" in said


def test_nobody_at_the_callback_url_is_found(deployment: Deployment) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        environ = deployment.environ | {"OSS_CALLBACK_URL": f"http://127.0.0.1:{bound.getsockname()[1]}/oss/callback"}
        for check in ("callback", "answer"):
            for secret in ({}, {"OSS_TICKET_SECRET": ""}):
                assert "cannot be reached" in only(check, environ | secret)["said"]


@pytest.mark.parametrize(
    ("front", "said"),
    [
        pytest.param(saying("200 OK"), "the body is no JSON", id="a page"),
        pytest.param(saying("201 Created", body=b"{}"), "status 201", id="another status"),
        pytest.param(saying("200 OK", body=b"{}"), "it is something else than the application", id="a stranger"),
        pytest.param(saying("200 OK", ("Content-Encoding", "gzip")), "is compressed (gzip)", id="compressed"),
    ],
)
def test_an_answer_that_oss_would_not_take_is_found(front: Front, said: str, tmp_path: Path) -> None:
    with deployed(tmp_path, front=front) as deployment:
        assert said in only("answer", deployment.environ)["said"]


def answered(seconds: float = 0.1, length: bool = True, body: bytes = b"{}", complete: bool = True) -> Answer:
    headers = Message()
    if length:
        headers["Content-Length"] = str(len(body))
    return Answer(200, headers, body, seconds, 0.0, complete)


@pytest.mark.parametrize(
    ("answer", "colour", "said"),
    [
        pytest.param(answered(), "green", "200, JSON with a length", id="good"),
        pytest.param(answered(3.0), "yellow", "took 3.0 s of the 5 s", id="slow"),
        pytest.param(answered(5.5), "red", "it took 5.5 s", id="too slow"),
        pytest.param(answered(complete=False), "red", "breaks off after 2 bytes", id="cut"),
        pytest.param(answered(body=b"NaN"), "red", "no JSON", id="not a number"),
        pytest.param(answered(body=b"\xef\xbb\xbf{}"), "red", "no JSON", id="a BOM"),
        pytest.param(answered(length=False), "red", "no Content-Length", id="in chunks"),
        pytest.param(answered(body=b'"' + b"x" * 2**20 + b'"'), "red", "over 1 MB", id="too long"),
    ],
)
def test_how_an_answer_is_judged(answer: Answer, colour: str, said: str) -> None:
    (finding,) = judged_answer("http://x", answer)
    assert finding.colour == colour
    assert said in finding.said


def test_who_answers_too_late_has_a_cure_of_its_own() -> None:
    error = TooSlowError("http://x did not answer within 6 s")
    (finding,) = judged_way(Call("http://x/oss/callback", "", "", True, error))
    assert "OSS waits 5 s" in finding.cure


def slow(upload: Any) -> None:
    time.sleep(1)


def raising(upload: Any) -> None:
    raise RuntimeError("no")


def page(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/html"), ("Content-Length", "9")])
    return [b"<h1></h1>"]


@pytest.mark.parametrize(
    ("app", "cure"),
    [
        pytest.param({"on_upload": slow}, "takes longer than 5 s", id="slow"),
        pytest.param({"on_upload": raising}, "answered 500: see its log", id="raises"),
        pytest.param({"forward_callback": True}, "is no JSON", id="answers a page"),
    ],
)
def test_a_handler_that_oss_would_not_take_is_found_by_write_alone(
    app: dict[str, Any], cure: str, tmp_path: Path
) -> None:
    with deployed(tmp_path, oss={"callback_timeout": 0.5}, app=app, view=page) as deployment:
        assert "not your own handler" in only("answer", deployment.environ, "yellow")["said"]
        (finding,) = (f for f in findings(deployment.environ, "--only", "write", status=1) if f["colour"] == "red")
    assert "was stored, but the application was not told" in finding["said"]
    assert cure in finding["cure"]
    assert "`oss-wsgi explain " in finding["cure"]


def test_an_upload_whose_callback_fails_is_found_and_its_object_deleted(deployment: Deployment) -> None:
    deployment.oss.fail_next("callback_status", status=404)
    found = findings(deployment.environ, "--only", "write", status=1)
    assert "was stored, but the application was not told" in found[0]["said"]
    assert found[1]["said"].endswith("was deleted")


def test_a_further_key_is_yellow_where_the_bucket_is_a_real_one(deployment: Deployment) -> None:
    real = {"OSS_HOST": "https://examplebucket.oss-cn-hangzhou.aliyuncs.com"}
    assert "believed beside OSS's own" in only("key", deployment.environ | real, "yellow")["said"]
    missing = {"OSS_TRUSTED_KEYS": "http://127.0.0.1/key.pem=/no/such/file"}
    assert "cannot be read" in only("key", deployment.environ | missing)["said"]


def test_an_unknown_check_is_misuse() -> None:
    assert "invalid choice" in oss_wsgi("doctor", "--only", "everything", status=2).stderr


def test_without_the_sdk_the_rest_runs_and_says_what_it_could_not_ask(deployment: Deployment, tmp_path: Path) -> None:
    (tmp_path / "alibabacloud_oss_v2.py").write_text("raise ImportError")
    environ = deployment.environ | {"PYTHONPATH": str(tmp_path)}
    found = findings(environ, "--write")
    assert {finding["check"] for finding in found if finding["colour"] == "yellow"} == {"region", "write"}


def test_the_library_that_finds_no_key_prints_no_line_of_its_own(deployment: Deployment, tmp_path: Path) -> None:
    environ = deployment.environ | {"OSS_ACCESS_KEY_ID": "", "OSS_ACCESS_KEY_SECRET": "", "HOME": str(tmp_path)}
    environ["ALIBABA_CLOUD_ECS_METADATA_DISABLED"] = "true"
    ended = oss_wsgi("doctor", "--only", "credentials", "--credentials-library", status=1, **environ)
    assert "there is no access key" in ended.stdout
    assert ended.stderr == ""
