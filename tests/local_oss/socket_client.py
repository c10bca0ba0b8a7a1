"""Send requests to a LocalOSSServer over a socket, whole or byte by byte."""

import http.client
import socket
import time
from contextlib import closing
from urllib.parse import quote

from local_oss.environ import Address
from local_oss.signatures.account import Account

from .form_client import sign_v4, v4_fields
from .sdk_signer import sign

#: Seconds for anything that a loaded machine may delay.
TIMEOUT = 60


def ask(server, method, path, body=None, headers=None):
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT)) as connection:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response, response.read()


def put(oss, server, key, content):
    return ask(server, "PUT", f"/examplebucket/{quote(key)}", content, put_headers(oss, key))


def put_headers(oss, key, content_type="", method="PUT"):
    address = Address("examplebucket", key)
    kind = {"content-type": content_type} if content_type else {}
    account = Account(oss.access_key_id, oss.access_key_secret)
    signed = sign("v1", method, address=address, query="", headers=kind, account=account, now=time.time())
    return {**kind, **{name: signed[f"HTTP_{name}"] for name in ("DATE", "AUTHORIZATION")}}


def signed_fields(oss, key="a.bin"):
    """Return the fields of a form that may be posted for a minute."""
    now = time.time()
    return {"key": key, **sign_v4(oss, fields=v4_fields(oss, now=now), expiration=now + 60)}


def connect(server):
    return socket.create_connection(("127.0.0.1", server.port), TIMEOUT)


def head(method, path, headers):
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def read_to_end(connection):
    with connection.makefile("rb") as file:
        return file.read()
