"""Starters, one for each way of hosting: each writes a configuration and starts the servers on loopback."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..support.ports import free_port
from .site import Site

APACHE_MODULES = Path("/usr/lib/apache2/modules")
FLUP = "from flup.server.fcgi import WSGIServer\nfrom app import application\nWSGIServer(application{}).run()\n"
#: flup behind nginx needs these lines, or its PATH_INFO starts in the wrong place.
PATH_INFO = {
    "fastcgi": 'fastcgi_param SCRIPT_NAME "";\nfastcgi_param PATH_INFO $fastcgi_script_name;\n',
    "scgi": 'scgi_param SCRIPT_NAME "";\nscgi_param PATH_INFO $document_uri;\n',
}
#: flup behind lighttpd needs this one, or its SCRIPT_NAME is the first part of the path.
FIX_ROOT = '"fix-root-scriptname" => "enable"'
WSGIREF = (
    "from wsgiref.simple_server import make_server\nfrom app import application\n"
    "make_server('127.0.0.1', {}, application).serve_forever()\n"
)
CHEROOT = (
    "from cheroot.wsgi import Server\nfrom app import application\nServer(('127.0.0.1', {}), application).start()\n"
)
GEVENT = (
    "from gevent.pywsgi import WSGIServer\nfrom app import application\n"
    "WSGIServer(('127.0.0.1', {}), application).serve_forever()\n"
)
WERKZEUG = (
    "from werkzeug.serving import run_simple\nfrom app import application\nrun_simple('127.0.0.1', {}, application)\n"
)
TORNADO = (
    "import tornado.httpserver, tornado.ioloop, tornado.wsgi\nfrom app import application\n"
    "server = tornado.httpserver.HTTPServer(tornado.wsgi.WSGIContainer(application))\n"
    "server.listen({}, '127.0.0.1')\ntornado.ioloop.IOLoop.current().start()\n"
)
WAITRESS = "import waitress\nfrom app import application\nwaitress.serve(application, listen='127.0.0.1:{}')\n"
A2WSGI = (
    "import a2wsgi, uvicorn\nfrom app import application\n"
    "uvicorn.run(a2wsgi.WSGIMiddleware(application), host='127.0.0.1', port={}, log_level='warning')\n"
)


@cache
def system_python() -> str | None:
    """Return Debian's own Python if it has ``cryptography``: Debian's mod_wsgi and uWSGI are built for it."""
    for python in ("/usr/bin/python3.13", "/usr/bin/python3"):
        command = [python, "-c", "import cryptography, sys; sys.exit(sys.version_info < (3, 10))"]
        if shutil.which(python) and subprocess.run(command, capture_output=True).returncode == 0:
            return python
    return None


@cache
def system_webob() -> bool:
    """Return whether Debian's own Python has WebOb, which a whole DirectUpload needs."""
    python = system_python()
    return python is not None and subprocess.run([python, "-W", "ignore", "-c", "import webob"]).returncode == 0


def missing(*needs: str) -> str | None:
    """Return the first command, module or file that this machine lacks, or None."""
    for need in needs:
        if need == "system python":
            is_present = system_python() is not None
        elif need == "system webob":
            is_present = system_webob()
        elif need.startswith("module "):
            is_present = importlib.util.find_spec(need.removeprefix("module ")) is not None
        elif need.startswith("/"):
            is_present = Path(need).exists()
        else:
            is_present = shutil.which(need) is not None
        if not is_present:
            return need
    return None


@dataclass(frozen=True)
class Server:
    """A way of hosting: its name, what it needs, and a function that starts it and returns the port."""

    name: str
    needs: tuple[str, ...]
    start: Callable[[Site], int]


def python_server(code: str) -> Callable[[Site], int]:
    """Return a starter of a server that is a few lines of Python."""

    def start(site: Site) -> int:
        port = free_port()
        site.run(sys.executable, str(site.write(f"serve_{port}.py", code.format(port))), port=port)
        return port

    return start


def command(*words: str) -> Callable[[Site], int]:
    """Return a starter of a server that is a Python module with options. It replaces ``PORT`` in them."""

    def start(site: Site) -> int:
        port = free_port()
        site.run(sys.executable, "-m", *(word.replace("PORT", str(port)) for word in words), port=port)
        return port

    return start


def gunicorn(worker: str) -> Callable[[Site], int]:
    return command("gunicorn", "-b", "127.0.0.1:PORT", "-k", worker, "app:application")


def uwsgi(option: str) -> Callable[[Site], int]:
    def start(site: Site) -> int:
        port = free_port()
        command = ["uwsgi", "--plugins", "http,python3", option, f"127.0.0.1:{port}", "--wsgi-file", str(site.script)]
        site.run(*command, "--need-app", "--die-on-term", port=port)
        return port

    return start


