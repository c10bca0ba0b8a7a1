"""RequestContext: whose ID counts, and what is told of a request."""

from __future__ import annotations

import re

import pytest

from oss_wsgi.wsgi.observers import RequestContext, context_of


@pytest.mark.parametrize("given", ["a", "7f3c-11", "A_b.c-9", "x" * 64])
def test_a_well_formed_id_is_taken(given: str) -> None:
    assert RequestContext().id({"HTTP_X_REQUEST_ID": given}) == given


@pytest.mark.parametrize("given", ["", "a b", "a\nb", "x" * 65, "é", '"', "a;b", None])
def test_any_other_is_replaced(given: str | None) -> None:
    assert re.fullmatch("[0-9a-f]{16}", RequestContext().id({"HTTP_X_REQUEST_ID": given} if given is not None else {}))


def test_a_made_id_stays_with_its_request_alone() -> None:
    environ: dict[str, object] = {}
    first = context_of(environ).id(environ)
    assert context_of(dict(environ)).id(environ) == first
    assert context_of({}).id({}) != first


def test_only_what_is_known_is_told() -> None:
    facts = RequestContext()
    facts.user = "eric"
    environ = {
        "HTTP_X_REQUEST_ID": "r1",
        "HTTP_X_OSS_REQUEST_ID": "674EF4EC",
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "/oss",
        "PATH_INFO": "/callback",
        "QUERY_STRING": "token=swordfish",
        "REMOTE_ADDR": "192.0.2.1",
        "HTTP_COOKIE": "swordfish",
    }
    assert facts.fields(environ) == {
        "request_id": "r1",
        "oss_request_id": "674EF4EC",
        "address": "192.0.2.1",
        "method": "POST",
        "path": "/oss/callback",
        "user": "eric",
    }
    assert set(RequestContext().fields({"HTTP_X_OSS_REQUEST_ID": "no id"})) == {"request_id"}
