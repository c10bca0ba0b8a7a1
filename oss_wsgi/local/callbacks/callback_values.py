"""What the variables of a callback body stand for (P§7.2)."""

from __future__ import annotations

from collections.abc import Mapping

from ..storage.interface import StoredObject
from .image_info import ImageInfo
from .variables import Value


def callback_values(
    stored: StoredObject,
    image: ImageInfo | None,
    fields: Mapping[str, str],
    *,
    bucket: str,
    client_ip: str,
    request_id: str,
) -> dict[str, Value]:
    """:param image: what the content shows, if it is a picture; :param fields: the form, for its `x:` fields."""
    values: dict[str, Value] = {name: value for name, value in fields.items() if name.startswith("x:")}
    values |= {
        "bucket": bucket,
        "object": stored.key,
        "etag": stored.etag,
        "size": stored.size,
        "mimeType": stored.content_type,
        "crc64": stored.crc64,
        "contentMd5": stored.content_md5,
        "clientIp": client_ip,
        "reqId": request_id,
        "operation": "PostObject",
    }
    if image:
        values["imageInfo.width"] = image.width
        values["imageInfo.height"] = image.height
        values["imageInfo.format"] = image.format
    return values
