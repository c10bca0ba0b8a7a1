"""The events of OSS, in every layout in which they come: documented, captured, wrapped."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from oss_wsgi.exceptions import MalformedRecoveryError
from oss_wsgi.recovery.events import UploadEvent, read_events

#: A published capture (Knative on Alibaba Cloud, December 2020): region and the like stand beside ``oss``.
CAPTURED = {
    "events": [
        {
            "eventName": "ObjectCreated:PostObject",
            "eventSource": "acs:oss",
            "eventTime": "2019-06-18T06:44:16.000Z",
            "eventVersion": "1.0",
            "oss": {
                "bucket": {
                    "arn": "acs:oss:cn-beijing:1041208914252405:testjian",
                    "name": "testjian",
                    "ownerIdentity": "1041208914252405",
                    "virtualBucket": "",
                },
                "object": {
                    "deltaSize": 0,
                    "eTag": "137138904F2E18D307D04EB38EA44CDA",
                    "key": "timg.jpg",
                    "size": 12990,
                },
                "ossSchemaVersion": "1.0",
                "ruleId": "demo-i****",
            },
            "region": "cn-beijing",
            "requestParameters": {"sourceIPAddress": "42.120.7x.x"},
            "responseElements": {"requestId": "5D08884070BC12B192C6****"},
            "userIdentity": {"principalId": "1041208914252405"},
        }
    ]
}
EVENT: dict[str, Any] = CAPTURED["events"][0]
BESIDE = ("region", "requestParameters", "responseElements", "userIdentity")

#: The layout of OSS's own page: these members stand inside ``oss``, and so do the custom variables.
DOCUMENTED = {
    "events": [
        {
            **{name: value for name, value in EVENT.items() if name not in BESIDE},
            "oss": {
                **EVENT["oss"],
                **{name: EVENT[name] for name in BESIDE},
                "xVars": {"x:callback-var1": "value1", "x:callback-var2": "value2"},
            },
        }
    ]
}

#: EventBridge: a CloudEvent around the same members.
CLOUD_EVENT = {
    "id": "45ef4dewdwe1-7c35-447a-bd93-fab****",
    "source": "acs.oss",
    "specversion": "1.0",
    "subject": "acs:oss:cn-beijing:1041208914252405:testjian/timg.jpg",
    "time": "2019-06-18T06:44:16.000Z",
    "type": "oss:ObjectCreated:PostObject",
    "aliyunaccountid": "1041208914252405",
    "datacontenttype": "application/json;charset=utf-8",
    "data": {name: value for name, value in EVENT.items() if name != "eventName"},
}

EXPECTED = UploadEvent("ObjectCreated:PostObject", "testjian", "timg.jpg", "137138904F2E18D307D04EB38EA44CDA")


def encoded(document: Any) -> bytes:
    return base64.b64encode(json.dumps(document).encode())


BODIES: dict[str, bytes | str] = {
    "captured": json.dumps(CAPTURED).encode(),
    "captured, Base64": encoded(CAPTURED),
    "captured, Base64 in lines": base64.encodebytes(json.dumps(CAPTURED).encode()),
    "documented": json.dumps(DOCUMENTED, indent=1).encode(),
    "documented, Base64": encoded(DOCUMENTED),
    "text": json.dumps(CAPTURED),
    "byte order mark": b"\xef\xbb\xbf" + json.dumps(CAPTURED).encode(),
    "one event alone": json.dumps(EVENT).encode(),
    "eventName inside oss": json.dumps(
        {"oss": {**EVENT["oss"], "eventName": "oss:ObjectCreated:PostObject"}, "region": "cn-beijing"}
    ).encode(),
    "three CloudEvents in each other": json.dumps({"data": {"data": {"data": EVENT}}}).encode(),
    "lists of events in each other": json.dumps({"events": [{"events": [{"events": [EVENT]}]}]}).encode(),
    "1 MiB": json.dumps(CAPTURED).encode().ljust(1024 * 1024),
    "CloudEvent": json.dumps(CLOUD_EVENT).encode(),
    "CloudEvent with eventName": json.dumps({**CLOUD_EVENT, "data": EVENT}).encode(),
    "CloudEvent around events": json.dumps({**CLOUD_EVENT, "data": CAPTURED}).encode(),
    "CloudEvent, data as text": json.dumps({**CLOUD_EVENT, "data": json.dumps(CLOUD_EVENT["data"])}).encode(),
    "CloudEvent, data_base64": json.dumps(
        {**{k: v for k, v in CLOUD_EVENT.items() if k != "data"}, "data_base64": encoded(CLOUD_EVENT["data"]).decode()}
    ).encode(),
    "batch of CloudEvents": json.dumps([CLOUD_EVENT]).encode(),
    "push of SMQ": json.dumps({"TopicName": "t", "Message": encoded(CAPTURED).decode()}).encode(),
    "message of SMQ": json.dumps({"MessageId": "1", "MessageBody": encoded(DOCUMENTED).decode()}).encode(),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_an_event_is_read_in_each_layout(body: bytes | str) -> None:
    assert read_events(body) == [EXPECTED]


def test_several_events_come_in_order() -> None:
    other = {**EVENT, "eventName": "ObjectRemoved:DeleteObject"}
    events = read_events(json.dumps({"events": [EVENT, other, EVENT]}))
    assert [event.name for event in events] == [
        "ObjectCreated:PostObject", "ObjectRemoved:DeleteObject", "ObjectCreated:PostObject",
    ]  # fmt: skip
    assert read_events(b'{"events": []}') == []


def test_an_etag_is_normalised_and_may_be_missing() -> None:
    quoted = {"key": "a", "eTag": '"137138904f2e18d307d04eb38ea44cda"'}
    objects = quoted, {"key": "a"}, {"key": "a", "eTag": 1}
    events = [{**EVENT, "oss": {**EVENT["oss"], "object": stored}} for stored in objects]
    assert [event.etag for event in read_events(json.dumps({"events": events}))] == [EXPECTED.etag, "", ""]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not JSON",
        b"\xff",
        b"1",
        b'"text"',
        b"null",
        b"{}",
        b"[1]",
        b'{"events": [1]}',
        b'{"oss": {}}',
        b'{"eventName": "x", "oss": {"bucket": {"name": "b"}, "object": {}}}',
        b'{"eventName": "x", "oss": {"bucket": {}, "object": {"key": "k"}}}',
        b'{"oss": {"bucket": {"name": "b"}, "object": {"key": "k"}}}',
        b'{"eventName": 1, "oss": {"bucket": {"name": "b"}, "object": {"key": "k"}}}',
        b'{"eventName": "x", "oss": {"bucket": {"name": "b"}, "object": {"key": "\\ud800"}}}',
        b'{"data": "%%%"}',
        b'{"data": "[]"}',
        b"[" * 100_000,
        b'{"Message": ' + b'"{\\"Message\\": 1}"' + b"}",
        base64.b64encode(base64.b64encode(encoded(CAPTURED))),
        json.dumps(CAPTURED).encode().ljust(1024 * 1024 + 1),
        base64.encodebytes(json.dumps(CAPTURED).encode()).replace(b"\n", b"!"),
        b'{"eventName": "x", "oss": {"bucket": {"name": "b"}, "object": {"key": 7}}}',
        b'{"eventName": "x", "oss": {"bucket": {"name": "b"}, "object": {"key": ""}}}',
        b'{"eventName": "x", "oss": {"bucket": {"name": 7}, "object": {"key": "k"}}}',
        b'{"eventName": "x", "oss": {"bucket": {"name": "b"}, "object": {"key": "k", "eTag": "\\u4e2d"}}}',
        json.dumps({"data": {"data": {"data": {"data": EVENT}}}}).encode(),
        json.dumps({"events": [{"events": [{"events": [{"events": [EVENT]}]}]}]}).encode(),
    ],
)
def test_anything_else_is_no_event(body: bytes) -> None:
    with pytest.raises(MalformedRecoveryError, match="this is not an event of OSS") as raised:
        read_events(body)
    assert raised.value.reason == "event_malformed"


@pytest.mark.parametrize(
    "odd",
    [
        None,
        1,
        "text",
        [],
        {},
        {"data": "%%%"},
        {"data": "[]"},
        {"data": {}},
        {"data_base64": "e30"},
        {"events": [None]},
        {"data": {"data": {"data": {"data": {"data": {}}}}}},
        {**EVENT, "oss": {"bucket": {"name": "b"}, "object": {"key": "\ud800"}}},
    ],
)
def test_an_odd_member_does_not_keep_others_from_being_read(odd: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert read_events(json.dumps({"events": [EVENT, odd, EVENT]})) == [EXPECTED, EXPECTED]
    assert read_events(json.dumps([odd, CLOUD_EVENT])) == [EXPECTED]
    assert "1 of 3 events in a message are ignored" in caplog.text


@pytest.mark.parametrize("body", ['{"events": []}', "[]", '{"data": {"events": []}}', '[{"events": []}]'])
def test_a_message_without_events_has_nothing_to_do(body: str) -> None:
    assert read_events(body) == []
