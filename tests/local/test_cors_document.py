import pytest

from oss_wsgi.local import CORSRule
from oss_wsgi.local.cors import read_rules, rule_nodes
from oss_wsgi.local.errors import OSSError
from oss_wsgi.local.xml_document import write_xml

ORIGIN = "<AllowedOrigin>https://a.example</AllowedOrigin>"
METHOD = "<AllowedMethod>PUT</AllowedMethod>"


def rules(*texts, after=""):
    inner = "".join(f"<CORSRule>{text}</CORSRule>" for text in texts)
    return f"<CORSConfiguration>{inner}{after}</CORSConfiguration>".encode()


def refusal(body, **options):
    with pytest.raises(OSSError) as raised:
        read_rules(body, **options)
    return raised.value.status, raised.value.code, raised.value.ec


def test_a_rule_has_what_was_written_and_no_more():
    text = ORIGIN + "<AllowedOrigin>*</AllowedOrigin>" + METHOD + "<AllowedMethod>GET</AllowedMethod>"
    text += "<AllowedHeader>x-oss-*</AllowedHeader><ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds> 0 </MaxAgeSeconds>"
    found, vary = read_rules(rules(text, ORIGIN + METHOD))
    assert found == [
        CORSRule(("https://a.example", "*"), ("PUT", "GET"), ("x-oss-*",), ("ETag",), 0),
        CORSRule(("https://a.example",), ("PUT",), (), (), None),
    ]
    assert vary is False


@pytest.mark.parametrize("vary", [True, False])
def test_what_is_written_is_read_again(vary):
    written = [CORSRule(("https://a.example", "http://*.b.example"), ("PUT",)), CORSRule(("*",), ("POST",), (), ())]
    assert read_rules(write_xml("CORSConfiguration", rule_nodes(written, vary))) == (written, vary)


@pytest.mark.parametrize(
    "origin", ["*", "https://*.example.com", "http://localhost:*", "http://a*b", "capacitor://localhost", "http://[::1]:1"]
)
def test_an_origin_may_hold_a_star(origin):
    assert read_rules(rules(f"<AllowedOrigin>{origin}</AllowedOrigin>{METHOD}"))[0][0].allowed_origins == (origin,)


@pytest.mark.parametrize(
    "origin", ["", "https://*", "https://", "http://*.*", "**", "a.example", "https://a.example/", "http://a b", "//a"]
)
def test_another_origin_is_refused(origin):
    body = rules(f"<AllowedOrigin>{origin}</AllowedOrigin>{METHOD}")
    assert refusal(body) == (400, "InvalidArgument", "0034-00000009")


@pytest.mark.parametrize(
    ("text", "ec"),
    [
        ("<AllowedMethod>OPTIONS</AllowedMethod>", ""),
        ("<AllowedMethod>put</AllowedMethod>", ""),
        ("<AllowedMethod/>", ""),
        ("<AllowedHeader>x-*-*</AllowedHeader>", ""),
        ("<AllowedHeader></AllowedHeader>", ""),
        ("<AllowedHeader>a\n b</AllowedHeader>", ""),
        ("<ExposeHeader>*</ExposeHeader>", "0034-00000013"),
        ("<ExposeHeader>x-oss-*</ExposeHeader>", "0034-00000013"),
        ("<ExposeHeader>a: b</ExposeHeader>", "0034-00000013"),
        ("<MaxAgeSeconds>-1</MaxAgeSeconds>", ""),
        ("<MaxAgeSeconds>1e3</MaxAgeSeconds>", ""),
        ("<MaxAgeSeconds>9999999999</MaxAgeSeconds>", ""),
    ],
)
def test_another_value_is_refused(text, ec):
    assert refusal(rules(ORIGIN + METHOD + text)) == (400, "InvalidArgument", ec)


@pytest.mark.parametrize(
    "body",
    [
        rules(),
        rules(METHOD),
        rules(ORIGIN),
        rules(ORIGIN + METHOD + "<Other/>"),
        rules(ORIGIN + METHOD + "<MaxAgeSeconds>1</MaxAgeSeconds>" * 2),
        rules(ORIGIN + METHOD, after="<Other/>"),
        rules(ORIGIN + METHOD, after="<ResponseVary>yes</ResponseVary>"),
        rules(ORIGIN + METHOD, after="<ResponseVary>true</ResponseVary>" * 2),
        b"<CORSRule/>",
        b"",
    ],
    ids=range(10),
)
def test_another_document_is_malformed(body):
    assert refusal(body) == (400, "MalformedXML", "")


def test_there_are_at_most_ten_rules_or_as_many_as_were_set():
    assert len(read_rules(rules(*[ORIGIN + METHOD] * 10))[0]) == 10
    assert refusal(rules(*[ORIGIN + METHOD] * 11)) == (400, "CORSRuleBeyondLimit", "0034-00000006")
    assert len(read_rules(rules(*[ORIGIN + METHOD] * 20), 20)[0]) == 20
