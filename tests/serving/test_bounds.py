"""What this machine allows: connections by descriptors and memory, files by what is free, and more descriptors."""

from __future__ import annotations

import io
import os
import resource
import shutil
from math import inf
from types import SimpleNamespace
from typing import Any

import pytest

from oss_wsgi.serving import bounds
from oss_wsgi.serving.bounds import (
    MAX_DESCRIPTORS,
    MEMORY_BODY_BYTES,
    allowed_connection_limit,
    default_connection_limit,
    default_file_bytes,
    most_connections,
    raise_descriptor_limit,
)

MEBIBYTE = 1 << 20


def limit_descriptors(monkeypatch: pytest.MonkeyPatch, soft: float, hard: float = inf) -> list[tuple[float, float]]:
    """Set what the system says of descriptors, and return a list that gets what it is asked for."""
    asked: list[tuple[float, float]] = []
    told = tuple(resource.RLIM_INFINITY if each == inf else int(each) for each in (soft, hard))
    monkeypatch.setattr(resource, "getrlimit", lambda which: told)
    monkeypatch.setattr(resource, "setrlimit", lambda which, limits: asked.append(limits))
    return asked


@pytest.mark.parametrize(
    ("mebibytes", "container", "by_memory"),
    [(64, "max\n", 512), (64, str(32 * MEBIBYTE), 256), (64, str(128 * MEBIBYTE), 512), (1 << 20, "max", 1000)],
)
def test_connections_take_a_quarter_of_the_memory_and_the_descriptors(
    monkeypatch: pytest.MonkeyPatch, mebibytes: int, container: str, by_memory: int
) -> None:
    limit_descriptors(monkeypatch, 1064)
    pages = {"SC_PHYS_PAGES": mebibytes * 256, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    monkeypatch.setattr(bounds, "open", lambda *arguments, **options: io.StringIO(container), raising=False)
    assert default_connection_limit() == by_memory
    assert default_connection_limit(2) == min(by_memory, 500)


def test_as_many_connections_as_were_asked_for_unless_descriptors_lack(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    limit_descriptors(monkeypatch, 1064)
    assert (allowed_connection_limit(1000), allowed_connection_limit(500, 2)) == (1000, 500)
    assert not caplog.records
    assert (allowed_connection_limit(1001), allowed_connection_limit(501, 2)) == (1000, 500)
    assert len(caplog.records) == 2
    limit_descriptors(monkeypatch, inf)
    assert (most_connections(), allowed_connection_limit(10**9)) == (inf, 10**9)


@pytest.mark.parametrize(
    ("soft", "hard", "asked"),
    [
        (1024, 4096, [(4096, 4096)]),
        (4096, 4096, []),
        (1024, inf, [(MAX_DESCRIPTORS, resource.RLIM_INFINITY)]),
        (MAX_DESCRIPTORS + 1, inf, []),
        (inf, inf, []),
    ],
)
def test_descriptors_are_raised_as_far_as_the_system_allows(
    monkeypatch: pytest.MonkeyPatch, soft: float, hard: float, asked: list[Any]
) -> None:
    limits = limit_descriptors(monkeypatch, soft, hard)
    raise_descriptor_limit()
    assert limits == asked


def test_files_take_half_of_what_is_free_shared_by_processes_and_one_body_at_least(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=64 * MEBIBYTE))
    assert [default_file_bytes(), default_file_bytes(4)] == [32 * MEBIBYTE, 8 * MEBIBYTE]
    assert default_file_bytes(64) == MEMORY_BODY_BYTES


def test_files_take_one_body_where_no_folder_of_temporary_files_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: str) -> None:
        raise FileNotFoundError(folder)

    monkeypatch.setattr(shutil, "disk_usage", fail)
    assert default_file_bytes() == MEMORY_BODY_BYTES
