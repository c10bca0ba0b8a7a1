"""The user of Django's session, for callables that run outside Django's own requests."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.auth import get_user
from django.core.handlers.wsgi import WSGIRequest

from .connections import closing_connections

if TYPE_CHECKING:
    import webob


@closing_connections
def user_of(request: webob.Request) -> Any:
    """Return the user who is logged in by Django's session, or AnonymousUser, for ``authorize`` and ``form_user``.

        def authorize(request):
            user = user_of(request)
            return Grant(user=str(user.pk), dir=f"users/{user.pk}/") if user.is_authenticated else None

    The session is only read.
    """
    django_request = WSGIRequest(request.environ)
    store = import_module(settings.SESSION_ENGINE).SessionStore
    django_request.session = _Session(store(django_request.COOKIES.get(settings.SESSION_COOKIE_NAME)).items())
    return get_user(django_request)


class _Session(dict[str, Any]):
    """What a session holds. Django's next page may give it a new key; here none could reach the browser."""

    def cycle_key(self) -> None:
        pass

    def flush(self) -> None:
        pass
