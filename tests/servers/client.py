"""Callbacks sent over a socket, byte for byte as OSS sends them."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from pathlib import Path
from typing import Any

from oss_wsgi.testing import CallbackSigner

TARGET = "/a%20b/%E4%B8%AD+c/callback?tenant=7&next=%2Fhome%20page"
BODY = b"filename=user%2F%E4%B8%AD.txt&size=6&bucket=examplebucket"
CAPTURES = json.loads((Path(__file__).parents[1] / "vectors" / "callbacks.json").read_text("utf-8"))["captures"]
OSS_KEY_URL = "aHR0cDovL2dvc3NwdWJsaWMuYWxpY2RuLmNvbS9jYWxsYmFja19wdWJfa2V5X3YxLnBlbQ=="


def send(port: int, target: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
    """Send a POST request and return the status and the body of the response, parsed if it is JSON."""
    all_headers = {"Host": f"127.0.0.1:{port}", **headers, "Content-Length": str(len(body)), "Connection": "close"}
    head = f"POST {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in all_headers.items())
    with socket.create_connection(("127.0.0.1", port), timeout=180) as connection:
        # A server may answer and reset the connection before it has read the body: its response counts all the same.
        with contextlib.suppress(ConnectionError):
            connection.sendall(head.encode("latin-1") + b"\r\n" + body)
        with contextlib.closing(http.client.HTTPResponse(connection, method="POST")) as response:
            response.begin()
            status, data = response.status, response.read()
    try:
        return status, json.loads(data)
    except ValueError:
        return status, data


def signed(
    signer: CallbackSigner, port: int, target: str = TARGET, signed_target: str | None = None
) -> tuple[int, Any]:
    """Send a callback that is signed with the test's own key, and return status and body of the response."""
    return send(port, target, BODY, signer.headers(signed_target or target, BODY))


def capture(port: int, number: int) -> tuple[int, Any]:
    """Replay a production capture on its own path, and return status and body of the response."""
    recorded = CAPTURES[number]
    headers = {
        "Authorization": recorded["authorization"],
        "x-oss-pub-key-url": OSS_KEY_URL,
        "Content-Type": "application/json" if recorded["body"].startswith("{") else "application/x-www-form-urlencoded",
    }
    return send(port, recorded["target"], recorded["body"].encode(), headers)
