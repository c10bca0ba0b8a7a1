"""The ECS metadata service and STS on loopback, as far as the credentials library uses them."""

from __future__ import annotations

import base64
import contextlib
import datetime
import hashlib
import hmac
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

SECRETS = {"source-id": "the-source-secret", "STS.ecs": "the-ecs-secret"}
METADATA_TOKEN = "the-metadata-token"


class Cloud(ThreadingHTTPServer):
    """Serves both: with ``tls`` STS, without it an HTTP proxy in front of the metadata service's fixed address.

    :ivar requests: the queries of STS and the paths of the metadata service, in order.
    :ivar failing: status and body to respond with instead.
    :ivar lifetime: of the credentials, in seconds.
    """

    daemon_threads = True

    def __init__(self, tls: Path | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[Any] = []
        self.failing: tuple[int, str] | None = None
        self.lifetime = 3600
        self.address = f"127.0.0.1:{self.server_address[1]}"
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            self.socket = context.wrap_socket(self.socket, server_side=True)

    def credentials(self, key_id: str) -> dict[str, str]:
        until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=self.lifetime)
        return {
            "AccessKeyId": key_id,
            "AccessKeySecret": SECRETS.get(key_id, "the-session-secret"),
            "SecurityToken": f"token-{len(self.requests)}",
            "Expiration": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }


@contextlib.contextmanager
def running(tls: Path | None = None) -> Iterator[Cloud]:
    with Cloud(tls) as cloud:
        thread = threading.Thread(target=cloud.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield cloud
        cloud.shutdown()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Cloud

    def do_PUT(self) -> None:
        url = urlsplit(self.path)
        self.server.requests.append(("PUT", url.netloc, url.path))
        self._answer(200 if url.path == "/latest/api/token" else 404, METADATA_TOKEN)

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path.startswith("/latest/meta-data/"):
            status, answer = self._metadata(url.netloc, url.path)
        else:
            query = dict(parse_qsl(url.query))
            self.server.requests.append(query)
            status, answer = self._sts(query)
        self._answer(*(self.server.failing or (status, answer)))

    def _metadata(self, host: str, path: str) -> tuple[int, str]:
        self.server.requests.append(("GET", host, path))
        if self.headers.get("X-aliyun-ecs-metadata-token") != METADATA_TOKEN:
            return 403, ""
        rest = path.removeprefix("/latest/meta-data/ram/security-credentials/")
        if not rest:
            return 200, "the-role"
        return 200, json.dumps({"Code": "Success", **self.server.credentials("STS.ecs")})

    def _sts(self, query: dict[str, str]) -> tuple[int, str]:
        if query["Action"] == "AssumeRoleWithOIDC":
            known = query["OIDCToken"] == "the-oidc-token"
        else:
            signature = query.pop("Signature")
            text = "&".join(f"{_encoded(name)}={_encoded(value)}" for name, value in sorted(query.items()))
            secret = f"{SECRETS[query['AccessKeyId']]}&".encode()
            expected = hmac.new(secret, f"GET&%2F&{_encoded(text)}".encode(), hashlib.sha1).digest()
            known = signature == base64.b64encode(expected).decode()
        if not known:
            return 400, json.dumps({"Code": "SignatureDoesNotMatch", "Message": str(query)})
        return 200, json.dumps({"RequestId": "R", "Credentials": self.server.credentials("STS.session")})

    def _answer(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


def _encoded(text: str) -> str:
    """Percent-encode all but the unreserved characters, as the RPC signature requires."""
    return quote(text, safe="~")
