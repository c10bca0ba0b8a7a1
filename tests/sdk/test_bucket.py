"""SDKBucket over HTTP against the local OSS, with the real SDK."""

from __future__ import annotations

import gzip
import sys
import time
import urllib.request
from collections.abc import Callable, Generator, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from local_oss import LocalOSS, LocalOSSServer
from oss_wsgi import DirectUpload, Settings
from oss_wsgi.bucket import BucketClient, StoredPart
from oss_wsgi.credentials import Credentials, RefreshingCredentialsProvider, StaticCredentialsProvider
from oss_wsgi.exceptions import (
    BucketError,
    BucketRefusedError,
    BucketUnreachableError,
    CredentialsError,
    NotStoredError,
    SettingsError,
)
from oss_wsgi.sdk.bucket import SDKBucket
from oss_wsgi.signing.grant import Grant
from oss_wsgi.testing import UploadClient
from oss_wsgi.testing.local_oss import InProcessOSS

from ..support.callbacks import without_signed_id
from ..support.closing import closing_fixture
from ..support.deployment import not_found
from ..support.server_threads import serving_oss
from .test_confirmation import dripping, refusing, settings_for, settings_of, silent, upload

pytestmark = pytest.mark.slow

KEY = "a/照 片+~%25.txt"
ETAG = "5D41402ABC4B2A76B9719D911017C592"
Make = Callable[..., SDKBucket]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LocalOSSServer]:
    with serving_oss(LocalOSS(directory=tmp_path / "objects", key_bits=512)) as server:
        yield server


make = closing_fixture(SDKBucket, clock=time.time, timeout=60.0)


@pytest.fixture
def bucket(server: LocalOSSServer, make: Make) -> SDKBucket:
    client: BucketClient = make(settings_of(server))
    assert isinstance(client, SDKBucket)
    return client


def test_head_returns_what_is_stored_with_its_metadata(server: LocalOSSServer, bucket: SDKBucket) -> None:
    before = time.time()
    upload(settings_of(server), b"hello", Grant(key=KEY, metadata={"who": "me", "a-b": "c"}))
    stored = bucket.head(KEY)
    assert stored is not None
    assert (stored.key, stored.size, stored.etag, stored.crc64) == (KEY, 5, ETAG, 11177612005948864433)
    assert (stored.content_type, stored.metadata) == ("text/plain", {"who": "me", "a-b": "c"})
    assert before - 2 < stored.last_modified < time.time() + 2
    assert stored.request_id


def test_an_absent_object_is_none(bucket: SDKBucket) -> None:
    assert bucket.head(KEY) is None


def test_an_object_is_read_from_any_byte_on_in_pieces(server: LocalOSSServer, bucket: SDKBucket) -> None:
    data = bytes(range(256)) * 4096
    etag = put(server, KEY, data)
    pieces = list(bucket.read(KEY, etag, 0))
    assert b"".join(pieces) == data and max(map(len, pieces)) <= 1 << 20
    assert b"".join(bucket.read(KEY, etag, 1_000_000)) == data[1_000_000:]
    assert b"".join(bucket.read(KEY, etag, len(data) - 1)) == data[-1:]
    assert b"".join(bucket.read(KEY, put(server, KEY, b""), 0)) == b""


def test_an_object_that_is_gone_or_replaced_is_not_read(server: LocalOSSServer, bucket: SDKBucket) -> None:
    put(server, KEY, b"replaced")
    for key in (KEY, "none"):
        for start in (0, 2):
            with pytest.raises(NotStoredError, match="does not hold the object"):
                next(bucket.read(key, ETAG, start))
    with pytest.raises(BucketRefusedError, match="InvalidRange"):
        next(bucket.read(KEY, put(server, KEY, b"hello"), 5))


