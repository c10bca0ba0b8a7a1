import socket

import pytest

from oss_wsgi.local.callbacks.parameters import check_address, parse_callback_url, resolve
from oss_wsgi.local.errors import OSSError


@pytest.mark.parametrize(
    ("text", "scheme", "host", "port", "netloc", "target"),
    [
        ("http://a.example/b?c=d", "http", "a.example", 80, "a.example", "/b?c=d"),
        ("https://a.example", "https", "a.example", 443, "a.example", "/"),
        ("HTTP://a.example:8080/", "http", "a.example", 8080, "a.example:8080", "/"),
        ("121.101.166.30/test.php", "http", "121.101.166.30", 80, "121.101.166.30", "/test.php"),
        ("localhost:1/x", "http", "localhost", 1, "localhost:1", "/x"),
        ("http://a?b=/c?d", "http", "a", 80, "a", "/?b=/c?d"),
        ("http://a/b?", "http", "a", 80, "a", "/b"),
        ("http://a/b//c/%2F;p/", "http", "a", 80, "a", "/b//c/%2F;p/"),
    ],
)
def test_the_parts_of_a_url_stay_as_they_are_written(text, scheme, host, port, netloc, target):
    url = parse_callback_url(text)
    assert (url.scheme, url.host, url.port, url.netloc, url.target) == (scheme, host, port, netloc, target)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ftp://a/",
        "http://",
        "http:///x",
        "http://a:0/",
        "http://a:65536/",
        "http://a:/",
        "http://a:x/",
        "http://[::1]/",
        "http://user@a/",
        "http://a/#f",
        "http://a/中",
        "http://a/b c",
        "http://a/\r\nX: y",
        "http://中.example/",
    ],
)
def test_what_oss_cannot_call_is_refused(text):
    with pytest.raises(OSSError) as caught:
        parse_callback_url(text)
    assert (caught.value.status, caught.value.code, caught.value.ec) == (400, "InvalidArgument", "0007-00000004")


@pytest.mark.parametrize(
    ("target", "body", "expected"),
    [
        pytest.param(
            "/oss/call%20back/%E4%B8%AD+x?tenant=7&next=%2Fhome+page",
            b"{}",
            "/oss/call back/中+x?tenant=7&next=%2Fhome+page\n{}".encode(),
            id="path decoded, plus kept, query raw",
        ),
        pytest.param("/a/", b"", b"/a/\n", id="trailing slash, no query"),
        pytest.param("/a?", b"x", b"/a\nx", id="bare question mark"),
        pytest.param("", b"x", b"/\nx", id="no path"),
    ],
)
def test_the_string_to_sign_is_the_decoded_path_the_raw_query_and_the_body(target, body, expected):
    assert parse_callback_url(f"http://a{target}").string_to_sign(body) == expected


def lookup(*addresses):
    return lambda host: list(addresses)


def missing(host):
    raise socket.gaierror("no such host")


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.169.254", "100.100.100.200"])
def test_a_private_address_is_refused_unless_allowed(address):
    url = parse_callback_url("http://a.example/")
    check_address(url, allow_private=True, resolve=lookup(address))
    with pytest.raises(OSSError) as caught:
        check_address(url, allow_private=False, resolve=lookup("8.8.8.8", address))
    assert (caught.value.ec, caught.value.message) == ("0007-00000008", "Private address is forbidden to callback.")


def test_a_public_address_is_called():
    check_address(parse_callback_url("http://a.example/"), allow_private=False, resolve=lookup("8.8.8.8"))


def test_a_host_without_address_is_refused():
    with pytest.raises(OSSError) as caught:
        check_address(parse_callback_url("http://a.example/"), allow_private=True, resolve=missing)
    assert (caught.value.ec, caught.value.message) == ("0007-00000007", "Can not get ip by this host.")


@pytest.mark.parametrize(("host", "private"), [("127.0.0.1", True), ("localhost", True), ("a.example", False)])
def test_without_a_lookup_only_the_name_decides(host, private):
    url = parse_callback_url(f"http://{host}/")
    check_address(url, allow_private=True, resolve=None)
    if private:
        with pytest.raises(OSSError, match="Private address"):
            check_address(url, allow_private=False, resolve=None)
    else:
        check_address(url, allow_private=False, resolve=None)


def test_an_address_needs_no_lookup():
    assert resolve("127.0.0.1") == ["127.0.0.1"]
