"""An application that answers which process it is."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any


class Who:
    """Application: returns the process ID."""

    def __init__(self) -> None:
        self._body = str(os.getpid()).encode()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", str(len(self._body)))])
        return [self._body]

    def is_nonblocking(self, method: str, path: str, headers: Mapping[str, str]) -> bool:
        return True


application = Who()
