"""Databases for the Django application."""

from __future__ import annotations

from ..ledger.conftest import mariadb, postgresql

__all__ = ["mariadb", "postgresql"]
