"""A local OSS without a socket, and the settings for an application that works with it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ..application import CALLBACK_PATH, DEFAULT_PREFIX
from ..local import LocalOSS
from ..private_file import open_private
from .callbacks import APPLICATION_URL, TICKET_SECRET

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class InProcessOSS(LocalOSS):
    """A ``LocalOSS`` whose callbacks go to ``application``, whatever URL they name; without an application they fail.

    Its arguments are those of ``LocalOSS``.
    """

    def __init__(self, bucket: str = "examplebucket", region: str = "cn-hangzhou", **options: Any) -> None:
        self.application: WSGIApplication | None = None
        super().__init__(bucket, region, transport=self._deliver, **options)

    def _deliver(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self.application is None:
            start_response("502 Bad Gateway", [("Content-Type", "text/plain"), ("Content-Length", "0")])
            return []
        return self.application(environ, start_response)


def environ_for(
    oss: LocalOSS, folder: str | Path, *, url: str = APPLICATION_URL, prefix: str = DEFAULT_PREFIX
) -> dict[str, str]:
    """Return the ``OSS_...`` variables with which an application signs for ``oss`` and trusts its callbacks.

    :param folder: where the file of the public key is written.
    :param url: where the application is served; with an ``InProcessOSS`` any URL will do.
    """
    key_file = Path(folder) / "local-oss-key.pem"
    with open(key_file, "w", encoding="ascii", opener=open_private) as file:
        file.write(oss.public_key_pem)
    return {
        "OSS_BUCKET": oss.bucket,
        "OSS_REGION": oss.region,
        "OSS_HOST": oss.host,
        "OSS_ACCESS_KEY_ID": oss.access_key_id,
        "OSS_ACCESS_KEY_SECRET": oss.access_key_secret,
        "OSS_CALLBACK_URL": f"{url}{quote(prefix)}{CALLBACK_PATH}",
        "OSS_TICKET_SECRET": TICKET_SECRET,
        "OSS_TRUSTED_KEYS": f"{oss.public_key_url}={key_file}",
    }
