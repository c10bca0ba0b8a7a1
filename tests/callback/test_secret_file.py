"""The file of the ticket secrets: what may be in it, and that everything that uses a secret follows it."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import webob

from oss_wsgi.callback.secret_file import SecretFile, read_secrets
from oss_wsgi.callback.ticket import ReceiptBook
from oss_wsgi.exceptions import SettingsError
from oss_wsgi.middleware.probe import PROBE_HEADER, PROBE_MEMBER, prove, secret_fingerprint
from oss_wsgi.settings import Settings, with_secrets_read
from oss_wsgi.testing import FrozenClock, UploadClient
from oss_wsgi.testing.clients import get_response
from tests.support.ledger_programs import POSIX

OLD, NEW = "an old secret of 32 characters ..", "a new secret of 32 characters ..."
#: Seconds within which a change counts.
SOON = 10


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "secrets"
    path.write_text(f"{OLD}\n", encoding="utf-8")
    return path


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


def write_anew(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def replace(path: Path, text: str) -> None:
    other = path.with_name("other")
    other.write_text(text, encoding="utf-8")
    other.replace(path)


def mount_as_kubernetes(folder: Path, version: str, text: str) -> None:
    """Write a version of a mounted Secret, and swap the link that leads to it."""
    (folder / version).mkdir()
    (folder / version / "secrets").write_text(text, encoding="utf-8")
    (folder / "..data_tmp").symlink_to(version)
    (folder / "..data_tmp").replace(folder / "..data")


@pytest.mark.parametrize(
    ("raw", "secrets"),
    [
        (f"{OLD}\n".encode(), (OLD,)),
        (f"{NEW}\n{OLD}".encode(), (NEW, OLD)),
        (f"# in order\r\n\r\n  {NEW} \r\n\t{OLD}\r\n#{OLD}\n\n".encode(), (NEW, OLD)),
        (f"\ufeff{'猫' * 32}\n".encode(), ("猫" * 32,)),
    ],
    ids=["one", "two", "comments", "utf-8"],
)
def test_each_line_is_a_secret(path: Path, raw: bytes, secrets: tuple[str, ...]) -> None:
    path.write_bytes(raw)
    assert read_secrets(str(path)) == secrets


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"", "holds no secret"),
        (b"\n \n# of 32 characters, but a comment\n", "holds no secret"),
        (f"{NEW}\nswordfish\n".encode(), "line 2 has fewer than 32 characters"),
        (f"{NEW},{OLD}\n".encode(), "line 1 has a comma"),
        (b"\xff" * 40, "not UTF-8 text"),
        (b"x" * 65_537, "over 64 KB"),
    ],
    ids=["empty", "comments", "short", "comma", "bytes", "long"],
)
def test_an_unusable_file_is_refused_and_not_quoted(path: Path, raw: bytes, problem: str) -> None:
    path.write_bytes(raw)
    with pytest.raises(SettingsError) as raised:
        SecretFile(str(path), clock=FrozenClock())
    assert re.search(f"{re.escape(str(path))}.*{problem}", str(raised.value))
    assert not [secret for secret in (OLD, NEW, "swordfish") if secret in str(raised.value)]


def test_a_file_of_64_kib_is_read(path: Path) -> None:
    path.write_text(f"{OLD}\n".ljust(65_536, "\n"), encoding="utf-8")
    assert read_secrets(str(path)) == (OLD,)


def test_the_name_of_the_file_is_shown_and_no_secret(path: Path, clock: FrozenClock) -> None:
    shown = repr(SecretFile(str(path), clock=clock))
    assert repr(str(path)) in shown
    assert OLD not in shown


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"missing.*No such file"):
        SecretFile(str(tmp_path / "missing"), clock=FrozenClock())
    with pytest.raises(SettingsError, match="cannot be used"):
        SecretFile(str(tmp_path), clock=FrozenClock())


@POSIX
def test_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SettingsError, match="not a regular file"):
        SecretFile(str(tmp_path / "pipe"), clock=FrozenClock())


@pytest.mark.parametrize("change", [write_anew, replace])
def test_a_changed_file_counts_soon(path: Path, clock: FrozenClock, change: Callable[[Path, str], None]) -> None:
    secrets = SecretFile(str(path), clock=clock)
    first = secrets()
    clock.advance(SOON)
    assert secrets() is first
    change(path, f"{NEW}\n{OLD}\n")
    assert secrets() is first, "the file is not read for each ticket"
    clock.advance(SOON)
    assert secrets() == (NEW, OLD)


@POSIX
def test_the_swapped_link_of_a_mounted_secret_counts_soon(tmp_path: Path, clock: FrozenClock) -> None:
    mount_as_kubernetes(tmp_path, "..1", OLD)
    (tmp_path / "secrets").symlink_to("..data/secrets")
    secrets = SecretFile(str(tmp_path / "secrets"), clock=clock)
    mount_as_kubernetes(tmp_path, "..2", NEW)
    clock.advance(SOON)
    assert secrets() == (NEW,)


def test_a_clock_that_is_set_back_does_not_end_the_reading(path: Path, clock: FrozenClock) -> None:
    secrets = SecretFile(str(path), clock=clock)
    write_anew(path, NEW)
    clock.advance(-86_400)
    assert secrets() == (NEW,)


def test_a_broken_new_file_keeps_the_old_secrets_and_is_logged_once(
    path: Path, clock: FrozenClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    secrets = SecretFile(str(path), clock=clock)
    for text in ("", "short", "short", OLD, "short"):
        write_anew(path, text)
        for _ in range(3):
            clock.advance(SOON)
            assert secrets() == (OLD,)
    path.unlink()
    clock.advance(SOON)
    assert secrets() == (OLD,)
    write_anew(path, NEW)
    clock.advance(SOON)
    assert secrets() == (NEW,)
    levels = [record.levelname for record in caplog.records]
    assert levels == ["ERROR"] * 4 + ["INFO"], "empty, short, short again after a good one, missing, and new secrets"
    assert "stay in use" in caplog.text
    assert not [secret for secret in (OLD, NEW) if secret in caplog.text]


def legacy(environ: object, start_response: Callable[..., object]) -> list[bytes]:
    start_response("404 Not Found", [])
    return []


def test_an_application_follows_the_file(path: Path, clock: FrozenClock) -> None:
    settings = {"ticket_secret": (), "ticket_secret_file": str(path)}
    with UploadClient(legacy, settings, clock=clock) as client:
        before = client.sign("a.png", content_type="image/png", size=5).json["fields"]
        write_anew(path, f"{NEW}\n{OLD}\n")
        clock.advance(SOON)
        assert client.upload("b.png", b"hello", content_type="image/png", exact=True).status_int == 200
        probe = webob.Request.blank("/oss/callback", method="POST", headers={PROBE_HEADER: prove(NEW, clock.now)})
        report = get_response(probe, client.direct_upload).json[PROBE_MEMBER]
        assert report["ticket_secrets"] == [secret_fingerprint(NEW), secret_fingerprint(OLD)]
        after = client.sign("a.png", content_type="image/png", size=5).json["fields"]
        for secret, fields in ((OLD, before), (NEW, after)):
            book = ReceiptBook([secret], clock=clock, keep_seconds=900)
            assert book.open(fields["x-oss-meta-oss-wsgi"]).ticket.key == fields["key"]


def test_settings_with_the_secrets_read_hold_those_of_now(path: Path) -> None:
    settings = with_secrets_read(Settings(ticket_secret_file=str(path)))
    assert (settings.ticket_secret, settings.ticket_secret_file) == ((OLD,), None)
    assert OLD in settings.secrets()
    assert OLD not in repr(settings)
    assert with_secrets_read(Settings()) == Settings()
