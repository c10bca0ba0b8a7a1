import base64
import contextlib
import datetime
import os
import socket
import ssl
import stat
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography import x509

from local_oss.serving.tls import CERTIFICATE_FILE, KEY_FILE, server_context
from oss_wsgi.private_file import UnsafeFileError

from ...support.foreign_files import AS_ROOT, KINDS, NOBODY, plant, victim_of
from ...support.server_threads import serving_oss
from ..form_client import BOUNDARY, callback_field, form, policy, sign_v1
from ..socket_client import TIMEOUT, put_headers, read_to_end

pytestmark = pytest.mark.slow


@pytest.fixture
def oss(make_oss):
    return make_oss(clock=time.time)


@pytest.fixture
def server(oss):
    with serving_oss(oss, tls=True) as server:
        yield server


def client_context(server):
    return ssl.create_default_context(cafile=server.certificate)


def fetch(server, url, *, context=None, **options):
    request = urllib.request.Request(url, **options)
    with urllib.request.urlopen(request, context=context or client_context(server), timeout=TIMEOUT) as response:
        return response.read()


def test_an_object_goes_in_and_out_over_https(oss, server):
    assert server.url == oss.url == f"https://127.0.0.1:{server.port}"
    content = bytes(range(256)) * 16_384  # much more than a record and than the buffers of a socket
    headers = put_headers(oss, "big", "text/plain")
    fetch(server, f"{oss.host}/big", method="PUT", data=content, headers=headers)
    assert fetch(server, oss.signed_url("big")) == content
    assert fetch(server, oss.signed_url("big").replace("127.0.0.1", "localhost")) == content


def test_many_connections_at_once_read_and_write(oss, server):
    context = client_context(server)

    def round_trip(number):
        content = bytes([number]) * (300_000 + number)
        headers = put_headers(oss, f"many/{number}", "text/plain")
        fetch(server, f"{oss.host}/many/{number}", context=context, method="PUT", data=content, headers=headers)
        return fetch(server, oss.signed_url(f"many/{number}"), context=context) == content

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(round_trip, range(32)))


def test_a_slow_reader_gets_all_and_holds_up_nobody(oss, server):
    content = bytes(20_000_000)
    fetch(server, f"{oss.host}/big", method="PUT", data=content, headers=put_headers(oss, "big", "text/plain"))
    path = oss.signed_url("big").removeprefix(oss.url)
    with connect(server) as slow:
        slow.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        assert fetch(server, oss.public_key_url) == oss.public_key_pem.encode()
        head, _, body = read_to_end(slow).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert body == content


def connect(server, context=None):
    plain = socket.create_connection(("127.0.0.1", server.port), TIMEOUT)
    return (context or client_context(server)).wrap_socket(plain, server_hostname="127.0.0.1")


def test_a_byte_at_a_time(server):
    with connect(server) as client:
        for byte in b"GET /callback_pub_key.pem HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n":
            client.sendall(bytes([byte]))
        assert b"-----BEGIN PUBLIC KEY-----" in read_to_end(client)  # which fails unless the server says goodbye


def test_a_refused_body_is_answered_and_the_answer_read(oss, server):
    with connect(server) as client:
        client.sendall(b"PUT /examplebucket/a HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999999\r\n\r\n")
        for _ in range(64):
            client.sendall(bytes(1024**2))  # by the thread that reads: OpenSSL allows no second one on a connection
        assert client.recv(12) == b"HTTP/1.1 403"


def test_a_dropped_connection_ends_without_a_response(oss, server):
    oss.fail_next("dropped_connection")
    with pytest.raises(OSError):
        fetch(server, f"{oss.host}/a", method="PUT", data=b"hi", headers=put_headers(oss, "a", "text/plain"))
    assert oss.storage.bucket("examplebucket").get("a") is None


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b""])
def test_what_is_no_tls_ends_only_its_own_connection(server, sent):
    with socket.create_connection(("127.0.0.1", server.port), TIMEOUT) as client:
        client.sendall(sent)
        if not sent:
            client.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            assert b"HTTP" not in read_to_end(client)
    assert fetch(server, f"{server.url}/callback_pub_key.pem")


