import pytest
from webtest import TestApp

from local_oss import CORSRule
from local_oss.cors import NOT_ALLOWED, read_rules, rule_nodes
from local_oss.errors import OSSError
from local_oss.xml_document import write_xml

from .form_client import form, policy, post, sign_v1
from .signed_client import code_and_ec as code

PAGE = "http://page.example"


def cors(response):
    return {name: value for name, value in response.headers.items() if name.lower().startswith("access-control")}


def preflight(app, origin=PAGE, method="POST", headers=None, path="/examplebucket"):
    values = {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
    return app.options(path, headers={name: value for name, value in values.items() if value}, status="*")


@pytest.mark.parametrize("path", ["/examplebucket", "/films/a.mp4"])
def test_a_preflight_is_answered_anywhere(app, path):
    response = preflight(app, path=path)
    assert (response.status_int, response.content_length) == (200, 0)
    assert cors(response) == {
        "Access-Control-Allow-Origin": PAGE,
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Allow-Methods": "GET, HEAD, POST",
        "Access-Control-Expose-Headers": "ETag, x-oss-request-id",
        "Access-Control-Max-Age": "600",
    }
    assert "Vary" not in response.headers


def test_the_requested_headers_are_echoed(app):
    response = preflight(app, headers="X-Requested-With, cache-control")
    assert response.headers["Access-Control-Allow-Headers"] == "X-Requested-With, cache-control"


@pytest.mark.parametrize(
    ("origin", "method", "headers"),
    [
        pytest.param("http://other.example", "POST", "", id="origin"),
        pytest.param(PAGE, "PUT", "", id="method"),
        pytest.param(PAGE, "post", "", id="method in lower case"),
        pytest.param(PAGE, "POST", "x-a, x-b", id="one header of two"),
    ],
)
def test_a_preflight_that_no_rule_allows_is_refused(make_oss, origin, method, headers):
    app = TestApp(make_oss(cors_rules=[CORSRule([PAGE], allowed_headers=["x-a"])]))
    response = preflight(app, origin, method, headers)
    assert code(response) == (403, "AccessForbidden", "0003-00000602")
    assert response.xml.findtext("Message") == NOT_ALLOWED
    assert cors(response) == {}
    assert "Vary" not in response.headers


def test_without_rules_every_preflight_is_refused(make_oss):
    response = preflight(TestApp(make_oss(cors_rules=[])))
    assert code(response) == (403, "AccessForbidden", "0003-00000601")
    assert "Vary" not in response.headers


@pytest.mark.parametrize(
    ("pattern", "origin", "allowed"),
    [
        ("http://page.example", "http://page.example", True),
        ("http://page.example", "HTTP://Page.Example", True),
        ("HTTP://Page.Example", "http://page.example", True),
        ("http://page.example", "http://page.example:8080", False),
        ("http://page.example", "https://page.example", False),
        ("https://*.example.com", "https://a.example.com", True),
        ("https://*.example.com", "https://example.com", False),
        ("http://localhost:*", "http://localhost:8080", True),
        ("*", "null", True),
        ("http://pag?.example", "http://page.example", False),
    ],
)
def test_an_origin_matches_its_rule(pattern, origin, allowed):
    assert CORSRule([pattern]).allows(origin, "POST") is allowed


def test_a_rule_for_all_origins_allows_no_credentials(make_oss):
    response = preflight(TestApp(make_oss(cors_rules=[CORSRule(["*"], max_age_seconds=None, expose_headers=())])))
    assert cors(response) == {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Methods": "GET, HEAD, POST"}


def test_an_origin_listed_beside_a_star_is_echoed():
    rule = CORSRule(["*", PAGE])
    assert rule.headers(PAGE)[0] == ("Access-Control-Allow-Origin", PAGE)
    assert rule.headers("http://other")[0] == ("Access-Control-Allow-Origin", "*")


def test_the_first_rule_that_matches_decides(make_oss):
    rules = [CORSRule([PAGE], ["PUT"]), CORSRule([PAGE], max_age_seconds=1), CORSRule(["*"], max_age_seconds=2)]
    response = preflight(TestApp(make_oss(cors_rules=rules)))
    assert response.headers["Access-Control-Max-Age"] == "1"


def test_errors_have_the_cors_headers_too(app):
    response = app.get("/examplebucket/none", headers={"Origin": PAGE}, status=404)
    assert cors(response) == {
        "Access-Control-Allow-Origin": PAGE,
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Expose-Headers": "ETag, x-oss-request-id",
    }
    assert "Vary" not in response.headers


def test_an_upload_from_a_refused_origin_is_stored(app, oss):
    response = post(app, form({"key": "a", **sign_v1(oss, policy())}), headers={"Origin": "http://other.example"})
    assert (response.status_int, cors(response)) == (204, {})
    assert app.get("/examplebucket/a").body == b"hi oss"


def test_a_string_instead_of_a_list_is_refused():
    with pytest.raises(TypeError, match="allowed_origins must be a sequence"):
        CORSRule("http://page.example")


def test_a_preflight_response_has_each_header_once(make_oss):
    response = preflight(TestApp(make_oss(cors_rules=[CORSRule([PAGE], ["POST", "OPTIONS"])])))
    assert response.headers.getall("Access-Control-Allow-Origin") == [PAGE]


ORIGIN = "<AllowedOrigin>https://a.example</AllowedOrigin>"
METHOD = "<AllowedMethod>PUT</AllowedMethod>"


def configuration(*texts, after=""):
    inner = "".join(f"<CORSRule>{text}</CORSRule>" for text in texts)
    return f"<CORSConfiguration>{inner}{after}</CORSConfiguration>".encode()


def refusal(body, **options):
    with pytest.raises(OSSError) as caught:
        read_rules(body, **options)
    return caught.value.status, caught.value.code, caught.value.ec


def test_a_rule_without_optional_members_has_none():
    text = ORIGIN + "<AllowedOrigin>*</AllowedOrigin>" + METHOD + "<AllowedMethod>GET</AllowedMethod>"
    text += "<AllowedHeader>x-oss-*</AllowedHeader><ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds> 0 </MaxAgeSeconds>"
    rules, vary = read_rules(configuration(text, ORIGIN + METHOD))
    assert rules == [
        CORSRule(("https://a.example", "*"), ("PUT", "GET"), ("x-oss-*",), ("ETag",), 0),
        CORSRule(("https://a.example",), ("PUT",), (), (), None),
    ]
    assert vary is False


@pytest.mark.parametrize("vary", [True, False])
def test_written_rules_can_be_read_again(vary):
    written = [CORSRule(("https://a.example", "http://*.b.example"), ("PUT",)), CORSRule(("*",), ("POST",), (), ())]
    assert read_rules(write_xml("CORSConfiguration", rule_nodes(written, vary))) == (written, vary)


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "https://*.example.com",
        "http://localhost:*",
        "capacitor://localhost",
        # of the tests of the SDKs for PHP and C
        "localhost",
        "*.aliyun.com",
    ],
)
def test_an_origin_may_hold_a_star(origin):
    assert read_rules(configuration(f"<AllowedOrigin>{origin}</AllowedOrigin>{METHOD}"))[0][0].allowed_origins == (
        origin,
    )


def test_the_number_of_rules_is_limited():
    assert len(read_rules(configuration(*[ORIGIN + METHOD] * 10))[0]) == 10
    assert refusal(configuration(*[ORIGIN + METHOD] * 11)) == (400, "CORSRuleBeyondLimit", "0034-00000006")
    assert len(read_rules(configuration(*[ORIGIN + METHOD] * 20), 20)[0]) == 20
