"""docs/never-lost.md: its recipes run, and its tables name what exists."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import webob

from oss_wsgi.endpoints.metrics import Metrics
from oss_wsgi.recovery.sweep import OUTCOMES
from oss_wsgi.testing import UploadClient

from .recovery.test_reconciler_events import event, message
from .support.deployment import not_found

DOCUMENT = (Path(__file__).parents[1] / "docs" / "never-lost.md").read_text(encoding="utf-8")
CONSUMER, TARGET = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)


class Shop:
    """An application under the name that the recipes import, with one lost upload."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.uploads: list[Any] = []
        self.failing = False
        self.client = UploadClient(not_found, on_upload=self.save)
        module = ModuleType("yourapp")
        module.application = self.client.direct_upload  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "yourapp", module)
        fields: dict[str, str] = {}
        self.client.local_oss.fail_next("callback_refused")
        self.client.upload("a.png", b"hello", content_type="image/png", change=fields.update)
        self.body = message(event(fields["key"]))

    def save(self, upload: Any) -> None:
        if self.failing:
            raise RuntimeError("not now")
        self.uploads.append(upload)


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    shop = Shop(monkeypatch)
    yield shop
    shop.client.close()


class Queue:
    """A queue as the official SDK shows one; a message that is not deleted comes again."""

    def __init__(self, *bodies: bytes) -> None:
        self.messages = {str(number): body for number, body in enumerate(bodies)}
        self.received: list[str] = []

    def receive_message(self, wait_seconds: int) -> Any:
        if not self.messages or len(self.received) > 5:
            raise EOFError
        handle, body = next(iter(self.messages.items()))
        self.received.append(handle)
        return SimpleNamespace(message_body=body.decode(), receipt_handle=handle)

    def delete_message(self, handle: str) -> None:
        del self.messages[handle]


def test_the_queue_consumer_deletes_only_what_is_handled(shop: Shop) -> None:
    names: dict[str, Any] = {}
    exec(CONSUMER, names)
    shop.failing = True
    queue = Queue(shop.body)
    with pytest.raises(EOFError):
        names["consume"](queue)
    assert len(queue.messages) == 1
    shop.failing = False
    queue = Queue(b"no event", shop.body, shop.body)
    with pytest.raises(EOFError):
        names["consume"](queue)
    assert queue.messages == {}
    assert len(shop.uploads) == 1


def test_the_http_target_answers_so_that_what_failed_comes_again(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENT_TOKEN", "a token")
    names: dict[str, Any] = {}
    exec(TARGET, names)

    def post(body: bytes, token: str = "a token") -> int:
        request = webob.Request.blank("/events", method="POST", body=body, headers={"X-Event-Token": token})
        return int(request.get_response(names["events"]).status_int)

    shop.failing = True
    assert (post(shop.body, "wrong"), post(shop.body), post(b"no event")) == (403, 503, 400)
    shop.failing = False
    assert (post(shop.body), post(shop.body)) == (200, 200)
    assert len(shop.uploads) == 1


def test_the_table_of_outcomes_is_that_of_the_sweep() -> None:
    (section,) = re.findall(r"^## 4\. (.*?)^## 5\.", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert tuple(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == OUTCOMES
    assert Metrics.__doc__ is not None
    for name in re.findall(r"`(oss_wsgi_\w+)`", section):
        assert name in Metrics.__doc__
