"""`oss-wsgi doctor` through real servers: it names the server that withholds the header, and the line to add."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ...servers.apache import CGID, DAEMON, FCGID, PATH_INFO_BY_FCGI, PROXY_FCGI, REWRITE, Recipe, start
from ...servers.conftest import require, signer, site
from ...servers.site import Site
from ...servers.starters import PASSING, Server
from ...servers.test_apache import needs
from ...support.running_server import REAL_BUCKET
from .runs import run_doctor

pytestmark = pytest.mark.slow

__all__ = ["require", "signer", "site"]  # fixtures

SECRET = "servers-test-secret-of-many-letters"
SETTINGS = REAL_BUCKET | {"OSS_TICKET_SECRET": SECRET}
APP = """\
import sys
sys.path.insert(0, {folder!r})
from oss_wsgi import DirectUpload, Settings

def legacy(environ, start_response):
    start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", "0")])
    return [b""]

application = DirectUpload(legacy, Settings.from_environ({settings!r}))
"""
LINGERING = """
import atexit, time
atexit.register(time.sleep, 5)
"""


@pytest.fixture
def uploads(site: Site) -> Site:
    site.write("app.py", APP.format(folder=str(site.folder), settings=SETTINGS))
    return site


def callback_findings(port: int, status: int) -> list[dict[str, str]]:
    environ = SETTINGS | {"OSS_CALLBACK_URL": f"http://127.0.0.1:{port}/oss/callback"}
    findings = run_doctor(environ, "--only", "callback", "--only", "answer", status=status)
    return [finding for finding in findings if "not your own handler" not in finding["said"]]


LENGTH = "SetEnvIf Request_URI . ap_trust_cgilike_cl=1\n"
#: tests/servers shows that the header, the path and the body arrive through each of them.
SOME_PASSING = [server for server in PASSING if server.name in ("waitress", "nginx proxy_pass", "nginx uwsgi_pass")]
WITHHOLDING = {
    "Apache mod_wsgi (daemon)": (DAEMON, "WSGIPassAuthorization On"),
    "Apache CGI": (CGID, "CGIPassAuth On"),
    "Apache mod_fcgid": (FCGID, "FcgidPassHeader Authorization"),
    "Apache mod_proxy_fcgi": (PROXY_FCGI, "CGIPassAuth On"),
}


@pytest.mark.parametrize("server", WITHHOLDING)
def test_a_server_that_withholds_the_header_is_named_with_the_fix(
    server: str, uploads: Site, require: Callable[..., None]
) -> None:
    back_end, fix = WITHHOLDING[server]
    require(*needs(back_end))
    findings = callback_findings(start(uploads, back_end, Recipe("none", ())), status=1)
    assert findings[0]["said"] == f"Authorization does not arrive behind {server}"
    assert fix in findings[0]["fix"]


@pytest.mark.parametrize("server", ["Apache CGI", "Apache mod_proxy_fcgi"])
def test_with_the_fix_all_arrives_and_the_answer_has_a_length(
    server: str, uploads: Site, require: Callable[..., None]
) -> None:
    back_end, _ = WITHHOLDING[server]
    require(*needs(back_end))
    path_info = PATH_INFO_BY_FCGI if back_end is PROXY_FCGI else ""
    recipe = Recipe("all", (), server=f"{REWRITE}{path_info}{LENGTH}")
    arrival, answer = callback_findings(start(uploads, back_end, recipe), status=0)
    assert arrival["said"].endswith(f"header, path and body arrive, behind {server}")
    assert "200, JSON with a Content-Length" in answer["said"]


def test_an_answer_whose_length_apache_drops_is_red_with_the_fix(uploads: Site, require: Callable[..., None]) -> None:
    require(*needs(CGID))
    # Apache gives a length to a body that it reads whole at once, as when the program has ended before it looks.
    uploads.write("app.py", uploads.folder.joinpath("app.py").read_text() + LINGERING)
    arrival, answer = callback_findings(start(uploads, CGID, Recipe("mod_rewrite", (), server=REWRITE)), status=1)
    assert arrival["colour"] == "green"
    assert "the answer has no Content-Length" in answer["said"]
    assert LENGTH.strip() in answer["fix"]


def test_a_path_that_the_server_reroutes_is_red_with_the_fix(uploads: Site, require: Callable[..., None]) -> None:
    require(*needs(PROXY_FCGI))
    findings = callback_findings(start(uploads, PROXY_FCGI, Recipe("mod_rewrite", (), server=REWRITE)), status=1)
    finding = findings[0]
    assert "reaches the application behind Apache mod_proxy_fcgi, but not its callback" in finding["said"]
    assert 'ProxyFCGISetEnvIf "true" PATH_INFO' in finding["fix"]


@pytest.mark.parametrize("server", SOME_PASSING, ids=lambda server: server.name)
def test_through_a_server_that_passes_the_header_all_arrives(
    server: Server, uploads: Site, require: Callable[..., None]
) -> None:
    require(*server.needs)
    findings = callback_findings(server.start(uploads), status=0)
    assert [finding for finding in findings if finding["colour"] != "green"] == []
