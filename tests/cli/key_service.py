"""A service that hands out a temporary key, as the official credentials library asks for one."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from ..support.server_threads import serving_application


def key_service(**members: str) -> AbstractContextManager[str]:
    """Serve a JSON object with these members, and yield its URL."""
    body = json.dumps({"Code": "Success", **members}).encode()

    def application(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    return serving_application(application)
