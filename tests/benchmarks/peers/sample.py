"""The least that a sample in Python does: it signs a V4 form for a new name, and verifies a callback with a cached key.

python sample.py webob PORT         WebOb on waitress, as it comes
python sample.py http.server PORT   the standard library alone
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import waitress
import webob
import webob.dec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import MD5
from cryptography.hazmat.primitives.serialization import load_pem_public_key

KEY: Any = load_pem_public_key(
    b"""-----BEGIN PUBLIC KEY-----
MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAK6OjU5GSzz6/IoO/aqrVYyKD2ZmtD2R
ud9KNyN/3hRDVeYfhxwhVGyOVI3fmacey/pvOcs4LXGOdKzht4rT2jMCAwEAAQ==
-----END PUBLIC KEY-----
"""
)
BODY = "filename=${object}&size=${size}&mimeType=${mimeType}&height=${imageInfo.height}&width=${imageInfo.width}"


def encoded(value: Any) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


def signature() -> dict[str, Any]:
    now = time.time()
    date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    day = date[:8]
    key = f"user-dir-prefix/{day}/{secrets.token_hex(16)}.png"
    credential = f"id/{day}/cn-hangzhou/oss/aliyun_v4_request"
    callback = encoded(
        {
            "callbackUrl": "https://app.example.com/oss/callback",
            "callbackBody": BODY,
            "callbackBodyType": "application/x-www-form-urlencoded",
        }
    )
    conditions = [
        {"bucket": "examplebucket"},
        ["eq", "$key", key],
        {"callback": callback},
        {"x-oss-signature-version": "OSS4-HMAC-SHA256"},
        {"x-oss-credential": credential},
        {"x-oss-date": date},
        ["content-length-range", 0, 1048576000],
    ]
    expiration = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(now + 300))
    policy = encoded({"expiration": expiration, "conditions": conditions})
    secret = b"aliyun_v4secret"
    for step in (day, "cn-hangzhou", "oss", "aliyun_v4_request"):
        secret = hmac.new(secret, step.encode(), hashlib.sha256).digest()
    return {
        "host": "https://examplebucket.oss-cn-hangzhou.aliyuncs.com",
        "dir": "user-dir-prefix/",
        "key": key,
        "policy": policy,
        "x_oss_signature_version": "OSS4-HMAC-SHA256",
        "x_oss_credential": credential,
        "x_oss_date": date,
        "signature": hmac.new(secret, policy.encode(), hashlib.sha256).hexdigest(),
        "callback": callback,
        "security_token": "",
        "expire": int(now) + 300,
    }


def callback(target: str, body: bytes, authorization: str) -> tuple[int, dict[str, Any]]:
    path, mark, query = target.partition("?")
    try:
        text = (unquote(path) + mark + query).encode() + b"\n" + body
        KEY.verify(base64.b64decode(authorization), text, PKCS1v15(), MD5())
    except InvalidSignature:
        return 403, {"Status": "no"}
    return 200, {"Status": "Ok"}


@webob.dec.wsgify
def application(request: webob.Request) -> webob.Response:
    if request.method != "POST":
        return webob.Response(json_body=signature())
    status, answer = callback(request.path_qs, request.body, request.headers.get("Authorization", ""))
    return webob.Response(json_body=answer, status=status)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_GET(self) -> None:
        self.answer(200, signature())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(*callback(self.path, body, self.headers.get("Authorization", "")))

    def answer(self, status: int, value: dict[str, Any]) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        pass


if __name__ == "__main__":
    kind, port = sys.argv[1], int(sys.argv[2])
    if kind == "webob":
        waitress.serve(application, host="127.0.0.1", port=port, _quiet=True)
    else:
        ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
