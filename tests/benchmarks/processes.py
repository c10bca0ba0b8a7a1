"""Measures processes: processor time, memory and descriptors (Linux)."""

from __future__ import annotations

import os
import re
import resource
from pathlib import Path


def raise_descriptor_limit() -> int:
    """Raise this process's limit of descriptors, which children inherit, as far as possible, and return it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def family(pid: int) -> list[int]:
    """Return a process and its descendants."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(descendant for child in children for descendant in family(int(child)))]


def cpu_seconds(*pids: int) -> float:
    """Return the processor time, user's and system's, that processes and their descendants have taken."""
    ticks = 0
    for member in (member for pid in pids for member in family(pid)):
        fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def peak_mebibytes(*pids: int) -> float:
    return sum(_mebibytes(member, "VmHWM") for pid in pids for member in family(pid))


def resident_mebibytes(pid: int) -> float:
    return sum(_mebibytes(member, "VmRSS") for member in family(pid))


def descriptor_count(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def _mebibytes(pid: int, name: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"{name}:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]
