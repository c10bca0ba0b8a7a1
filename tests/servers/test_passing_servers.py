"""Servers that pass Authorization without configuration: a callback is verified inside each."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from oss_wsgi.testing import CallbackSigner

from .client import TARGET, capture, signed
from .site import Site
from .starters import PASSING, STRIPPING, Server


@pytest.mark.parametrize("server", PASSING, ids=lambda server: server.name)
def test_a_callback_is_verified_inside_each_server(
    server: Server, site: Site, signer: CallbackSigner, require: Callable[..., None]
) -> None:
    require(*server.needs)
    port = server.start(site)
    status, answer = signed(signer, port)
    assert (status, answer) == (200, {"Status": "Ok", "target": TARGET, "size": 6, "source": None}), site.log()
    for number in (1, 2):
        status, answer = capture(port, number)
        assert status == 200, (answer, site.log())
    assert signed(signer, port, TARGET, "/other")[0] == 403
    assert "reason=signature_wrong" in site.log()


def test_behind_a_stripped_prefix_the_configured_callback_url_fits(
    signer: CallbackSigner, require: Callable[..., None]
) -> None:
    require(*STRIPPING.needs)
    public = f"/public{TARGET}"
    site = Site(signer, callback_urls=(f"https://app.example.com{public}",))
    try:
        port = STRIPPING.start(site)
        status, answer = signed(signer, port, public)
        assert (status, answer["target"]) == (200, public), site.log()
        assert "configured callback URL" in site.log()
    finally:
        site.close()
