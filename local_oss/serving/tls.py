"""HTTPS with a certificate of this machine's own, for 127.0.0.1, ::1 and localhost.

waitress knows only plain sockets, so a connection's socket is replaced by one that looks like it.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import ssl
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from oss_wsgi.private_file import open_own, write_private

#: The certificate with its key, which only the server reads, and the certificate alone, which clients are to trust.
KEY_FILE = ".tls.pem"
CERTIFICATE_FILE = "certificate.pem"

#: The longest lifetime that Apple's systems accept.
_LIFETIME = timedelta(days=825)
_RENEWED_AHEAD = timedelta(days=30)
_RECORD_SIZE = 16 * 1024


def server_context(directory: Path) -> ssl.SSLContext:
    """Return a server's context with the folder's certificate; make a new one unless that lasts another month.

    :raises OSError: the files cannot be read or written, or (UnsafeFileError) another user owns the one with the key or
        may write to it.
    :raises ValueError: the file holds no certificate with its key.
    """
    path = directory / KEY_FILE
    now = datetime.now(timezone.utc)
    if not os.path.lexists(path):
        write_private(path, _new_certificate(now), replace=False)
    elif _certificate(path).not_valid_after_utc < now + _RENEWED_AHEAD:
        write_private(path, _new_certificate(now), replace=True)
    public = _certificate(path).public_bytes(Encoding.PEM).decode()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(path)
    except ssl.SSLError:
        raise _unusable(path) from None
    write_private(directory / CERTIFICATE_FILE, public, replace=True)
    return context


class TLSSocket:
    """The server's side of a TLS connection, without blocking, as waitress uses a socket.

    waitress's threads read and write at the same time, which OpenSSL does not allow, so a lock admits one at a time.
    """

    def __init__(self, connection: socket.socket, context: ssl.SSLContext) -> None:
        self._socket: socket.socket = connection
        self._context: ssl.SSLContext | None = context
        self._lock = threading.Lock()
        self._received = bytearray()
        self._ended = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def fill(self, size: int) -> bool:
        """Read what has arrived, about `size` bytes at most; return whether recv() has something to return."""
        with self._lock:
            try:
                if self._context:  # not earlier: wrapping fails if the client is gone
                    context, self._context = self._context, None
                    self._socket = context.wrap_socket(self._socket, server_side=True, do_handshake_on_connect=False)
                while len(self._received) < size and not self._ended:
                    data = self._socket.recv(_RECORD_SIZE)  # shakes hands first
                    self._received += data
                    self._ended = not data
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
                pass  # a handshake's answer always fits into the socket's empty buffer
            except OSError:  # such as a client that does not trust the certificate, or speaks HTTP
                self._ended = True
        return bool(self._received) or self._ended

    def recv(self, size: int) -> bytes:
        """Return all that fill() has read, perhaps more than `size`: no poll would report a rest."""
        with self._lock:
            data, self._received = bytes(self._received), bytearray()
            return data

    def send(self, data: bytes) -> int:
        with self._lock:
            try:
                return self._socket.send(data)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
                raise BlockingIOError(errno.EWOULDBLOCK, "the socket's buffer is full") from error

    def shutdown(self, how: int) -> None:
        with self._lock:
            self._say_goodbye()
            self._socket.shutdown(how)

    def close(self) -> None:
        with self._lock:
            self._say_goodbye()
            self._socket.close()

    def _say_goodbye(self) -> None:
        """Tell the client that nothing was cut off, unless the connection is gone."""
        if isinstance(self._socket, ssl.SSLSocket):
            with contextlib.suppress(OSError, ValueError):
                self._socket.unwrap()


def _certificate(path: Path) -> x509.Certificate:
    try:
        with open(path, "rb", opener=open_own) as file:
            return x509.load_pem_x509_certificate(file.read())
    except ValueError:
        raise _unusable(path) from None


def _unusable(path: Path) -> ValueError:
    return ValueError(f"{str(path)!r} holds no certificate with its key: remove it, and a new one is made")


def _new_certificate(now: datetime) -> str:
    """Return a self-signed certificate and its key as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"local OSS {now:%Y-%m-%d}")])
    hosts = [
        x509.DNSName("localhost"),
        *(x509.IPAddress(ipaddress.ip_address(address)) for address in ("127.0.0.1", "::1")),
    ]
    number, start = x509.random_serial_number(), now - timedelta(hours=1)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), number, start, start + _LIFETIME)
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return (signed.public_bytes(Encoding.PEM) + private).decode()
