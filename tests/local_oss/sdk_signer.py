"""Signatures of requests, made by the official SDK: no code under test signs what it checks."""

from datetime import datetime, timezone
from urllib.parse import quote, urlsplit

from alibabacloud_oss_v2.credentials import StaticCredentialsProvider
from alibabacloud_oss_v2.signer import SignerV1, SignerV4
from alibabacloud_oss_v2.types import HttpRequest, SigningContext

from local_oss.environ import Address
from local_oss.signatures.account import Account

from .form_client import NOW

ACCOUNT = Account("ak", "sk")
REGION = "cn-hangzhou"
ADDRESS = Address("bucket", "a/中 +~'.bin")
STYLES = {
    "path style": ("127.0.0.1:8081", "/bucket/"),
    "a slash as %2F": ("127.0.0.1:8081", "/bucket/a%2F"),
    "virtual host": ("bucket.oss-cn-hangzhou.aliyuncs.com", "/"),
    "CNAME": ("img.example.com", "/"),
}
SIGNERS = {"v1": SignerV1, "v4": SignerV4}


def sign(
    version,
    method="GET",
    *,
    address=ADDRESS,
    style="path style",
    query="",
    headers=None,
    account=ACCOUNT,
    region=REGION,
    now=NOW,
    expires=None,
    additional=(),
    sub_resource=(),
):
    """Return the environ of a request, signed in its URL if `expires` (seconds) is given, else in its header."""
    host, start = STYLES[style]
    path = start + quote(address.key, safe="/").removeprefix("a/" if start.endswith("%2F") else "")
    request = HttpRequest(method, f"http://{host}{path}{'?' if query else ''}{query}")
    request.headers.update({"Host": host, **(headers or {})})
    credentials = StaticCredentialsProvider(account.access_key_id, account.access_key_secret, account.security_token)
    context = SigningContext(
        bucket=address.bucket,
        key=address.key,
        request=request,
        credentials=credentials.get_credentials(),
        product="oss",
        region=region,
        signing_time=datetime.fromtimestamp(now, timezone.utc),
        additional_headers=set(additional),
    )
    context.sub_resource = list(sub_resource)
    if expires is not None:
        context.auth_method_query = True
        context.expiration_time = datetime.fromtimestamp(now + expires, timezone.utc)
    SIGNERS[version]().sign(context)
    return environ(method, request.url, request.headers)


def environ(method, url, headers):
    parts = urlsplit(url)
    result = {"REQUEST_METHOD": method, "PATH_INFO": parts.path, "QUERY_STRING": parts.query}
    for name, value in headers.items():
        name = name.upper().replace("-", "_")
        result[name if name == "CONTENT_TYPE" else f"HTTP_{name}"] = value.encode().decode("latin-1")
    return result


def signed_headers(version, method="GET", **options):
    """Return the headers of a request that `sign` signs, but Host and Content-Type."""
    signed = sign(version, method, **options)
    names = [name for name in signed if name.startswith("HTTP_") and name != "HTTP_HOST"]
    return {name[5:].replace("_", "-"): signed[name] for name in names}
