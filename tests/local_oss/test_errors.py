from xml.etree import ElementTree

from local_oss.errors import OSSError


def members(error):
    response = error.response("674EF4EC0000000000000002", "examplebucket.oss-cn-hangzhou.aliyuncs.com")
    return response, [(element.tag, element.text) for element in ElementTree.fromstring(response.body)]


def test_the_xml_has_the_members_of_oss_in_order():
    error = OSSError(403, "AccessDenied", "Invalid according to Policy: Policy expired.", "0006-00000213", Extra="1")
    response, elements = members(error)
    assert response.status == 403
    assert response.headers == [("Content-Type", "application/xml"), ("x-oss-ec", "0006-00000213")]
    assert elements == [
        ("Code", "AccessDenied"),
        ("Message", "Invalid according to Policy: Policy expired."),
        ("RequestId", "674EF4EC0000000000000002"),
        ("HostId", "examplebucket.oss-cn-hangzhou.aliyuncs.com"),
        ("Extra", "1"),
        ("EC", "0006-00000213"),
        ("RecommendDoc", "https://api.aliyun.com/troubleshoot?q=0006-00000213"),
    ]


def test_further_members_are_in_the_order_of_the_alphabet():
    """As in all recordings that have more than one."""
    _, elements = members(OSSError(403, "SignatureDoesNotMatch", "", "1", StringToSign="s", CanonicalRequest="c"))
    assert [name for name, _ in elements[4:]] == ["CanonicalRequest", "StringToSign", "EC", "RecommendDoc"]


def test_an_error_without_an_ec_has_no_ec_members():
    response, elements = members(OSSError(400, "InvalidDigest", "The Content-MD5 you specified was invalid."))
    assert [name for name, _ in elements] == ["Code", "Message", "RequestId", "HostId"]
    assert response.headers == [("Content-Type", "application/xml")]


def test_any_text_becomes_well_formed_xml():
    _, elements = members(OSSError(400, "Code", "<&>\x00\x1b\ud800\uffff中😀", Extra="]]>"))
    assert elements[1] == ("Message", "<&>\ufffd\ufffd\ufffd\ufffd中😀")
    assert elements[4] == ("Extra", "]]>")
