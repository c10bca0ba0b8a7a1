"""Each file of examples/hosting in its real server: a signature, an upload to the local OSS, a verified callback."""

from __future__ import annotations

import base64
import http.client
import sys
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import quote

import pytest

from local_oss import LocalOSSServer
from oss_wsgi.testing import CallbackSigner

from ..servers.site import Site
from ..servers.starters import APACHE_MODULES, missing
from ..support.absent import skip_or_fail
from ..support.certificate import certificate
from ..support.ports import free_port
from .hosted import (
    BACK_ENDS,
    EXAMPLES,
    GATEWAYS,
    HOSTING,
    MOD_WSGI,
    YOURAPP,
    BackEnd,
    Gateway,
    Hosted,
    start_apache,
    start_gunicorn,
    start_mod_wsgi,
    start_nginx,
    start_server_py,
)


def require(*needs: str) -> None:
    """Skip the test if something is missing, and fail in CI."""
    need = missing(*needs)
    if need is not None:
        skip_or_fail(need)


@pytest.fixture
def hosted(local_oss_server: LocalOSSServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosted]:
    """An application whose settings are in the environment, and which no server hosts yet."""
    site = Site(CallbackSigner())
    site.write("yourapp.py", YOURAPP)
    hosted = Hosted(site, local_oss_server)
    # The local OSS calls back over TLS, as OSS does, and trusts this certificate alone.
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate(site.folder, names=["app.example.com"])))
    for name, text in hosted.environ().items():
        monkeypatch.setenv(name, text)
    yield hosted
    site.close()


def expect_an_upload(hosted: Hosted, user: str | None = "eric", headers: dict[str, str] | None = None) -> None:
    """Upload, and expect that the application was told of it: its own JSON is the response."""
    status, response = hosted.upload(headers)
    assert status == 200, (response, hosted.site.output())
    assert response["Status"] == "Ok"
    if user is not None:
        assert (response["user"], response["size"]) == (user, 6)
        assert response["name"].startswith(f"users/{user}/")
        assert hosted.fetch("/", headers) == b"hello from 2005"


@pytest.mark.parametrize("back_end", BACK_ENDS, ids=str)
def test_nginx_in_front_of_each_server_brings_a_verified_callback(hosted: Hosted, back_end: BackEnd) -> None:
    require("nginx", *back_end.needs)
    port = free_port()
    back_end.start(hosted, sys.executable, port)
    start_nginx(hosted, back_end.nginx, port)
    expect_an_upload(hosted, user=None if back_end.name == "server.py" else "eric")


def test_mod_wsgi_brings_a_verified_callback(hosted: Hosted) -> None:
    require(*MOD_WSGI)
    start_mod_wsgi(hosted, sys.executable, hosted.port)
    expect_an_upload(hosted)


PASSWORD = """\
    <Location />
        AuthType Basic
        AuthName "Members"
        AuthUserFile {folder}/members
        Require valid-user
    </Location>
"""
EXEMPT = """\
    <Location /oss/callback>
        AuthType None
        Require all granted
    </Location>
"""


def test_where_apache_asks_for_a_password_the_callback_is_exempt(hosted: Hosted) -> None:
    require(*MOD_WSGI)
    hosted.site.write("members", "anna:{SHA}" + "W6ph5Mm5Pz8GgiULbPgzG37mj9g=" + "\n")  # password
    extra = PASSWORD.format(folder=hosted.site.folder) + EXEMPT
    start_mod_wsgi(hosted, sys.executable, hosted.port, extra=extra)
    login = {"Authorization": f"Basic {base64.b64encode(b'anna:password').decode()}"}
    expect_an_upload(hosted, "anna", login)


def test_gunicorn_alone_brings_a_verified_callback(hosted: Hosted, monkeypatch: pytest.MonkeyPatch) -> None:
    require("module gunicorn")
    hosted.scheme = "http"
    monkeypatch.setenv("OSS_CALLBACK_URL", f"{hosted.url}/oss/callback")
    start_gunicorn(hosted, sys.executable, hosted.port)
    expect_an_upload(hosted)


@pytest.mark.parametrize("gateway", GATEWAYS, ids=str)
def test_each_gateway_of_the_page_on_fastcgi_brings_a_verified_callback(
    hosted: Hosted, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    require(*gateway.needs)
    hosted.scheme = "http"
    monkeypatch.setenv("OSS_CALLBACK_URL", f"{hosted.url}/oss/callback")
    gateway.start(hosted)
    expect_an_upload(hosted)


def test_each_file_of_the_folder_is_hosted_here() -> None:
    tested = {"mod_wsgi.conf", "app.wsgi", "gunicorn.conf.py", "uwsgi.ini", "nginx-proxy.conf", "nginx-uwsgi.conf"}
    assert {path.name for path in HOSTING.iterdir() if path.is_file()} == tested


@pytest.mark.parametrize("name", ["gunicorn.conf.py"])
def test_a_page_shows_the_whole_file(name: str) -> None:
    """The other pages say so to the runner of the documentation, which compares them."""
    page = (EXAMPLES.parent / "docs" / "how-to" / "hosting" / f"{name.partition('.')[0]}.md").read_text(
        encoding="utf-8"
    )
    _, _, settings = (HOSTING / name).read_text(encoding="utf-8").partition("\n\n")
    assert settings in page


@pytest.mark.parametrize("example", ["nginx-site.conf", "apache-site.conf"])
def test_a_list_of_parts_of_more_than_64_kb_passes_each_site(
    hosted: Hosted, example: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_apache = example.startswith("apache")
    require(*(("apache2", str(APACHE_MODULES / "mod_proxy_http.so")) if is_apache else ("nginx",)))
    monkeypatch.setenv("OSS_MULTIPART", "on")
    port = free_port()
    start_server_py(hosted, sys.executable, port)
    (start_apache if is_apache else start_nginx)(hosted, EXAMPLES / example, port)
    _, begun = hosted.send("POST", "/oss/s3/multipart", {"filename": "film.mp4", "type": "video/mp4"})
    path, key = f"/oss/s3/multipart/{quote(begun['uploadId'], safe='')}", f"?key={quote(begun['key'], safe='')}"
    parts = []
    with closing(http.client.HTTPConnection("127.0.0.1", hosted.oss.port)) as connection:
        for number in (1, 2):
            _, signed = hosted.send("GET", f"{path}/{number}{key}")
            connection.request("PUT", signed["url"].partition(str(hosted.oss.port))[2], bytes(100 * 1024))
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            answer.read()
            parts.append({"PartNumber": number, "ETag": answer.headers["ETag"]})
    # As long as a list of 1100 parts is; tests/endpoints/test_multipart.py claims ten thousand.
    status, completed = hosted.send("POST", f"{path}/complete{key}", {"padding": "x" * 70 * 1024, "parts": parts})
    assert status == 200, completed
    assert hosted.send("POST", "/oss/callback", {"padding": "x" * 128 * 1024})[0] == 413
