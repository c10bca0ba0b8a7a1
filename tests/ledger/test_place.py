"""Where a ledger is: the same for all that share it, another for all others, and nothing secret."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from oss_wsgi.ledger.memory import MemoryLedger
from oss_wsgi.ledger.place import place_of_file, place_of_server
from oss_wsgi.ledger.sqlite import SQLiteLedger

from ..support.absent import linux_only
from .contract import LedgerClock


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("postgresql", "db.example", 5432, "shop"), ("postgres", "DB.Example.", None, "shop")),
        (("mysql", "db.example", None, "shop"), ("mariadb", "db.example", "3306", "shop")),
        (("redis", "db.example", None, "0 oss-wsgi"), ("valkeys", "db.example", 6379, "0 oss-wsgi")),
        (("postgresql", "localhost", None, "shop"), ("postgresql", "127.0.0.1", 5432, "shop")),
        (("redis", "db.example", None, "0 oss-wsgi"), ("rediss", "db.example", None, "0 oss-wsgi")),
        (("redis", "db.example", None, "0 oss-wsgi"), ("valkey", "db.example", None, "0 oss-wsgi")),
        (("postgresql", None, None, "shop"), ("postgresql", "/run/postgresql", None, "shop")),
        (("postgresql", "", None, "shop"), ("postgresql", "::1", None, "shop")),
    ],
)
def test_two_spellings_of_a_server_are_one_place(one: tuple[object, ...], other: tuple[object, ...]) -> None:
    assert place_of_server(*one) == place_of_server(*other)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "other",
    [
        ("mysql", "db.example", 5432, "shop"),
        ("postgresql", "db2.example", None, "shop"),
        ("postgresql", "db.example", 5433, "shop"),
        ("postgresql", "db.example", None, "shop\udc80"),
        ("postgresql", "localhost", None, "shop"),
    ],
)
def test_another_server_port_or_database_is_another_place(other: tuple[str, str, object, str]) -> None:
    place = place_of_server("postgresql", "db.example", None, "shop")
    assert not place.is_of_one_machine
    assert len(place.fingerprint) == 8
    assert place.fingerprint != place_of_server(*other).fingerprint


def test_a_server_on_this_machine_belongs_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    here = place_of_server("redis", "localhost", None, "0")
    assert here.is_of_one_machine
    monkeypatch.setattr("platform.node", lambda: "another-container")
    assert place_of_server("redis", "localhost", None, "0").fingerprint != here.fingerprint


@linux_only("what tells a machine from its containers")
def test_a_file_is_one_place_for_all_containers_that_mount_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = SQLiteLedger(tmp_path / "ledger.sqlite3", clock=LedgerClock())
    os.link(ledger.path, tmp_path / "mounted")
    place = ledger.place
    monkeypatch.setattr("platform.node", lambda: "another-container")
    assert place == place_of_file(tmp_path / "mounted")
    assert place is not None
    assert place.is_of_one_machine
    ledger.close()
    assert place_of_file(tmp_path / "none") is None
    other = SQLiteLedger(tmp_path / "other.sqlite3", clock=LedgerClock())
    assert other.place != ledger.place
    other.close()


def test_another_kernel_is_another_machine_and_without_its_number_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    places = set()
    for kernel in ("one", "two"):
        monkeypatch.setattr(Path, "read_text", lambda path, encoding, kernel=kernel: kernel)
        places.add(place_of_file(__file__))
    monkeypatch.setattr(Path, "read_text", lambda path, encoding: os.stat("/missing"))
    for name in ("a", "b"):
        monkeypatch.setattr("platform.node", lambda name=name: name)
        places.add(place_of_file(__file__))
    assert len(places) == 4


def test_each_ledger_in_memory_is_a_place_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, other = MemoryLedger(clock=LedgerClock()), MemoryLedger(clock=LedgerClock())
    place = ledger.place
    assert place.is_of_one_machine
    assert place == ledger.place != other.place
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert ledger.place != place, "a child has its own memory"
