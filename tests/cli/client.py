"""Sends the preflight request that a browser sends before a form."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

from ..support.deployment import Deployment


def preflight(deployment: Deployment, origin: str, method: str = "POST") -> int:
    parts = urlsplit(deployment.oss.host)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    headers = {"Origin": origin, "Access-Control-Request-Method": method}
    connection.request("OPTIONS", parts.path, headers=headers)
    status = connection.getresponse().status
    connection.close()
    return status
