"""The tables and statements of a ledger in PostgreSQL, MySQL, MariaDB and SQLite.

All texts are stored as bytes, because MySQL compares ``a.png`` and ``A.PNG`` as equal by default. In the statements
bytes are written in hexadecimal and numbers in decimal: nothing has to be quoted, and PostgreSQL takes several such
statements in one round trip. The rows of ``oss_wsgi_answers``:

``upload``
    The first 16 bytes of a hash of object and ETag, by which a sweep finds what was handled.
``slot``
    Which of the ticket's ``max_objects`` its object has taken; NULL for further ETags of that object.
``expires``, ``forget_after``
    In Unix seconds by the caller's and by the database's clock: a row is deleted when both have passed.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from typing import ClassVar, NamedTuple

from .base import StoredResponse, UploadIdentity
from .steady_time import MARGIN

#: The version of the tables that this program reads and writes.
VERSION = 1

#: Seconds by which a partition of the answers is wide.
PARTITION_SECONDS = 24 * 3600

#: Rows that one statement deletes.
BATCH = 256

# A ticket's row outlives its answers, whose handlers take time.
_TICKET_MARGIN = 3600
_FIRST_SLOTS = 16
_MOST_SLOTS = 1024

#: The part of a ticket that is locked while slots are added.
ADDING_SLOTS = -1 << 63


_SELECT = "SELECT upload, object, status, content_type, body FROM oss_wsgi_answers"
_COLUMNS = "upload, ticket, object, etag, slot, expires, forget_after, status, content_type, body"
_INSERT = f"INSERT INTO oss_wsgi_answers ({_COLUMNS})"


class Key(NamedTuple):
    """An upload as the tables know it, and for how many seconds from now on it must be remembered."""

    ticket: bytes
    upload: bytes
    object: bytes
    etag: bytes
    expires: int
    seconds: int
    max_objects: int

    @classmethod
    def of(cls, identity: UploadIdentity, now: float) -> Key:
        """Return the key of an upload; ``now`` is the caller's clock in Unix seconds."""
        return cls(
            encoded(identity.ticket),
            upload_hash(identity.object, identity.etag),
            encoded(identity.object),
            encoded(identity.etag),
            identity.expires,
            math.ceil(max(0.0, identity.expires - now)) + MARGIN,
            identity.max_objects,
        )


def encoded(text: str) -> bytes:
    """Return a text as it is stored."""
    return text.encode("utf-8", "surrogatepass")


def upload_hash(name: str, etag: str) -> bytes:
    """Return 16 bytes that stand for an object and an ETag; the names are the users', so the hash is a strong one."""
    name_bytes = encoded(name)
    prefix = len(name_bytes).to_bytes(4, "big")
    return hashlib.blake2b(prefix + name_bytes + encoded(etag), digest_size=16).digest()


def _number(*parts: bytes) -> int:
    """Return a signed number of 64 bits that stands for some bytes."""
    joined = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return int.from_bytes(hashlib.blake2b(joined, digest_size=8).digest(), "big", signed=True)


