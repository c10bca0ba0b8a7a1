"""Sends a callback as OSS does, byte for byte, over a socket."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any

from oss_wsgi.testing import CallbackSigner

TARGET = "/a%20b/%E4%B8%AD+c/callback?tenant=7&next=%2Fhome%20page"
BODY = b"filename=user%2F%E4%B8%AD.txt&size=6&bucket=examplebucket"
CAPTURES = json.loads((Path(__file__).parents[1] / "vectors" / "callbacks.json").read_text("utf-8"))["captures"]
OSS_KEY_URL = "aHR0cDovL2dvc3NwdWJsaWMuYWxpY2RuLmNvbS9jYWxsYmFja19wdWJfa2V5X3YxLnBlbQ=="


def send(port: int, target: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
    """POST, and give the status and the answer, read as JSON where it is."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.putrequest("POST", target)
    for name, value in {**headers, "Content-Length": str(len(body)), "Connection": "close"}.items():
        connection.putheader(name, value)
    connection.endheaders(body)
    with connection.getresponse() as response:
        data = response.read()
        status = response.status
    connection.close()
    try:
        return status, json.loads(data)
    except ValueError:
        return status, data


def signed(
    signer: CallbackSigner, port: int, target: str = TARGET, signed_target: str | None = None
) -> tuple[int, Any]:
    """Send a callback that is signed with the test's own key."""
    return send(port, target, BODY, signer.headers(signed_target or target, BODY))


def capture(port: int, number: int) -> tuple[int, Any]:
    """Replay a production capture on its own path."""
    found = CAPTURES[number]
    headers = {
        "Authorization": found["authorization"],
        "x-oss-pub-key-url": OSS_KEY_URL,
        "Content-Type": "application/json" if found["body"].startswith("{") else "application/x-www-form-urlencoded",
    }
    return send(port, found["target"], found["body"].encode(), headers)
