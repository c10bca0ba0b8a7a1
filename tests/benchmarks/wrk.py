"""Load made by `wrk`: one request over and over, or prepared callbacks in turn."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

_SCRIPT = """
local requests, next = {}, 0
local file = io.open("%s", "rb")
while true do
    local length = file:read("*n")
    if not length then break end
    file:read(1)
    requests[#requests + 1] = file:read(length)
end
request = function() next = next %% #requests + 1; return requests[next] end
"""
_CLOSED = 'wrk.headers["Connection"] = "close"\n'


class Load(NamedTuple):
    """The figures of one run: the requests answered, their rate a second, times in milliseconds, and bad answers."""

    requests: int
    rate: float
    p50: float
    p99: float
    not_2xx: int
    lost: int


class Wrk:
    """Runs wrk; ``callbacks`` are requests as OSS sends them; with ``closed`` each request has its own connection."""

    def __init__(self, folder: Path, callbacks: Iterable[bytes], *, closed: bool) -> None:
        prepared, self._callback_script = folder / "callbacks", folder / "callback.lua"
        self._callback_script.write_text(_SCRIPT % prepared)
        with prepared.open("wb") as file:
            for request in callbacks:
                file.write(b"%d\n%s" % (len(request), request))
        self._other_script: Path | None = None
        if closed:
            self._other_script = folder / "closed.lua"
            self._other_script.write_text(_CLOSED)

    def run(self, url: str, *, callback: bool, connections: int, seconds: float) -> Load:
        script = self._callback_script if callback else self._other_script
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency"]
        command += [*(["-s", str(script)] if script is not None else []), url]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        p50, p99 = (_milliseconds(output, percent) for percent in (50, 99))
        errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", output)
        return Load(
            requests=int(_number(r"(\d+) requests in", output)),
            rate=_number(r"Requests/sec: +([\d.]+)", output),
            p50=p50,
            p99=p99,
            not_2xx=int(_number(r"Non-2xx or 3xx responses: (\d+)", output)),
            lost=sum(map(int, errors.groups())) if errors else 0,
        )


def _number(pattern: str, output: str) -> float:
    match = re.search(pattern, output)
    return float(match[1]) if match else 0.0


def _milliseconds(output: str, percent: int) -> float:
    match = re.search(rf" {percent}% +([\d.]+)(us|ms|s|m)\b", output)
    return float(match[1]) * {"us": 0.001, "ms": 1, "s": 1000, "m": 60_000}[match[2]] if match else 0.0