def flup(site: Site, protocol: str = "fcgi") -> int:
    """Start flup as a FastCGI, SCGI or AJP server behind a web server, and return its port."""
    port = free_port()
    copy_flup(site)
    code = FLUP.replace("fcgi", protocol).format(f", bindAddress=('127.0.0.1', {port})")
    site.run(sys.executable, str(site.write(f"serve_{protocol}.py", code)), port=port)
    return port


def copy_flup(site: Site) -> None:
    spec = importlib.util.find_spec("flup")
    assert spec is not None
    assert spec.origin is not None
    shutil.copytree(Path(spec.origin).parent, site.folder / "flup", dirs_exist_ok=True)


def nginx(location: Callable[[Site], str]) -> Callable[[Site], int]:
    """Return a starter of nginx. ``location`` starts the back end and returns the location that leads to it."""

    def start(site: Site) -> int:
        port = free_port()
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "".join(f"{kind}_temp_path {site.folder};\n" for kind in kinds)
        user = f"user {pwd.getpwuid(os.getuid()).pw_name};" if os.getuid() == 0 else ""
        config = (
            f"{user} daemon off; pid {site.folder}/nginx.pid; error_log {site.folder}/nginx.out;\n"
            f"events {{}} http {{ access_log off; {temporary}\n"
            f"server {{ listen 127.0.0.1:{port};\n{location(site)}\n}} }}\n"
        )
        site.run("nginx", "-c", str(site.write("nginx.conf", config)), port=port)
        return port

    return start


def proxy_pass(path: str, target: str, back_end: Callable[[Site], int]) -> Callable[[Site], str]:
    return lambda site: f"location {path} {{ proxy_pass http://127.0.0.1:{back_end(site)}{target}; }}"


def uwsgi_pass(site: Site) -> str:
    return f"location / {{ include /etc/nginx/uwsgi_params; uwsgi_pass 127.0.0.1:{uwsgi('--socket')(site)}; }}"


def flup_pass(protocol: str, kind: str, fix: str) -> Callable[[Site], str]:
    return lambda site: (
        f"location / {{ include /etc/nginx/{kind}_params; {fix}{kind}_pass 127.0.0.1:{flup(site, protocol)}; }}"
    )


def lighttpd(site: Site, fix: str = FIX_ROOT) -> int:
    port = free_port()
    config = (
        f'server.document-root = "{site.folder}"\nserver.port = {port}\nserver.bind = "127.0.0.1"\n'
        'server.modules += ("mod_fastcgi")\n'
        f'fastcgi.server = ("/" => (("host" => "127.0.0.1", "port" => {flup(site)}, "check-local" => "disable", '
        f"{fix})))\n"
    )
    site.run("lighttpd", "-D", "-f", str(site.write("lighttpd.conf", config)), port=port)
    return port


WAITRESS_SERVER = python_server(WAITRESS)

PASSING = (
    Server("waitress", (), WAITRESS_SERVER),
    Server("gunicorn sync", ("module gunicorn",), gunicorn("sync")),
    Server("gunicorn gthread", ("module gunicorn",), gunicorn("gthread")),
    Server("uWSGI http", ("uwsgi", "system python"), uwsgi("--http")),
    Server("uWSGI http-socket", ("uwsgi", "system python"), uwsgi("--http-socket")),
    Server("wsgiref", (), python_server(WSGIREF)),
    Server("cheroot", ("module cheroot",), python_server(CHEROOT)),
    Server("gevent", ("module gevent",), python_server(GEVENT)),
    Server("gunicorn gevent", ("module gunicorn", "module gevent"), gunicorn("gevent")),
    Server("werkzeug", ("module werkzeug",), python_server(WERKZEUG)),
    Server("tornado", ("module tornado",), python_server(TORNADO)),
    Server(
        "granian",
        ("module granian",),
        command("granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", "PORT", "app:application"),
    ),
    Server("hypercorn", ("module hypercorn",), command("hypercorn", "-b", "127.0.0.1:PORT", "app:application")),
    Server("a2wsgi under uvicorn", ("module a2wsgi", "module uvicorn"), python_server(A2WSGI)),
    Server("nginx proxy_pass", ("nginx",), nginx(proxy_pass("/", "", WAITRESS_SERVER))),
    Server("nginx proxy_pass with a URI part", ("nginx",), nginx(proxy_pass("/", "/", WAITRESS_SERVER))),
    Server("nginx uwsgi_pass", ("nginx", "uwsgi", "system python"), nginx(uwsgi_pass)),
    Server("nginx fastcgi_pass", ("nginx", "module flup"), nginx(flup_pass("fcgi", "fastcgi", PATH_INFO["fastcgi"]))),
    Server("nginx scgi_pass", ("nginx", "module flup"), nginx(flup_pass("scgi", "scgi", PATH_INFO["scgi"]))),
    Server("lighttpd fastcgi", ("lighttpd", "module flup"), lighttpd),
)
STRIPPING = Server("nginx with a stripped prefix", ("nginx",), nginx(proxy_pass("/public/", "/", WAITRESS_SERVER)))
