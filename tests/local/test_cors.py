import pytest
from webtest import TestApp

from oss_wsgi.local import CORSRule
from oss_wsgi.local.cors import NOT_ALLOWED

from .form_client import form, policy, post, sign_v1

PAGE = "http://page.example"


def cors(response):
    return {name: value for name, value in response.headers.items() if name.lower().startswith("access-control")}


def preflight(app, origin=PAGE, method="POST", headers=None, path="/examplebucket"):
    asked = {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
    return app.options(path, headers={name: value for name, value in asked.items() if value}, status="*")


def code(response):
    return response.status_int, response.xml.findtext("Code"), response.xml.findtext("EC")


@pytest.mark.parametrize("path", ["/examplebucket", "/", "/examplebucket/a/b", "/nobucket"])
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
    assert response.headers["Vary"] == "Origin"


def test_the_headers_asked_for_are_echoed(app):
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
    assert response.headers["Vary"] == "Origin"


def test_without_rules_every_preflight_is_refused(make_oss):
    response = preflight(TestApp(make_oss(cors_rules=[])))
    assert code(response) == (403, "AccessForbidden", "0003-00000601")
    assert "Vary" not in response.headers


@pytest.mark.parametrize(
    ("origin", "method", "ec"), [("", "POST", "0034-00000101"), (PAGE, "", "0034-00000102")], ids=["origin", "method"]
)
def test_a_preflight_that_lacks_a_header_is_a_bad_request(app, origin, method, ec):
    assert code(preflight(app, origin, method)) == (400, "BadRequest", ec)


@pytest.mark.parametrize(
    ("pattern", "origin", "allowed"),
    [
        ("http://page.example", "http://page.example", True),
        ("http://page.example", "HTTP://Page.Example", True),
        ("http://page.example", "http://page.example:8080", False),
        ("http://page.example", "https://page.example", False),
        ("https://*.example.com", "https://a.example.com", True),
        ("https://*.example.com", "https://example.com", False),
        ("http://localhost:*", "http://localhost:8080", True),
        ("*", "null", True),
        ("http://pag?.example", "http://page.example", False),
        ("http://[op]age.example", "http://page.example", False),
    ],
)
def test_an_origin_matches_its_rule(pattern, origin, allowed):
    assert CORSRule([pattern]).allows(origin, "POST") is allowed


def test_a_rule_for_all_answers_a_star_and_allows_no_credentials(make_oss):
    response = preflight(TestApp(make_oss(cors_rules=[CORSRule(["*"], max_age_seconds=None, expose_headers=())])))
    assert cors(response) == {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Methods": "GET, HEAD, POST"}


def test_an_origin_that_is_listed_beside_a_star_is_echoed():
    rule = CORSRule(["*", PAGE])
    assert rule.headers(PAGE)[0] == ("Access-Control-Allow-Origin", PAGE)
    assert rule.headers("http://other")[0] == ("Access-Control-Allow-Origin", "*")


def test_the_first_rule_that_matches_decides(make_oss):
    rules = [CORSRule([PAGE], ["PUT"]), CORSRule([PAGE], max_age_seconds=1), CORSRule(["*"], max_age_seconds=2)]
    response = preflight(TestApp(make_oss(cors_rules=rules)))
    assert response.headers["Access-Control-Max-Age"] == "1"


def test_errors_carry_the_headers_too(app):
    response = app.get("/examplebucket/none", headers={"Origin": PAGE}, status=404)
    assert cors(response) == {
        "Access-Control-Allow-Origin": PAGE,
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Expose-Headers": "ETag, x-oss-request-id",
    }
    assert response.headers["Vary"] == "Origin"


def test_an_upload_from_a_refused_origin_is_stored_all_the_same(app, oss):
    response = post(app, form({"key": "a", **sign_v1(oss, policy())}), headers={"Origin": "http://other.example"})
    assert (response.status_int, cors(response)) == (204, {})
    assert app.get("/examplebucket/a").body == b"hi oss"


def test_one_string_in_place_of_a_list_is_refused():
    with pytest.raises(TypeError, match="allowed_origins is a sequence"):
        CORSRule("http://page.example")


def test_a_preflight_answers_each_header_once_even_when_a_rule_lists_its_own_method(make_oss):
    response = preflight(TestApp(make_oss(cors_rules=[CORSRule([PAGE], ["POST", "OPTIONS"])])))
    assert response.headers.getall("Access-Control-Allow-Origin") == [PAGE]
