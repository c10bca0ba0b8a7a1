"""SDKClient over HTTP against the local OSS, with the real SDK; tests/sdk/test_bucket.py has what SDKBucket adds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_oss import LocalOSS, LocalOSSServer
from oss_wsgi.sdk.client import SDKCallError, SDKClient

from ..support.closing import closing_fixture
from ..support.server_threads import serving_oss
from .test_confirmation import refusing, settings_for, settings_of, silent

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LocalOSSServer]:
    with serving_oss(LocalOSS(directory=tmp_path / "objects", key_bits=512)) as server:
        yield server


make = closing_fixture(SDKClient, clock=time.time, timeout=60.0)


def failure(client: SDKClient) -> SDKCallError:
    with pytest.raises(SDKCallError) as raised:
        client.ask("get_bucket_location", "GetBucketLocationRequest")
    return raised.value


def test_a_call_returns_the_result_of_the_sdk(server: LocalOSSServer, make: Any) -> None:
    result = make(settings_of(server)).ask("get_bucket_location", "GetBucketLocationRequest")
    assert result.location == f"oss-{server.oss.region}"


def test_a_refusal_has_what_oss_answered_and_its_text_only_the_code(server: LocalOSSServer, make: Any) -> None:
    error = failure(make(settings_of(server, access_key_id="LTAIunknown")))
    assert (error.kind, error.status, error.code) == ("answer", 403, "InvalidAccessKeyId")
    assert error.ec and error.message and b"<Code>InvalidAccessKeyId</Code>" in error.document
    assert str(error) == "403 InvalidAccessKeyId"


@pytest.mark.parametrize(("down", "kind"), [(silent, "late"), (refusing, "network")])
def test_a_server_that_does_not_answer_ends_the_call_in_time(down: Any, kind: str, make: Any) -> None:
    with down() as url:
        error = failure(make(settings_for(url), timeout=0.3))
    assert (error.kind, error.status, error.code, error.document) == (kind, 0, "", b"")


def test_a_request_that_the_sdk_does_not_know_is_an_error_of_the_sdk(server: LocalOSSServer, make: Any) -> None:
    client = make(settings_of(server))
    with pytest.raises(SDKCallError, match="the SDK raised AttributeError") as raised:
        client.ask("no_such_operation", "GetBucketLocationRequest")
    assert raised.value.kind == "failed"
