"""The local OSS in process: its callbacks go to the application, and the settings fit both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oss_wsgi import Settings
from oss_wsgi.testing.local_oss import InProcessOSS, environ_for


def test_the_settings_name_the_oss_and_trust_its_key(tmp_path: Path) -> None:
    oss = InProcessOSS("my-bucket", directory=tmp_path / "oss", key_bits=1024)
    settings = Settings.from_environ(environ_for(oss, tmp_path, url="http://app.example", prefix="/a b"))
    assert settings.bucket_and_host() == ("my-bucket", oss.host)
    assert settings.callback_url == "http://app.example/a%20b/callback"
    ((url, key_file),) = settings.trusted_keys
    assert (url, Path(key_file).read_text(encoding="ascii")) == (oss.public_key_url, oss.public_key_pem)
    oss.close()


def test_callbacks_go_to_the_application_whatever_their_url_is(tmp_path: Path) -> None:
    oss = InProcessOSS(directory=tmp_path / "oss", key_bits=1024)
    requests: list[dict[str, Any]] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        requests.append(environ)
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", "2")])
        return [b"{}"]

    oss.application = application
    assert oss._deliver({"PATH_INFO": "/cb"}, lambda *_: None) == [b"{}"]
    assert [environ["PATH_INFO"] for environ in requests] == ["/cb"]
    oss.close()


def test_without_an_application_callbacks_fail_with_502(tmp_path: Path) -> None:
    oss = InProcessOSS(directory=tmp_path / "oss", key_bits=1024)
    statuses: list[str] = []
    oss._deliver({}, lambda status, headers: statuses.append(status))
    assert statuses == ["502 Bad Gateway"]
    oss.close()
