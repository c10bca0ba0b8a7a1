"""A service that hands out a temporary key, as the official credentials library asks for one."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..support.deployment import Deployment, deployed
from ..support.server_threads import serving_application

NO_KEY = {"OSS_ACCESS_KEY_ID": "", "OSS_ACCESS_KEY_SECRET": "", "OSS_SESSION_TOKEN": ""}


@contextlib.contextmanager
def deployed_with_temporary_key(folder: Path, *, minutes: int) -> Iterator[Deployment]:
    """Run a deployment whose bucket knows only the key that the library finds, which expires after these minutes."""
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60 * minutes))
    key = {"AccessKeyId": "STS.Example", "AccessKeySecret": "the-temporary-secret", "SecurityToken": "token"}
    body = json.dumps({"Code": "Success", **key, "Expiration": until}).encode()

    def application(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    oss = {"access_key_id": "STS.Example", "access_key_secret": "the-temporary-secret", "security_token": "token"}
    with deployed(folder, oss=oss, settings={"OSS_SESSION_TOKEN": "token"}) as deployment:
        with serving_application(application) as uri:
            deployment.environ |= {
                **NO_KEY,
                "HOME": str(folder),
                "ALIBABA_CLOUD_CREDENTIALS_URI": uri,
                "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true",
            }
            yield deployment
