"""The `ledger` command: prints the SQL that makes the tables of a ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..ledger.sql_text import VERSION, Dialect, dialect_of
from ..ledger.url import is_url, shown
from .options import EPILOG
from .terminal import MisuseError

if TYPE_CHECKING:
    from argparse import Namespace

_SCHEMES = {
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "mysql": "mysql",
    "mariadb": "mysql",
    "sqlite": "sqlite",
}


def add(subparsers: Any) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "ledger",
        help="print the SQL of the ledger's tables",
        description="A ledger makes its tables by itself. Where its user may not, `sql` prints what an administrator "
        "runs once: for PostgreSQL, or for MySQL and MariaDB. It connects to nothing.",
        epilog=f"Example: oss-wsgi ledger sql --url postgresql: | psql app. {EPILOG}",
    )
    parser.add_argument("action", choices=["sql"])
    parser.add_argument(
        "--url",
        metavar="URL",
        help="the ledger's URL, of which only the part before the colon counts; default: OSS_LEDGER",
    )
    parser.add_argument(
        "--partitioned",
        action="store_true",
        help="PostgreSQL: a partition for each day, which is dropped when its answers have expired. The ledger makes "
        "the partitions, so its user must own the table",
    )
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Print the statements and return 0."""
    url = arguments.url or arguments.environ.get("OSS_LEDGER", "").strip()
    if not url:
        raise MisuseError("which database? Add --url postgresql: or --url mysql:, or set OSS_LEDGER.")
    name = _SCHEMES.get(url.partition(":")[0].partition("+")[0].lower())
    if name is None:
        what = shown(url) if is_url(url) else url
        raise MisuseError(f"a ledger has tables in PostgreSQL, MySQL and MariaDB, not in {what!r}.")
    dialect = dialect_of(name)
    if arguments.partitioned and name != "postgresql":
        raise MisuseError("only the tables in PostgreSQL can be partitioned: leave --partitioned out.")
    print(f"-- The tables of a ledger of oss-wsgi, version {VERSION}, for {_database(dialect)}.")
    print("BEGIN;")
    for statement in dialect.schema(partitioned=arguments.partitioned):
        print(f"{statement};")
    print("COMMIT;")
    return 0


def _database(dialect: Dialect) -> str:
    return {"postgresql": "PostgreSQL", "mysql": "MySQL and MariaDB", "sqlite": "SQLite"}[dialect.name]