def test_a_client_that_does_not_trust_the_certificate_refuses_it(server):
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(server, ssl.create_default_context())
    with pytest.raises(ssl.SSLCertVerificationError, match=r"doesn't match|mismatch"):
        client_context(server).wrap_socket(
            socket.create_connection(("127.0.0.1", server.port), TIMEOUT), server_hostname="oss.example"
        )
    assert fetch(server, f"{server.url}/callback_pub_key.pem")


def test_a_callback_names_the_key_by_https(oss, server, recorder):
    document = {**policy(expiration=time.time() + 60), "conditions": [{"bucket": oss.bucket}]}
    body = form({"key": "a", "callback": callback_field(), **sign_v1(oss, document)})
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    assert fetch(server, oss.host, data=body, headers=headers) == recorder.body
    assert oss.public_key_url == f"{server.url}/callback_pub_key.pem"
    assert base64.b64decode(recorder.environ["HTTP_X_OSS_PUB_KEY_URL"]).decode() == oss.public_key_url


def test_the_certificate_is_kept_and_its_key_private(tmp_path):
    server_context(tmp_path)
    kept, public = (tmp_path / KEY_FILE).read_text(), (tmp_path / CERTIFICATE_FILE).read_text()
    server_context(tmp_path)
    assert (tmp_path / KEY_FILE).read_text() == kept
    assert (tmp_path / CERTIFICATE_FILE).read_text() == public
    assert kept.startswith(public)
    assert "PRIVATE" not in public
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600


def test_a_certificate_that_ends_within_a_month_is_replaced(tmp_path, monkeypatch):
    server_context(tmp_path)
    old = (tmp_path / CERTIFICATE_FILE).read_bytes()
    end = x509.load_pem_x509_certificate(old).not_valid_after_utc

    class Later(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return end - datetime.timedelta(days=29)

    monkeypatch.setattr("local_oss.serving.tls.datetime", Later)
    server_context(tmp_path)
    new = (tmp_path / CERTIFICATE_FILE).read_bytes()
    assert x509.load_pem_x509_certificate(new).not_valid_after_utc > end + datetime.timedelta(days=700)


@AS_ROOT
def test_a_certificate_of_another_user_is_refused(tmp_path):
    server_context(tmp_path)
    os.chown(tmp_path / KEY_FILE, NOBODY, NOBODY)
    with pytest.raises(UnsafeFileError, match="belongs to user 65534"):
        server_context(tmp_path)


def test_a_certificate_that_others_may_write_is_refused(tmp_path):
    server_context(tmp_path)
    (tmp_path / KEY_FILE).chmod(0o660)
    with pytest.raises(UnsafeFileError, match="can be changed by other users"):
        server_context(tmp_path)


@pytest.mark.parametrize("kind", ["dangling link", "hard link"])
def test_what_is_no_regular_file_with_one_name_is_no_certificate(tmp_path, kind):
    victim = victim_of(tmp_path)
    before = victim.state()
    plant(kind, tmp_path / KEY_FILE, victim)
    with pytest.raises(UnsafeFileError, match=KINDS[kind]):
        server_context(tmp_path)
    assert victim.state() == before


def test_the_public_certificate_replaces_a_link_and_not_what_it_leads_to(tmp_path):
    victim = victim_of(tmp_path)
    before = victim.state()
    plant("link", tmp_path / CERTIFICATE_FILE, victim)
    server_context(tmp_path)
    assert not (tmp_path / CERTIFICATE_FILE).is_symlink()
    assert victim.state() == before


@pytest.mark.parametrize("kind", ["no certificate", "no key", "another's key"])
def test_a_file_without_a_certificate_and_its_key_is_refused_and_kept(tmp_path, kind):
    files = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        server_context(tmp_path / name)
        files.append((tmp_path / name / KEY_FILE).read_text().partition("-----BEGIN PRIVATE"))
    certificate = files[0][0]
    text = {
        "no certificate": "something of the user's",
        "no key": certificate,
        "another's key": certificate + "".join(files[1][1:]),
    }[kind]
    (tmp_path / KEY_FILE).write_text(text)
    with pytest.raises(ValueError, match=r"holds no certificate with its key: remove it"):
        server_context(tmp_path)
    assert (tmp_path / KEY_FILE).read_text() == text
    assert not (tmp_path / CERTIFICATE_FILE).exists()
