import pytest
from webtest import TestApp

from local_oss import CORSRule

from ..signed_client import SignedClient, code
from ..test_cors import cors, preflight

SHOP = "https://shop.example"
PAGE = "http://page.example"


def rules(origin=SHOP, method="GET", more="", after=""):
    rule = f"<AllowedOrigin>{origin}</AllowedOrigin><AllowedMethod>{method}</AllowedMethod>{more}"
    return f"<CORSConfiguration><CORSRule>{rule}</CORSRule>{after}</CORSConfiguration>".encode()


def test_rules_apply_at_once_to_their_bucket_only(client, app):
    client("PUT", "newbucket")
    assert preflight(app, SHOP, "GET", path="/newbucket/a").status_int == 403
    response = client("PUT", "newbucket", "cors", rules())
    assert (response.status_int, response.body) == (200, b"")
    assert cors(preflight(app, SHOP, "GET", path="/newbucket/a")) == {
        "Access-Control-Allow-Origin": SHOP,
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Allow-Methods": "GET",
    }
    response = app.get("/newbucket/a", headers={"Origin": SHOP}, status=403)
    assert response.headers["Access-Control-Allow-Origin"] == SHOP
    assert preflight(app, SHOP, "GET", path="/examplebucket").status_int == 403
    assert preflight(app, PAGE, "POST", path="/newbucket").status_int == 403
    assert preflight(app, PAGE, "POST", path="/examplebucket").status_int == 200


def test_rules_replace_configured_ones_until_all_are_deleted(client, app):
    assert preflight(app, PAGE, "POST").status_int == 200
    client("PUT", "examplebucket", "cors", rules())
    assert preflight(app, PAGE, "POST").status_int == 403
    assert client("DELETE", "examplebucket", "cors").status_int == 204
    assert code(preflight(app, PAGE, "POST")) == (403, "AccessForbidden")
    assert code(client("GET", "examplebucket", "cors", status=404)) == (404, "NoSuchCORSConfiguration")
    assert client("DELETE", "examplebucket", "cors").status_int == 204


def test_stored_rules_are_returned(client):
    more = "<AllowedHeader>x-oss-*</AllowedHeader><ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>600</MaxAgeSeconds>"
    client("PUT", "examplebucket", "cors", rules(more=more, after="<ResponseVary>true</ResponseVary>"))
    response = client("GET", "examplebucket", "cors")
    assert response.xml.tag == "CORSConfiguration"
    assert {element.tag: element.text for element in response.xml.find("CORSRule")} == {
        "AllowedOrigin": SHOP,
        "AllowedMethod": "GET",
        "AllowedHeader": "x-oss-*",
        "ExposeHeader": "ETag",
        "MaxAgeSeconds": "600",
    }
    assert response.xml.findtext("ResponseVary") == "true"


def test_configured_rules_are_returned(client):
    document = client("GET", "examplebucket", "cors").xml
    assert [element.text for element in document.iter("AllowedMethod")] == ["GET", "HEAD", "POST"]
    client("PUT", "newbucket")
    assert code(client("GET", "newbucket", "cors", status=404)) == (404, "NoSuchCORSConfiguration")


def test_configured_rules_apply_to_configured_buckets_only(oss, app, client):
    oss.create_bucket("second")
    assert preflight(app, PAGE, "POST", path="/second").status_int == 200
    client("PUT", "newbucket")
    assert preflight(app, PAGE, "POST", path="/newbucket").status_int == 403


@pytest.mark.parametrize("vary", ["true", "false"])
def test_vary_comes_with_every_response_or_with_none(client, app, vary):
    client("PUT", "examplebucket", "cors", rules(after=f"<ResponseVary>{vary}</ResponseVary>"))
    for headers in ({}, {"Origin": SHOP}, {"Origin": "http://other.example"}):
        response = app.get("/examplebucket/none", headers=headers, status=404)
        assert response.headers.get("Vary") == ("Origin" if vary == "true" else None)


@pytest.mark.slow
def test_rules_and_their_deletion_outlive_the_process(make_oss, tmp_path):
    options = {"directory": tmp_path / "objects", "access_key_id": "ak", "access_key_secret": "sk"}
    with make_oss(**options) as oss:
        client = SignedClient(oss)
        for name in ("one", "two"):
            client("PUT", f"bucket-{name}")
            client("PUT", f"bucket-{name}", "cors", rules())
        client("DELETE", "examplebucket", "cors")
    with make_oss(**options, max_cors_rules=0, cors_rules=[CORSRule([PAGE])]) as oss:
        app = TestApp(oss)
        assert preflight(app, SHOP, "GET", path="/bucket-two/a").status_int == 200
        assert preflight(app, PAGE, "POST", path="/examplebucket").status_int == 403


def test_the_number_of_rules_has_a_configured_limit(make_oss):
    client = SignedClient(make_oss(max_cors_rules=1))
    client("PUT", "examplebucket", "cors", rules())
    rule = rules().split(b"<CORSConfiguration>")[1].split(b"</CORSConfiguration>")[0]
    response = client("PUT", "examplebucket", "cors", rules(after=rule.decode()), status=400)
    assert code(response) == (400, "CORSRuleBeyondLimit")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (rules(origin="https://*"), "InvalidArgument"),
        (b"", "MalformedXML"),
        (rules(more=" " * 16384), "EntityTooLarge"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]>' + rules(origin="&b;"), "MalformedXML"),
    ],
)
def test_invalid_rules_change_nothing(client, app, body, expected):
    assert code(client("PUT", "examplebucket", "cors", body, status=400)) == (400, expected)
    assert preflight(app, PAGE, "POST").status_int == 200


@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
def test_reading_and_changing_rules_needs_a_signature(app, client, method):
    app.request("/examplebucket?cors", method=method, status=403)
    assert code(client(method, "nobucket", "cors", rules(), status=404)) == (404, "NoSuchBucket")
