"""The tables of a ledger in a SQL database, and their statements, which SQLAlchemy Core compiles for a driver.

All texts are stored as bytes, because MySQL compares ``a.png`` and ``A.PNG`` as equal by default. A row of
``oss_wsgi_tickets`` is a lock: the transaction that has inserted or updated it handles the upload. Its ``place`` is 0
for a ticket that is valid for one object, else a hash of the object; its ``turn`` is 0 in a new row, and grows with
each claim. The rows of ``oss_wsgi_answers``:

``ticket``, ``upload``
    The key, ordered by time because tickets begin with their expiry. ``upload`` is a hash of object and ETag, by which
    a sweep finds handled uploads.
``expires``, ``forget_after``
    In Unix seconds by the caller's and by the database's clock: a row is deleted when both have passed.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from operator import itemgetter
from typing import Any, Literal, NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    bindparam,
    case,
    cast,
    column,
    delete,
    extract,
    func,
    insert,
    literal_column,
    select,
    table,
    text,
    true,
    tuple_,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.dialects.mysql import pymysql
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.engine import Dialect
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.sql.expression import ClauseElement, ColumnElement, FromClause

from .base import UploadIdentity
from .steady_time import MARGIN

#: The version of the tables that this program reads and writes.
VERSION = 1

#: How many rows one statement deletes at most.
BATCH = 1024

_FAMILIES = {
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "mysql": "mysql",
    "mariadb": "mysql",
    "sqlite": "sqlite",
}
_INNODB: Any = {"mysql_engine": "InnoDB"}


def _bytes(length: int) -> LargeBinary:
    return LargeBinary(length).with_variant(mysql.VARBINARY(length), "mysql")


def _many_bytes() -> LargeBinary:
    return LargeBinary().with_variant(mysql.LONGBLOB(), "mysql")


_metadata = MetaData()
tickets = Table(
    "oss_wsgi_tickets",
    _metadata,
    Column("ticket", _bytes(255), primary_key=True),
    Column("place", BigInteger, primary_key=True, autoincrement=False),
    Column("turn", Integer, nullable=False),
    **_INNODB,
)
answers = Table(
    "oss_wsgi_answers",
    _metadata,
    Column("ticket", _bytes(255), primary_key=True),
    Column("upload", BigInteger, primary_key=True, autoincrement=False),
    Column("object", _bytes(1023), nullable=False),
    Column("etag", _bytes(255), nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("forget_after", BigInteger, nullable=False),
    Column("status", _bytes(1024), nullable=False),
    Column("content_type", _bytes(4096), nullable=False),
    Column("body", _many_bytes(), quote=True, nullable=False),  # BODY is a keyword in MariaDB's Oracle mode
    Index("oss_wsgi_answers_upload", "upload"),
    Index("oss_wsgi_answers_forget_after", "forget_after"),
    **_INNODB,
)
#: The notes: ``note`` is a digest of object and mark.
notes = Table(
    "oss_wsgi_notes",
    _metadata,
    Column("note", _bytes(16), primary_key=True),
    Column("expires", BigInteger, primary_key=True, autoincrement=False),
    Column("forget_after", BigInteger, nullable=False),
    Index("oss_wsgi_notes_forget_after", "forget_after"),
    **_INNODB,
)
#: The texts that sweeps save, and in MySQL the locks that sweeps hold.
texts = Table(
    "oss_wsgi_texts",
    _metadata,
    Column("name", _bytes(255), primary_key=True),
    Column("text", _many_bytes(), nullable=False),
    **_INNODB,
)
schema = Table(
    "oss_wsgi_schema",
    _metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
    **_INNODB,
)
TABLES = (tickets, answers, notes, texts, schema)
#: The tables whose rows expire.
EXPIRING = (answers, notes)


def key_of(identity: UploadIdentity, now: float) -> dict[str, Any]:
    """Return an upload as the tables store it, and for how many ``seconds`` from ``now`` it must be remembered.

    :param now: the caller's clock in Unix seconds.
    """
    name, etag = encoded(identity.object), encoded(identity.etag)
    return {
        "ticket": encoded(identity.ticket),
        "place": 0 if identity.max_objects == 1 else hash_of(name) & _POSITIVE,
        "upload": hash_of(name, etag),
        "object": name,
        "etag": etag,
        "expires": int(identity.expires),
        "seconds": seconds_until(identity.expires, now),
    }


_POSITIVE = (1 << 63) - 1


def encoded(text: str) -> bytes:
    """Return a text as it is stored."""
    return text.encode("utf-8", "surrogatepass")


def decoded(data: bytes) -> str:
    """Return a text that was stored."""
    return bytes(data).decode("utf-8", "surrogatepass")


def hash_of(*parts: bytes) -> int:
    """Return a signed 64-bit hash of some bytes; the hash is a strong one, because users choose names."""
    joined = b"".join([len(part).to_bytes(4, "big") + part for part in parts])
    return int.from_bytes(hashlib.blake2b(joined, digest_size=8).digest(), "big", signed=True)


def seconds_until(expires: int, now: float) -> int:
    """Return for how many seconds of the database's clock a row that is stored now must be kept."""
    return math.ceil(max(0.0, expires - now)) + MARGIN


