"""`make_server` and the releases of waitress that it knows."""

from __future__ import annotations

import importlib.metadata
import socket
from pathlib import Path
from typing import Any

import pytest

from oss_wsgi import serving
from oss_wsgi.serving.server import Server


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Length", "0")])
    return []


def test_the_version_of_waitress_is_the_installed_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    installed = importlib.metadata.version("waitress")
    assert serving.waitress_version() == installed
    monkeypatch.setattr(serving.waitress, "__file__", str(tmp_path / "waitress" / "__init__.py"))
    assert serving.waitress_version() == installed


@pytest.mark.slow
def test_an_unknown_waitress_serves_without_our_parts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(serving, "waitress_version", lambda: "4.0.0")
    caplog.set_level("INFO")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = serving.make_server(application, listener, lambda method, path, headers: True)
        assert not isinstance(server, Server)
        server.task_dispatcher.shutdown()
        server.close()
    assert "4.0.0" in caplog.text