class Dialect:
    """The statements of one kind of database; a method returns the text of one, or a list of texts."""

    name: ClassVar[str]
    begin: ClassVar[Sequence[str]]
    commit: ClassVar[str] = "COMMIT"
    #: Unix seconds by the database's clock.
    clock: ClassVar[str]
    #: Whether other transactions can be waited for while this one goes on; SQLite has one writer.
    has_row_locks: ClassVar[bool] = True
    is_partitioned = False
    is_prepared = False
    _literal: ClassVar[str] = "X'%s'"
    #: The tables whose rows expire.
    expiring: ClassVar[Sequence[str]] = ("oss_wsgi_answers",)

    def literal(self, data: bytes) -> str:
        """Return bytes as a text of SQL."""
        return self._literal % data.hex()

    # The tables.

    def schema(self, *, partitioned: bool = False) -> list[str]:
        """Return the statements that make the tables where they do not exist."""
        raise NotImplementedError

    def select_version(self) -> str:
        """Select the version of the tables."""
        return "SELECT version FROM oss_wsgi_schema"

    # Claims.

    def wait_at_most(self, seconds: float) -> list[str]:
        """Limit the waits for locks; for the transaction where the database can."""
        raise NotImplementedError

    def lock_ticket(self, key: Key, part: int = 0) -> str:
        """Lock a ticket, or a part of it, until the end of the transaction, and wait for that."""
        raise NotImplementedError

    def try_to_lock_ticket(self, key: Key, part: int = 0) -> str | None:
        """Select whether a ticket is locked now, without waiting, where a wait would leave an old snapshot."""
        return None

    def part_of_upload(self, key: Key) -> int:
        """Return the part of a ticket that stands for one upload: slots count from 0, so it is below."""
        return -1 - (_number(key.upload) & 0x3FFF_FFFF_FFFF_FFFF)

    def part_of_object(self, key: Key) -> int:
        """Return the part of a ticket that stands for one object: below those that stand for uploads."""
        return -1 - (1 << 62) - (_number(key.object) & 0x3FFF_FFFF_FFFF_FFFF)

    def select_ticket(self, key: Key) -> str:
        """Select the answers of a ticket that is valid for one object."""
        return f"{_SELECT} WHERE ticket = {self.literal(key.ticket)}"

    def select_answer(self, key: Key) -> str:
        """Select the answer of one upload, as ``select_ticket`` does."""
        return f"{_SELECT} WHERE ticket = {self.literal(key.ticket)} AND upload = {self.literal(key.upload)}"

    def select_slots(self, key: Key) -> str:
        """Select the slot of the object, the highest slot, and how many slots are taken."""
        answers = f"FROM oss_wsgi_answers WHERE ticket = {self.literal(key.ticket)}"
        return (
            f"SELECT (SELECT min(slot) {answers} AND object = {self.literal(key.object)}), "
            f"(SELECT max(slot) {answers}), (SELECT count(slot) {answers})"
        )

    def lock_slot(self, key: Key, first: int) -> str:
        """Lock and select a free slot from ``first`` on, if nobody has it locked; do not wait."""
        raise NotImplementedError

    def lock_gap(self, key: Key) -> str:
        """Lock and select a free slot, wherever it is."""
        raise NotImplementedError

    def select_free_slots(self, key: Key) -> str | None:
        """Select the slots that may be locked one by one, where none can be locked by a search."""
        return None

    def select_next_slot(self, key: Key) -> str | None:
        """Select the first slot that has no row, where the database needs rows for slots."""
        return None

    def add_slots(self, key: Key, first: int) -> str:
        """Make rows for as many slots again as there are; ``first`` is the first that has none."""
        raise NotImplementedError

    def take_slot(self, key: Key, slot: int) -> list[str]:
        """Note that a slot has an answer, where the answer does not say so itself."""
        return []

    def lock_object(self, key: Key) -> str:
        """Lock an object until the end of the transaction, and wait for that."""
        return self.lock_ticket(key, self.part_of_object(key))

    def object_has_slot(self, key: Key) -> str:
        """Select a row if an object, which is locked, has an answer: that of another ETag may have been stored."""
        of_ticket = f"ticket = {self.literal(key.ticket)}"
        return f"SELECT 1 FROM oss_wsgi_answers WHERE {of_ticket} AND object = {self.literal(key.object)} LIMIT 1"

    def slot_is_taken(self, key: Key, slot: int) -> str | None:
        """Select a row if a slot has an answer, where that may have changed since."""
        return f"SELECT 1 FROM oss_wsgi_answers WHERE ticket = {self.literal(key.ticket)} AND slot = {slot}"

    def insert(self, key: Key, slot: int | None, response: StoredResponse) -> str:
        """Store the answer of an upload."""
        return f"{_INSERT} VALUES ({', '.join(self._values(key, slot, response, f'{self.clock} + {key.seconds}'))})"

    def _values(self, key: Key, slot: int | None, response: StoredResponse, forget_after: str) -> list[str]:
        status, content_type = encoded(response.status), encoded(response.content_type)
        data = (key.upload, key.ticket, key.object, key.etag, status, content_type, response.body)
        literals = [self._literal % item.hex() for item in data]
        literals[4:4] = ["NULL" if slot is None else str(slot), str(key.expires), forget_after]
        return literals

    def prepare(self) -> list[str]:
        """Return statements that a session runs first, where others are faster then."""
        return []

    def try_to_write(self, key: Key) -> list[str]:
        """Return statements that write as much as an answer and leave nothing, where claims alone write nothing."""
        return []

    # The rest.

    def select_known(self, hashes: Iterable[bytes]) -> str:
        """Select what is stored of some uploads, whatever the ticket."""
        listed = ", ".join(map(self.literal, hashes))
        return f"SELECT DISTINCT upload FROM oss_wsgi_answers WHERE upload IN ({listed})"

    def count(self) -> str:
        """Count the answers."""
        return "SELECT count(*) FROM oss_wsgi_answers"

    def estimate(self) -> str | None:
        """Select about how many answers there are, without reading them, where the database can tell."""
        return None

    def select_expired(self, table: str, now: int) -> str:
        """Lock and select the keys of some rows that both clocks have passed, except those that others delete now."""
        key = self._key_of(table)
        # Behind rows that are valid by the caller's clock the others wait: no call looks at many.
        return (
            f"SELECT {', '.join(key)}, expires FROM {table} WHERE forget_after < {self.clock} "
            f"ORDER BY forget_after LIMIT {BATCH}{' FOR UPDATE SKIP LOCKED' if self.has_row_locks else ''}"
        )

    def delete(self, table: str, keys: Iterable[Sequence[bytes | int]]) -> str:
        """Delete the rows with some keys."""
        rows = ", ".join(
            f"({', '.join(str(v) if isinstance(v, int) else self.literal(v) for v in values)})" for values in keys
        )
        values = rows if self.has_row_locks else f"VALUES {rows}"
        return f"DELETE FROM {table} WHERE ({', '.join(self._key_of(table))}) IN ({values})"

    # Partitions.

    def select_partitions(self) -> str | None:
        """Select the names of the partitions, NULL if there are none yet, and nothing if the table has none."""
        return None

    def make_partition(self, day: int) -> list[str]:
        """Make the partition of a day since 1970, if there is none."""
        raise NotImplementedError

    def drop_partition(self, name: str) -> list[str]:
        """Drop a partition, unless statements keep it busy now: the others would have to wait behind us."""
        raise NotImplementedError

    def _key_of(self, table: str) -> tuple[str, str]:
        return ("upload", "ticket") if table == "oss_wsgi_answers" else ("ticket", "part")


