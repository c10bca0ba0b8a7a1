"""Tools of the attackers: a site that trusts their key as it trusts OSS's, and forms and reports to change."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl, urlencode

import webtest

from oss_wsgi import DirectUpload, Settings, Upload
from oss_wsgi.testing import CallbackSigner, FrozenClock, UploadClient, multipart

from ..support.callbacks import post_callback

#: In place of OSS's own key. It signs any body, as OSS does for its customers.
OSS = CallbackSigner()
CALLBACK = "/oss/callback"
VALUES: dict[str, Any] = {
    **UploadClient.DEFAULTS,
    "callback_url": f"https://app.example.com{CALLBACK}",
    "ticket_secret": ("t" * 32,),
}

Pairs = list[tuple[str, str]]


def legacy(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """The application behind DirectUpload."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"legacy"]


class Site:
    """DirectUpload in process, and the uploads that its handler got."""

    def __init__(self, values: dict[str, Any] | None = None, **options: Any) -> None:
        self.uploads: list[Upload] = []
        self.clock = FrozenClock()
        settings = Settings(**{**VALUES, **(values or {})})
        options = {"on_upload": self.uploads.append, "public_keys": OSS.public_keys, "clock": self.clock, **options}
        self.app = webtest.TestApp(DirectUpload(legacy, settings, **options))

    def sign(self, **parameters: Any) -> dict[str, Any]:
        return dict(self.app.get("/oss/signature", parameters).json)

    def report(
        self,
        body: bytes,
        content_type: str = "application/x-www-form-urlencoded",
        *,
        target: str = CALLBACK,
        headers: dict[str, str | None] | None = None,
        signer: CallbackSigner = OSS,
    ) -> webtest.TestResponse:
        """Post the callback that OSS would post for this body. ``headers`` replace its headers; None drops one."""
        return post_callback(
            self.app, body, signer, target=target, content_type=content_type, headers=headers, expect_errors=True
        )


def ticket_of(signed: dict[str, Any]) -> str:
    """Return the ticket of a signed form, as its holder can read it."""
    template = json.loads(base64.b64decode(signed["callback"]))["callbackBody"]
    return str(dict(parse_qsl(template))["ticket"])


def changed(body: bytes, **members: str | None) -> bytes:
    """Return a report with changed members; None drops a member. OSS signs any body for its customers."""
    return urlencode(_members(body, members)).encode()


def as_json(body: bytes, **members: Any) -> bytes:
    return json.dumps(_members(body, members)).encode()


def _members(body: bytes, members: dict[str, Any]) -> dict[str, Any]:
    merged = {**dict(parse_qsl(body.decode(), keep_blank_values=True)), **members}
    return {name: value for name, value in merged.items() if value is not None}


def refused(site: Site, answer: webtest.TestResponse, *statuses: int) -> bool:
    """Return whether a report was refused with the generic message, and the handler got no upload."""
    return answer.status_int in (statuses or (403,)) and set(answer.json) == {"error"} and site.uploads == []


class _Fields:
    """The fields of a form as a dict has them, except that names may be repeated."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._pairs = list(pairs)

    def items(self) -> Pairs:
        return self._pairs


def post_form(
    client: UploadClient,
    pairs: Iterable[tuple[str, str]],
    data: bytes = b"hello",
    *,
    filename: str = "a.txt",
    headers: dict[str, str] | None = None,
) -> webtest.TestResponse:
    """Post a form to the local OSS, also one that no browser would send."""
    fields: Any = _Fields(pairs)
    content_type, body = multipart(fields, filename, data, "text/plain")
    merged = {"Content-Type": content_type, **(headers or {})}
    return webtest.TestApp(client.local_oss).post("/examplebucket", body, headers=merged, expect_errors=True)


def stored(client: UploadClient) -> list[str]:
    return [entry.key for entry in client.local_oss.storage.bucket(client.local_oss.bucket).page()[0]]


def headers_of(client: UploadClient, key: str) -> dict[str, str]:
    # A TestApp decodes the body, of which an object may only say that it is compressed.
    response = webtest.TestRequest.blank(client.local_oss.signed_url(key)).get_response(client.local_oss)
    response.app_iter.close()
    return dict(response.headers)
