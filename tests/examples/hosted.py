"""The files of examples/hosting, adapted to a temporary folder and free ports, and one application behind them."""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from local_oss import LocalOSSServer
from oss_wsgi.testing import multipart

from ..servers.apache import wait_for_cgi_daemon
from ..servers.site import Site
from ..servers.starters import APACHE_MODULES, copy_flup, system_python
from ..support.ports import free_port

EXAMPLES = Path(__file__).parents[2] / "examples"
HOSTING = EXAMPLES / "hosting"
NAME = "app.example.com"
CERTIFICATE, KEY = f"/etc/ssl/certs/{NAME}.pem", f"/etc/ssl/private/{NAME}.key"
APACHE_PARTS = (
    "mpm_event",
    "authn_core",
    "authn_file",
    "authz_core",
    "authz_user",
    "auth_basic",
    "alias",
    "ssl",
    "socache_shmcb",
    "headers",
    "reqtimeout",
    "wsgi",
)
APACHE_PROXY_PARTS = (
    "mpm_event",
    "authz_core",
    "alias",
    "ssl",
    "socache_shmcb",
    "proxy",
    "proxy_http",
    "headers",
    "reqtimeout",
)
YOURAPP = """\
import os

from oss_wsgi import DirectUpload, Grant, Settings


def legacy_app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "15")])
    return [b"hello from 2005"]


def authorize(request):
    user = request.remote_user or "eric"
    return Grant(user=user, dir=f"users/{user}/")


def save(upload):
    return {"name": upload.object, "user": upload.user, "size": upload.size}


application = DirectUpload(legacy_app, Settings.from_environ(os.environ), authorize=authorize, on_upload=save)
"""


