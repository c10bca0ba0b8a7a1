import base64
import hashlib
import hmac

from webtest import TestApp

from ..form_client import form, policy, post, sign_v1, sign_v4, utc, v4_fields


def mistake(browser):
    text = browser.exchange().text
    assert "SignatureDoesNotMatch" in text
    return text


def hmac_sha1(secret, text):
    return hmac.new(secret.encode(), text.encode(), hashlib.sha1)


def test_a_mistake_in_a_v1_form_is_named(app, browser, oss):
    fields = sign_v1(oss, policy())
    signature = hmac_sha1(oss.access_key_secret + "\n", fields["policy"]).digest()
    post(app, form({"key": "a", **fields, "Signature": base64.b64encode(signature).decode()}), status=403)
    assert "a line break at its end" in mistake(browser)


def v4_signature(secret, text, *, day="20241203", region="cn-hangzhou", prefix="aliyun_v4"):
    key = f"{prefix}{secret}".encode()
    for part in (day, region, "oss", "aliyun_v4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256)


def test_a_mistake_in_a_v4_form_is_named(app, browser, oss):
    fields = sign_v4(oss)
    signature = v4_signature(oss.access_key_secret, fields["policy"], day="20241202").hexdigest()
    post(app, form({"key": "a", **fields, "x-oss-signature": signature}), status=403)
    assert "for the day 20241202" in mistake(browser)


def test_another_secret_of_the_bucket_is_named(make_oss):
    from .conftest import Browser

    old = make_oss()
    new = make_oss(reset_keys=True)
    app = TestApp(new)
    new_fields = sign_v1(new, policy())
    signature = sign_v1(old, policy())["Signature"]
    post(app, form({"key": "a", **new_fields, "Signature": signature}), status=403)
    text = mistake(Browser(app))
    assert "another secret of this bucket" in text
    assert old.access_key_secret not in text


def test_a_header_that_was_left_out_is_named(app, browser, oss):
    date = "Tue, 03 Dec 2024 12:12:12 GMT"
    text = f"PUT\n\ntext/plain\n{date}\n/examplebucket/a"
    signature = base64.b64encode(hmac_sha1(oss.access_key_secret, text).digest()).decode()
    headers = {"Date": date, "Content-Type": "text/plain", "x-oss-object-acl": "private"}
    headers["Authorization"] = f"OSS {oss.access_key_id}:{signature}"
    app.put("/examplebucket/a", b"x", headers=headers, status=403)
    assert "The header x-oss-object-acl was sent, but not signed" in mistake(browser)


def test_a_header_that_a_v4_signature_left_out_is_named(app, browser, oss):
    scope = "20241203/cn-hangzhou/oss/aliyun_v4_request"
    date = utc(1733227932.0, "%Y%m%dT%H%M%SZ")
    signed = f"x-oss-content-sha256:UNSIGNED-PAYLOAD\nx-oss-date:{date}\n"
    canonical = "\n".join(("PUT", "/examplebucket/a", "", f"content-type:text/plain\n{signed}", "", "UNSIGNED-PAYLOAD"))
    text = "\n".join(("OSS4-HMAC-SHA256", date, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    signature = v4_signature(oss.access_key_secret, text).hexdigest()
    authorization = f"OSS4-HMAC-SHA256 Credential={oss.access_key_id}/{scope},Signature={signature}"
    headers = {"x-oss-date": date, "x-oss-content-sha256": "UNSIGNED-PAYLOAD", "Content-Type": "text/plain"}
    headers |= {"x-oss-meta-name": "x", "Authorization": authorization}
    app.put("/examplebucket/a", b"x", headers=headers, status=403)
    text = mistake(browser)
    assert "The header x-oss-meta-name was sent, but not signed" in text
    assert "Canonical request" in text


def test_a_mistake_that_nobody_knows_is_not_guessed(app, browser, oss):
    fields = sign_v4(oss, fields=v4_fields(oss))
    post(app, form({"key": "a", **fields, "x-oss-signature": "0" * 64}), status=403)
    assert "No known mistake" in mistake(browser)


def test_the_signatures_of_a_client_of_s3_are_not_compared(app, browser, oss):
    names = "host;x-amz-content-sha256;x-amz-date;x-amz-security-token"
    credential = f"{oss.access_key_id}/20241203/us-east-1/s3/aws4_request"
    headers = {
        "Authorization": f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={'0' * 64}",
        "x-amz-date": "20241203T121212Z",
        "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
        "x-amz-security-token": "",
    }
    app.get("/examplebucket/a", headers=headers, status=403)
    text = mistake(browser)
    assert "No known mistake" in text
    assert "Canonical request" in text
    assert "Computed" not in text


def test_the_signatures_of_a_temporary_key_are_not_compared(app, browser, oss):
    token = oss.account.begin_session("", 1733231532)
    fields = sign_v1(oss, policy())
    fields |= {"OSSAccessKeyId": token.access_key_id, "x-oss-security-token": token.security_token}
    post(app, form({"key": "a", **fields}), status=403)
    text = mistake(browser)
    assert "Computed" not in text
    assert token.security_token not in text
