"""A client whose requests the official SDK signs."""

from urllib.parse import quote

from webtest import TestApp

from oss_wsgi.local.environ import Address
from oss_wsgi.local.signatures.account import Account

from .sdk_signer import sign


class SignedClient:
    """Sends path-style requests with the account of a LocalOSS: `client("PUT", "newbucket", "acl")`."""

    def __init__(self, oss):
        self._oss = oss
        self._app = TestApp(oss)

    def __call__(self, method, bucket="", query="", body=b"", *, key="", headers=None, status=None):
        account = Account(self._oss.access_key_id, self._oss.access_key_secret)
        headers = {"content-type": "application/xml", **(headers or {})}
        signed = sign("v4", method, address=Address(bucket or None, key), query=query, headers=headers, account=account)
        signature = {name[5:].replace("_", "-"): value for name, value in signed.items() if name.startswith("HTTP_")}
        del signature["HOST"]
        return self._app.request(
            f"/{bucket}{'/' if key else ''}{quote(key)}{'?' if query else ''}{query}",
            method=method,
            headers={**signature, "Content-Type": headers["content-type"]},
            body=body,
            status=status,
        )


def code(response):
    return response.status_int, response.xml.findtext("Code")


def code_and_ec(response):
    return *code(response), response.xml.findtext("EC")