class PostgreSQL(Dialect):
    """PostgreSQL 13 and later.

    A ticket is locked with an advisory lock of the transaction, which leaves no row behind, and which needs no unique
    key: of a partitioned table such a key would have to contain the time.
    """

    name = "postgresql"
    #: Whether the sessions have run ``prepare``: to plan takes longer than to run.
    is_prepared = False
    begin = ("BEGIN ISOLATION LEVEL READ COMMITTED",)
    _literal = "decode('%s', 'hex')"  # whatever standard_conforming_strings says
    # clock_timestamp() would not do: a volatile function bounds no search of an index.
    clock = "CAST(extract(epoch FROM statement_timestamp()) AS bigint)"
    _columns = (
        "upload bytea NOT NULL, ticket bytea NOT NULL, object bytea NOT NULL, etag bytea NOT NULL, slot integer, "
        "expires bigint NOT NULL, forget_after bigint NOT NULL, "
        "status bytea NOT NULL, content_type bytea NOT NULL, body bytea NOT NULL"
    )

    def prepare(self) -> list[str]:
        """Prepare the two statements that each upload runs."""
        types = "bytea, bytea, bytea, bytea, integer, bigint, bigint, bytea, bytea, bytea"
        values = f"$1, $2, $3, $4, $5, $6, {self.clock} + $7, $8, $9, $10"
        return [
            f"PREPARE oss_wsgi_select (bytea) AS {_SELECT} WHERE ticket = $1",
            f"PREPARE oss_wsgi_insert ({types}) AS {_INSERT} VALUES ({values})",
        ]

    def select_ticket(self, key: Key) -> str:
        """Select the answers of a ticket that is valid for one object."""
        if not self.is_prepared:
            return super().select_ticket(key)
        return f"EXECUTE oss_wsgi_select ({self.literal(key.ticket)})"

    def insert(self, key: Key, slot: int | None, response: StoredResponse) -> str:
        """Store the answer of an upload."""
        if not self.is_prepared:
            return super().insert(key, slot, response)
        return f"EXECUTE oss_wsgi_insert ({', '.join(self._values(key, slot, response, str(key.seconds)))})"

    def schema(self, *, partitioned: bool = False) -> list[str]:
        """Return the statements that make the tables; two processes may run them at once."""
        tables = ["CREATE TABLE IF NOT EXISTS oss_wsgi_schema (version integer NOT NULL)"]
        if partitioned:
            tables += [
                f"CREATE TABLE IF NOT EXISTS oss_wsgi_answers ({self._columns}) PARTITION BY RANGE (forget_after)",
                "CREATE INDEX IF NOT EXISTS oss_wsgi_answers_ticket ON oss_wsgi_answers (ticket, slot)",
                "CREATE INDEX IF NOT EXISTS oss_wsgi_answers_upload ON oss_wsgi_answers (upload)",
            ]
        else:
            tables += [
                f"CREATE TABLE IF NOT EXISTS oss_wsgi_answers ({self._columns}, "
                "PRIMARY KEY (upload, ticket), UNIQUE (ticket, slot))",
                "CREATE INDEX IF NOT EXISTS oss_wsgi_answers_forget_after ON oss_wsgi_answers (forget_after)",
            ]
        return [
            # CREATE TABLE IF NOT EXISTS fails when another session makes the table at the same moment.
            f"SELECT pg_advisory_xact_lock('{_number(b'oss_wsgi', b'schema')}')",
            *tables,
            f"INSERT INTO oss_wsgi_schema SELECT {VERSION} WHERE NOT EXISTS (SELECT 1 FROM oss_wsgi_schema)",
        ]

    def wait_at_most(self, seconds: float) -> list[str]:
        """Limit the waits for locks in this transaction."""
        return [f"SET LOCAL lock_timeout = {max(1, math.ceil(seconds * 1000))}"]

    def lock_ticket(self, key: Key, part: int = 0) -> str:
        """Lock a ticket or a part of it; where two share a number, they wait for each other."""
        return f"SELECT pg_advisory_xact_lock('{_number(key.ticket) ^ part}')"

    def try_to_lock_ticket(self, key: Key, part: int = 0) -> str:
        """Select whether a ticket is locked now: a statement that waits has a snapshot from before."""
        return f"SELECT pg_try_advisory_xact_lock('{_number(key.ticket) ^ part}')"

    def lock_slot(self, key: Key, first: int) -> str:
        """Lock and select one of the next slots."""
        last = min(first + 63, key.max_objects - 1)
        lock = f"pg_try_advisory_xact_lock(CAST('{_number(key.ticket)}' AS bigint) # slot)"
        return f"SELECT slot FROM generate_series({first}::bigint, {last}) AS slot WHERE {lock} LIMIT 1"

    def lock_gap(self, key: Key) -> str:
        """Lock and select a slot that a failed upload has left free."""
        taken = f"SELECT slot FROM oss_wsgi_answers WHERE ticket = {self.literal(key.ticket)} AND slot IS NOT NULL"
        lock = f"pg_try_advisory_xact_lock(CAST('{_number(key.ticket)}' AS bigint) # slot)"
        return (
            f"SELECT slot FROM (SELECT slot FROM generate_series(0::bigint, {key.max_objects - 1}) AS slot "
            f"EXCEPT {taken} OFFSET 0) AS free WHERE {lock} LIMIT 1"
        )

    def try_to_write(self, key: Key) -> list[str]:
        """Return statements that fail on a standby and on a full disk: advisory locks are granted there too."""
        savepoint = "SAVEPOINT oss_wsgi_try"
        insert = self.insert(key, None, StoredResponse("", "", b""))
        return [savepoint, insert, f"ROLLBACK TO {savepoint}", f"RELEASE {savepoint}"]

    def estimate(self) -> str:
        """Select the planner's number of rows, all partitions together."""
        return (
            "SELECT CAST(coalesce(sum(reltuples), 0) AS bigint) FROM pg_class WHERE relkind = 'r' AND (oid = "
            "to_regclass('oss_wsgi_answers') OR oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = "
            "to_regclass('oss_wsgi_answers')))"
        )

    # Partitions.

    def select_partitions(self) -> str:
        """Select the names of the partitions."""
        return (
            "SELECT child.relname FROM pg_class parent LEFT JOIN pg_inherits ON inhparent = parent.oid "
            "LEFT JOIN pg_class child ON child.oid = inhrelid "
            "WHERE parent.oid = to_regclass('oss_wsgi_answers') AND parent.relkind = 'p'"
        )

    def make_partition(self, day: int) -> list[str]:
        """Make the partition of a day since 1970, if there is none."""
        first, last = day * PARTITION_SECONDS, (day + 1) * PARTITION_SECONDS
        return [
            "SET LOCAL lock_timeout = 4000",  # several calls may find at once that it is missing
            f"SELECT pg_advisory_xact_lock('{_number(b'oss_wsgi', b'schema')}')",
            f"CREATE TABLE IF NOT EXISTS oss_wsgi_answers_{day} PARTITION OF oss_wsgi_answers "
            f"FOR VALUES FROM ({first}) TO ({last})",
        ]

    def drop_partition(self, name: str) -> list[str]:
        """Drop a partition, unless statements keep it busy now: the others would have to wait behind us."""
        return ["SET LOCAL lock_timeout = 200", f'DROP TABLE IF EXISTS "{name}"']


