"""Explanations of why a callback's header or path did not arrive unchanged, with the line that fixes it.

The texts name keys, never values: some servers put secrets, or their whole process environment, into the environ.
No text contains a ``'``: the log would escape it, because configuration lines contain a ``"`` already.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from ..explanations.rows import row_of
from ..explanations.text import Text, joined
from .environ import AUTHORIZATION_KEYS, decoded_path, header, raw_target, request_target, usable

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    Test = Callable[[WSGIEnvironment], bool]

# Keys where a rule or a proxy may have put the value; REMOTE_USER counts only if its value looks like a signature.
_COPY = re.compile(r"HTTP_X_(\w+_)?AUTHORIZATION")
_USERS = ("REMOTE_USER", "REDIRECT_REMOTE_USER")
_SIGNATURE = re.compile(r"[A-Za-z0-9+/]{80,}={0,2}")
_PROXY_CHANGES_PATH = (
    "a proxy in front may strip or add a prefix, merge `//` or re-encode the path or the query: if it does, set "
    "OSS_CALLBACK_URL to the public URL"
)


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

# A server's name and its test; the first match is used. The rows of kinds `server` and `route` have the fixes.
_SERVERS: tuple[tuple[str, Test], ...] = (
    ("Apache mod_wsgi", _key("mod_wsgi.version")),
    ("Phusion Passenger", _key("passenger.hijack")),
    ("Apache mod_proxy_fcgi", _proxied("fcgi")),
    ("Apache mod_proxy_scgi", _proxied("scgi")),
    ("Apache mod_proxy_uwsgi", _proxied("uwsgi")),
    ("uWSGI", _key("uwsgi.version")),
    # Apache names mod_fcgid wherever that module is loaded, even in front of a CGI program.
    ("Apache CGI", _both(_apache, lambda environ: environ.get("wsgi.run_once") is True)),
    ("Apache mod_fcgid", _both(_apache, _software("mod_fcgid"))),
    ("Apache mod_fcgid", _both(_apache, _input("flup", "flipflop"))),
    ("gunicorn", _key("gunicorn.socket")),
    ("waitress", _key("waitress.client_disconnected")),
    ("werkzeug", _key("werkzeug.socket")),
    ("eventlet", _key("eventlet.input")),
    ("Paste", _key("paste.httpserver.thread_pool")),
    ("aiohttp", _key("aiohttp.request")),
    ("an ASGI server", _key("asgi.scope")),
    ("cheroot", _software("Cheroot")),
    ("gevent", _software("gevent")),
    ("granian", _software("Granian")),
    ("Rocket", _software("Rocket")),
    ("Twisted", _input("twisted.")),
    ("Django runserver", _both(_software("WSGIServer"), _input("django."))),
    ("wsgiref", _software("WSGIServer")),
    ("lighttpd", _software("lighttpd")),
    ("nginx", _software("nginx")),
    ("Caddy", _software("Caddy")),
    ("Apache CGI", _both(_apache, _key("GATEWAY_INTERFACE"))),
    ("an SCGI gateway", _key("SCGI")),
    ("an AJP gateway", _ajp),
)


def server_name(environ: WSGIEnvironment) -> str:
    """Return the server that made an environ, such as ``Apache mod_wsgi (daemon)``, or ``an unknown server``."""
    name = _server(environ)
    if "mod_wsgi.version" in environ:
        return f"{name} ({'daemon' if environ.get('mod_wsgi.process_group') else 'embedded'})"
    return name or "an unknown server"


def missing_authorization(environ: WSGIEnvironment) -> str:
    """Return why there is no usable Authorization, and the fix."""
    if not environ.get("HTTP_X_OSS_PUB_KEY_URL"):
        return (
            "both headers of OSS are missing: this is not a callback of OSS, or a proxy passes only the headers it "
            "knows"
        )
    server = _server(environ)
    row = row_of("server", server or "unknown", default="other")
    copies = _copies(environ)
    clues = [*_unusable_values(environ, (*AUTHORIZATION_KEYS, *copies)), *_usable_copies(environ, copies)]
    if not clues and row.name == server and "SCRIPT_URL" in environ:
        clues.append(
            "mod_rewrite runs here but no rule sets it: a <VirtualHost> does not inherit the rules of the main server, "
            "and an .htaccess with rules replaces those of <Directory>"
        )
    server_says = Text("the server is {1}: {2}: {3}", server_name(environ), row.meaning, row.fix)
    return joined("{1}; {2}", [server_says, *clues])


def missing_key_url(environ: WSGIEnvironment) -> str:
    """Return why there may be an Authorization without ``x-oss-pub-key-url``."""
    return Text(
        "the server is {1}, and no server withholds x-oss-pub-key-url by itself: this is not a "
        "callback of OSS, or a proxy passes only the headers it knows",
        server_name(environ),
    )


def several_values(environ: WSGIEnvironment) -> str:
    """Return what may have added to a header's value."""
    return Text(
        "the server is {1}, and OSS sends the header once and bare: look for a rule that appends "
        "to it, or puts a scheme such as Basic before it. nginx: `proxy_set_header Authorization "
        "$http_authorization;` and `underscores_in_headers off;`; Apache: remove `RequestHeader "
        "add` or `append`",
        server_name(environ),
    )


