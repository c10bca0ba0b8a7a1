"""A client whose requests the official SDK signs."""

import base64
import hashlib
from urllib.parse import quote

from webtest import TestApp

from local_oss.environ import Address
from local_oss.signatures.account import Account

from .sdk_signer import signed_headers


class SignedClient:
    """Sends path-style requests with the account of a LocalOSS: `client("PUT", "newbucket", "acl")`.

    A list of objects to delete gets its Content-MD5, which OSS asks for.
    """

    def __init__(self, oss):
        self._oss = oss
        self._app = TestApp(oss)

    def __call__(self, method, bucket="", query="", body=b"", *, key="", headers=None, status=None):
        account = Account(self._oss.access_key_id, self._oss.access_key_secret)
        headers = {"content-type": "application/xml", **(headers or {})}
        if query.partition("&")[0] == "delete" and "content-md5" not in headers:
            headers["content-md5"] = base64.b64encode(hashlib.md5(body).digest()).decode()
        address = Address(bucket or None, key)
        signed = signed_headers("v4", method, address=address, query=query, headers=headers, account=account)
        return self._app.request(
            f"/{bucket}{'/' if key else ''}{quote(key)}{'?' if query else ''}{query}",
            method=method,
            headers={**signed, "Content-Type": headers["content-type"]},
            body=body,
            status=status,
        )


def code(response):
    return response.status_int, response.xml.findtext("Code")


def code_and_ec(response):
    return *code(response), response.xml.findtext("EC")
