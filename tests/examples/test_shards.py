"""examples/shards.py: two machines with ledgers of their own, and a signer that names one of them in each form."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import webob

from local_oss import LocalOSS
from oss_wsgi import DirectUpload, Grant, Settings, Upload
from oss_wsgi.testing.clients import get_response, multipart
from oss_wsgi.testing.local_oss import environ_for
from tests.support.deployment import not_found
from tests.support.scripts import load
from tests.support.server_threads import serving_application, serving_oss

from ..support.callbacks import without_signed_id

EXAMPLE = Path(__file__).parents[2] / "examples" / "shards.py"


class Machine:
    """A server with a SQLite ledger of its own, the uploads that it heard of, and the objects that were reported."""

    def __init__(self, name: str, settings: Settings, folder: Path) -> None:
        self._stack = contextlib.ExitStack()
        self.url = f"{self._stack.enter_context(serving_application(self._count))}/oss/callback"
        self._ledger = folder / f"ledger-{name}.sqlite3"
        own = {"callback_url": self.url, "upload_dir": f"uploads/{name}/", "ledger": str(self._ledger)}
        self.uploads: list[str] = []
        self.reports = 0
        self.application = DirectUpload(not_found, replace(settings, **own), on_upload=self._save)
        self._stack.callback(self.application.ledger.close)

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def ledger(self) -> list[str]:
        with contextlib.closing(sqlite3.connect(self._ledger)) as connection:
            return [name for (name,) in connection.execute("SELECT object FROM answers ORDER BY object")]

    def _save(self, upload: Upload) -> None:
        self.uploads.append(str(upload.object))

    def _count(self, environ: Any, start_response: Any) -> Any:
        self.reports += 1
        return self.application(environ, start_response)


@dataclass
class Fleet:
    machines: list[Machine]
    signer: Any
    oss: LocalOSS

    def sign(self, **environ: str) -> Any:
        request = webob.Request.blank("/oss/signature?filename=a.png", environ)
        return get_response(request, self.signer)

    def upload(self, fields: dict[str, str], data: bytes = b"hello") -> dict[str, Any]:
        """Post a form as a browser does, and return what the application answered."""
        content_type, body = multipart(fields, "a.png", data, "image/png")
        request = urllib.request.Request(self.oss.host, body, {"Content-Type": content_type})
        with urllib.request.urlopen(request) as response:
            return dict(json.load(response)) if response.status == 200 else {}


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    example = load(EXAMPLE)
    with contextlib.ExitStack() as stack:
        oss = stack.enter_context(LocalOSS(directory=tmp_path / "objects"))
        stack.enter_context(serving_oss(oss))
        own = {"OSS_UPLOAD_DIR": "uploads/", "OSS_MULTIPART": "on"}
        settings = Settings.from_environ({**environ_for(oss, tmp_path), **own})
        machines = [stack.enter_context(Machine(name, settings, tmp_path)) for name in ("0", "1")]
        shards = {str(number): machine.url for number, machine in enumerate(machines)}

        def authorize(request: webob.Request) -> Grant | None:
            grant = example.authorize(request)
            return grant and replace(grant, forbid_overwrite=False)

        yield Fleet(machines, example.signer(settings, shards, authorize), oss)


def test_a_signer_sends_no_file_in_parts(fleet: Fleet) -> None:
    limits = get_response(webob.Request.blank("/oss/limits", {"REMOTE_USER": "eric"}), fleet.signer)
    assert "multipart" not in limits.json["methods"]


def test_the_reports_of_a_ticket_reach_one_machine(fleet: Fleet) -> None:
    names: dict[str, set[str]] = {"0": set(), "1": set()}
    while not all(len(each) >= 3 for each in names.values()):
        fields = fleet.sign(REMOTE_USER="eric").json["fields"]
        _, shard, _ = fields["key"].split("/", 2)
        before = [machine.reports for machine in fleet.machines]
        assert without_signed_id(fleet.upload(fields)) == {"Status": "Ok"}
        assert without_signed_id(fleet.upload(fields)) == {"Status": "Ok"}
        after = [machine.reports for machine in fleet.machines]
        reports = [new - old for new, old in zip(after, before, strict=True)]
        assert reports == [2 * (shard == name) for name in names]
        names[shard].add(fields["key"])
    for machine, expected in zip(fleet.machines, names.values(), strict=True):
        assert machine.ledger() == sorted(machine.uploads) == sorted(expected), "each of them once"


def test_a_sweep_of_a_machine_finds_its_own_uploads_only(fleet: Fleet) -> None:
    lost: set[str] = set()
    while len({name.split("/")[1] for name in lost}) < 2:
        fields = fleet.sign(REMOTE_USER="eric").json["fields"]
        fleet.oss.fail_next("callback_refused")
        fleet.upload(fields)
        lost.add(fields["key"])
    for number, machine in enumerate(fleet.machines):
        own = sorted(name for name in lost if name.startswith(f"uploads/{number}/"))
        assert machine.application.reconcile(until=0).recovered == len(own)
        assert sorted(machine.uploads) == own
        assert machine.application.reconcile(until=0).known == len(own)


def test_the_signer_signs_for_users_alone(fleet: Fleet) -> None:
    assert fleet.sign().status_int == 403