def wrong_signature(environ: WSGIEnvironment) -> str:
    """Return where the target was read from, and whether it fits the rest of the environ."""
    key = raw_target(environ)[0]
    name = server_name(environ)
    if key is None:
        return Text(
            "the server is {1}, which passes no raw target: it was rebuilt from PATH_INFO, which "
            "loses `//`, dot segments and `%2F`, so choose a callback path without them; {2}",
            name,
            _PROXY_CHANGES_PATH,
        )
    if _fits(environ):
        return Text(
            "the server is {1}, the target was read from {2} and fits PATH_INFO; {3}", name, key, _PROXY_CHANGES_PATH
        )
    return wrong_path(environ)


def wrong_path(environ: WSGIEnvironment) -> str:
    """Return how PATH_INFO differs from the requested path, and the fix."""
    name = server_name(environ)
    row = row_of("route", _server(environ), default="other")
    fix = Text(": {1}", row.fix) if row.fix else ""
    if _fits(environ):
        return Text(
            "the server is {1}, and PATH_INFO holds only the end of the path: mount the application "
            "so that SCRIPT_NAME takes no part of the prefix{2}",
            name,
            fix,
        )
    key = raw_target(environ)[0] or "the request"
    return Text(
        "the server is {1}, and PATH_INFO is not the end of the path in {2}, where the target was read: {3}{4}",
        name,
        key,
        row.meaning,
        fix,
    )


def missed_path(environ: WSGIEnvironment, path: str) -> str | None:
    """Return why a request for ``path``, a PATH_INFO, does not arrive there; None if another path was requested."""
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


def _server(environ: WSGIEnvironment) -> str:
    """Return the name of the server, or ""."""
    return next((name for name, matches in _SERVERS if matches(environ)), "")


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
                Text(
                    "a rule sets {1}, but it is empty: the header was removed before the rule ran "
                    "(`RequestHeader unset` with `early`, or a proxy), or was not sent",
                    key,
                )
            )
        elif "%{" in value:
            yield Text("{1} holds an unexpanded %{...}: SetEnv does not expand it, use SetEnvIf", key)
        else:
            yield Text("{1} holds `(null)` or an unexpanded $n: RequestHeader needs `env=VAR` with %{VAR}e", key)


def _usable_copies(environ: WSGIEnvironment, keys: Iterable[str]) -> Iterator[str]:
    for key in keys:
        if usable(environ.get(key)):
            yield (
                Text(
                    "{1} holds a value: if your front server sets that header for every request, trust it "
                    'with AuthorizationPassthrough(app, trusted_keys=["{2}"])',
                    key,
                    key,
                )
            )


def _normalized(path: bytes) -> bytes:
    """Return a path with slashes merged and dot segments resolved, as many servers do to PATH_INFO."""
    parts: list[bytes] = []
    for part in path.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/" + b"/".join(parts)
