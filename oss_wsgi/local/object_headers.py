"""The form fields that describe the object: checked before anything is stored, replayed when it is read (P§2.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .errors import OSSError, invalid_argument, is_header_value

MAX_KEY_SIZE = 1023
DEFAULT_CONTENT_TYPE = "application/octet-stream"
MAX_METADATA_SIZE = 8 * 1024
REPLAYED = {
    "cache-control": "Cache-Control",
    "content-disposition": "Content-Disposition",
    "content-encoding": "Content-Encoding",
    "expires": "Expires",
}
ACLS = ("default", "private", "public-read", "public-read-write")
STORAGE_CLASSES = ("Standard", "IA", "Archive", "ColdArchive", "DeepColdArchive")
ALGORITHMS = ("AES256", "KMS", "SM4")
_META = re.compile(r"x-oss-meta-[a-z0-9](?:[a-z0-9_-]*[a-z0-9])?")


def content_type(fields: Mapping[str, str], file_type: str) -> str:
    """What is stored: x-oss-content-type, else the file part's own type, else the Content-Type field (P§2.3)."""
    chosen = fields.get("x-oss-content-type") or file_type or fields.get("content-type") or DEFAULT_CONTENT_TYPE
    return _header("Content-Type", chosen)


def object_headers(fields: Mapping[str, str], default_acl: str = "") -> dict[str, str]:
    """The headers to keep with the object; `default_acl` is the request header that the field of that name beats."""
    acl = fields.get("x-oss-object-acl", default_acl)
    _one_of("x-oss-object-acl", acl, ACLS)
    _one_of("x-oss-storage-class", fields.get("x-oss-storage-class", ""), STORAGE_CLASSES)
    for name in ("x-oss-server-side-encryption", "x-oss-server-side-data-encryption"):
        if fields.get(name, "AES256") not in ALGORITHMS:
            message = "The encryption algorithm you specified is not supported."
            raise OSSError(400, "InvalidEncryptionAlgorithmError", message)
    headers = {title: _header(title, fields[name]) for name, title in REPLAYED.items() if fields.get(name)}
    metadata = {name: _header(name, value) for name, value in fields.items() if name.startswith("x-oss-meta-")}
    for name in metadata:
        if not _META.fullmatch(name):
            raise invalid_argument("The name of the user metadata is not valid.", name=name)
    if sum(len(name) + len(value.encode()) for name, value in metadata.items()) > MAX_METADATA_SIZE:
        raise invalid_argument("The size of the user metadata exceeds 8 KB.", name="x-oss-meta-*")
    if acl and acl != ACLS[0]:
        headers["x-oss-object-acl"] = acl
    if fields.get("x-oss-storage-class"):
        headers["x-oss-storage-class"] = fields["x-oss-storage-class"]
    return headers | metadata


def check_key(key: str) -> None:
    """Raises OSSError for what cannot be the name of an object."""
    if not key:
        raise _invalid_name("The length of object name must be greater than 0.")
    if len(key.encode()) > MAX_KEY_SIZE:
        raise _invalid_name("The length of object name must be less than 1024.")
    if key.startswith(("/", "\\")):
        raise _invalid_name("The specified object is not valid.")


def forbids_overwrite(fields: Mapping[str, str]) -> bool:
    value = fields.get("x-oss-forbid-overwrite", "false")
    if value not in ("true", "false"):
        message = "The x-oss-forbid-overwrite must be true or false."
        raise invalid_argument(message, "0006-00000117", name="x-oss-forbid-overwrite", value=value)
    return value == "true"


def redirect(fields: Mapping[str, str]) -> str:
    return _header("success_action_redirect", fields.get("success_action_redirect", ""))


def _invalid_name(message: str) -> OSSError:
    return OSSError(400, "InvalidObjectName", message)


def _one_of(name: str, value: str, values: tuple[str, ...]) -> None:
    if value and value not in values:
        raise invalid_argument(f"The {name} must be one of {', '.join(values)}.", name=name, value=value)


def _header(name: str, value: str) -> str:
    if not is_header_value(value):
        raise invalid_argument(f"The {name} is not a valid header value.", name=name)
    return value