@dataclass
class Hosted:
    """An application in a site's folder, the local OSS that sends it callbacks, and its front server's address.

    :ivar port: where the front server listens, as the callback URL says.
    """

    site: Site
    oss: LocalOSSServer
    scheme: str = "https"
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def environ(self) -> dict[str, str]:
        """Return the settings of the application; processes can share them."""
        key = self.site.write("key.pem", self.oss.oss.public_key_pem)
        return {
            "OSS_BUCKET": self.oss.oss.bucket,
            "OSS_REGION": self.oss.oss.region,
            "OSS_HOST": self.oss.oss.host,
            "OSS_ACCESS_KEY_ID": self.oss.oss.access_key_id,
            "OSS_ACCESS_KEY_SECRET": self.oss.oss.access_key_secret,
            "OSS_CALLBACK_URL": f"{self.url}/oss/callback",
            "OSS_TICKET_SECRET": "one secret for all of the processes",
            "OSS_LEDGER": str(self.site.folder / "ledger.sqlite3"),
            "OSS_TRUSTED_KEYS": f"{self.oss.oss.public_key_url}={key}",
        }

    def adapted(self, path: Path, instead: dict[str, str]) -> str:
        """Return the text of an example, with each key of ``instead``, which must be in it, replaced by its value."""
        text = path.read_text(encoding="utf-8")
        for old, new in instead.items():
            assert old in text, f"{path.name} has no {old!r}"
            text = text.replace(old, new)
        return text

    def fetch(self, path: str, headers: dict[str, str] | None = None) -> bytes:
        request = urllib.request.Request(f"{self.url}{path}", headers={"Host": NAME, **(headers or {})})
        with urllib.request.urlopen(request, context=_trusting()) as response:
            return bytes(response.read())

    def upload(self, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Get a signature through the front server, upload with it, and return what the browser gets from OSS."""
        query = urlencode({"filename": "cat.png", "size": 6, "content_type": "image/png"})
        # The browser's own header: the page's host and the host that the application sees must be the same.
        headers = {"Origin": f"{self.scheme}://{NAME}", **(headers or {})}
        form = json.loads(self.fetch(f"/oss/signature?{query}", headers))
        content_type, body = multipart(form["fields"], "cat.png", b"meow..", content_type="image/png")
        request = urllib.request.Request(form["url"], body, {"Content-Type": content_type})
        with urllib.request.urlopen(request) as response:
            data = response.read()
            return response.status, json.loads(data) if response.status == 200 else data

    def send(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        """Send JSON through the front server, as the page does, and return the status and the JSON of the response."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Host": NAME, "Origin": f"{self.scheme}://{NAME}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, context=_trusting()) as response:
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode(errors="replace")


def _trusting() -> ssl.SSLContext:
    """Return a TLS context that accepts the test's own certificate, although the address is an IP number here."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def start_gunicorn(hosted: Hosted, python: str, port: int) -> None:
    text = hosted.adapted(HOSTING / "gunicorn.conf.py", {"127.0.0.1:8000": f"127.0.0.1:{port}"})
    path = hosted.site.write("gunicorn.conf.py", text)
    hosted.site.run(python, "-m", "gunicorn", "-c", str(path), "yourapp:application", port=port)


def start_uwsgi(hosted: Hosted, python: str, port: int) -> None:
    """Start uWSGI with examples/hosting/uwsgi.ini; it speaks uwsgi, not HTTP."""
    virtual_environment(hosted)
    instead = {"127.0.0.1:8000": f"127.0.0.1:{port}", "/srv/app": str(hosted.site.folder)}
    path = hosted.site.write("uwsgi.ini", hosted.adapted(HOSTING / "uwsgi.ini", instead))
    hosted.site.run("uwsgi", str(path), port=port)


def start_server_py(hosted: Hosted, python: str, port: int) -> None:
    """Start server.py, which is examples/oss-wsgi.service's own program."""
    program = str(EXAMPLES.parent / "server.py")
    hosted.site.run(python, program, "--listen", f"127.0.0.1:{port}", "--allow-anonymous", "on", port=port)


def virtual_environment(hosted: Hosted) -> None:
    """Make .venv for the Python of Debian's mod_wsgi and uWSGI, with Debian's packages."""
    system = system_python()
    assert system is not None
    command = [system, "-m", "venv", "--system-site-packages", "--without-pip", str(hosted.site.folder / ".venv")]
    subprocess.run(command, check=True)


def start_mod_wsgi(hosted: Hosted, python: str, port: int, extra: str = "") -> None:
    """Start Apache with examples/hosting/mod_wsgi.conf, over TLS on the port of ``hosted``, else plainly on another.

    :param extra: lines for the end of the virtual host.
    """
    site, folder = hosted.site, hosted.site.folder
    virtual_environment(hosted)
    site.write("oss-wsgi.env", "# settings\n" + "".join(f"{name}={text}\n" for name, text in hosted.environ().items()))
    site.write("app.wsgi", hosted.adapted(HOSTING / "app.wsgi", {"/etc/oss-wsgi.env": f"{folder}/oss-wsgi.env"}))
    instead = {
        "*:80": f"127.0.0.1:{free_port()}",
        "*:443": f"127.0.0.1:{port}",
        "/srv/app": str(folder),
        CERTIFICATE: f"{folder}/both.pem",
        KEY: f"{folder}/both.pem",
    }
    text = hosted.adapted(HOSTING / "mod_wsgi.conf", instead)
    if port != hosted.port:
        assert "SSLEngine on\n" in text
        text = text.replace("SSLEngine on\n", "")
    text = text.replace("    </Directory>\n</VirtualHost>", f"    </Directory>\n{extra}</VirtualHost>")
    run_apache(site, port, APACHE_PARTS, f"WSGISocketPrefix {folder}/wsgi\nSSLSessionCache none\n{text}")


def run_apache(site: Site, port: int, modules: Iterable[str], text: str) -> None:
    """Start Apache with these modules and lines; its children run as another user where the tests run as root."""
    folder = site.folder
    loaded = "".join(f"LoadModule {name}_module {APACHE_MODULES}/mod_{name}.so\n" for name in modules)
    user = "User www-data\nGroup www-data\n" if os.getuid() == 0 else ""
    main = (
        f"{loaded}{user}ServerName localhost\nListen 127.0.0.1:{port}\nServerRoot {folder}\n"
        f"DefaultRuntimeDir {folder}\nPidFile {folder}/apache.pid\nErrorLog {folder}/apache.out\nMutex file:{folder}\n"
        "LogLevel warn\n"
    )
    # Apache's own user writes the ledger and the sockets.
    folder.chmod(0o777)
    path = site.write("apache.conf", main + text)
    site.run("apache2", "-D", "FOREGROUND", "-f", str(path), port=port)


def start_nginx(hosted: Hosted, example: Path, back_end: int) -> None:
    """Start nginx with one of the sites in front of a back end's port."""
    folder = hosted.site.folder
    port_of_back_end = "8080" if example.name == "nginx-site.conf" else "8000"
    instead = {
        "    listen [::]:80;\n": "",
        "    listen [::]:443 ssl;\n": "",
        "listen 80": f"listen 127.0.0.1:{free_port()}",
        "listen 443": f"listen 127.0.0.1:{hosted.port}",
        f"127.0.0.1:{port_of_back_end}": f"127.0.0.1:{back_end}",
        CERTIFICATE: f"{folder}/both.pem",
        KEY: f"{folder}/both.pem",
    }
    run_nginx(hosted, hosted.adapted(example, instead))


def run_nginx(hosted: Hosted, text: str) -> None:
    """Start nginx with these lines of its block ``http``."""
    folder = hosted.site.folder
    text = re.sub(r"include (\w+_params)", r"include /etc/nginx/\1", text)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {folder}/nginx-{kind};\n" for kind in kinds)
    main = f"daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.out;\nevents {{}}\n"
    path = hosted.site.write("nginx.conf", f"{main}http {{ access_log off;\n{temporary}{text}}}\n")
    hosted.site.run("nginx", "-p", str(folder), "-c", str(path), port=hosted.port)


def start_apache(hosted: Hosted, example: Path, back_end: int) -> None:
    """Start Apache as a proxy with one of the sites in front of a back end's port."""
    folder = hosted.site.folder
    instead = {
        "*:80": f"127.0.0.1:{free_port()}",
        "*:443": f"127.0.0.1:{hosted.port}",
        "127.0.0.1:8080": f"127.0.0.1:{back_end}",
        CERTIFICATE: f"{folder}/both.pem",
        KEY: f"{folder}/both.pem",
    }
    text = hosted.adapted(example, instead)
    run_apache(hosted.site, hosted.port, APACHE_PROXY_PARTS, f"SSLSessionCache none\n{text}")


@dataclass(frozen=True)
class BackEnd:
    """A server of the application: what it needs, how it starts, and the nginx site in front of it."""

    name: str
    needs: tuple[str, ...]
    start: Callable[[Hosted, str, int], None]
    nginx: Path

    def __str__(self) -> str:
        return self.name


MOD_WSGI = ("apache2", str(APACHE_MODULES / "mod_wsgi.so"), "system python", "system webob")
PROXY, BY_UWSGI = HOSTING / "nginx-proxy.conf", HOSTING / "nginx-uwsgi.conf"
BACK_ENDS = (
    BackEnd("gunicorn", ("module gunicorn",), start_gunicorn, PROXY),
    BackEnd("uWSGI", ("uwsgi", "system python", "system webob"), start_uwsgi, BY_UWSGI),
    BackEnd("mod_wsgi", MOD_WSGI, start_mod_wsgi, PROXY),
    BackEnd("server.py", (), start_server_py, EXAMPLES / "nginx-site.conf"),
)


FASTCGI_PAGE = EXAMPLES.parent / "docs" / "how-to" / "hosting" / "fastcgi.md"


def page_block(language: str, part: str) -> str:
    """Return the block of the page on FastCGI that is in a language and contains a text."""
    blocks = re.findall(
        rf"^```{language}\n(.*?)^```$", FASTCGI_PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    (block,) = [block for block in blocks if part in block]
    return str(block)


def start_flup(hosted: Hosted, protocol: str) -> int:
    """Start the page's FastCGI program, or the same for SCGI, and return its port."""
    port = free_port()
    copy_flup(hosted.site)
    code = page_block("python", "flup").replace("server.fcgi", f"server.{protocol}").replace("9000", str(port))
    hosted.site.run(sys.executable, str(hosted.site.write(f"app.{protocol}", code)), port=port)
    return port


def start_apache_with(hosted: Hosted, block: str, *modules: str) -> None:
    """Start Apache with a block of the page in the server, over plain HTTP on the port of ``hosted``."""
    if "cgid" in modules:
        # A CGI program gets no variable of the server's environment but those that are passed.
        passed = "".join(f"PassEnv {name}\n" for name in (*hosted.environ(), "PYTHONPATH"))
        block = f"{passed}ScriptSock {hosted.site.folder}/cgid.sock\n{block}"
    run_apache(hosted.site, hosted.port, ("mpm_event", "authz_core", "alias", "setenvif", "env", *modules), block)


def start_proxy(hosted: Hosted, protocol: str) -> None:
    """Start Apache as a proxy of FastCGI or SCGI with the page's block."""
    block = page_block("apache", f"{protocol}://").replace("9000", str(start_flup(hosted, protocol)))
    start_apache_with(hosted, block, "proxy", f"proxy_{protocol}")


def start_cgi(hosted: Hosted) -> None:
    """Start Apache with the page's CGI program, in Debian's Python."""
    head = f"#!{system_python()} -Wignore\n"
    hosted.site.write("app.cgi", head + page_block("python", "CGIHandler"), 0o755)
    start_apache_with(hosted, page_block("apache", "ScriptAlias").replace("/srv/app", str(hosted.site.folder)), "cgid")
    wait_for_cgi_daemon(hosted.site)


def start_nginx_with(hosted: Hosted, protocol: str, directive: str) -> None:
    """Start nginx with the page's location in front of flup."""
    location = page_block("nginx", f"{directive}_pass").replace("9000", str(start_flup(hosted, protocol)))
    run_nginx(hosted, f"server {{ listen 127.0.0.1:{hosted.port};\n{location}}}\n")


def start_lighttpd(hosted: Hosted) -> None:
    """Start lighttpd with the page's block in front of flup."""
    block = page_block("lighttpd", "fastcgi").replace("9000", str(start_flup(hosted, "fcgi")))
    head = f'server.document-root = "{hosted.site.folder}"\nserver.port = {hosted.port}\nserver.bind = "127.0.0.1"\n'
    hosted.site.run("lighttpd", "-D", "-f", str(hosted.site.write("lighttpd.conf", head + block)), port=hosted.port)


@dataclass(frozen=True)
class Gateway:
    """A gateway of the page on FastCGI: what it needs, and how it starts."""

    name: str
    needs: tuple[str, ...]
    start: Callable[[Hosted], None]

    def __str__(self) -> str:
        return self.name


GATEWAYS = (
    Gateway("Apache mod_proxy_fcgi", ("apache2", "module flup"), lambda hosted: start_proxy(hosted, "fcgi")),
    Gateway("Apache mod_proxy_scgi", ("apache2", "module flup"), lambda hosted: start_proxy(hosted, "scgi")),
    Gateway("Apache mod_cgid", ("apache2", "system python", "system webob"), start_cgi),
    Gateway("nginx FastCGI", ("nginx", "module flup"), lambda hosted: start_nginx_with(hosted, "fcgi", "fastcgi")),
    Gateway("nginx SCGI", ("nginx", "module flup"), lambda hosted: start_nginx_with(hosted, "scgi", "scgi")),
    Gateway("lighttpd FastCGI", ("lighttpd", "module flup"), start_lighttpd),
)
