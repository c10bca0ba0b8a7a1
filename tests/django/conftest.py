"""Databases for the Django application, and Django's settings, which its modules need when they are imported."""

from __future__ import annotations

from ..ledger.conftest import mariadb, postgresql
from . import project

__all__ = ["mariadb", "postgresql"]

project.configure()
