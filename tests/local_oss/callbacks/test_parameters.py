import base64
import json
import socket

import pytest

from local_oss.callbacks.parameters import (
    FORM,
    JSON,
    NAMES,
    check_address,
    check_template,
    parse_callback,
    parse_callback_url,
    resolve_host,
    substitute_form,
    substitute_json,
)
from local_oss.errors import OSSError

GOOD = {"callbackUrl": "http://a.example/cb", "callbackBody": "object=${object}"}


def encode(members):
    text = members if isinstance(members, bytes) else json.dumps(members).encode()
    return base64.b64encode(text).decode()


def test_host_and_body_type_have_defaults():
    callback = parse_callback(encode(GOOD))
    assert [url.netloc for url in callback.urls] == ["a.example"]
    assert (callback.host, callback.body, callback.body_type) == ("", "object=${object}", FORM)
    assert callback.sni is False


def test_every_member_is_read():
    members = {
        "callbackUrl": "http://a/1;https://b:8443/2",
        "callbackHost": "c.example:90",
        "callbackBody": "{}",
        "callbackBodyType": JSON,
        "callbackSNI": True,
        "callbackStage": "x",
    }
    callback = parse_callback(encode(members))
    assert [url.netloc + url.target for url in callback.urls] == ["a/1", "b:8443/2"]
    assert (callback.host, callback.body, callback.body_type) == ("c.example:90", "{}", JSON)
    assert callback.sni is True


def test_a_semicolon_may_end_the_list_of_urls():
    for urls in ("http://a/;http://b/;", "http://a/;http://b/; ;"):
        callback = parse_callback(encode({**GOOD, "callbackUrl": urls}))
        assert [url.netloc for url in callback.urls] == ["a", "b"]
    assert len(parse_callback(encode({**GOOD, "callbackUrl": "http://a/;" * 5})).urls) == 5


@pytest.mark.parametrize("text", ["", encode({"callbackBody": "a=b"}), encode({**GOOD, "callbackUrl": ""})])
def test_without_a_url_there_is_no_callback(text):
    assert parse_callback(text) is None


def test_5_urls_and_5_kilobytes_are_allowed():
    members = {**GOOD, "callbackUrl": ";".join(["http://a/"] * 5)}
    members["callbackBody"] = "x" * (3840 - len(json.dumps(members)) + len(members["callbackBody"]))
    text = encode(members)
    assert len(text) == 5120
    assert len(parse_callback(text).urls) == 5


def test_the_error_shows_the_decoded_text():
    with pytest.raises(OSSError) as caught:
        parse_callback(encode(b"<not json>"))
    assert caught.value.members == {"ArgumentName": "callback", "ArgumentValue": "<not json>"}


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
def test_the_parts_of_a_url_are_not_changed(text, scheme, host, port, netloc, target):
    url = parse_callback_url(text)
    assert (url.scheme, url.host, url.port, url.netloc, url.target) == (scheme, host, port, netloc, target)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ftp://a/",
        "http://",
        "http://a:0/",
        "http://a:65536/",
        "http://a:/",
        "http://[::1]/",
        "http://user@a/",
        "http://a/#f",
        "http://a/中",
        "http://a/\r\nX: y",
        "http://中.example/",
    ],
)
def test_a_url_that_oss_cannot_call_is_refused(text):
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
def test_the_string_to_sign_has_the_decoded_path_and_raw_query(target, body, expected):
    assert parse_callback_url(f"http://a{target}").string_to_sign(body) == expected


def lookup(*addresses):
    return lambda host: list(addresses)


def missing(host):
    raise socket.gaierror("no such host")


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "100.100.100.200"])
def test_a_private_address_is_refused_unless_allowed(address):
    url = parse_callback_url("http://a.example/")
    check_address(url, allow_private=True, resolve=lookup(address))
    with pytest.raises(OSSError) as caught:
        check_address(url, allow_private=False, resolve=lookup("8.8.8.8", address))
    assert (caught.value.ec, caught.value.message) == ("0007-00000008", "Private address is forbidden to callback.")


def test_a_public_address_is_accepted():
    check_address(parse_callback_url("http://a.example/"), allow_private=False, resolve=lookup("8.8.8.8"))


def test_a_host_without_address_is_refused():
    with pytest.raises(OSSError) as caught:
        check_address(parse_callback_url("http://a.example/"), allow_private=True, resolve=missing)
    assert (caught.value.ec, caught.value.message) == ("0007-00000007", "Can not get ip by this host.")


