"""Connections of Django's databases in callables that run outside its own requests."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from oss_wsgi import Grant
from oss_wsgi.testing import UploadClient

from .site import Site, picture


def is_open() -> bool:
    return connection.connection is not None


def test_the_connections_that_callables_left_are_closed(site: Site) -> None:
    calls: list[str] = []

    def authorize(request: Any) -> Grant:
        calls.append("authorize")
        assert User.objects.count() == 2 and is_open()
        return Grant(user="eric")

    def save(upload: Any) -> dict[str, Any]:
        calls.append("save")
        assert not is_open()
        assert User.objects.count() == 2 and is_open()
        return {"users": User.objects.count()}

    def form_user(request: Any) -> str:
        calls.append("form_user")
        assert User.objects.count() == 2 and is_open()
        return "eric"

    options = {"authorize": authorize, "on_upload": save, "forms": True, "form_user": form_user}
    with UploadClient(site.client.application, **options) as client:  # type: ignore[arg-type]
        assert client.sign("a.png").status_int == 200
        assert not is_open()
        signed_id = client.upload("a.png", b"x").json["signed_id"]
        assert not is_open()
        site.client, site.upload = client, lambda file: signed_id  # type: ignore[method-assign]
        site.cookies["csrftoken"] = "a" * 32
        site.post("/echo", [("f", picture())])
    assert calls == ["authorize", "authorize", "save", "form_user"]


def test_a_connection_that_is_too_old_fails_no_callable(site: Site) -> None:
    def save(upload: Any) -> dict[str, Any]:
        return {"users": User.objects.count()}

    connection.settings_dict["CONN_MAX_AGE"] = 600
    with UploadClient(site.client.application, on_upload=save) as client:
        assert client.upload("a.png", b"x").json["users"] == 2
        assert is_open()
        connection.connection.close()
        connection.close_at = 0  # it is older than CONN_MAX_AGE
        assert client.upload("a.png", b"x").json["users"] == 2


@pytest.mark.slow
def test_a_callable_is_called_where_django_has_no_settings() -> None:
    code = "from oss_wsgi.django.connections import closing_connections as f; print(f(lambda text: text)('called'))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "called\n"
