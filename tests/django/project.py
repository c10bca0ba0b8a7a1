"""The smallest Django project with the ledger's application and one model."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import django
from django.conf import settings

#: The names in DATABASES of the servers that tests use.
ENGINES = {"postgresql": "django.db.backends.postgresql", "mysql": "django.db.backends.mysql"}


def configure() -> None:
    """Configure Django in this process, once, with a database that tests replace."""
    if not settings.configured:
        # Django wants mysqlclient, which needs a compiler; PyMySQL can stand in for it.
        import pymysql

        pymysql.install_as_MySQLdb()
        settings.configure(
            SECRET_KEY="only for tests",
            INSTALLED_APPS=["oss_wsgi.django"],
            DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
            USE_TZ=True,
        )
        django.setup()


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