class MySQL(Dialect):
    """MySQL 8 and MariaDB 10.6 and later.

    A ticket is locked with an upsert of its row, which locks it at once for this transaction alone; advisory locks
    belong to the session, and proxies that share sessions cannot have them.
    """

    name = "mysql"
    begin = ("START TRANSACTION",)
    clock = "CAST(unix_timestamp() AS SIGNED)"
    expiring = ("oss_wsgi_answers", "oss_wsgi_tickets")

    def schema(self, *, partitioned: bool = False) -> list[str]:
        """Return the statements that make the tables; two processes may run them at once."""
        if partitioned:
            raise ValueError("only PostgreSQL's tables can be partitioned")
        return [
            "CREATE TABLE IF NOT EXISTS oss_wsgi_schema (id TINYINT NOT NULL PRIMARY KEY, version INT NOT NULL) "
            "ENGINE=InnoDB",
            "CREATE TABLE IF NOT EXISTS oss_wsgi_tickets (ticket VARBINARY(255) NOT NULL, part BIGINT NOT NULL, "
            "turn TINYINT NOT NULL, expires BIGINT NOT NULL, forget_after BIGINT NOT NULL, "
            "PRIMARY KEY (ticket, part), KEY oss_wsgi_tickets_forget_after (forget_after)) ENGINE=InnoDB",
            "CREATE TABLE IF NOT EXISTS oss_wsgi_answers (upload BINARY(16) NOT NULL, ticket VARBINARY(255) NOT NULL, "
            "object VARBINARY(1023) NOT NULL, etag VARBINARY(255) NOT NULL, slot INT, expires BIGINT NOT NULL, "
            "forget_after BIGINT NOT NULL, status VARBINARY(1024) NOT NULL, content_type VARBINARY(4096) NOT NULL, "
            "body LONGBLOB NOT NULL, PRIMARY KEY (upload, ticket), UNIQUE KEY oss_wsgi_answers_ticket (ticket, slot), "
            "KEY oss_wsgi_answers_forget_after (forget_after)) ENGINE=InnoDB",
            f"INSERT IGNORE INTO oss_wsgi_schema VALUES (1, {VERSION})",
        ]

    def wait_at_most(self, seconds: float) -> list[str]:
        """Limit the waits for locks in this session: whole seconds, 1 at the least."""
        return [f"SET SESSION innodb_lock_wait_timeout = {max(1, math.ceil(seconds))}"]

    def lock_ticket(self, key: Key, part: int = 0) -> str:
        """Lock a ticket's row; one row is affected if it is new, and two if it was there."""
        ticket = self.literal(key.ticket)
        forget_after = f"{self.clock} + {key.seconds + _TICKET_MARGIN}"
        return (
            "INSERT INTO oss_wsgi_tickets (ticket, part, turn, expires, forget_after) "
            f"VALUES ({ticket}, {part}, 0, {key.expires}, {forget_after}) ON DUPLICATE KEY UPDATE turn = 1 - turn, "
            f"expires = greatest(expires, {key.expires}), forget_after = greatest(forget_after, {forget_after})"
        )

    def lock_slot(self, key: Key, first: int) -> str:
        """Lock and select the row of one slot that exists, if it is neither locked nor taken.

        Above READ COMMITTED a range would be locked with the gaps in it, and uploads of other tickets would wait.
        """
        return (
            f"SELECT part FROM oss_wsgi_tickets WHERE ticket = {self.literal(key.ticket)} AND part = {first} "
            "AND turn = 0 FOR UPDATE SKIP LOCKED"
        )

    def select_free_slots(self, key: Key) -> str:
        """Select the slots without an answer, locked or not."""
        return f"SELECT part FROM oss_wsgi_tickets WHERE ticket = {self.literal(key.ticket)} AND part >= 0 AND turn = 0"

    def slot_is_taken(self, key: Key, slot: int) -> str | None:
        """Return None: the row of the slot says so, and it is read as it is now, whatever the isolation level."""
        return None

    def take_slot(self, key: Key, slot: int) -> list[str]:
        """Note in the rows of a slot and of its object that they have an answer; one by one, as in ``lock_slot``."""
        update = f"UPDATE oss_wsgi_tickets SET turn = 2 WHERE ticket = {self.literal(key.ticket)} AND part = "
        return [f"{update}{part}" for part in (slot, self.part_of_object(key))]

    def lock_object(self, key: Key) -> str:
        """Lock the row of an object, and leave in it whether the object has a slot."""
        ticket, part = self.literal(key.ticket), self.part_of_object(key)
        forget_after = f"{self.clock} + {key.seconds + _TICKET_MARGIN}"
        return (
            "INSERT INTO oss_wsgi_tickets (ticket, part, turn, expires, forget_after) "
            f"VALUES ({ticket}, {part}, 0, {key.expires}, {forget_after}) ON DUPLICATE KEY UPDATE "
            f"expires = greatest(expires, {key.expires}), forget_after = greatest(forget_after, {forget_after})"
        )

    def object_has_slot(self, key: Key) -> str:
        """Select the row of an object if it has a slot, as it is now, whatever the isolation level."""
        where = f"ticket = {self.literal(key.ticket)} AND part = {self.part_of_object(key)}"
        return f"SELECT 1 FROM oss_wsgi_tickets WHERE {where} AND turn = 2 FOR UPDATE"

    def select_next_slot(self, key: Key) -> str:
        """Select the first slot that has no row."""
        of_ticket = f"ticket = {self.literal(key.ticket)} AND part >= 0"
        return f"SELECT coalesce(max(part) + 1, 0) FROM oss_wsgi_tickets WHERE {of_ticket}"

    def add_slots(self, key: Key, first: int) -> str:
        """Make as many slots again as there are, 16 at the least, up to the ticket's number.

        The numbers come from the program. A statement that looks at rows that exist waits for the handlers that have
        them locked.
        """
        ticket = self.literal(key.ticket)
        last = min(first + min(max(first, _FIRST_SLOTS), _MOST_SLOTS), key.max_objects)
        forget_after = f"{self.clock} + {key.seconds + _TICKET_MARGIN}"
        values = ", ".join(f"({ticket}, {part}, 0, {key.expires}, {forget_after})" for part in range(first, last))
        return f"INSERT IGNORE INTO oss_wsgi_tickets (ticket, part, turn, expires, forget_after) VALUES {values}"

    def estimate(self) -> str:
        """Select InnoDB's number of rows."""
        return (
            "SELECT table_rows FROM information_schema.tables WHERE table_schema = database() "
            "AND table_name = 'oss_wsgi_answers'"
        )


