"""The tables of the ledger, by the statements that all SQL ledgers use."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import migrations

from oss_wsgi.ledger.sql_text import dialect_of


def make_tables(apps: Any, schema_editor: Any) -> None:
    """Make the tables of the ledger where they do not exist."""
    for statement in dialect_of(schema_editor.connection.vendor).schema():
        schema_editor.execute(statement)


def drop_tables(apps: Any, schema_editor: Any) -> None:
    """Drop the tables of the ledger, and with them what it knows."""
    for table in ("oss_wsgi_answers", "oss_wsgi_tickets", "oss_wsgi_schema"):
        schema_editor.execute(f"DROP TABLE IF EXISTS {table}")


class Migration(migrations.Migration):
    """Makes the tables."""

    initial = True
    dependencies: ClassVar[list[tuple[str, str]]] = []
    operations: ClassVar = [migrations.RunPython(make_tables, drop_tables)]
