"""Says why a callback's header, path or body did not survive its way here, and the line that mends it.

Key names only, never values: some servers put secrets, or their whole process environment, into the environ.
No text holds a ``'``: beside the ``"`` of configuration lines the log would escape it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from .environ import AUTHORIZATION_KEYS, decoded_path, header, is_usable, raw_target, request_target

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    Recognise = Callable[[WSGIEnvironment], bool]

_CGI = (
    "Apache does not hand Authorization to CGI-style programs: add `CGIPassAuth On` in <Directory>, <Location> or "
    '.htaccess (Apache 2.4.13 or later), or `SetEnvIf Authorization "(.+)" HTTP_AUTHORIZATION=$1`'
)
_FCGID = f"{_CGI}, or where mod_fcgid is loaded `FcgidPassHeader Authorization`"
_MOD_WSGI = (
    "it withheld Authorization: add `WSGIPassAuthorization On` to the virtual host, or `CGIPassAuth On` to the "
    "<Directory> or .htaccess"
)
_PASSES = (
    'it passes Authorization, so a proxy in front removed it: nginx by `proxy_set_header Authorization "";` (write '
    "`proxy_set_header Authorization $http_authorization;`), Apache by `RequestHeader unset Authorization` (take it "
    "out); API gateways rename it"
)
# Where a recipe, or a proxy, may have put the value; REMOTE_USER counts only if it holds what looks like a signature.
_COPY = re.compile(r"HTTP_X_(\w+_)?AUTHORIZATION")
_USERS = ("REMOTE_USER", "REDIRECT_REMOTE_USER")
_SIGNATURE = re.compile(r"[A-Za-z0-9+/]{80,}={0,2}")
_PROXY = (
    "if a proxy in front strips or adds a prefix, merges `//` or re-encodes the path or the query, that explains it: "
    "say the public URL in OSS_CALLBACK_URL"
)
_ROUTES = {
    "Apache mod_proxy_fcgi": (
        ': add `ProxyFCGISetEnvIf "true" PATH_INFO "%{reqenv:SCRIPT_NAME}"` and '
        '`ProxyFCGISetEnvIf "true" SCRIPT_NAME ""`'
    ),
    "Apache mod_proxy_scgi": (
        ": add `SetEnvIf Request_URI . proxy-scgi-pathinfo=1`, right where the path needs no percent-encoding; "
        "else use mod_proxy_http or mod_wsgi"
    ),
    "an SCGI gateway": ': for nginx add `scgi_param SCRIPT_NAME "";` and `scgi_param PATH_INFO $document_uri;`',
    "nginx": ': add `fastcgi_param SCRIPT_NAME "";` and `fastcgi_param PATH_INFO $fastcgi_script_name;`',
}


def _key(name: str) -> Recognise:
    return lambda environ: name in environ


def _software(name: str) -> Recognise:
    return lambda environ: name in header(environ, "SERVER_SOFTWARE")


def _proxied(scheme: str) -> Recognise:
    return lambda environ: header(environ, "SCRIPT_FILENAME").startswith(f"proxy:{scheme}:")


def _input(*modules: str) -> Recognise:
    return lambda environ: type(environ.get("wsgi.input")).__module__.startswith(modules)


def _both(one: Recognise, other: Recognise) -> Recognise:
    return lambda environ: one(environ) and other(environ)


def _ajp(environ: WSGIEnvironment) -> bool:
    return any(key.startswith("AJP_") for key in environ)


_apache = _software("Apache")

# Name, how to recognise it, what to do about a missing header; the first that fits counts.
_SERVERS: tuple[tuple[str, Recognise, str], ...] = (
    ("Apache mod_wsgi", _key("mod_wsgi.version"), _MOD_WSGI),
    ("Phusion Passenger", _key("passenger.hijack"), _PASSES),
    ("Apache mod_proxy_fcgi", _proxied("fcgi"), _CGI),
    ("Apache mod_proxy_scgi", _proxied("scgi"), _CGI),
    ("Apache mod_proxy_uwsgi", _proxied("uwsgi"), _PASSES),
    ("uWSGI", _key("uwsgi.version"), _PASSES),
    # Apache names mod_fcgid wherever it is loaded, so in front of a CGI program too.
    ("Apache CGI", _both(_apache, lambda environ: environ.get("wsgi.run_once") is True), _CGI),
    ("Apache mod_fcgid", _both(_apache, _software("mod_fcgid")), _FCGID),
    ("Apache mod_fcgid", _both(_apache, _input("flup", "flipflop")), _FCGID),
    ("gunicorn", _key("gunicorn.socket"), _PASSES),
    ("waitress", _key("waitress.client_disconnected"), _PASSES),
    ("werkzeug", _key("werkzeug.socket"), _PASSES),
    ("eventlet", _key("eventlet.input"), _PASSES),
    ("Paste", _key("paste.httpserver.thread_pool"), _PASSES),
    ("aiohttp", _key("aiohttp.request"), _PASSES),
    ("an ASGI server", _key("asgi.scope"), _PASSES),
    ("cheroot", _software("Cheroot"), _PASSES),
    ("gevent", _software("gevent"), _PASSES),
    ("granian", _software("Granian"), _PASSES),
    ("Rocket", _software("Rocket"), _PASSES),
    ("Twisted", _input("twisted."), _PASSES),
    ("Django runserver", _both(_software("WSGIServer"), _input("django.")), _PASSES),
    ("wsgiref", _software("WSGIServer"), _PASSES),
    ("lighttpd", _software("lighttpd"), _PASSES),
    ("nginx", _software("nginx"), _PASSES),
    ("Caddy", _software("Caddy"), _PASSES),
    ("Apache CGI", _both(_apache, _key("GATEWAY_INTERFACE")), _CGI),
    ("an SCGI gateway", _key("SCGI"), _PASSES),
    ("an AJP gateway", _ajp, _PASSES),
)


def server_name(environ: WSGIEnvironment) -> str:
    """Name what made an environ, such as ``Apache mod_wsgi (daemon)``; ``an unknown server`` if nothing tells."""
    return _server(environ)[0]


def missing_authorization(environ: WSGIEnvironment) -> str:
    """Say why there is no usable Authorization, and what to change."""
    if not environ.get("HTTP_X_OSS_PUB_KEY_URL"):
        return "neither header of OSS is here: this is no callback of OSS, or a proxy keeps only the headers it knows"
    name, cure = _server(environ)
    copies = _copies(environ)
    found = [*_ignored(environ, (*AUTHORIZATION_KEYS, *copies)), *_usable(environ, copies)]
    if not found and cure is not _PASSES and "SCRIPT_URL" in environ:
        found.append(
            "mod_rewrite runs here but no rule sets it: rules of the main server are not inherited by a <VirtualHost>, "
            "and an .htaccess with rules replaces those of <Directory>"
        )
    return "; ".join([f"the server is {name}: {cure}", *found])


def missing_key_url(environ: WSGIEnvironment) -> str:
    """Say why there may be an Authorization without ``x-oss-pub-key-url``."""
    return (
        f"the server is {server_name(environ)}, and no server withholds x-oss-pub-key-url by itself: this is no "
        "callback of OSS, or a proxy keeps only the headers it knows"
    )


def several_values(environ: WSGIEnvironment) -> str:
    """Say what may have made more than one text of a header."""
    return (
        f"the server is {server_name(environ)}, and OSS sends the header once and bare: look for a rule that adds it "
        "to what came, or puts a scheme such as Basic before it. nginx: `proxy_set_header Authorization "
        "$http_authorization;` and `underscores_in_headers off;`; Apache: `RequestHeader add` or `append` taken out"
    )


def wrong_signature(environ: WSGIEnvironment) -> str:
    """Say where the signed target was taken from, and whether it fits the rest of the environ."""
    key = raw_target(environ)[0]
    name = server_name(environ)
    if key is None:
        return (
            f"the server is {name}, which gives no raw target: it was rebuilt from PATH_INFO, where `//`, dot segments "
            f"and `%2F` are lost, so choose a callback path without them; {_PROXY}"
        )
    if _fits(environ):
        return f"the server is {name}, the target was taken from {key} and fits PATH_INFO; {_PROXY}"
    return wrong_path(environ)


def wrong_path(environ: WSGIEnvironment) -> str:
    """Say that PATH_INFO is not what was asked for, and what to change."""
    name = server_name(environ)
    route = _ROUTES.get(name, "")
    if _fits(environ):
        return (
            f"the server is {name}, and PATH_INFO holds but the end of the path: mount the application so that "
            f"SCRIPT_NAME takes nothing of the prefix from it{route}"
        )
    key = raw_target(environ)[0] or "the request"
    return (
        f"the server is {name}, and PATH_INFO is not the end of the path in {key}, from which the target was taken: "
        f"routing by PATH_INFO is broken here{route}"
    )


def missed_path(environ: WSGIEnvironment, path: str) -> str | None:
    """Say why what was sent to ``path``, a PATH_INFO, is not routed there; None where the target is of another path."""
    target = unquote_to_bytes(request_target(environ).partition(b"?")[0])
    cut = target.endswith(path.encode("latin-1")) and not header(environ, "PATH_INFO").endswith(path)
    return wrong_path(environ) if cut or not _fits(environ) else None


def _fits(environ: WSGIEnvironment) -> bool:
    """Tell whether the decoded target ends in SCRIPT_NAME + PATH_INFO, which some gateways leave encoded."""
    target = _plain(unquote_to_bytes(request_target(environ).partition(b"?")[0]))
    paths = [decoded_path(environ)]
    if "REDIRECT_URL" in environ:  # behind a front controller SCRIPT_NAME has that one's own name
        paths.append(decoded_path({**environ, "SCRIPT_NAME": ""}))
    return any(target.endswith((_plain(path), _plain(unquote_to_bytes(path)))) for path in paths)


def _server(environ: WSGIEnvironment) -> tuple[str, str]:
    for name, recognises, cure in _SERVERS:
        if recognises(environ):
            if "mod_wsgi.version" in environ:
                name += " (daemon)" if environ.get("mod_wsgi.process_group") else " (embedded)"
            return name, cure
    return "an unknown server", _PASSES


def _copies(environ: WSGIEnvironment) -> list[str]:
    """Name the keys outside the known ones in which a rule or a proxy may have put the value."""
    users = [key for key in _USERS if _SIGNATURE.fullmatch(header(environ, key).strip())]
    return [*sorted(key for key in environ if _COPY.fullmatch(key)), *users]


def _ignored(environ: WSGIEnvironment, keys: Iterable[str]) -> Iterator[str]:
    for key in keys:
        value = environ.get(key)
        if not isinstance(value, str) or is_usable(value):
            continue
        if not value.strip():
            yield (
                f"a rule sets {key}, but it is empty: the header was gone when the rule ran (`RequestHeader unset` "
                "with `early`, or a proxy before), or was not sent"
            )
        elif "%{" in value:
            yield f"{key} holds an unexpanded %{{...}}: SetEnv does not expand it, use SetEnvIf"
        else:
            yield f"{key} holds `(null)` or an unexpanded $n: RequestHeader needs `env=VAR` beside %{{VAR}}e"


def _usable(environ: WSGIEnvironment, keys: Iterable[str]) -> Iterator[str]:
    for key in keys:
        if is_usable(header(environ, key)):
            yield (
                f"a value is in {key}: if your front server sets that header for every request, trust it with "
                f'AuthorizationPassthrough(app, trusted_keys=["{key}"])'
            )


def _plain(path: bytes) -> bytes:
    """Merge slashes and resolve dots, as many servers do to PATH_INFO."""
    parts: list[bytes] = []
    for part in path.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/" + b"/".join(parts)
