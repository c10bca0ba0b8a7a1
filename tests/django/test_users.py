"""user_of: the user of Django's session, for callables outside Django's own requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import webob
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import override_settings

from oss_wsgi.django import user_of

from .site import Site


def user(site: Site) -> Any:
    return user_of(webob.Request.blank("/", environ=site.environ))


def test_it_is_the_user_who_is_logged_in(site: Site) -> None:
    assert user(site) == User.objects.get(username="eric")


@pytest.mark.parametrize("session", [None, "", "short", "Zm9yZ2Vk" * 4, "../../etc/passwd"])
def test_without_a_session_it_is_nobody(site: Site, session: str | None) -> None:
    site.cookies.pop("sessionid")
    if session is not None:
        site.cookies["sessionid"] = session
    assert not user(site).is_authenticated
    assert Session.objects.count() == 1


def test_a_session_of_a_changed_password_or_a_deactivated_user_is_nobodys(site: Site) -> None:
    eric = User.objects.get(username="eric")
    User.objects.update(is_active=False)
    assert not user(site).is_authenticated
    User.objects.update(is_active=True)
    eric.set_password("another")
    eric.save()
    assert not user(site).is_authenticated
    assert Session.objects.count() == 1, "Django itself ends the session, at its next page"


def test_a_session_of_a_former_secret_key_stays_as_it_is(site: Site) -> None:
    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["only for tests"]):
        assert user(site).username == "eric"
        assert user(site).username == "eric", "the browser's cookie still names the session"


@pytest.mark.parametrize("engine", ["file", "cache", "cached_db", "signed_cookies"])
def test_it_is_found_in_every_kind_of_session(make_site: Any, tmp_path: Path, engine: str) -> None:
    with override_settings(
        SESSION_ENGINE=f"django.contrib.sessions.backends.{engine}", SESSION_FILE_PATH=str(tmp_path)
    ):
        site = make_site()
        assert not user(site).is_authenticated
        site.log_in()
        assert user(site).username == "eric"