def test_a_server_that_ignores_the_range_is_not_believed(server: LocalOSSServer, make: Make) -> None:
    def whole(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", "5"), ("Content-Type", "text/plain")])
        return [b"hello"]

    bucket = make(settings_of(server))
    application, server.oss = server.oss, whole  # type: ignore[assignment]
    try:
        with pytest.raises(BucketUnreachableError, match="begins at another byte"):
            next(bucket.read(KEY, ETAG, 2))
    finally:
        server.oss = application


def test_an_object_that_is_stored_compressed_is_read_as_it_is(server: LocalOSSServer, bucket: SDKBucket) -> None:
    data = gzip.compress(b"text " * 1000)
    etag = put(server, KEY, data, {"Content-Encoding": "gzip"})
    assert b"".join(bucket.read(KEY, etag, 0)) == data
    assert b"".join(bucket.read(KEY, etag, 5)) == data[5:]


def test_an_object_is_stored_copied_and_deleted(server: LocalOSSServer, bucket: SDKBucket) -> None:
    copy = "b/猫+ %25.png"
    bucket.put(KEY, b"hello", {"Content-Type": "text/plain", "x-oss-meta-receipt": "sealed"})
    assert bucket.copy(KEY, ETAG, copy, {"Content-Type": "image/png"}) == ETAG
    stored = bucket.head(copy)
    assert stored is not None
    assert (stored.size, stored.content_type, stored.metadata) == (5, "image/png", {})
    for key in (KEY, copy, "none"):
        bucket.delete(key)
        assert bucket.head(key) is None


def test_a_copy_is_of_the_object_that_has_the_etag(server: LocalOSSServer, bucket: SDKBucket) -> None:
    put(server, KEY, b"replaced")
    upload_id = bucket.begin("copy", {})
    for source in (KEY, "none"):
        with pytest.raises(NotStoredError, match="does not hold the object"):
            bucket.copy(source, ETAG, "copy", {})
        with pytest.raises(NotStoredError, match="does not hold the object"):
            bucket.copy_part(source, ETAG, 0, 5, "copy", upload_id, 1)
    assert bucket.head("copy") is None


def test_nothing_is_stored_over_an_object_if_that_is_forbidden(server: LocalOSSServer, bucket: SDKBucket) -> None:
    put(server, KEY)
    forbidding = {"x-oss-forbid-overwrite": "true"}
    acts: list[Callable[[], Any]] = [
        lambda: bucket.put(KEY, b"x", forbidding),
        lambda: bucket.copy(KEY, ETAG, KEY, forbidding),
        lambda: bucket.begin(KEY, forbidding),
    ]
    for act in acts:
        with pytest.raises(BucketRefusedError) as caught:
            act()
        assert caught.value.code == "FileAlreadyExists"


def test_an_object_is_made_of_parts_that_are_sent_and_copied(server: LocalOSSServer, bucket: SDKBucket) -> None:
    data = bytes(range(256)) * 1000
    etag = put(server, KEY, data)
    upload_id = bucket.begin("copy", {"Content-Type": "image/png"})
    etags = [
        bucket.copy_part(KEY, etag, 1000, 150_000, "copy", upload_id, 1),
        bucket.put_part("copy", upload_id, 2, b"end"),
    ]
    stored = bucket.complete("copy", upload_id, list(enumerate(etags, 1)), {})
    assert b"".join(bucket.read("copy", stored.etag, 0)) == data[1000:150_000] + b"end"


def test_a_folder_is_listed_whatever_its_size(server: LocalOSSServer, bucket: SDKBucket) -> None:
    for number in range(1005):
        put(server, f"a/猫 &{number}/x" if number % 2 else f"a/{number}+")
    put(server, "b")
    folders, keys = bucket.list_folder("a/")
    assert sorted(folders) == sorted(f"a/猫 &{number}/" for number in range(1, 1005, 2))
    assert sorted(keys) == sorted(f"a/{number}+" for number in range(0, 1005, 2))
    assert bucket.list_folder("") == (["a/"], ["b"])
    assert bucket.list_folder("c/") == ([], [])


def test_reading_that_is_given_up_leaves_the_bucket_usable(server: LocalOSSServer, bucket: SDKBucket) -> None:
    etag = put(server, KEY, b"x" * 4_000_000)
    for _ in range(30):  # more than the client has connections
        reading = bucket.read(KEY, etag, 0)
        assert isinstance(reading, Generator)
        next(reading)
        reading.close()
    assert bucket.head(KEY) is not None


def test_listing_goes_on_after_a_name_whatever_is_in_it(server: LocalOSSServer, bucket: SDKBucket) -> None:
    keys = sorted([KEY, "a/1", "a/2 &<b>", "a/\u200d", "b/猫"], key=str.encode)
    for key in keys:
        put(server, key)
    assert [listed.key for listed in bucket.list("", "", 1000)] == keys
    seen: list[str] = []
    while page := bucket.list("a/", seen[-1] if seen else "", 2):
        seen += [listed.key for listed in page]
    assert seen == keys[:-1]
    assert {listed.etag for listed in bucket.list("", "", 1000)} == {ETAG}
    assert abs(bucket.list("", "", 1)[0].last_modified - time.time()) < 60


def put(server: LocalOSSServer, key: str, data: bytes = b"hello", headers: dict[str, str] | None = None) -> str:
    """Store an object, and return its ETag."""
    with server.oss.storage.bucket(server.oss.bucket).incoming() as incoming:
        incoming.write(data)
        return incoming.commit(key, "text/plain", headers or {}, now=time.time()).etag


def test_an_upload_in_parts_begins_lists_completes_and_aborts(server: LocalOSSServer, bucket: SDKBucket) -> None:
    storage = server.oss.storage.bucket(server.oss.bucket)
    upload_id = bucket.begin("big.png", {"Content-Type": "image/png", "x-oss-meta-who": "me"})
    assert list(bucket.list_parts("big.png", upload_id)) == []
    for number in (1, 2):
        with storage.incoming() as incoming:
            incoming.write(b"x" * 102_400)
            part = incoming.commit_part(storage.upload("big.png", upload_id), number, now=time.time())
    parts = bucket.list_parts("big.png", upload_id)
    assert [(stored.number, stored.size, stored.etag.strip('"')) for stored in parts] == [
        (number, 102_400, part.etag) for number in (1, 2)
    ]
    assert isinstance(parts[0], StoredPart)
    stored = bucket.complete("big.png", upload_id, [(part.number, part.etag) for part in parts], {})
    assert (stored.size, stored.content_type, stored.metadata) == (204_800, "image/png", {"who": "me"})
    assert stored.etag.endswith("-2") and stored.request_id
    with pytest.raises(NotStoredError):
        bucket.complete("big.png", upload_id, [(1, part.etag)], {})
    with pytest.raises(NotStoredError):
        bucket.list_parts("big.png", upload_id)
    bucket.abort("big.png", upload_id)
    other = bucket.begin("big.png", {})
    bucket.abort("big.png", other)
    with pytest.raises(NotStoredError):
        bucket.list_parts("big.png", other)


def test_parts_are_listed_over_all_pages(server: LocalOSSServer, bucket: SDKBucket) -> None:
    storage = server.oss.storage.bucket(server.oss.bucket)
    upload_id = bucket.begin("big.png", {})
    upload = storage.upload("big.png", upload_id)
    numbers = [number * 4 for number in range(1, 1002)]  # they need not be consecutive; a page has 1,000
    for count, number in enumerate(numbers, 1):
        with storage.incoming() as incoming:
            incoming.write(b"x")
            incoming.commit_part(upload, number, now=time.time())
        if count >= 1000:
            assert [part.number for part in bucket.list_parts("big.png", upload_id)] == numbers[:count]


def test_completing_can_forbid_overwriting(server: LocalOSSServer, bucket: SDKBucket) -> None:
    put(server, "taken")
    upload_id = bucket.begin("taken", {})
    storage = server.oss.storage.bucket(server.oss.bucket)
    with storage.incoming() as incoming:
        incoming.write(b"x")
        part = incoming.commit_part(storage.upload("taken", upload_id), 1, now=time.time())
    with pytest.raises(BucketRefusedError) as raised:
        bucket.complete("taken", upload_id, [(1, part.etag)], {"x-oss-forbid-overwrite": "true"})
    assert raised.value.code == "FileAlreadyExists"


CALLS: dict[str, tuple[Callable[[SDKBucket], object], str]] = {
    "head": (lambda bucket: bucket.head("a"), "oss:GetObject"),
    "read": (lambda bucket: next(bucket.read("a", "E", 0)), "oss:GetObject"),
    "list": (lambda bucket: bucket.list("", "", 10), "oss:ListObjects"),
    "begin": (lambda bucket: bucket.begin("a", {}), "oss:PutObject"),
    "list_parts": (lambda bucket: bucket.list_parts("a", "1"), "oss:ListParts"),
    "complete": (lambda bucket: bucket.complete("a", "1", [(1, "E")], {}), "oss:PutObject"),
    "abort": (lambda bucket: bucket.abort("a", "1"), "oss:AbortMultipartUpload"),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_refused_key_names_oss_code_and_the_missing_right(server: LocalOSSServer, make: Make, call: str) -> None:
    function, right = CALLS[call]
    bucket = make(settings_of(server, access_key_id="LTAIunknown"))
    with pytest.raises(BucketRefusedError, match="InvalidAccessKeyId") as raised:
        function(bucket)
    assert (raised.value.reason, raised.value.code) == ("bucket_refused", "InvalidAccessKeyId")
    assert raised.value.right == right
    assert right in raised.value.hint


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("down", [silent, dripping, refusing])
def test_each_call_ends_within_its_time(down: Any, make: Make, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oss_wsgi.sdk.bucket.LONG_TIMEOUT", 0.3)
    with down() as url, pytest.raises(BucketUnreachableError) as raised:
        CALLS[call][0](make(settings_for(url), timeout=0.3))
    assert raised.value.reason == "bucket_unreachable"


def test_bytes_that_come_one_by_one_or_stop_end_the_reading(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oss_wsgi.sdk.bucket.LONG_TIMEOUT", 0.3)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\nContent-Type: a/b\r\n\r\n"
    for begin, breaks in ((head, False), (head + b"x" * 400_000, True)):
        with dripping(begin, breaks=breaks) as url:
            reading = make(settings_for(url)).read("a", "E", 0)
            with pytest.raises(BucketUnreachableError):
                list(reading)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("500 Internal Server Error", BucketUnreachableError),
        ("503 Slow Down", BucketUnreachableError),
        ("403 Forbidden", BucketRefusedError),
    ],
)
def test_a_server_error_may_pass_and_a_refusal_does_not(
    server: LocalOSSServer, make: Make, status: str, kind: type[BucketError]
) -> None:
    methods: list[str] = []

    def failing(environ: Any, start_response: Any) -> Any:
        methods.append(environ["REQUEST_METHOD"])
        start_response(status, [("Content-Length", "0"), ("x-oss-request-id", "1")])
        return []

    bucket = make(settings_of(server))
    application, server.oss = server.oss, failing  # type: ignore[assignment]
    try:
        with pytest.raises(kind, match=status[:3]):
            bucket.head("a")
    finally:
        server.oss = application
    assert methods == ["HEAD"], "the SDK's own retries are off"


def test_a_missing_bucket_is_not_a_missing_object(server: LocalOSSServer, make: Make) -> None:
    bucket = make(settings_of(server, bucket="no-such-bucket", host=f"{server.url}/no-such-bucket"))
    for call in ("head", "list"):
        with pytest.raises(BucketRefusedError, match="404 NoSuchBucket"):
            CALLS[call][0](bucket)


def test_temporary_keys_are_renewed_by_their_provider(tmp_path: Path, make: Make) -> None:
    oss = LocalOSS(directory=tmp_path, key_bits=512, security_token="the-token")
    later = datetime(2100, 1, 1, tzinfo=timezone.utc)
    good, stale = (
        Credentials(oss.access_key_id, oss.access_key_secret, token, later) for token in ("the-token", "stale")
    )
    keys = [good, stale]

    class Provider:
        def get_credentials(self) -> Credentials:
            if not keys:
                raise CredentialsError("the role cannot be assumed")
            return keys.pop()

    with serving_oss(oss) as server:
        bucket = make(settings_of(server, access_key_id=None, access_key_secret=None), credentials=Provider())
        with pytest.raises(BucketRefusedError, match="InvalidSecurityToken"):
            bucket.head("a")
        assert bucket.head("a") is None
        with pytest.raises(BucketRefusedError, match="the role cannot be assumed") as raised:
            bucket.head("a")
        assert raised.value.reason == "credentials_unavailable"
        refreshing = RefreshingCredentialsProvider(StaticCredentialsProvider(good), clock=time.time)
        keyless = settings_of(server, access_key_id=None, access_key_secret=None)
        assert make(keyless, credentials=refreshing).head("a") is None


def test_an_expired_key_is_not_sent(server: LocalOSSServer, make: Make) -> None:
    oss = server.oss
    expired = Credentials(oss.access_key_id, oss.access_key_secret, None, datetime(2020, 1, 1, tzinfo=timezone.utc))
    bucket = make(settings_of(server), credentials=StaticCredentialsProvider(expired))
    with pytest.raises(BucketRefusedError, match="have expired") as raised:
        bucket.head("a")
    assert raised.value.reason == "credentials_unavailable"


def test_an_error_shows_no_secret(server: LocalOSSServer, make: Make) -> None:
    secret = "a-secret-that-nobody-may-read"
    with pytest.raises(BucketRefusedError) as raised:
        make(settings_of(server, access_key_secret=secret)).list("", "", 1)
    assert secret not in str(raised.value)
    assert "Signature=" not in str(raised.value)


def test_a_closed_client_connects_again(server: LocalOSSServer, bucket: SDKBucket) -> None:
    assert bucket.head("a") is None
    bucket.close()
    bucket.close()
    assert bucket.head("a") is None


def test_without_the_sdk_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "alibabacloud_oss_v2", None)
    with pytest.raises(SettingsError, match=r"SDKBucket needs the official SDK: pip install 'oss-wsgi\[sdk\]'"):
        SDKBucket(settings_for("http://127.0.0.1"), clock=time.time)
    settings = {
        "bucket": "examplebucket",
        "region": "cn-hangzhou",
        "access_key_id": "id",
        "access_key_secret": "secret",
    }
    with pytest.raises(SettingsError, match=r"oss-wsgi\[sdk\]"):
        DirectUpload(lambda environ, start_response: [], Settings(recover=True, **settings))
    assert DirectUpload(lambda environ, start_response: [], Settings(**settings))


def test_settings_without_a_bucket_or_a_key_and_a_time_of_none_are_refused() -> None:
    with pytest.raises(SettingsError, match="OSS_BUCKET"):
        SDKBucket(Settings(), clock=time.time)
    with pytest.raises(SettingsError, match="OSS_ACCESS_KEY_ID"):
        SDKBucket(Settings(bucket="examplebucket", region="cn-hangzhou"), clock=time.time)
    with pytest.raises(ValueError, match="timeout must be more than 0 s"):
        SDKBucket(settings_for("http://127.0.0.1"), clock=time.time, timeout=0)


def test_a_lost_upload_is_recovered_and_known_over_http(tmp_path: Path, make: Make) -> None:
    uploads: list[Any] = []
    oss = InProcessOSS(directory=tmp_path, key_bits=512)
    with serving_oss(oss) as server:
        settings = {"recover": True, "callback_required": True}
        bucket_client = make(settings_of(server))
        with UploadClient(
            not_found, settings, oss=oss, bucket_client=bucket_client, on_upload=uploads.append
        ) as client:
            recover_over_http(client, oss)
    assert [upload.recovered for upload in uploads] == [True]


def recover_over_http(client: UploadClient, oss: LocalOSS) -> None:
    fields: dict[str, str] = {}
    oss.fail_next("callback_refused")
    assert client.upload("猫.png", b"hello", content_type="image/png", change=fields.update).status_int == 203
    assert without_signed_id(client.recover(fields["callback"], fields["key"]).json) == {"Status": "Ok"}
    assert client.direct_upload.reconcile(until=0).known == 1
    with urllib.request.urlopen(oss.signed_url(fields["key"])) as response:
        public = response.headers["x-oss-meta-oss-wsgi"]
    assert public == fields["x-oss-meta-oss-wsgi"], "whoever may read the object sees the receipt, and nothing in it"
