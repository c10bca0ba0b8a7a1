"""Explains why a callback's header or path did not arrive unchanged, and which configuration line fixes it.

The texts name keys, never values: some servers put secrets, or their whole process environment, into the environ.
No text has a ``'``: together with the ``"`` of configuration lines the log would escape it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from .environ import AUTHORIZATION_KEYS, decoded_path, header, raw_target, request_target, usable

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    Test = Callable[[WSGIEnvironment], bool]

_CGI_FIX = (
    "Apache does not pass Authorization to CGI-style programs: add `CGIPassAuth On` in <Directory>, <Location> or "
    '.htaccess (Apache 2.4.13 or later), or `SetEnvIf Authorization "(.+)" HTTP_AUTHORIZATION=$1`'
)
_FCGID_FIX = f"{_CGI_FIX}, or where mod_fcgid is loaded `FcgidPassHeader Authorization`"
_MOD_WSGI_FIX = (
    "it withheld Authorization: add `WSGIPassAuthorization On` to the virtual host, or `CGIPassAuth On` to the "
    "<Directory> or .htaccess"
)
_PROXY_REMOVED = (
    'a proxy in front removed it: nginx by `proxy_set_header Authorization "";` (write '
    "`proxy_set_header Authorization $http_authorization;`), Apache by `RequestHeader unset Authorization` (remove "
    "it); API gateways rename it"
)
_PROXY_FIX = f"it passes Authorization, so {_PROXY_REMOVED}"
_UNKNOWN_FIX = f"if it passes Authorization to applications, {_PROXY_REMOVED}"
# Where a rule or a proxy may have put the value; REMOTE_USER counts only if it holds what looks like a signature.
_COPY = re.compile(r"HTTP_X_(\w+_)?AUTHORIZATION")
_USERS = ("REMOTE_USER", "REDIRECT_REMOTE_USER")
_SIGNATURE = re.compile(r"[A-Za-z0-9+/]{80,}={0,2}")
_PROXY_CHANGES_PATH = (
    "a proxy in front may strip or add a prefix, merge `//` or re-encode the path or the query: if it does, set "
    "OSS_CALLBACK_URL to the public URL"
)
_ROUTING_FIXES = {
    "Apache mod_proxy_fcgi": (
        ': add `ProxyFCGISetEnvIf "true" PATH_INFO "%{reqenv:SCRIPT_NAME}"` and '
        '`ProxyFCGISetEnvIf "true" SCRIPT_NAME ""`'
    ),
    "Apache mod_proxy_scgi": (
        ": add `SetEnvIf Request_URI . proxy-scgi-pathinfo=1` if the path needs no percent-encoding; "
        "otherwise use mod_proxy_http or mod_wsgi"
    ),
    "an SCGI gateway": ': for nginx add `scgi_param SCRIPT_NAME "";` and `scgi_param PATH_INFO $document_uri;`',
    "nginx": ': add `fastcgi_param SCRIPT_NAME "";` and `fastcgi_param PATH_INFO $fastcgi_script_name;`',
}


def _key(name: str) -> Test:
    return lambda environ: name in environ


def _software(name: str) -> Test:
    return lambda environ: name in header(environ, "SERVER_SOFTWARE")


def _proxied(scheme: str) -> Test:
    return lambda environ: header(environ, "SCRIPT_FILENAME").startswith(f"proxy:{scheme}:")


def _input(*modules: str) -> Test:
    return lambda environ: type(environ.get("wsgi.input")).__module__.startswith(modules)


def _both(one: Test, other: Test) -> Test:
    return lambda environ: one(environ) and other(environ)


def _ajp(environ: WSGIEnvironment) -> bool:
    return any(key.startswith("AJP_") for key in environ)


_apache = _software("Apache")

# Name, how to recognize it, what to do about a missing header; the first match is used.
_SERVERS: tuple[tuple[str, Test, str], ...] = (
    ("Apache mod_wsgi", _key("mod_wsgi.version"), _MOD_WSGI_FIX),
    ("Phusion Passenger", _key("passenger.hijack"), _PROXY_FIX),
    ("Apache mod_proxy_fcgi", _proxied("fcgi"), _CGI_FIX),
    ("Apache mod_proxy_scgi", _proxied("scgi"), _CGI_FIX),
    ("Apache mod_proxy_uwsgi", _proxied("uwsgi"), _PROXY_FIX),
    ("uWSGI", _key("uwsgi.version"), _PROXY_FIX),
    # Apache names mod_fcgid wherever it is loaded, also in front of a CGI program.
    ("Apache CGI", _both(_apache, lambda environ: environ.get("wsgi.run_once") is True), _CGI_FIX),
    ("Apache mod_fcgid", _both(_apache, _software("mod_fcgid")), _FCGID_FIX),
    ("Apache mod_fcgid", _both(_apache, _input("flup", "flipflop")), _FCGID_FIX),
    ("gunicorn", _key("gunicorn.socket"), _PROXY_FIX),
    ("waitress", _key("waitress.client_disconnected"), _PROXY_FIX),
    ("werkzeug", _key("werkzeug.socket"), _PROXY_FIX),
    ("eventlet", _key("eventlet.input"), _PROXY_FIX),
    ("Paste", _key("paste.httpserver.thread_pool"), _PROXY_FIX),
    ("aiohttp", _key("aiohttp.request"), _PROXY_FIX),
    ("an ASGI server", _key("asgi.scope"), _PROXY_FIX),
    ("cheroot", _software("Cheroot"), _PROXY_FIX),
    ("gevent", _software("gevent"), _PROXY_FIX),
    ("granian", _software("Granian"), _PROXY_FIX),
    ("Rocket", _software("Rocket"), _PROXY_FIX),
    ("Twisted", _input("twisted."), _PROXY_FIX),
    ("Django runserver", _both(_software("WSGIServer"), _input("django.")), _PROXY_FIX),
    ("wsgiref", _software("WSGIServer"), _PROXY_FIX),
    ("lighttpd", _software("lighttpd"), _PROXY_FIX),
    ("nginx", _software("nginx"), _PROXY_FIX),
    ("Caddy", _software("Caddy"), _PROXY_FIX),
    ("Apache CGI", _both(_apache, _key("GATEWAY_INTERFACE")), _CGI_FIX),
    ("an SCGI gateway", _key("SCGI"), _PROXY_FIX),
    ("an AJP gateway", _ajp, _PROXY_FIX),
)


def server_name(environ: WSGIEnvironment) -> str:
    """Return the name of the server that made an environ, such as ``Apache mod_wsgi (daemon)``; it may be unknown."""
    return _server(environ)[0]


def missing_authorization(environ: WSGIEnvironment) -> str:
    """Explain why there is no usable Authorization, and what to change."""
    if not environ.get("HTTP_X_OSS_PUB_KEY_URL"):
        return (
            "both headers of OSS are missing: this is no callback of OSS, or a proxy passes only the headers it knows"
        )
    name, fix = _server(environ)
    copies = _copies(environ)
    clues = [*_unusable_values(environ, (*AUTHORIZATION_KEYS, *copies)), *_usable_copies(environ, copies)]
    if not clues and fix not in (_PROXY_FIX, _UNKNOWN_FIX) and "SCRIPT_URL" in environ:
        clues.append(
            "mod_rewrite runs here but no rule sets it: a <VirtualHost> does not inherit the rules of the main server, "
            "and an .htaccess with rules replaces those of <Directory>"
        )
    return "; ".join([f"the server is {name}: {fix}", *clues])


def missing_key_url(environ: WSGIEnvironment) -> str:
    """Explain why there may be an Authorization without ``x-oss-pub-key-url``."""
    return (
        f"the server is {server_name(environ)}, and no server withholds x-oss-pub-key-url by itself: this is no "
        "callback of OSS, or a proxy passes only the headers it knows"
    )


def several_values(environ: WSGIEnvironment) -> str:
    """Explain what may have added to a header's value."""
    return (
        f"the server is {server_name(environ)}, and OSS sends the header once and bare: look for a rule that appends "
        "to it, or puts a scheme such as Basic before it. nginx: `proxy_set_header Authorization "
        "$http_authorization;` and `underscores_in_headers off;`; Apache: remove `RequestHeader add` or `append`"
    )


