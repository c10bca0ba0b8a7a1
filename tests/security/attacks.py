"""What the attackers have at hand: a site that believes their key as OSS's own, and forms and reports to bend."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import webtest

from oss_wsgi import DirectUpload, Settings, Upload
from oss_wsgi.testing import CallbackSigner, FrozenClock, Road, multipart

#: Stands for OSS's own key: whatever any customer lets OSS sign, it signs.
OSS = CallbackSigner()
CALLBACK = "/oss/callback"
VALUES: dict[str, Any] = {
    **Road.DEFAULTS,
    "callback_url": f"https://app.example.com{CALLBACK}",
    "ticket_secret": ("t" * 32,),
}

Pairs = list[tuple[str, str]]


def legacy(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """The application behind it all."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"legacy"]


class Site:
    """DirectUpload in process, checked for PEP 3333, and what its handler heard."""

    def __init__(self, values: dict[str, Any] | None = None, **options: Any) -> None:
        self.heard: list[Upload] = []
        self.clock = FrozenClock()
        settings = Settings(**{**VALUES, **(values or {})})
        given = {"on_upload": self.heard.append, "public_keys": OSS.public_keys, "clock": self.clock, **options}
        self.app = webtest.TestApp(DirectUpload(legacy, settings, **given))

    def sign(self, **parameters: Any) -> dict[str, Any]:
        """Give a signed form."""
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
        """Post what OSS would post for this body; ``headers`` replace or, as None, drop some of its own."""
        given = {**signer.headers(target, body, content_type), **(headers or {})}
        kept = {name: value for name, value in given.items() if value is not None}
        return self.app.post(target, body, headers=kept, expect_errors=True)


def ticket_of(signed: dict[str, Any]) -> str:
    """Take the ticket out of a signed form, as whoever holds the form can."""
    template = json.loads(base64.b64decode(signed["callback"]))["callbackBody"]
    return str(dict(parse_qsl(template))["ticket"])


def changed(body: bytes, **members: str | None) -> bytes:
    """Give a report with other members; None drops one. OSS signs for its customers what they like."""
    return urlencode(_members(body, members)).encode()


def as_json(body: bytes, **members: Any) -> bytes:
    """Give the same report as JSON."""
    return json.dumps(_members(body, members)).encode()


def _members(body: bytes, members: dict[str, Any]) -> dict[str, Any]:
    both = {**dict(parse_qsl(body.decode(), keep_blank_values=True)), **members}
    return {name: value for name, value in both.items() if value is not None}


def refused(site: Site, answer: webtest.TestResponse, *statuses: int) -> bool:
    """Tell that a report was refused in the generic words, and that the application heard of nothing."""
    return answer.status_int in (statuses or (403,)) and set(answer.json) == {"error"} and site.heard == []


class _Doubled:
    """Fields of a form of which names may come twice, where a dict is asked for."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._pairs = list(pairs)

    def items(self) -> Pairs:
        return self._pairs


def post_form(
    road: Road,
    pairs: Iterable[tuple[str, str]],
    data: bytes = b"hello",
    *,
    filename: str = "a.txt",
    part_type: str | None = "text/plain",
    headers: dict[str, str] | None = None,
) -> webtest.TestResponse:
    """Post a form to the local OSS as no browser would."""
    fields: Any = _Doubled(pairs)
    content_type, body = multipart(fields, filename, data, part_type)
    given = {"Content-Type": content_type, **(headers or {})}
    return webtest.TestApp(road.local_oss).post("/examplebucket", body, headers=given, expect_errors=True)


def stored(road: Road) -> list[str]:
    """Name all objects that the local OSS holds."""
    return [entry.key for entry in road.local_oss.storage.bucket(road.local_oss.bucket).page()[0]]


def headers_of(road: Road, key: str) -> dict[str, str]:
    """Give the headers with which the local OSS gives an object back."""
    return dict(webtest.TestApp(road.local_oss).head(f"/examplebucket/{quote(key)}").headers)