def test_without_a_lookup_the_host_name_decides():
    check_address(parse_callback_url("http://a.example/"), allow_private=False, resolve=None)
    for host in ("127.0.0.1", "localhost"):
        url = parse_callback_url(f"http://{host}/")
        check_address(url, allow_private=True, resolve=None)
        with pytest.raises(OSSError, match="Private address"):
            check_address(url, allow_private=False, resolve=None)


def test_an_address_needs_no_lookup():
    assert resolve_host("127.0.0.1") == ["127.0.0.1"]


VALUES = {
    "bucket": "examplebucket",
    "object": 'user/eric/中 +~"\\\n.txt',
    "etag": "B22E0DC370A7F7067FACF5F75D7FA385",
    "size": 6,
    "mimeType": "image/jpeg",
    "crc64": 18446744073709551615,
    "imageInfo.width": 810,
    "imageInfo.height": 539,
    "x:uid": "1:2",
}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        # As in capture iii of protocol.md 8.5.
        pytest.param("mimeType=${mimeType}&width=${imageInfo.width}", "mimeType=image%2Fjpeg&width=810", id="capture"),
        pytest.param(
            "object=${object}", "object=user%2Feric%2F%E4%B8%AD%20%2B~%22%5C%0A.txt", id="everything else is encoded"
        ),
        pytest.param("uid=${x:uid}&x:v=${x:none}", "uid=1%3A2&x:v=", id="custom, one absent"),
        pytest.param("h=${imageInfo.format}&v=${vpcId}&i=${imageInfo}", "h=&v=&i=", id="absent is empty"),
        pytest.param("crc=${crc64}", "crc=18446744073709551615", id="all digits"),
        pytest.param("a b=%24%7Bsize%7D&$(size)&$size", "a b=%24%7Bsize%7D&$(size)&$size", id="the rest as it is"),
        pytest.param('{"object":"${bucket}"}', '{"object":"examplebucket"}', id="JSON means nothing here"),
    ],
)
def test_form_values_are_percent_encoded(template, expected):
    assert substitute_form(template, VALUES) == expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        pytest.param('{"bucket":${bucket},"size":${size}}', '{"bucket":"examplebucket","size":6}', id="own quotes"),
        pytest.param('{"crc64":${crc64}}', '{"crc64":18446744073709551615}', id="all digits"),
        pytest.param('{"v":${vpcId},"i":${imageInfo},"x":${x:none}}', '{"v":null,"i":null,"x":null}', id="absent"),
        # As in capture i of protocol.md 8.5.
        pytest.param(
            '{"pic_info":"${imageInfo.width},${imageInfo.height}"}', '{"pic_info":"810,539"}', id="in a literal"
        ),
        pytest.param('{"o":"${bucket}"}', '{"o":"examplebucket"}', id="string in a literal"),
        pytest.param('{"a\\"${size}":${size}}', '{"a\\"6":6}', id="escaped quote in a literal"),
        pytest.param('{"h":"${vpcId}"}', '{"h":""}', id="absent in a literal"),
        pytest.param('{"m":${mimeType}}', '{"m":"image/jpeg"}', id="plain slash"),
    ],
)
def test_json_values_bring_their_own_quotes(template, expected):
    assert substitute_json(template, VALUES) == expected


def test_a_json_body_stays_json_for_any_text():
    body = substitute_json('{"bare":${object},"literal":"<${object}>"}', VALUES)
    assert json.loads(body) == {"bare": VALUES["object"], "literal": f"<{VALUES['object']}>"}
    assert "中" in body


def test_every_variable_of_oss_is_known():
    for name in (*NAMES, "x:uid", "x:order_id", "x:my_var1"):
        check_template(f"a=${{{name}}}")


@pytest.mark.parametrize(
    "template",
    [
        "${filename}",
        "${Object}",
        "${}",
        "${x:Uid}",
        "a=${size",
        "${${size}}",
    ],
)
def test_an_unknown_variable_is_refused(template):
    with pytest.raises(OSSError) as caught:
        check_template(template)
    assert (caught.value.status, caught.value.code, caught.value.ec) == (400, "InvalidArgument", "0007-00000010")


def test_a_template_with_a_surrogate_is_refused():
    with pytest.raises(OSSError, match="callback body is invalid"):
        check_template("\ud800")


def test_space_as_plus_writes_a_plus():
    values = {"object": "a b+c/d"}
    assert substitute_form("o=${object} x", values, space_as_plus=True) == "o=a+b%2Bc%2Fd x"
    assert substitute_form("o=${object} x", values) == "o=a%20b%2Bc%2Fd x"
