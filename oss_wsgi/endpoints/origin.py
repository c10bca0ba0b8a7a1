"""Tells a request that another site's page makes the browser send from one that is the visitor's own."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_OWN = ("same-origin", "none")  # `none`: the visitor typed the address
_MAX_SHOWN = 200


def foreign_origin(environ: WSGIEnvironment, allowed: Collection[str]) -> str | None:
    """Say which page of another origin asks, one that is not allowed; None if there is no such page.

    Browsers say ``Sec-Fetch-Site`` over https and to loopback, and no script can change it. Where it is missing (old
    browsers, plain http, programs that are no browser) an ``Origin`` that is there must be allowed or name the host
    that was asked. Neither is sent for an image or a link of another site over plain http: only https closes that.

    :param allowed: origins in lower case; ``*`` is any, but a page must ask by CORS, that is with an ``Origin``.
    """
    site = environ.get("HTTP_SEC_FETCH_SITE") or ""
    origin = environ.get("HTTP_ORIGIN") or ""
    if site in _OWN or not (site or origin):
        return None
    if origin and ("*" in allowed or origin.lower() in allowed):
        return None
    if not site and _names_host(origin, environ.get("HTTP_HOST") or ""):
        return None
    return f"origin {origin[:_MAX_SHOWN]!r}" if origin else f"a link or an element ({site[:_MAX_SHOWN]!r}, no origin)"


def _names_host(origin: str, host: str) -> bool:
    """Compare host and port alone, for a proxy that ends TLS hides the scheme, and with it the default port."""
    scheme, _, authority = origin.lower().partition("://")
    return scheme in ("http", "https") and bool(authority) and _bare(authority) == _bare(host.lower())


def _bare(authority: str) -> str:
    return authority.removesuffix(":80").removesuffix(":443")
