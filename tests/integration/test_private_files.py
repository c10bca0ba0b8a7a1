"""All written files are readable by their owner alone, under every umask, even if others could read them before."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import webtest

from oss_wsgi.ledger.sqlite import SQLiteLedger
from oss_wsgi.testing.clients import UploadClient
from oss_wsgi.testing.local_oss import InProcessOSS, environ_for
from oss_wsgi.testing.recorded import CallbackRecorder

from ..ledger.contract import Handler, LedgerClock, identity
from ..support.ledger_programs import POSIX

pytestmark = POSIX


@pytest.fixture(params=[0, 0o022, 0o777], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(folder: Path) -> dict[str, str]:
    """Return the modes of everything below a folder, of sockets and links too."""
    return {
        str(path.relative_to(folder)): oct(stat.S_IMODE(path.lstat().st_mode)) for path in sorted(folder.rglob("*"))
    }


def assert_private(folder: Path) -> None:
    found = modes(folder)
    assert found
    for name, mode in found.items():
        assert mode == ("0o700" if (folder / name).is_dir() else "0o600"), (name, found)


def test_a_ledger_that_was_wider_is_narrowed(tmp_path: Path) -> None:
    first = SQLiteLedger(tmp_path / "ledger.db", clock=LedgerClock())
    first.run_once(identity(), Handler())
    for path in tmp_path.iterdir():
        if not path.name.endswith("-lock"):
            path.chmod(0o644)
    with first, SQLiteLedger(tmp_path / "ledger.db", clock=LedgerClock()) as ledger:
        ledger.run_once(identity("t2"), Handler())
        assert_private(tmp_path)


def parts(oss: InProcessOSS) -> None:
    bucket = oss.storage.bucket(oss.bucket)
    upload = bucket.begin("part.bin", "text/plain", {}, now=0.0)
    with bucket.incoming() as incoming:
        incoming.write(b"part")
        incoming.commit_part(upload, 1, now=0.0)


@pytest.mark.usefixtures("umask")
def test_the_folder_of_the_local_oss_is_private(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "oss"
    with InProcessOSS(directory=folder) as oss:
        UploadClient(lambda environ, start: [], oss=oss).upload("cat.png", b"cat")
        parts(oss)
        file = oss.storage.blobs.create()
        assert file is not None
        assert len(modes(tmp_path)) > 8
        assert_private(tmp_path)
        file.close()


@pytest.mark.usefixtures("umask")
def test_the_temporary_folder_of_the_local_oss_is_private() -> None:
    with InProcessOSS() as oss:
        assert stat.S_IMODE(oss.directory.stat().st_mode) == 0o700
        assert_private(oss.directory)


def test_the_folder_of_a_local_oss_that_was_wider_is_narrowed(tmp_path: Path) -> None:
    with InProcessOSS(directory=tmp_path) as oss:
        UploadClient(lambda environ, start: [], oss=oss).upload("cat.png", b"cat")
        parts(oss)
    folders = [tmp_path / name for name in (oss.bucket, ".parts", ".incoming")]
    for path in (*folders, tmp_path / ".index.sqlite3"):
        path.chmod(0o755)
    with InProcessOSS(directory=tmp_path):
        assert [oct(stat.S_IMODE(path.stat().st_mode)) for path in folders] == ["0o700"] * 3
        assert {mode for name, mode in modes(tmp_path).items() if name.startswith(".index")} == {"0o600"}


@pytest.mark.usefixtures("umask")
def test_recordings_and_the_key_file_are_private(tmp_path: Path) -> None:
    with InProcessOSS() as oss:
        environ_for(oss, tmp_path)

    def application(environ: object, start_response: object) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])  # type: ignore[operator]
        return [b""]

    recorder = CallbackRecorder(application, tmp_path / "all" / "recordings")
    headers = {"Authorization": "c2ln", "x-oss-pub-key-url": "aHR0cA=="}
    webtest.TestApp(recorder).post("/oss/callback", b"a=b", headers=headers)
    assert len(modes(tmp_path)) == 4
    assert_private(tmp_path)
