import pytest

from local_oss.errors import OSSError
from local_oss.xml_document import iso_time, read_xml, write_xml, xml_response

BOMB = '<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]>'
FILE = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]>'


@pytest.mark.parametrize("start", ["", "\ufeff", '<?xml version="1.0" encoding="UTF-8"?>\n'], ids=ascii)
def test_a_document_is_read(start):
    element = read_xml(f"{start}<a><b>中 &lt;&#65;</b><b/></a>".encode(), "a")
    assert [child.text for child in element.findall("b")] == ["中 <A", None]


def test_namespaces_are_removed():
    element = read_xml(b'<a xmlns="http://doc.oss-cn-hangzhou.aliyuncs.com"><b>1</b></a>', "a")
    assert element.findtext("b") == "1"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<a>",
        b"<b/>",
        b"<a/><a/>",
        b"text",
        b"<a>\xff</a>",
        b"<a>&b;</a>",
        b"<a>\x00</a>",
        f"{BOMB}<a>&c;</a>".encode(),
        f"{BOMB}<a/>".encode(),
        f"{FILE}<a>&b;</a>".encode(),
        f'<?xml version="1.0"?>\n{BOMB}<a>&c;</a>'.encode(),
        f'<?xml version="1.0" encoding="utf-16"?>{BOMB}<a>&c;</a>'.encode("utf-16"),
        f'<?xml version="1.0" encoding="utf-7"?>{BOMB.replace("<", "+ADw-")}<a>&c;</a>'.encode(),
    ],
    ids=range(14),
)
def test_malformed_xml_and_declarations_are_refused(body):
    with pytest.raises(OSSError) as caught:
        read_xml(body, "a")
    assert (caught.value.status, caught.value.code) == (400, "MalformedXML")


def test_a_document_is_written_and_escaped():
    nodes = [("b", "<&>\x00中"), ("c", [("d", ""), ("d", "1")])]
    body = write_xml("a", nodes)
    lines = ["<a>", "  <b>&lt;&amp;&gt;&#x0;中</b>", "  <c>", "    <d></d>", "    <d>1</d>", "  </c>", "</a>", ""]
    assert body.decode().split("\n") == ['<?xml version="1.0" encoding="UTF-8"?>', *lines]
    response = xml_response("a", nodes, [("X", "y")])
    assert (response.status, response.body) == (200, body)
    assert response.headers == [("X", "y"), ("Content-Type", "application/xml")]


def test_a_time_is_written_in_utc():
    assert iso_time(1733227932.9) == "2024-12-03T12:12:12.000Z"


@pytest.mark.parametrize("character", ["\x00", "\x01", "\x0c", "\x1f", "\ufffe", "\uffff"], ids=ascii)
def test_a_character_that_xml_forbids_is_read_where_it_is_expected(character):
    code = ord(character)
    for text in (character, f"&#x{code:02x};", f"&#{code};"):
        body = f"<a><b>x{text}\U000f0000&lt;</b></a>".encode()
        assert read_xml(body, "a", any_character=True).findtext("b") == f"x{character}\U000f0000<"
        with pytest.raises(OSSError, match="MalformedXML"):
            read_xml(body, "a")