def wrong_signature(environ: WSGIEnvironment) -> str:
    """Say where the target was read from, and whether it fits the rest of the environ."""
    key = raw_target(environ)[0]
    name = server_name(environ)
    if key is None:
        return (
            f"the server is {name}, which passes no raw target: it was rebuilt from PATH_INFO, which loses `//`, dot "
            f"segments and `%2F`, so choose a callback path without them; {_PROXY_CHANGES_PATH}"
        )
    if _fits(environ):
        return f"the server is {name}, the target was read from {key} and fits PATH_INFO; {_PROXY_CHANGES_PATH}"
    return wrong_path(environ)


def wrong_path(environ: WSGIEnvironment) -> str:
    """Say how PATH_INFO differs from the requested path, and what to change."""
    name = server_name(environ)
    fix = _ROUTING_FIXES.get(name, "")
    if _fits(environ):
        return (
            f"the server is {name}, and PATH_INFO holds only the end of the path: mount the application so that "
            f"SCRIPT_NAME takes no part of the prefix{fix}"
        )
    key = raw_target(environ)[0] or "the request"
    return (
        f"the server is {name}, and PATH_INFO is not the end of the path in {key}, where the target was read: "
        f"routing by PATH_INFO is broken here{fix}"
    )


def missed_path(environ: WSGIEnvironment, path: str) -> str | None:
    """Explain why a request to ``path``, a PATH_INFO, is not routed there; None where another path was requested."""
    target = unquote_to_bytes(request_target(environ).partition(b"?")[0])
    cut = target.endswith(path.encode("latin-1")) and not header(environ, "PATH_INFO").endswith(path)
    return wrong_path(environ) if cut or not _fits(environ) else None


