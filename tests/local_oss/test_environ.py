import time

import pytest

from local_oss.environ import ARRIVED, SERVICE, Address, BucketResolver, arrival, is_bucket_name
from local_oss.errors import OSSError

from .form_client import NOW

BUCKETS = {"examplebucket", "second", "localhost", "127"}


def candidates(path, host="127.0.0.1:8081", method="GET", service_host="127.0.0.1", cnames=None, **more):
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "HTTP_HOST": host, "SERVER_NAME": "server", **more}
    return BucketResolver(environ, "examplebucket", BUCKETS, service_host, cnames or {}).candidates


def find(*arguments, **options):
    return candidates(*arguments, **options)[0]


@pytest.mark.parametrize(
    ("path", "host", "address"),
    [
        pytest.param("/examplebucket/a/b", "127.0.0.1:8081", ("examplebucket", "a/b"), id="path, IPv4"),
        pytest.param("/examplebucket/a/b", "[::1]:8081", ("examplebucket", "a/b"), id="path, IPv6"),
        pytest.param("/examplebucket/a", "localhost", ("examplebucket", "a"), id="path, bare name"),
        pytest.param("/examplebucket/a", "", ("examplebucket", "a"), id="path, no Host"),
        pytest.param("/examplebucket", "127.0.0.1", ("examplebucket", ""), id="path, bucket only"),
        pytest.param("/examplebucket//a", "127.0.0.1", ("examplebucket", "/a"), id="path, two slashes"),
        pytest.param("/second/a", "127.0.0.1", ("second", "a"), id="path, another bucket"),
        pytest.param("/", "127.0.0.1", (None, ""), id="path, the service"),
        pytest.param("", "127.0.0.1", (None, ""), id="path, nothing"),
        pytest.param("/a/b", "examplebucket.localhost:8081", ("examplebucket", "a/b"), id="host"),
        pytest.param("/a/b", "second.example", ("second", "a/b"), id="host, below any name"),
        pytest.param("/", "ExampleBucket.oss-cn-hangzhou.aliyuncs.com", ("examplebucket", ""), id="host, in any case"),
        pytest.param(
            "/examplebucket/a",
            "examplebucket.localhost",
            ("examplebucket", "examplebucket/a"),
            id="host, key as bucket",
        ),
        pytest.param("/a", "other.oss-cn-hangzhou.aliyuncs.com", ("other", "a"), id="host, unknown below an endpoint"),
        pytest.param("/a", "other.localhost:8081", ("other", "a"), id="host, unknown below localhost"),
        pytest.param("/", "oss-cn-hangzhou.aliyuncs.com", (None, ""), id="endpoint, the service"),
        pytest.param("/second/a", "oss-cn-hangzhou.aliyuncs.com", ("second", "a"), id="endpoint, path"),
        pytest.param("/", ".oss-cn-hangzhou.aliyuncs.com", (None, ""), id="endpoint as ali-oss names it"),
        pytest.param("/second/a", "localhost:8081", ("second", "a"), id="path, a bare name that a bucket has too"),
        pytest.param("/second/a", "127.0.0.1:8081", ("second", "a"), id="path, an IPv4 that begins like a bucket"),
        pytest.param("/other/a", "127.0.0.1", ("examplebucket", "other/a"), id="default, IPv4"),
        pytest.param("/other/a", "localhost", ("examplebucket", "other/a"), id="default, bare name"),
        pytest.param("/a", "img.example.com", ("examplebucket", "a"), id="default, an unknown name"),
        pytest.param("//a", "127.0.0.1", ("examplebucket", "/a"), id="default, two slashes"),
    ],
)
def test_the_bucket_is_that_of_host_path_or_default(path, host, address):
    assert find(path, host) == Address(*address)


@pytest.mark.parametrize("path", ["/", "/examplebucket", "/examplebucket/"])
def test_a_form_may_name_the_bucket_in_host_and_path(path):
    assert find(path, "examplebucket.localhost", "POST") == Address("examplebucket", "")


def test_a_form_goes_to_the_bucket_in_its_path_or_to_the_default():
    assert find("/", "localhost", "POST") == Address("examplebucket", "")
    assert find("/second/", "localhost", "POST") == Address("second", "")
    assert find("/other", "localhost", "POST") == Address("other", "")
    assert find("/", "other.localhost", "POST") == Address("other", "")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_preflight_has_the_bucket_of_the_request_after_it(method):
    for path in ("/", "/a", "/examplebucket", "/other"):
        preflight = find(path, method="OPTIONS", HTTP_ACCESS_CONTROL_REQUEST_METHOD=method)
        assert preflight == find(path, method=method)


