"""Apache in front of a Python application, in each possible way, and the recipes that restore Authorization."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from ..support.ports import free_port
from ..support.waiting import wait_until
from .site import Site
from .starters import APACHE_MODULES, FLUP, WAITRESS_SERVER, copy_flup, flup, system_python, uwsgi

MODULES = ("mpm_event", "authz_core", "alias", "mime", "rewrite", "setenvif", "headers")
NEEDS = ("apache2", str(APACHE_MODULES / "mod_rewrite.so"))


@dataclass(frozen=True)
class BackEnd:
    """A way from Apache to the application: its modules, and a function that starts it and returns its lines."""

    name: str
    modules: tuple[str, ...]
    lines: Callable[[Site], str]
    needs: tuple[str, ...] = ()
    in_folder: bool = True


def script(site: Site, name: str, code: str) -> str:
    """Write an executable script for Debian's Python into the document root, and return its path."""
    head = f"#!{system_python()}\nimport sys\nsys.path.insert(0, {str(site.folder)!r})\n"
    return str(site.write(f"htdocs/{name}", head + code, 0o755))


WSGI = "from app import application"
CGI = "from wsgiref.handlers import CGIHandler\nfrom app import application\nCGIHandler().run(application)\n"


def wsgi_daemon(site: Site) -> str:
    return (
        f"WSGIDaemonProcess app threads=2 python-path={site.folder}\n"
        f"WSGIScriptAlias / {script(site, 'app.wsgi', WSGI)} process-group=app application-group=%{{GLOBAL}}\n"
    )


def wsgi_embedded(site: Site) -> str:
    return f"WSGIScriptAlias / {script(site, 'app.wsgi', WSGI)} application-group=%{{GLOBAL}}\n"


def cgid(site: Site) -> str:
    return f"ScriptSock {site.folder}/cgid.sock\nScriptAlias / {script(site, 'app.cgi', CGI)}/\n"


def fcgid(site: Site) -> str:
    copy_flup(site)
    return (
        f"FcgidIPCDir {site.folder}\nFcgidProcessTableFile {site.folder}/fcgid.shm\n"
        f"ScriptAlias / {script(site, 'app.fcgi', FLUP.format(''))}/\n"
        f"<Directory {site.folder}/htdocs>\nSetHandler fcgid-script\n</Directory>\n"
    )


def proxy_fcgi(site: Site) -> str:
    return f"ProxyPass / fcgi://127.0.0.1:{flup(site)}/\n"


def proxy_scgi(site: Site) -> str:
    return f"ProxyPass / scgi://127.0.0.1:{flup(site, 'scgi')}/\n"


def proxy_ajp(site: Site) -> str:
    return f"ProxyPass / ajp://127.0.0.1:{flup(site, 'ajp')}/\n"


def proxy_http(site: Site) -> str:
    return f"ProxyPass / http://127.0.0.1:{WAITRESS_SERVER(site)}/\n"


def proxy_uwsgi(site: Site) -> str:
    return f"ProxyPass / uwsgi://127.0.0.1:{uwsgi('--socket')(site)}/\n"


SYSTEM = ("system python",)
DAEMON = BackEnd("mod_wsgi (daemon)", ("wsgi",), wsgi_daemon, SYSTEM)
EMBEDDED = BackEnd("mod_wsgi (embedded)", ("wsgi",), wsgi_embedded, SYSTEM)
CGID = BackEnd("CGI", ("cgid",), cgid, SYSTEM)
FCGID = BackEnd("mod_fcgid", ("fcgid",), fcgid, (*SYSTEM, "module flup"))
PROXY_FCGI = BackEnd("mod_proxy_fcgi", ("proxy", "proxy_fcgi"), proxy_fcgi, ("module flup",), in_folder=False)
PROXY_SCGI = BackEnd("mod_proxy_scgi", ("proxy", "proxy_scgi"), proxy_scgi, ("module flup",), in_folder=False)
WITHHOLDING = (DAEMON, EMBEDDED, CGID, FCGID, PROXY_FCGI, PROXY_SCGI)
PASSING = (
    BackEnd("mod_proxy_http", ("proxy", "proxy_http"), proxy_http),
    BackEnd("mod_proxy_ajp", ("proxy", "proxy_ajp"), proxy_ajp, ("module flup",)),
    BackEnd("mod_proxy_uwsgi", ("proxy", "proxy_uwsgi"), proxy_uwsgi, ("uwsgi", *SYSTEM)),
)