def _fits(environ: WSGIEnvironment) -> bool:
    """Return whether the decoded target ends in SCRIPT_NAME + PATH_INFO, which some gateways leave encoded."""
    target = _normalized(unquote_to_bytes(request_target(environ).partition(b"?")[0]))
    paths = [decoded_path(environ)]
    if "REDIRECT_URL" in environ:  # behind a front controller SCRIPT_NAME is the controller's own name
        paths.append(decoded_path({**environ, "SCRIPT_NAME": ""}))
    return any(target.endswith((_normalized(path), _normalized(unquote_to_bytes(path)))) for path in paths)


def _server(environ: WSGIEnvironment) -> tuple[str, str]:
    """Return the server's name, and what to do about a missing header."""
    for name, matches, fix in _SERVERS:
        if matches(environ):
            if "mod_wsgi.version" in environ:
                name += " (daemon)" if environ.get("mod_wsgi.process_group") else " (embedded)"
            return name, fix
    return "an unknown server", _UNKNOWN_FIX


def _copies(environ: WSGIEnvironment) -> list[str]:
    """Return the keys, other than the known ones, where a rule or a proxy may have put the value."""
    users = [key for key in _USERS if _SIGNATURE.fullmatch(header(environ, key).strip())]
    return [*sorted(key for key in environ if _COPY.fullmatch(key)), *users]


def _unusable_values(environ: WSGIEnvironment, keys: Iterable[str]) -> Iterator[str]:
    for key in keys:
        value = environ.get(key)
        if not isinstance(value, str) or usable(value):
            continue
        if not value.strip():
            yield (
                f"a rule sets {key}, but it is empty: the header was removed before the rule ran (`RequestHeader "
                "unset` with `early`, or a proxy), or was not sent"
            )
        elif "%{" in value:
            yield f"{key} holds an unexpanded %{{...}}: SetEnv does not expand it, use SetEnvIf"
        else:
            yield f"{key} holds `(null)` or an unexpanded $n: RequestHeader needs `env=VAR` with %{{VAR}}e"


def _usable_copies(environ: WSGIEnvironment, keys: Iterable[str]) -> Iterator[str]:
    for key in keys:
        if usable(environ.get(key)):
            yield (
                f"{key} holds a value: if your front server sets that header for every request, trust it with "
                f'AuthorizationPassthrough(app, trusted_keys=["{key}"])'
            )


def _normalized(path: bytes) -> bytes:
    """Merge slashes and resolve dot segments, as many servers do to PATH_INFO."""
    parts: list[bytes] = []
    for part in path.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/" + b"/".join(parts)
