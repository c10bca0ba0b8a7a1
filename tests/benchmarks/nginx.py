"""nginx in front of a server: plain, or with TLS and a full handshake for each connection."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import create_connection

from cryptography.hazmat.primitives.asymmetric import rsa

from ..support.certificate import certificate

KINDS = ("http", "RSA-2048", "ECDSA P-256")

# No session is resumed: OSS may call from any of its machines. Paths are all below the folder.
_CONFIGURATION = """
worker_processes 1;
daemon off;
pid nginx.pid;
error_log error.log warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    keepalive_requests 1000000;
    ssl_session_cache off;
    ssl_session_tickets off;
    upstream server {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 1000000; }}
    server {{
        listen 127.0.0.1:{port}{tls} backlog=1024;
        {directives}
        location / {{
            proxy_pass http://server;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
        }}
    }}
}}
"""


@contextmanager
def nginx_before(upstream: int, port: int, kind: str, folder: Path) -> Iterator[int]:
    """Run nginx at ``port`` in front of ``upstream``, with TLS unless ``kind`` is http, and yield its process ID.

    nginx keeps its connections to the server open; what a client asks it to close, it closes.
    """
    tls, directives = "", ""
    if kind != "http":
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048) if kind == "RSA-2048" else None
        file = certificate(folder, key)
        tls, directives = " ssl", f"ssl_certificate {file}; ssl_certificate_key {file}; ssl_protocols TLSv1.2 TLSv1.3;"
    configuration = folder / "nginx.conf"
    configuration.write_text(_CONFIGURATION.format(upstream=upstream, port=port, tls=tls, directives=directives))
    # As root its workers would be another user's, who cannot write into the folder.
    command = ["nginx", "-p", str(folder), "-c", str(configuration), "-e", str(folder / "error.log")]
    process = subprocess.Popen([*command, "-g", "master_process off;"], stderr=subprocess.DEVNULL)
    try:
        for _ in range(300):
            if process.poll() is not None:
                raise RuntimeError(f"nginx ended: {(folder / 'error.log').read_text()}")
            with suppress(OSError), create_connection(("127.0.0.1", port), 5):
                break
            time.sleep(0.1)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
