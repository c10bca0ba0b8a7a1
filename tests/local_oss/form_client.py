"""Forms built and signed by hand: no code under test signs what it checks."""

import base64
import hashlib
import hmac
import json
import time

BOUNDARY = "----WebKitFormBoundary7MA4YWxkTrZu0gW"
NOW = 1733227932.0  # 2024-12-03T12:12:12Z


def utc(seconds, pattern="%Y-%m-%dT%H:%M:%SZ"):
    return time.strftime(pattern, time.gmtime(seconds))


def encode_policy(document):
    text = document if isinstance(document, str) else json.dumps(document, ensure_ascii=False)
    return base64.b64encode(text.encode()).decode()


def policy(*conditions, expiration=NOW + 3600):
    return {"expiration": utc(expiration), "conditions": [{"bucket": "examplebucket"}, *conditions]}


def sign_v1(oss, document):
    text = encode_policy(document)
    signature = base64.b64encode(hmac.new(oss.access_key_secret.encode(), text.encode(), hashlib.sha1).digest())
    return {"OSSAccessKeyId": oss.access_key_id, "policy": text, "Signature": signature.decode()}


def v4_fields(oss, *, now=NOW):
    return {
        "x-oss-signature-version": "OSS4-HMAC-SHA256",
        "x-oss-credential": f"{oss.access_key_id}/{utc(now, '%Y%m%d')}/{oss.region}/oss/aliyun_v4_request",
        "x-oss-date": utc(now, "%Y%m%dT%H%M%SZ"),
    }


def sign_v4(oss, *conditions, fields=None, cover=None, expiration=NOW + 3600):
    fields = v4_fields(oss) if fields is None else fields
    covered = fields if cover is None else cover
    document = policy(*({name: fields[name]} for name in covered), *conditions, expiration=expiration)
    text = encode_policy(document)
    key = b"aliyun_v4" + oss.access_key_secret.encode()
    _, day, region, service, terminator = fields["x-oss-credential"].split("/")
    for part in (day, region, service, terminator):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    return {**fields, "policy": text, "x-oss-signature": signature}


def callback_field(**members):
    members = {"callbackUrl": "http://app.example.com/oss/callback", "callbackBody": "object=${object}", **members}
    return base64.b64encode(json.dumps(members).encode()).decode()


def part(name, value, *, filename=None, content_type=None):
    value = value if isinstance(value, bytes) else value.encode()
    head = f'Content-Disposition: form-data; name="{name}"'
    if filename is not None:
        head += f'; filename="{filename}"'
    if content_type is not None:
        head += f"\r\nContent-Type: {content_type}"
    return head.encode() + b"\r\n\r\n" + value


def body(*parts):
    delimiter = f"--{BOUNDARY}".encode()
    return b"".join(delimiter + b"\r\n" + item + b"\r\n" for item in parts) + delimiter + b"--\r\n"


def form(fields, content=b"hi oss", *, filename="a.txt", content_type="text/plain", after=()):
    parts = [part(name, value) for name, value in (fields.items() if isinstance(fields, dict) else fields)]
    return body(*parts, part("file", content, filename=filename, content_type=content_type), *after)


def post(app, payload, *, path="/examplebucket", headers=None, status="*"):
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", **(headers or {})}
    return app.post(path, payload, headers=headers, status=status)
