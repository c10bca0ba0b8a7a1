"""Gateways that put the whole path into SCRIPT_NAME: a mounted guard gets no callback without the fix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from oss_wsgi.testing import CallbackSigner

from . import apache
from .client import TARGET, signed
from .site import CHECKOUT, Site
from .starters import APACHE_MODULES, FIX_ROOT, PATH_INFO, flup_pass, lighttpd, nginx

HOSTING = CHECKOUT / "docs" / "how-to" / "hosting"
PASS_AUTHORIZATION = "CGIPassAuth On\n"
PLAIN = "/a/callback?tenant=7&next=%2Fhome%20page"


@dataclass(frozen=True)
class Gateway:
    """A web server in front of flup: what it needs, how to start it with further lines, and the lines that fix it."""

    name: str
    needs: tuple[str, ...]
    start: Callable[[Site, str], int]
    fix: str
    target: str = TARGET
    mount: str = "/a b"


def behind_apache(name: str, back_end: apache.BackEnd, fix: str, target: str = TARGET, mount: str = "/a b") -> Gateway:
    def start(site: Site, lines: str) -> int:
        return apache.start(site, back_end, apache.Recipe(name, (), server=lines, location=PASS_AUTHORIZATION))

    modules = (str(APACHE_MODULES / f"mod_{module}.so") for module in back_end.modules)
    return Gateway(name, (*apache.NEEDS, *modules, *back_end.needs), start, fix, target, mount)


def behind_nginx(protocol: str, kind: str) -> Gateway:
    def start(site: Site, lines: str) -> int:
        return nginx(flup_pass(protocol, kind, lines))(site)

    return Gateway(f"nginx {kind}_pass", ("nginx", "module flup"), start, PATH_INFO[kind])


GATEWAYS = (
    behind_apache("mod_proxy_fcgi", apache.PROXY_FCGI, apache.PATH_INFO_BY_FCGI),
    # There is no fix for a path that must be percent-encoded.
    behind_apache("mod_proxy_scgi", apache.PROXY_SCGI, apache.PATH_INFO_BY_SCGI, PLAIN, "/a"),
    behind_nginx("fcgi", "fastcgi"),
    behind_nginx("scgi", "scgi"),
    Gateway("lighttpd", ("lighttpd", "module flup"), lighttpd, FIX_ROOT),
)


@pytest.mark.parametrize("gateway", GATEWAYS, ids=lambda gateway: gateway.name)
@pytest.mark.parametrize("fixed", [False, True], ids=["as it is", "with the fix"])
def test_a_mounted_guard_gets_callbacks_only_with_the_fix(
    gateway: Gateway, fixed: bool, site: Site, signer: CallbackSigner, require: Callable[..., None]
) -> None:
    require(*gateway.needs)
    site.host(mount=gateway.mount)
    port = gateway.start(site, gateway.fix if fixed else "")
    status, answer = signed(signer, port, gateway.target)
    if fixed:
        assert (status, answer["target"]) == (200, gateway.target), (site.log(), site.output())
    else:
        assert status == 404, (site.log(), site.output())


def test_the_pages_have_these_fixes_and_the_rewrite_rule() -> None:
    pages = [page.read_text(encoding="utf-8") for page in HOSTING.glob("*.md")]
    lines = {line.strip() for page in pages for line in page.splitlines()}
    fixes = [*(gateway.fix for gateway in GATEWAYS), apache.REWRITE]
    assert [line for fix in fixes for line in fix.splitlines() if line not in lines and f"{line})))" not in lines] == []