class SQLite(Dialect):
    """SQLite, which has one writer: its transactions wait for each other as a whole."""

    name = "sqlite"
    begin = ("BEGIN IMMEDIATE",)
    clock = "CAST((julianday('now') - 2440587.5) * 86400 AS INTEGER)"
    has_row_locks = False

    def schema(self, *, partitioned: bool = False) -> list[str]:
        """Return the statements that make the tables; the transaction lets one process at a time run them."""
        if partitioned:
            raise ValueError("only PostgreSQL's tables can be partitioned")
        return [
            "CREATE TABLE IF NOT EXISTS oss_wsgi_schema (id INTEGER PRIMARY KEY, version INTEGER NOT NULL)",
            "CREATE TABLE IF NOT EXISTS oss_wsgi_answers (upload BLOB NOT NULL, ticket BLOB NOT NULL, "
            "object BLOB NOT NULL, etag BLOB NOT NULL, slot INTEGER, expires INTEGER NOT NULL, "
            "forget_after INTEGER NOT NULL, status BLOB NOT NULL, content_type BLOB NOT NULL, body BLOB NOT NULL, "
            "PRIMARY KEY (upload, ticket), UNIQUE (ticket, slot))",
            "CREATE INDEX IF NOT EXISTS oss_wsgi_answers_forget_after ON oss_wsgi_answers (forget_after)",
            f"INSERT OR IGNORE INTO oss_wsgi_schema VALUES (1, {VERSION})",
        ]

    def wait_at_most(self, seconds: float) -> list[str]:
        """Return nothing: the connection has its own limit."""
        return []

    def lock_ticket(self, key: Key, part: int = 0) -> str:
        """Become the writer."""
        return "DELETE FROM oss_wsgi_answers WHERE upload = X''"

    def lock_slot(self, key: Key, first: int) -> str:
        """Select the next slot: nobody else can take it now."""
        return f"SELECT {first} WHERE {first} < {key.max_objects}"

    def lock_gap(self, key: Key) -> str:
        """Select a slot whose answer has expired."""
        return (
            f"WITH RECURSIVE numbers (slot) AS (SELECT 0 UNION ALL SELECT slot + 1 FROM numbers "
            f"WHERE slot < {key.max_objects - 1}) SELECT slot FROM numbers WHERE slot NOT IN (SELECT slot FROM "
            f"oss_wsgi_answers WHERE ticket = {self.literal(key.ticket)} AND slot IS NOT NULL) LIMIT 1"
        )


def dialect_of(name: str) -> Dialect:
    """Return the dialect that SQLAlchemy or Django call so; ValueError if there is none."""
    dialects: dict[str, type[Dialect]] = {
        "postgresql": PostgreSQL,
        "mysql": MySQL,
        "mariadb": MySQL,
        "sqlite": SQLite,
    }
    if name not in dialects:
        raise ValueError(f"A ledger needs PostgreSQL, MySQL, MariaDB or SQLite, not {name}")
    return dialects[name]()