def _ordered(names: Sequence[str]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    if len(names) > 1:
        return itemgetter(*names)
    return lambda parameters: tuple([parameters[name] for name in names])


class Rows(NamedTuple):
    """The result of a statement: the number of rows that it changed, and the rows that it selected."""

    affected: int
    rows: list[tuple[Any, ...]]


class Statement(NamedTuple):
    """A statement as a driver takes it, with parameters by position."""

    text: str
    #: Returns the parameters of a mapping by position.
    ordered: Callable[[Mapping[str, Any]], tuple[Any, ...]]
    #: The parameters that are always the same.
    constants: Mapping[str, Any]
    returns_rows: bool
    #: For a statement that each upload runs in PostgreSQL: the values for EXECUTE as a text for str.format, and the
    #: parameters that the text takes.
    template: str = ""
    of_bytes: Callable[[Mapping[str, Any]], tuple[bytes, ...]] = _ordered(())
    of_numbers: Callable[[Mapping[str, Any]], tuple[int, ...]] = _ordered(())

    def bound(self, parameters: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the parameters as the driver takes them."""
        return self.ordered({**self.constants, **parameters} if self.constants else parameters)

    def filled(self, parameters: Mapping[str, Any]) -> str:
        """Return the template with the parameters in it; this is faster than psycopg's way."""
        return self.template.format(*map(bytes.hex, self.of_bytes(parameters)), *self.of_numbers(parameters))

    @classmethod
    def fixed(cls, text: str) -> Statement:
        """Return a statement without parameters."""
        return cls(text, _ordered(()), {}, False)


def _parameters(*names: str) -> dict[str, Any]:
    return {name: bindparam(name) for name in names}


class Statements:
    """The statements of a ledger for one database, each compiled once.

    Raises ValueError for a database that a ledger cannot use.

    :param name: SQLAlchemy's or Django's name of the database.
    :param paramstyle: how SQLite's driver writes parameters; the other drivers write ``%s``.
    """

    def __init__(self, name: str, *, paramstyle: Literal["format", "qmark"] = "format") -> None:
        self.family = _FAMILIES.get(name, "")
        if self.family == "postgresql":
            self._dialect: Dialect = psycopg.dialect(paramstyle="format")  # type: ignore[no-untyped-call]
        elif self.family == "mysql":
            self._dialect = pymysql.dialect()
        elif self.family == "sqlite":
            self._dialect = sqlite.dialect(paramstyle=paramstyle)
        else:
            raise ValueError(f"A ledger needs PostgreSQL, MySQL, MariaDB or SQLite, not {name}")
        clock = self._clock()
        of_ticket = answers.c.ticket == bindparam("ticket")
        forget_after = clock + bindparam("seconds", type_=BigInteger)
        compiled = self.compiled
        #: Locks a row; its turn, or in MySQL the number of affected rows, says whether the row is new.
        lock = {**_parameters("ticket", "place"), "turn": literal_column("0")}
        self.claim = compiled(
            self._upsert(tickets, lock, {"turn": tickets.c.turn + literal_column("1")}, tickets.c.turn),
            is_frequent=True,
        )
        #: Locks the row if there is one; fails if another transaction has locked or inserted it.
        is_lock = (tickets.c.ticket == bindparam("ticket"), tickets.c.place == bindparam("place"))
        self.lock_at_once = compiled(select(tickets.c.turn).where(*is_lock).with_for_update(nowait=True))
        response = (answers.c.status, answers.c.content_type, answers.c.body)
        of_upload = answers.c.upload == bindparam("upload")
        self.find = compiled(select(answers.c.object, answers.c.etag, *response).where(of_ticket, of_upload))
        is_object = case((answers.c.object == bindparam("object"), literal_column("1")), else_=literal_column("0"))
        #: Selects how many objects of a ticket have a response, and whether this object has one: 1, 0, or NULL without
        #: responses.
        self.count_objects = compiled(
            select(func.count(answers.c.object.distinct()), func.max(is_object)).where(of_ticket)
        )
        answer = _parameters("ticket", "upload", "object", "etag", "expires", "status", "content_type", "body")
        self.store = compiled(insert(answers).values({**answer, "forget_after": forget_after}), is_frequent=True)

        self.save = compiled(self._upsert(texts, _parameters("name", "text"), {"text": bindparam("text_now")}))
        of_name = texts.c.name == bindparam("name")
        self.load = compiled(select(texts.c.text).where(of_name))
        self.forget = compiled(delete(texts).where(of_name))
        self.hold = compiled(
            select(func.pg_try_advisory_xact_lock(bindparam("number", type_=BigInteger)))
            if self.family == "postgresql"
            else select(texts.c.name).where(of_name).with_for_update(skip_locked=True)
        )
        #: Limits the waits for locks. In PostgreSQL the limit is for the transaction, and the statement returns the old
        #: limit.
        self.limit_wait = compiled(
            select(func.current_setting("lock_timeout"), func.set_config("lock_timeout", bindparam("wait"), true()))
            if self.family == "postgresql"
            else text("SET SESSION innodb_lock_wait_timeout = :wait")
        )
        #: Selects MySQL's limit, and whether the session commits each statement.
        shown = text("SELECT @@SESSION.innodb_lock_wait_timeout, @@SESSION.autocommit")
        self.show_wait = compiled(shown, is_select=True)
        self.ping = compiled(select(literal_column("1")))
        self.version = compiled(select(schema.c.version))
        self.count = compiled(select(func.count()).select_from(answers))
        self.estimate = compiled(self._estimate())
        self.expired = {
            each: compiled(
                select(*each.primary_key, each.c.expires)
                .where(each.c.forget_after < clock)
                # Only the first rows are examined. If they are still valid by the caller's clock, later rows wait.
                .order_by(each.c.forget_after)
                .limit(literal_column(str(BATCH)))
                .with_for_update(skip_locked=True)
            )
            for each in EXPIRING
        }

    def known(self, uploads: Collection[int]) -> Statement:
        """Select object and ETag of the responses with the given hashes."""
        return self.compiled(select(answers.c.object, answers.c.etag).where(answers.c.upload.in_(list(uploads))))

    def note(self, digests: Collection[bytes], expires: int, seconds: int) -> Statement:
        """Store notes, and keep them for some seconds of the database's clock."""
        numbers = {
            "expires": literal_column(str(expires)),
            "forget_after": self._clock() + literal_column(str(seconds)),
        }
        return self.compiled(self._upsert(notes, [{"note": each, **numbers} for each in digests], {}))

    def noted(self, digests: Collection[bytes]) -> Statement:
        """Select those of the digests that are notes."""
        return self.compiled(select(notes.c.note).where(notes.c.note.in_(list(digests))))

    def end_waits(self, sessions: Collection[int]) -> Statement:
        """End the PostgreSQL sessions that wait for a standby: they do not notice that their client is gone."""
        activity = table("pg_stat_activity", column("pid"), column("usename"), column("wait_event"))
        pid, user, event = activity.c
        waits = event == literal_column("'SyncRep'"), user == literal_column("current_user")
        return self.compiled(select(func.pg_terminate_backend(pid)).where(pid.in_(list(sessions)), *waits))

    def delete(self, each: Table, keys: Collection[Sequence[Any]]) -> Statement:
        """Delete the rows with the given keys."""
        return self.compiled(delete(each).where(tuple_(*each.primary_key).in_(list(keys))))

    def free_locks(self, expired: Collection[bytes]) -> Statement:
        """Lock those locks of the given tickets that nobody holds."""
        free = select(*tickets.primary_key).where(tickets.c.ticket.in_(list(expired)))
        return self.compiled(free.with_for_update(skip_locked=True))

    def delete_locks(self, keys: Collection[Sequence[Any]]) -> Statement:
        """Delete the locks with the given keys, but none of a ticket with a response: its uploads would seem new."""
        is_used = select(answers.c.ticket).where(answers.c.ticket == tickets.c.ticket).exists()
        return self.compiled(delete(tickets).where(tuple_(*tickets.primary_key).in_(list(keys)), ~is_used))

    def creation(self) -> list[str]:
        """Return the statements that make the tables if they do not exist.

        Several processes may run them at once. In MySQL a process may then fail because another one has made an index.
        """
        has_conditions = self.family != "mysql"
        made: list[ClauseElement] = []
        if self.family == "postgresql":
            # CREATE TABLE IF NOT EXISTS fails when another session makes the table at the same moment.
            made.append(select(func.pg_advisory_xact_lock(hash_of(b"oss_wsgi", b"schema"))))
        for each in TABLES:
            made.append(CreateTable(each, if_not_exists=True))
            indexes = sorted(each.indexes, key=lambda index: str(index.name))
            made += [CreateIndex(index, if_not_exists=has_conditions) for index in indexes]
        made.append(self._upsert(schema, {"id": literal_column("1"), "version": literal_column(str(VERSION))}, {}))
        return [
            str(item.compile(dialect=self._dialect, compile_kwargs={"literal_binds": True})).strip() for item in made
        ]

    def compiled(self, statement: Any, *, is_select: bool = False, is_frequent: bool = False) -> Statement:
        """Return a statement as the driver takes it."""
        done = statement.compile(dialect=self._dialect, compile_kwargs={"render_postcompile": True})
        constants = {name: value for name, value in done.params.items() if value is not None}
        returns = is_select or statement.is_select or bool(getattr(done, "effective_returning", None))
        made = Statement(str(done), _ordered(done.positiontup or ()), constants, returns)
        if not is_frequent or self.family != "postgresql":
            return made
        names = done.positiontup
        of_bytes = [name for name in names if isinstance(done.binds[name].type, LargeBinary)]
        of_numbers = [name for name in names if name not in of_bytes]
        values = {name: f"'\\x{{{place}}}'" for place, name in enumerate(of_bytes)}
        values |= {name: f"{{{place}:d}}" for place, name in enumerate(of_numbers, len(of_bytes))}
        text = f"({', '.join([values[name] for name in names])})"
        return made._replace(template=text, of_bytes=_ordered(of_bytes), of_numbers=_ordered(of_numbers))

    def _clock(self) -> ColumnElement[int]:
        """Return Unix seconds by the database's clock."""
        if self.family == "postgresql":
            # Not clock_timestamp(): PostgreSQL does not search an index by a volatile function.
            return cast(extract("epoch", func.statement_timestamp()), BigInteger)
        if self.family == "mysql":
            return func.unix_timestamp(type_=BigInteger)
        return cast(func.strftime(literal_column("'%s'"), literal_column("'now'")), BigInteger)

    def _upsert(
        self,
        each: Table,
        values: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        changes: Mapping[str, Any],
        returned: ColumnElement[Any] | None = None,
    ) -> Any:
        """Insert rows, or change those with their keys. Return a column of the row, except in MySQL."""
        if self.family == "mysql":
            made = mysql.insert(each).values(values)
            key = next(iter(each.primary_key))
            return made.on_duplicate_key_update(dict(changes) or {key.name: key})
        module = postgresql if self.family == "postgresql" else sqlite
        upsert = module.insert(each).values(values)
        key_names = [item.name for item in each.primary_key]
        upsert = (
            upsert.on_conflict_do_update(index_elements=key_names, set_=dict(changes))
            if changes
            else upsert.on_conflict_do_nothing(index_elements=key_names)
        )
        return upsert.inline() if returned is None else upsert.returning(returned)

    def _estimate(self) -> Any:
        """Select the estimated number of responses, without reading them, if the database has an estimate."""
        if self.family == "postgresql":
            relations: FromClause = table("pg_class", column("oid"), column("reltuples"))
            rows = cast(relations.c.reltuples, BigInteger)
            return select(rows).where(relations.c.oid == func.to_regclass(answers.name))
        if self.family == "mysql":
            columns: list[Any] = [column(name) for name in ("table_rows", "table_schema", "table_name")]
            known = table("tables", *columns, schema="information_schema")
            return select(known.c.table_rows).where(
                known.c.table_schema == func.database(), known.c.table_name == answers.name
            )
        return select(literal_column("0"))
