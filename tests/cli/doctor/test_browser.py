"""`doctor` finds what stops browsers: an address out of their reach, mixed content, a signature that is not passed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from oss_wsgi.cli.doctor.browser import check_host, check_page, signature_url
from oss_wsgi.cli.doctor.context import CheckContext

from ...support.deployment import Deployment, Front, deployed, moving
from .runs import finding_of, run_doctor

BUCKET = {"OSS_BUCKET": "examplebucket", "OSS_REGION": "cn-hangzhou"}
PUBLIC = "`export OSS_HOST=https://examplebucket.oss-cn-hangzhou.aliyuncs.com`"
CALLBACK = {"OSS_CALLBACK_URL": "https://app.example.com/oss/callback"}
LOCAL = {
    "OSS_HOST": "http://127.0.0.1:8081/examplebucket",
    "OSS_TRUSTED_KEYS": "http://127.0.0.1:8081/callback_pub_key.pem=key.pem",
}
LOCAL_CALLBACK = {"OSS_CALLBACK_URL": "http://127.0.0.1:8080/oss/callback"}
#: Without the secret `doctor` proves nothing: the application answers it as anybody.
STRANGER = {"OSS_TICKET_SECRET": ""}


def host_finding(**environ: str) -> tuple[str, str, str]:
    (finding,) = check_host(CheckContext({**BUCKET, **environ}))
    return finding.colour, finding.message, finding.fix


@pytest.mark.parametrize(
    "environ",
    [
        pytest.param({"OSS_ENDPOINT": "oss-cn-hangzhou-internal.aliyuncs.com"}, id="the endpoint"),
        pytest.param({"OSS_HOST": "https://examplebucket.oss-cn-hangzhou-internal.aliyuncs.com"}, id="the host"),
        pytest.param({"OSS_HOST": "https://examplebucket.vpc100-oss-cn-hangzhou.aliyuncs.com"}, id="a VPC's"),
    ],
)
def test_an_internal_endpoint_is_red_with_the_public_one(environ: dict[str, str]) -> None:
    colour, message, fix = host_finding(**environ, **CALLBACK)
    assert colour == "red"
    assert "browsers cannot reach an internal endpoint" in message
    assert PUBLIC in fix


def test_an_internal_endpoint_for_the_servers_beside_a_public_host_is_green() -> None:
    environ = {"OSS_ENDPOINT": "oss-cn-hangzhou-internal.aliyuncs.com", "OSS_HOST": "https://files.example.com"}
    assert host_finding(**environ, **CALLBACK)[0] == "green"


@pytest.mark.parametrize("others", [{}, CALLBACK, LOCAL_CALLBACK])
def test_a_name_without_a_domain_is_red(others: dict[str, str]) -> None:
    colour, message, fix = host_finding(OSS_HOST="http://oss:8081/examplebucket", **others)
    assert (colour, "without a domain" in message, PUBLIC in fix) == ("red", True, True)


@pytest.mark.parametrize(
    "host",
    ["https://192.168.1.7:8443", "http://127.0.0.1:8081", "http://localhost:8081", "http://oss.svc"],
)
def test_a_private_address_is_red_for_pages_of_everybody(host: str) -> None:
    colour, message, fix = host_finding(OSS_HOST=f"{host}/examplebucket", **CALLBACK)
    assert (colour, "private address" in message, PUBLIC in fix) == ("red", True, True)
    environ = {"OSS_HOST": f"{host}/examplebucket", "OSS_TRUSTED_KEYS": f"{host}/callback_pub_key.pem=key.pem"}
    assert host_finding(**environ, **CALLBACK)[0] == "red", "a stand-in, but callbacks go to everybody's address"


def test_a_stand_in_for_oss_is_green_for_callbacks_of_its_network() -> None:
    assert host_finding(**LOCAL, **LOCAL_CALLBACK)[0] == "green"
    localhost = {**LOCAL, "OSS_HOST": "http://localhost:8081/examplebucket"}
    assert host_finding(**localhost, **LOCAL_CALLBACK)[0] == "green"
    other_port = {**LOCAL, "OSS_HOST": "http://localhost:9081/examplebucket"}
    assert host_finding(**other_port, **LOCAL_CALLBACK)[0] == "red"
    network = {"OSS_HOST": "http://10.1.2.3:8081/examplebucket", "OSS_TRUSTED_KEYS": "http://10.1.2.3:8081/k=key.pem"}
    assert host_finding(**network, OSS_CALLBACK_URL="http://10.1.2.4/oss/callback")[0] == "green"
    assert host_finding(OSS_HOST="http://127.0.0.1:8081/examplebucket")[0] == "yellow", "no callback, no key"


@pytest.mark.parametrize(
    "environ", [{}, {"OSS_HOST": "https://files.example.com"}, {"OSS_ENDPOINT": "https://oss-accelerate.aliyuncs.com"}]
)
def test_a_public_name_is_green(environ: dict[str, str]) -> None:
    assert host_finding(**environ, **CALLBACK)[0] == "green"


@pytest.mark.parametrize(
    ("environ", "colour"),
    [
        pytest.param({"OSS_HOST": "http://files.example.com", **CALLBACK}, "red", id="a callback of https"),
        pytest.param(
            {"OSS_HOST": "http://files.example.com", "OSS_ALLOWED_ORIGINS": "https://app.example.com"},
            "red",
            id="a page of https",
        ),
        pytest.param({"OSS_ENDPOINT": "http://oss-cn-hangzhou.aliyuncs.com", **CALLBACK}, "red", id="by the endpoint"),
        pytest.param({"OSS_HOST": "http://10.0.0.1/examplebucket", **CALLBACK}, "red", id="a private address"),
        pytest.param({"OSS_HOST": "http://files.example.com"}, "yellow", id="no page known"),
        pytest.param({**LOCAL, **CALLBACK}, "green", id="loopback, which browsers allow"),
        pytest.param({"OSS_HOST": "https://files.example.com", **CALLBACK}, "green", id="https"),
        pytest.param(CALLBACK, "green", id="the usual"),
        pytest.param({**LOCAL_CALLBACK, "OSS_HOST": "http://10.0.0.1/b"}, "green", id="http in all"),
    ],
)  # fmt: skip
def test_pages_of_https_need_forms_of_https(environ: dict[str, str], colour: str) -> None:
    (finding,) = check_page(CheckContext({**BUCKET, **environ}))
    assert finding.colour == colour
    assert (colour == "red") == ("mixed content" in finding.message)
    if colour != "green":
        assert "`export OSS_HOST=https://" in finding.fix


def test_the_signature_is_beside_the_callback() -> None:
    assert signature_url("https://a.example.com/x/oss/callback?a=b") == "https://a.example.com/x/oss/signature"
    assert signature_url("https://a.example.com/x") is None


def at_signature(status: str, *headers: tuple[str, str], body: bytes = b"<html>", method: str = "GET") -> Front:
    """Return a front server that answers requests for the signature itself, and passes all others on."""

    def server(app: Any) -> Any:
        def front(environ: Any, start_response: Any) -> Any:
            if environ["PATH_INFO"].endswith("/signature") and environ["REQUEST_METHOD"] == method:
                start_response(status, [("Content-Length", str(len(body))), *headers])
                return [body]
            return app(environ, start_response)

        return front

    return server


@pytest.mark.slow
@pytest.mark.parametrize(
    ("front", "secret"),
    [
        pytest.param(at_signature("404 Not Found"), {}, id="not passed"),
        pytest.param(at_signature("200 OK", body=b'{"Status": "Ok"}'), STRANGER, id="JSON of another application"),
        pytest.param(moving("/oss/signature", "/signature"), {}, id="without the prefix"),
        pytest.param(moving("/oss/signature", "/oss/sign"), STRANGER, id="another path"),
    ],
)
def test_a_front_server_that_passes_only_the_callback_is_red(
    front: Front, secret: dict[str, str], tmp_path: Path
) -> None:
    with deployed(tmp_path, front=front) as deployment:
        finding = finding_of("signature", deployment.environ | secret)
        run_doctor(deployment.environ, "--only", "callback")
    assert f"{deployment.url}/oss/signature" in finding["said"] or "not its signature" in finding["said"]
    assert "`location /oss/ { proxy_pass http://127.0.0.1:8080; }`" in finding["fix"]
    assert "`ProxyPass /oss http://127.0.0.1:8080/oss`" in finding["fix"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "front",
    [
        at_signature("401 Unauthorized"),
        at_signature("302 Found", ("Location", "/login")),
        at_signature("403 Forbidden"),
    ],
)
def test_a_front_server_that_asks_for_a_login_is_not_checked(front: Front, tmp_path: Path) -> None:
    with deployed(tmp_path, front=front) as deployment:
        finding = finding_of("signature", deployment.environ, "yellow")
    assert finding["said"].startswith("not checked: ")
    assert "`curl -i '" in finding["fix"]


def stripping(app: Any) -> Any:
    """Return a front server that strips /site, and a gateway that keeps the target as it was sent."""

    def front(environ: Any, start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        return app({**environ, "PATH_INFO": path.removeprefix("/site"), "REQUEST_URI": path}, start_response)

    return front


@pytest.mark.slow
def test_a_prefix_that_the_server_strips_is_green(tmp_path: Path) -> None:
    with deployed(tmp_path, front=stripping) as deployment:
        environ = deployment.environ | {"OSS_CALLBACK_URL": f"{deployment.url}/site/oss/callback"}
        finding_of("signature", environ, "green")


@pytest.mark.slow
def test_a_front_server_that_moves_the_signature_to_https_is_red(tmp_path: Path) -> None:
    front = at_signature("301 Moved", ("Location", "https://app.example.com/oss/signature"))
    with deployed(tmp_path, front=front) as deployment:
        assert "301, to https://app.example.com" in finding_of("signature", deployment.environ)["said"]


@pytest.mark.slow
def test_a_front_server_that_changes_the_method_of_the_signature_is_red(tmp_path: Path) -> None:
    def posting(app: Any) -> Any:
        def front(environ: Any, start_response: Any) -> Any:
            return app({**environ, "REQUEST_METHOD": "POST"}, start_response)

        return front

    with deployed(tmp_path, front=posting) as deployment:
        finding = finding_of("signature", deployment.environ)
    assert f"GET of {deployment.url}/oss/signature arrives as POST" in finding["said"]
    assert finding["fix"].startswith("Let the server in front keep the method.")


@pytest.mark.slow
@pytest.mark.parametrize("secret", [{}, STRANGER], ids=["probe", "stranger"])
def test_an_application_that_refuses_strangers_is_green(secret: dict[str, str], tmp_path: Path) -> None:
    for authorize in (lambda request: None, lambda request: 1 / 0):
        with deployed(tmp_path / str(id(authorize)), app={"authorize": authorize}) as deployment:
            finding_of("signature", deployment.environ | secret, "green")


@pytest.mark.slow
def test_where_the_callback_fails_too_the_signature_is_not_checked(deployment: Deployment) -> None:
    for url in (f"{deployment.url}/other/callback", "http://127.0.0.1:1/oss/callback"):
        environ = deployment.environ | {"OSS_CALLBACK_URL": url}
        assert finding_of("signature", environ, "yellow")["said"].startswith("not checked: ")
    environ = deployment.environ | {"OSS_CALLBACK_URL": f"{deployment.url}/elsewhere"}
    assert "does not end in /callback" in finding_of("signature", environ, "yellow")["said"]
