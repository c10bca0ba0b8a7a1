"""What the command says when it runs: where, with which key, and how each client is pointed at it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import Namespace

    from .application import LocalOSS


def greeting(oss: LocalOSS, arguments: Namespace) -> Iterator[str]:
    """A secret is printed only if it was made here."""
    secret = "as given" if arguments.access_key_secret else oss.access_key_secret
    token = ", security token as given" if arguments.security_token else ""
    where = os.path.abspath(arguments.dir) if arguments.dir else "a temporary folder, removed at the end (--dir DIR)"
    names = ", ".join(held.name for held in oss.storage.buckets())
    yield f"Local OSS at {oss.url}, region {oss.region}, holding {names}. Open {oss.url}/ to look into it."
    yield f"AccessKey ID {oss.access_key_id}, secret {secret}{token}."
    yield f"Objects go to {where}. CORS: {', '.join(arguments.cors) or 'no origin (--cors ORIGIN)'}."
    if arguments.cname:
        yield f"Bound names: {', '.join(f'{host} to {bucket}' for host, bucket in arguments.cname)}."
    if arguments.listen[0] not in ("127.0.0.1", "localhost", "::1"):
        yield "It listens beyond this machine: anyone who reaches it may read its objects."
    yield from _clients(oss, temporary=bool(arguments.security_token))
    yield "Ctrl-C ends it."


def _clients(oss: LocalOSS, *, temporary: bool) -> Iterator[str]:
    url, bucket, region = oss.url, oss.bucket, oss.region
    auth = 'oss2.StsAuth(ID, SECRET, TOKEN, auth_version="v4")' if temporary else "oss2.AuthV4(ID, SECRET)"
    yield f"Point at it, with that ID and SECRET{' and TOKEN' if temporary else ''}:"
    yield f"  forms    POST {oss.host}, callbacks signed with {oss.public_key_url}"
    yield f'  oss2     oss2.Bucket({auth}, "{url}", "{bucket}", region="{region}")'
    yield f'  oss-v2   cfg.endpoint, cfg.region, cfg.use_path_style = "{url}", "{region}", True'
    yield (
        f'  ali-oss  new OSS({{endpoint: "{url}", bucket: "{bucket}", region: "oss-{region}", authorizationV4: true, '
        f"accessKeyId: ID, accessKeySecret: SECRET{', stsToken: TOKEN' if temporary else ''}}})"
    )
    yield (
        f"  ossutil  ossutil ls oss://{bucket} -e {url} --region {region} --addressing-style path "
        f"-i {oss.access_key_id} -k SECRET{' -t TOKEN' if temporary else ''}"
    )
    yield f"  curl     curl {oss.host}/NAME"
    yield (
        f"  oss-wsgi OSS_BUCKET={bucket} OSS_HOST={oss.host} OSS_REGION={region} "
        f"OSS_TRUSTED_KEYS={oss.public_key_url}=key.pem, after curl -so key.pem {oss.public_key_url}"
    )
