"""A Django project with the ledger's application, a gallery of photos, the admin, and what is installed beside it."""

from __future__ import annotations

import contextlib
import importlib.util
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import django
from django.conf import settings

#: The names in DATABASES of the servers that tests use.
ENGINES = {"postgresql": "django.db.backends.postgresql", "mysql": "django.db.backends.mysql"}

#: Applications of others, which only [test-all] installs.
OTHERS = tuple(name for name in ("rest_framework", "import_export") if importlib.util.find_spec(name))

HANDLERS = ["MemoryFileUploadHandler", "TemporaryFileUploadHandler"]


def configure() -> None:
    """Configure Django in this process, once, with a database that tests replace."""
    if not settings.configured:
        # Django wants mysqlclient, which needs a compiler; PyMySQL can stand in for it.
        import pymysql

        pymysql.install_as_MySQLdb()
        applications = ["admin", "auth", "contenttypes", "sessions", "messages"]
        settings.configure(
            SECRET_KEY="only for tests",
            ALLOWED_HOSTS=["*"],
            INSTALLED_APPS=[
                *(f"django.contrib.{name}" for name in applications),
                *OTHERS,
                "oss_wsgi.django",
                "tests.django.gallery",
            ],
            MIDDLEWARE=[
                "django.contrib.sessions.middleware.SessionMiddleware",
                "django.middleware.common.CommonMiddleware",
                "django.middleware.csrf.CsrfViewMiddleware",
                "django.contrib.auth.middleware.AuthenticationMiddleware",
                "django.contrib.messages.middleware.MessageMiddleware",
            ],
            ROOT_URLCONF="tests.django.gallery.urls",
            TEMPLATES=[
                {
                    "BACKEND": "django.template.backends.django.DjangoTemplates",
                    "APP_DIRS": True,
                    "OPTIONS": {
                        "context_processors": [
                            "django.template.context_processors.request",
                            "django.contrib.auth.context_processors.auth",
                            "django.contrib.messages.context_processors.messages",
                        ]
                    },
                }
            ],
            DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
            DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
            PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
            STATIC_URL="/static/",
            FILE_UPLOAD_HANDLERS=[
                "oss_wsgi.django.PostedFilesHandler",
                *(f"django.core.files.uploadhandler.{name}" for name in HANDLERS),
            ],
            USE_TZ=True,
        )
        django.setup()


def use(entry: dict[str, Any]) -> None:
    """Let Django's default database be another one."""
    from django.db import connections

    connections.close_all()
    entry = {**connections.settings["default"], "AUTOCOMMIT": True, "CONN_HEALTH_CHECKS": False, "OPTIONS": {}, **entry}
    connections.settings["default"] = entry
    with contextlib.suppress(AttributeError):  # this thread has none yet
        del connections["default"]


def database(url: str) -> dict[str, Any]:
    """Return the entry of DATABASES for a server's URL."""
    parts = urlsplit(url)
    return {
        "ENGINE": ENGINES[parts.scheme],
        "NAME": parts.path.strip("/"),
        "USER": parts.username,
        "PASSWORD": parts.password,
        "HOST": parts.hostname,
        "PORT": parts.port,
        "CONN_MAX_AGE": 600,
    }


def sqlite(path: Path) -> dict[str, Any]:
    """Return the entry of DATABASES for a file."""
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path), "OPTIONS": {"timeout": 60}}