def test_the_service_host_is_not_a_bucket():
    assert find("/second/a", "oss.example:8081", service_host="oss.example") == Address("second", "a")
    assert find("/a", "second.example", service_host="second.example") == Address("examplebucket", "a")
    assert find("/a", "other.oss.example", service_host="oss.example") == Address("other", "a")


def test_the_path_is_utf8():
    assert find("/examplebucket/中".encode().decode("latin-1")) == Address("examplebucket", "中")


@pytest.mark.parametrize("path", ["/examplebucket/\xff", "/examplebucket/\u4e2d"], ids=ascii)
def test_a_path_in_another_encoding_is_refused(path):
    with pytest.raises(OSSError, match="InvalidObjectName"):
        find(path)


@pytest.mark.parametrize("host", ["img.example.com", "IMG.example.com:8081", "localhost:8081", "[::1]:8081"])
def test_a_bound_host_means_its_bucket(host):
    cnames = {"img.example.com": "second", "localhost": "second", "::1": "second"}
    assert find("/other/a", host, cnames=cnames) == Address("second", "other/a")
    assert find("/second/a", host, cnames=cnames) == Address("second", "second/a")
    assert find("/second", host, "POST", cnames=cnames) == Address("second", "")


@pytest.mark.parametrize(
    ("path", "host", "others"),
    [
        ("/second/a", "127.0.0.1", [("examplebucket", "second/a")]),
        ("/new/a", "127.0.0.1", [("new", "a")]),
        ("/new", "oss.example", [("new", ""), ("oss", "new")]),
        ("/a/b", "new.oss.example", [("a", "b"), ("new", "a/b")]),
        ("/second/a", "second.localhost", [("examplebucket", "second/a"), ("second", "a")]),
        ("/", "127.0.0.1", [("examplebucket", "")]),
        ("/", "oss.example", [("examplebucket", ""), ("oss", "")]),
        ("/", "second.example", [("examplebucket", ""), (None, "")]),
        ("//a", "127.0.0.1", []),
    ],
)
def test_a_request_has_further_candidates(path, host, others):
    assert candidates(path, host)[1:] == [Address(*other) for other in others]


def test_candidates_are_unique():
    for host in ("127.0.0.1", "examplebucket.localhost", "img.example.com"):
        for path in ("/", "/examplebucket", "/examplebucket/a", "/a"):
            for method in ("GET", "POST", "PUT"):
                addresses = candidates(path, host, method)
                assert len(addresses) == len(set(addresses))
                assert (SERVICE in addresses) == (path == "/")


def test_the_arrival_is_what_the_server_noted(monkeypatch):
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    assert arrival({ARRIVED: 100.0}, NOW) == NOW - 900


def test_without_a_note_the_arrival_is_now():
    assert arrival({}, NOW) == NOW


@pytest.mark.parametrize("name", ["abc", "a-1", "123", "a" * 63])
def test_a_bucket_name_is_recognised(name):
    assert is_bucket_name(name)


@pytest.mark.parametrize("name", ["", "ab", "a" * 64, "Abc", "a_b", "-ab", "ab-", "a.b", "abc\n", "桶桶桶"])
def test_an_invalid_bucket_name_is_recognised(name):
    assert not is_bucket_name(name)


@pytest.mark.parametrize(
    ("sent", "path", "key"),
    [
        ("/a+b", "/a+b", "a b"),
        ("/a%2Bb", "/a+b", "a+b"),
        ("/a+b%2Bc%20d?e+f", "/a+b+c d", "a b+c d"),
        ("/mount/a+b", "/a+b", "a b"),
        ("/%E4%B8%AD+", "/中+".encode().decode("latin-1"), "中 "),
        ("", "/a+b", "a+b"),
        ("/rewritten+elsewhere", "/a+b", "a+b"),
    ],
)
def test_a_plus_in_a_url_is_a_blank(sent, path, key):
    """codesky.me/archives/oss-design-problem.wind: GET /c+d of the key `c+d` is 404; the Ruby SDK signs it so."""
    mount = "/mount" if sent.startswith("/mount") else ""
    assert find(path, REQUEST_URI=sent, SCRIPT_NAME=mount) == Address("examplebucket", key)
