"""The tables of the ledger, by the statements that all SQL ledgers run."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, ClassVar

from django.db import migrations, transaction

from oss_wsgi.ledger.sql_tables import TABLES, Statements


def make_tables(apps: Any, schema_editor: Any) -> None:
    """Make the tables of the ledger if they do not exist."""
    connection = schema_editor.connection
    # MySQL commits at each statement that makes a table; in PostgreSQL the lock around these statements needs a
    # transaction.
    with transaction.atomic(connection.alias) if connection.features.can_rollback_ddl else nullcontext():
        for statement in Statements(connection.vendor).creation():
            schema_editor.execute(statement)


def drop_tables(apps: Any, schema_editor: Any) -> None:
    """Drop the tables of the ledger, and with them all stored responses."""
    for table in TABLES:
        schema_editor.execute(f"DROP TABLE IF EXISTS {table.name}")


class Migration(migrations.Migration):
    """Makes the tables."""

    initial = True
    atomic = False
    dependencies: ClassVar[list[tuple[str, str]]] = []
    operations: ClassVar = [migrations.RunPython(make_tables, drop_tables)]