REWRITE = (
    "RewriteEngine On\nRewriteCond %{HTTP:Authorization} .\n"
    "RewriteRule .* - [E=HTTP_AUTHORIZATION:%{HTTP:Authorization}]\n"
)
#: Alibaba Cloud's sample page has a blank inside the pattern.
SAMPLE = REWRITE.replace(".* -", ". * -")


@dataclass(frozen=True)
class Recipe:
    """Lines for one context of Apache's configuration, and the back ends that they fix."""

    name: str
    fixes: tuple[BackEnd, ...]
    server: str = ""
    folder: str = ""
    location: str = ""
    htaccess: str = ""
    #: If not None, the application is in a virtual host with these lines.
    host: str | None = None
    source: str | None = None
    trusted_keys: tuple[str, ...] = ()


def set_by_rewrite(key: str) -> str:
    return REWRITE.replace("HTTP_AUTHORIZATION", key)


IN_FOLDER = tuple(back_end for back_end in WITHHOLDING if back_end.in_folder)
#: One back end of each kind, for recipes that do the same on all of a kind.
SOME = (DAEMON, CGID, PROXY_FCGI)
SET_BY_IF = 'SetEnvIf Authorization "(.+)" HTTP_AUTHORIZATION=$1\n'
#: A client's own header of this name is overwritten.
COPIED = 'RequestHeader set X-Authorization "expr=%{req:Authorization}"\n'
#: mod_proxy_fcgi needs these lines, or all of the path is in SCRIPT_NAME.
PATH_INFO_BY_FCGI = (
    'ProxyFCGISetEnvIf "true" PATH_INFO "%{reqenv:SCRIPT_NAME}"\nProxyFCGISetEnvIf "true" SCRIPT_NAME ""\n'
)
PATH_INFO_BY_SCGI = "SetEnvIf Request_URI . proxy-scgi-pathinfo=1\n"
RECIPES = (
    Recipe("WSGIPassAuthorization in the server", (DAEMON, EMBEDDED), server="WSGIPassAuthorization On\n"),
    Recipe("WSGIPassAuthorization in <Directory>", (DAEMON, EMBEDDED), folder="WSGIPassAuthorization On\n"),
    Recipe("WSGIPassAuthorization in .htaccess", (DAEMON, EMBEDDED), htaccess="WSGIPassAuthorization On\n"),
    Recipe("WSGIPassAuthorization in <VirtualHost>", (DAEMON,), host="WSGIPassAuthorization On\n"),
    Recipe("CGIPassAuth in <Directory>", IN_FOLDER, folder="CGIPassAuth On\n"),
    Recipe("CGIPassAuth in <Location>", WITHHOLDING, location="CGIPassAuth On\n"),
    Recipe("CGIPassAuth in .htaccess", IN_FOLDER, htaccess="CGIPassAuth On\n"),
    Recipe("mod_rewrite in the server", WITHHOLDING, server=REWRITE),
    Recipe("mod_rewrite in <VirtualHost>", (DAEMON,), host=REWRITE),
    Recipe("mod_rewrite in <Directory>", IN_FOLDER, folder=REWRITE),
    Recipe("mod_rewrite in .htaccess", IN_FOLDER, htaccess=REWRITE),
    Recipe("SetEnvIf in the server", WITHHOLDING, server=SET_BY_IF),
    Recipe("SetEnvIf in <Directory>", IN_FOLDER, folder=SET_BY_IF),
    Recipe("SetEnvIf in .htaccess", IN_FOLDER, htaccess=SET_BY_IF),
    Recipe("FcgidPassHeader", (FCGID,), server="FcgidPassHeader Authorization\n"),
    Recipe(
        "ProxyFCGISetEnvIf",
        (PROXY_FCGI,),
        server='ProxyFCGISetEnvIf "true" HTTP_AUTHORIZATION "%{req:Authorization}"\n',
    ),
    Recipe(
        "mod_rewrite with what RewriteCond matched",
        WITHHOLDING,
        server=REWRITE.replace("ion} .\n", "ion} ^(.+)$\n").replace("%{HTTP:Authorization}]", "%1]"),
    ),
    Recipe(
        "mod_rewrite with env and last",
        SOME,
        server="RewriteEngine On\nRewriteRule .* - [env=HTTP_AUTHORIZATION:%{HTTP:Authorization},last]\n",
    ),
    *(
        Recipe(f"mod_rewrite, {key}", SOME, server=set_by_rewrite(key), source=key)
        for key in ("Authorization", "X_HTTP_AUTHORIZATION")
    ),
    # A CGI program gets environment variables, whose names have no dash.
    Recipe("mod_rewrite, a dash", (CGID, FCGID), server=set_by_rewrite("HTTP-AUTHORIZATION")),
    Recipe(
        "mod_rewrite, a dash that stays",
        (DAEMON, PROXY_FCGI, PROXY_SCGI),
        server=set_by_rewrite("HTTP-AUTHORIZATION"),
        source="HTTP-AUTHORIZATION",
    ),
    Recipe(
        "RequestHeader and trusted_keys",
        SOME,
        server=COPIED,
        source="HTTP_X_AUTHORIZATION",
        trusted_keys=("HTTP_X_AUTHORIZATION",),
    ),
)


