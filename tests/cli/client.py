"""What a browser asks before it posts a form from a page."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

from .deployment import Deployment


def preflight(deployment: Deployment, origin: str) -> int:
    """Give the status of OSS's answer."""
    parts = urlsplit(deployment.oss.host)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    connection.request("OPTIONS", parts.path, headers=headers)
    status = connection.getresponse().status
    connection.close()
    return status
