import json

import pytest

from oss_wsgi.local.callbacks.variables import NAMES, check_template, substitute_form, substitute_json
from oss_wsgi.local.errors import OSSError

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


@pytest.mark.parametrize("name", [*NAMES, "x:uid", "x:order_id", "x:my_var1"])
def test_every_variable_of_oss_is_known(name):
    check_template(f"a=${{{name}}}")


@pytest.mark.parametrize(
    "template",
    [
        "${filename}",
        "${Object}",
        "${}",
        "${x:}",
        "${x:Uid}",
        "${ size }",
        "a=${size",
        "${${size}}",
        "${imageinfo.width}",
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
