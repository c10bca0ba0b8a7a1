"""Callbacks for tests: signatures that verify, bodies as OSS sends them, and a clock."""

from __future__ import annotations

import base64
import hashlib
from typing import Any
from urllib.parse import parse_qs

import webtest

from oss_wsgi import CallbackVerifier, DirectUpload, Grant, Settings
from oss_wsgi.testing import CallbackSigner, FrozenClock, UploadClient, callback_body

from ..support.callbacks import post_callback
from ..support.deployment import not_found


def test_the_headers_verify_with_the_signers_keys_only() -> None:
    signer = CallbackSigner()
    headers = signer.headers("/oss/callback", b"a=b")
    assert base64.b64decode(headers["Content-MD5"]) == hashlib.md5(b"a=b").digest()
    signed = {"authorization": headers["Authorization"], "pub_key_url": headers["x-oss-pub-key-url"]}
    assert CallbackVerifier(signer.public_keys).is_valid(target=b"/oss/callback", body=b"a=b", **signed)
    assert not CallbackVerifier(signer.public_keys).is_valid(target=b"/oss/callback", body=b"a=c", **signed)
    assert not CallbackVerifier(CallbackSigner().public_keys).is_valid(target=b"/oss/callback", body=b"a=b", **signed)


def test_the_body_is_accepted_with_its_ticket() -> None:
    signer = CallbackSigner()
    uploads: list[Any] = []
    settings = Settings(**UploadClient.DEFAULTS, callback_url="http://127.0.0.1/oss/callback", upload_names="original")
    keys = {"public_keys": signer.public_keys, "on_upload": uploads.append}
    client = webtest.TestApp(DirectUpload(not_found, settings, **keys))
    signed = client.get("/oss/signature").json
    body = callback_body(signed, size=3, filename="图&.png", mime_type="image/png", imageInfo_width="7")
    members = parse_qs(body.decode())
    assert members["filename"] == ["user-dir-prefix/图&.png"]
    assert members["width"] == ["7"]
    post_callback(client, body, signer)
    assert (uploads[0].size, uploads[0].mime_type, uploads[0].image_width) == (3, "image/png", 7)
    granting = DirectUpload(not_found, settings, authorize=lambda _: Grant("eric", custom={"order": "4&7"}), **keys)
    client = webtest.TestApp(granting)
    body = callback_body(client.get("/oss/signature", {"filename": "a"}).json, size=3)
    post_callback(client, body, signer)
    assert uploads[1].custom == {"order": "4&7"}


def test_the_clock_stands_until_it_is_advanced() -> None:
    clock = FrozenClock(10.0)
    assert (clock(), clock()) == (10.0, 10.0)
    clock.advance(2.5)
    assert clock() == 12.5
