"""The local OSS in process: its callbacks go to the application, and the settings fit both."""

from __future__ import annotations

from pathlib import Path

import pytest
import webob
import webtest

from oss_wsgi import DirectUpload, Settings
from oss_wsgi.private_file import UnsafeFileError
from oss_wsgi.testing import multipart
from oss_wsgi.testing.local_oss import InProcessOSS, environ_for

from ..support.foreign_files import KINDS, plant, victim_of


def test_the_settings_name_the_oss_and_trust_its_key(tmp_path: Path) -> None:
    oss = InProcessOSS("my-bucket", directory=tmp_path / "oss", key_bits=1024)
    settings = Settings.from_environ(environ_for(oss, tmp_path, url="http://app.example", prefix="/a b"))
    assert settings.bucket_and_host() == ("my-bucket", oss.host)
    assert settings.callback_url == "http://app.example/a%20b/callback"
    ((url, key_file),) = settings.trusted_keys
    assert (url, Path(key_file).read_text(encoding="ascii")) == (oss.public_key_url, oss.public_key_pem)
    oss.close()


def test_the_key_is_written_over_no_file_that_another_user_may_have_put_there(tmp_path: Path) -> None:
    victim = victim_of(tmp_path)
    before = victim.state()
    key_file = tmp_path / "local-oss-key.pem"
    with InProcessOSS(directory=tmp_path / "oss", key_bits=1024) as oss:
        for kind in ("dangling link", "hard link"):
            plant(kind, key_file, victim)
            with pytest.raises(UnsafeFileError, match=KINDS[kind]):
                environ_for(oss, tmp_path)
            key_file.unlink()
        environ_for(oss, tmp_path)
        key_file.chmod(0o666)
        with pytest.raises(UnsafeFileError, match="can be changed by other users"):
            environ_for(oss, tmp_path)
    assert victim.state() == before


def test_without_an_application_callbacks_fail_with_502(tmp_path: Path) -> None:
    with InProcessOSS(directory=tmp_path / "oss", key_bits=1024) as oss:
        settings = Settings.from_environ({**environ_for(oss, tmp_path), "OSS_ALLOW_ANONYMOUS": "on"})
        application = webtest.TestApp(DirectUpload(lambda environ, start_response: [], settings))
        fields = application.get("/oss/signature", {"filename": "a.txt"}).json["fields"]
        content_type, body = multipart(fields, "a.txt", b"hello")
        request = webob.Request.blank(f"{oss.host}/", method="POST", content_type=content_type, body=body)
        response = request.get_response(oss)
    assert (response.status_code, "502" in response.text) == (203, True)
