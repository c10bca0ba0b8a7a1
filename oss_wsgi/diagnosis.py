"""Says why a callback's header, path or body did not survive its way here, and the line that mends it.

Key names only, never values: some servers put secrets, or their whole process environment, into the environ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from .received import AUTHORIZATION_KEYS, decoded_path, raw_target, request_target

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    Recognise = Callable[[WSGIEnvironment], bool]

_CGI = (
    "Apache does not hand Authorization to CGI-style programs: add `CGIPassAuth On` in <Directory>, <Location> or "
    '.htaccess (Apache 2.4.13 or later), or `SetEnvIf Authorization "(.+)" HTTP_AUTHORIZATION=$1`'
)
_FCGID = f"{_CGI}, or `FcgidPassHeader Authorization`"
_MOD_WSGI = (
    "it withheld Authorization: add `WSGIPassAuthorization On` to the virtual host, or `CGIPassAuth On` to the "
    "<Directory> or .htaccess"
)
_PASSES = (
    "it passes Authorization, so a proxy in front removed it: nginx by `proxy_set_header Authorization \"\";`, "
    "Apache by `RequestHeader unset Authorization`; API gateways rename it"
)
_COPIES = ("HTTP_X_AUTHORIZATION", "HTTP_X_HTTP_AUTHORIZATION", "HTTP_X_FORWARDED_AUTHORIZATION")


def _text(environ: WSGIEnvironment, key: str) -> str:
    value = environ.get(key)
    return value if isinstance(value, str) else ""


def _key(name: str) -> Recognise:
    return lambda environ: name in environ


def _software(name: str) -> Recognise:
    return lambda environ: name in _text(environ, "SERVER_SOFTWARE")


def _proxied(scheme: str) -> Recognise:
    return lambda environ: _text(environ, "SCRIPT_FILENAME").startswith(f"proxy:{scheme}:")


def _apache_flup(environ: WSGIEnvironment) -> bool:
    module = type(environ.get("wsgi.input")).__module__
    return "Apache" in _text(environ, "SERVER_SOFTWARE") and module.startswith(("flup", "flipflop"))


def _apache_cgi(environ: WSGIEnvironment) -> bool:
    return "Apache" in _text(environ, "SERVER_SOFTWARE") and "GATEWAY_INTERFACE" in environ


# Name, how to recognise it, what to do about a missing header; the first that fits counts.
_SERVERS: tuple[tuple[str, Recognise, str], ...] = (
    ("Apache mod_wsgi", _key("mod_wsgi.version"), _MOD_WSGI),
    ("Phusion Passenger", _key("passenger.hijack"), _PASSES),
    ("Apache mod_proxy_fcgi", _proxied("fcgi"), _CGI),
    ("Apache mod_proxy_scgi", _proxied("scgi"), _CGI),
    ("Apache mod_proxy_uwsgi", _proxied("uwsgi"), _PASSES),
    ("uWSGI", _key("uwsgi.version"), _PASSES),
    ("Apache mod_fcgid", _software("mod_fcgid"), _FCGID),
    ("Apache mod_fcgid", _apache_flup, _FCGID),
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
    ("wsgiref", _software("WSGIServer"), _PASSES),
    ("lighttpd", _software("lighttpd"), _PASSES),
    ("nginx", _software("nginx"), _PASSES),
    ("Caddy", _software("Caddy"), _PASSES),
    ("Apache CGI", _apache_cgi, _CGI),
)


def server_name(environ: WSGIEnvironment) -> str:
    """Name what made an environ, such as ``Apache mod_wsgi (daemon)``; ``an unknown server`` if nothing tells."""
    return _server(environ)[0]


def missing_authorization(environ: WSGIEnvironment) -> str:
    """Say why there is no usable Authorization, and what to change."""
    if not environ.get("HTTP_X_OSS_PUB_KEY_URL"):
        return "neither header of OSS is here: this is no callback of OSS, or a proxy keeps only the headers it knows"
    name, cure = _server(environ)
    found = [*_ignored(environ), *_copies(environ)]
    if not found and cure is not _PASSES and "SCRIPT_URL" in environ:
        found.append(
            "mod_rewrite runs here but no rule sets it: rules of the main server are not inherited by a <VirtualHost>, "
            "and an .htaccess with rules replaces those of <Directory>"
        )
    return "; ".join([f"the server is {name}: {cure}", *found])


def several_values(environ: WSGIEnvironment) -> str:
    """Say what may have made more than one text of the header."""
    return (
        f"the server is {server_name(environ)}: look for a proxy or a rule that adds Authorization to what came, "
        "or puts a scheme such as Basic before it; OSS sends it once and bare"
    )


def wrong_signature(environ: WSGIEnvironment) -> str:
    """Say where the signed target was taken from, and whether it fits the rest of the environ."""
    key = raw_target(environ)[0]
    if key is None:
        return (
            f"the target was rebuilt from PATH_INFO, for {server_name(environ)} gives no raw one: '//', dot segments "
            "and '%2F' are lost then; choose a callback path without them"
        )
    target = _plain(unquote_to_bytes(request_target(environ).partition(b"?")[0]))
    path = decoded_path(environ)
    # Some gateways leave PATH_INFO encoded; behind a front controller SCRIPT_NAME has that one's own name.
    fits = target.endswith((_plain(path), _plain(unquote_to_bytes(path)))) or "REDIRECT_URL" in environ
    if fits:
        return (
            f"the target was taken from {key} and fits PATH_INFO: if a proxy in front strips, adds or re-encodes "
            "a part of the path, say the public URL in OSS_CALLBACK_URL"
        )
    return (
        f"{key} and SCRIPT_NAME + PATH_INFO are not of one path, so {server_name(environ)} or what is before it has "
        "moved one of them; the target is taken from the former"
    )


def _server(environ: WSGIEnvironment) -> tuple[str, str]:
    for name, recognises, cure in _SERVERS:
        if recognises(environ):
            if "mod_wsgi.version" in environ:
                name += " (daemon)" if environ.get("mod_wsgi.process_group") else " (embedded)"
            return name, cure
    return "an unknown server", _PASSES


def _ignored(environ: WSGIEnvironment) -> Iterator[str]:
    for key in AUTHORIZATION_KEYS:
        value = environ.get(key)
        if not isinstance(value, str):
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


def _copies(environ: WSGIEnvironment) -> Iterator[str]:
    for key in _COPIES:
        if environ.get(key):
            yield (
                f"a value is in {key}: if your front server sets that header for every request, trust it with "
                f"AuthorizationPassthrough(app, trusted_keys=[{key!r}])"
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