def config(site: Site, back_end: BackEnd, recipe: Recipe, port: int) -> str:
    names = (*MODULES, *back_end.modules)
    modules = "".join(f"LoadModule {name}_module {APACHE_MODULES}/mod_{name}.so\n" for name in names)
    user = "User www-data\nGroup www-data\n" if os.getuid() == 0 else ""
    lines = back_end.lines(site)
    if recipe.host is not None:
        lines = f"<VirtualHost 127.0.0.1:{port}>\n{recipe.host}{lines}</VirtualHost>\n"
    if recipe.htaccess:
        site.write("htdocs/.htaccess", recipe.htaccess)
    return (
        f"{modules}{user}ServerName localhost\nListen 127.0.0.1:{port}\nServerRoot {site.folder}\n"
        f"DocumentRoot {site.folder}/htdocs\nPidFile {site.folder}/apache.pid\nErrorLog {site.folder}/apache.out\n"
        f"DefaultRuntimeDir {site.folder}\nMutex file:{site.folder}\nLogLevel warn\n"
        "TypesConfig /etc/mime.types\n"
        f"<Directory {site.folder}/htdocs>\nRequire all granted\nAllowOverride All\nOptions +ExecCGI +FollowSymLinks\n"
        f"{recipe.folder}</Directory>\n{recipe.server}"
        f"<Location />\n{recipe.location}</Location>\n{lines}"
    )


def start(site: Site, back_end: BackEnd, recipe: Recipe) -> int:
    port = free_port()
    (site.folder / "htdocs").mkdir(exist_ok=True)
    # Apache's own user writes the sockets and the pid file.
    site.folder.chmod(0o777)
    path = site.write("apache.conf", config(site, back_end, recipe, port))
    site.run("apache2", "-D", "FOREGROUND", "-f", str(path), port=port)
    if back_end is CGID:
        wait_for_cgi_daemon(site)
    return port


def wait_for_cgi_daemon(site: Site) -> None:
    """Wait until mod_cgid has given its socket to Apache's user: a request before that gets status 503 at once."""
    user = pwd.getpwnam("www-data").pw_uid if os.getuid() == 0 else os.getuid()
    wait_until(lambda: any(path.stat().st_uid == user for path in site.folder.glob("cgid.sock.*")), site.output)


def syntax_error(site: Site, server: str) -> str:
    """Return Apache's error for a configuration, or an empty text if there is none."""
    (site.folder / "htdocs").mkdir(exist_ok=True)
    bare = BackEnd("none", (), lambda site: "")
    path = site.write("apache.conf", config(site, bare, Recipe("", (), server=server), free_port()))
    check = subprocess.run(["apache2", "-t", "-f", str(path)], capture_output=True, text=True)
    return check.stderr if check.returncode else ""
