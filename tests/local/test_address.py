import pytest

from oss_wsgi.local.address import Address, locate, named_twice
from oss_wsgi.local.errors import OSSError


def find(path, host="127.0.0.1:8081", method="GET", service_host="127.0.0.1", cnames=None):
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "HTTP_HOST": host, "SERVER_NAME": "server"}
    return locate(environ, {"examplebucket", "localhost", "127"}.__contains__, service_host, cnames or {})


@pytest.mark.parametrize(
    ("path", "host", "address"),
    [
        pytest.param("/examplebucket/a/b", "127.0.0.1:8081", ("examplebucket", "a/b"), id="path, IPv4"),
        pytest.param("/examplebucket/a/b", "[::1]:8081", ("examplebucket", "a/b"), id="path, IPv6"),
        pytest.param("/examplebucket/a", "localhost", ("examplebucket", "a"), id="path, bare name"),
        pytest.param("/examplebucket/a", "", ("examplebucket", "a"), id="path, no Host"),
        pytest.param("/examplebucket/a", "oss.example", ("examplebucket", "a"), id="path, any host with our bucket"),
        pytest.param("/examplebucket", "127.0.0.1", ("examplebucket", ""), id="path, bucket only"),
        pytest.param("/examplebucket/", "127.0.0.1", ("examplebucket", ""), id="path, bucket and slash"),
        pytest.param("/examplebucket//a", "127.0.0.1", ("examplebucket", "/a"), id="path, two slashes"),
        pytest.param("/other/a", "127.0.0.1", ("other", "a"), id="path, another bucket"),
        pytest.param("/", "127.0.0.1", (None, ""), id="path, the service"),
        pytest.param("", "127.0.0.1", (None, ""), id="path, nothing"),
        pytest.param("/a/b", "examplebucket.localhost:8081", ("examplebucket", "a/b"), id="host"),
        pytest.param("/", "ExampleBucket.oss-cn-hangzhou.aliyuncs.com", ("examplebucket", ""), id="host, in any case"),
        pytest.param(
            "/examplebucket/a",
            "examplebucket.localhost",
            ("examplebucket", "examplebucket/a"),
            id="host, key as bucket",
        ),
        pytest.param("/a", "other.oss-cn-hangzhou.aliyuncs.com", ("other", "a"), id="host, another bucket"),
        pytest.param("/", "oss-cn-hangzhou.aliyuncs.com", (None, ""), id="endpoint, the service"),
        pytest.param("/other/a", "oss-cn-hangzhou.aliyuncs.com", ("other", "a"), id="endpoint, path"),
        pytest.param("/", ".oss-cn-hangzhou.aliyuncs.com", (None, ""), id="endpoint as ali-oss names it"),
        pytest.param("/other/a", "localhost:8081", ("other", "a"), id="path, a bare name that a bucket has too"),
        pytest.param("/other/a", "127.0.0.1:8081", ("other", "a"), id="path, an IPv4 that begins like a bucket"),
    ],
)
def test_the_bucket_comes_from_the_host_or_the_path(path, host, address):
    assert find(path, host) == Address(*address)


@pytest.mark.parametrize("path", ["/", "/examplebucket", "/examplebucket/"])
def test_a_form_may_name_the_bucket_in_the_path_as_well(path):
    assert find(path, "examplebucket.localhost", "POST") == Address("examplebucket", "")


def test_the_name_in_our_own_url_is_no_bucket():
    assert find("/other/a", "oss.example:8081", service_host="oss.example") == Address("other", "a")
    assert find("/a", "examplebucket.example", service_host="examplebucket.example") == Address("a", "")


def test_the_path_is_utf8():
    assert find("/examplebucket/中".encode().decode("latin-1")) == Address("examplebucket", "中")


@pytest.mark.parametrize("path", ["/examplebucket/\xff", "/examplebucket/\u4e2d"], ids=ascii)
def test_another_encoding_is_refused(path):
    with pytest.raises(OSSError, match="InvalidObjectName"):
        find(path)


@pytest.mark.parametrize("host", ["img.example.com", "IMG.example.com:8081", "localhost:8081", "[::1]:8081"])
def test_a_host_that_is_bound_to_a_bucket_means_it(host):
    cnames = {"img.example.com": "examplebucket", "localhost": "examplebucket", "::1": "examplebucket"}
    assert find("/other/a", host, cnames=cnames) == Address("examplebucket", "other/a")
    assert find("/examplebucket/a", host, cnames=cnames) == Address("examplebucket", "examplebucket/a")
    assert find("/examplebucket", host, "POST", cnames=cnames) == Address("examplebucket", "")


@pytest.mark.parametrize(
    ("key", "other"),
    [("b/a/c", "a/c"), ("b/", ""), ("b", ""), ("b//a", "/a"), ("bb/a", None), ("a/b", None), ("", None)],
)
def test_a_bucket_may_be_named_twice(key, other):
    assert named_twice(Address("b", key)) == (None if other is None else Address("b", other))
    assert named_twice(Address(None, key)) is None
