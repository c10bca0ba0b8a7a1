"""The `ledger` command: prints the SQL that makes the tables of a ledger."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from ..ledger.url import is_url, shown
from .terminal import MisuseError

_DATABASES = {
    "postgresql": "PostgreSQL",
    "postgres": "PostgreSQL",
    "mysql": "MySQL and MariaDB",
    "mariadb": "MySQL and MariaDB",
}


def add(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "ledger",  # without help, so that the list of commands leaves it out: few need it, once
        description="A ledger creates its tables by itself. If the database user may not, an administrator runs once "
        "what `sql` prints: for PostgreSQL, or for MySQL and MariaDB. It connects to nothing.",
        epilog="Example: oss-wsgi ledger sql --url postgresql: | psql app",
    )
    parser.add_argument("action", choices=["sql"])
    parser.add_argument(
        "--url",
        metavar="URL",
        help="the ledger's URL, of which only the part before the colon counts; default: OSS_LEDGER",
    )
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    url = arguments.url or arguments.environ.get("OSS_LEDGER", "").strip()
    if not url:
        raise MisuseError("which database? Add --url postgresql: or --url mysql:, or set OSS_LEDGER.")
    scheme = url.partition(":")[0].partition("+")[0].lower()
    if scheme not in _DATABASES:
        what = shown(url) if is_url(url) else url
        raise MisuseError(f"a ledger has tables in PostgreSQL, MySQL and MariaDB, not in {what!r}.")
    try:
        from ..ledger.sql_tables import VERSION, Statements  # imported here because SQLAlchemy is an extra
    except ModuleNotFoundError as error:
        raise MisuseError(f"{error.name} is not installed: pip install 'oss-wsgi[postgresql]'.") from None
    print(f"-- The tables of a ledger of oss-wsgi, version {VERSION}, for {_DATABASES[scheme]}.")
    print("START TRANSACTION;")
    for statement in Statements(scheme).creation():
        print(f"{statement};")
    print("COMMIT;")
    return 0
