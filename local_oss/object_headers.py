"""The fields and headers that describe an object: checked when stored, sent when read (protocol.md 2.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .errors import Headers, OSSError, access_denied, invalid_argument, is_header_value, not_implemented
from .storage.index import StoredObject
from .storage.storage import Bucket

MAX_KEY_SIZE = 1023
MAX_METADATA_SIZE = 8 * 1024
DEFAULT_CONTENT_TYPE = "application/octet-stream"
#: The standard headers that OSS keeps with an object, by their lower-case names.
STANDARD_HEADERS = {
    "cache-control": "Cache-Control",
    "content-disposition": "Content-Disposition",
    "content-encoding": "Content-Encoding",
    "content-language": "Content-Language",
    "expires": "Expires",
}
ACLS = ("default", "private", "public-read", "public-read-write")
#: The ACLs that let everybody read.
PUBLIC_ACLS = ("public-read", "public-read-write")
STORAGE_CLASSES = ("Standard", "IA", "Archive", "ColdArchive", "DeepColdArchive")
ENCRYPTION_ALGORITHMS = ("AES256", "KMS", "SM4")
#: Kept and sent as they came; nothing is encrypted.
ENCRYPTION_HEADERS = (
    "x-oss-server-side-encryption",
    "x-oss-server-side-data-encryption",
    "x-oss-server-side-encryption-key-id",
)
#: Headers and fields that OSS obeys and this OSS refuses.
NOT_KEPT = (
    "x-oss-tagging",
    "x-oss-traffic-limit",
    "x-oss-persistent-headers",
    "x-oss-object-worm-mode",
    "x-oss-object-worm-retain-until-date",
    "x-oss-object-worm-legal-hold",
)
#: Names the object that a request copies.
COPY_SOURCE = "x-oss-copy-source"
#: How the names of user metadata begin.
METADATA = "x-oss-meta-"
_METADATA_NAME = re.compile(rf"{METADATA}[a-z0-9](?:[a-z0-9_-]*[a-z0-9])?")


def check_key(key: str) -> None:
    if not key:
        raise _invalid_name("The length of object name must be greater than 0.", "0016-00000001")
    if len(key.encode()) > MAX_KEY_SIZE:
        raise _invalid_name("The length of object name must be less than 1024.", "0016-00000003")
    if key.startswith(("/", "\\")):
        raise _invalid_name("The specified object is not valid.", "0016-00000005")


def content_type(fields: Mapping[str, str], file_type: str) -> str:
    """Return the type: x-oss-content-type, else the file part's, else the field Content-Type (protocol.md 2.3)."""
    value = fields.get("x-oss-content-type") or file_type or fields.get("content-type") or DEFAULT_CONTENT_TYPE
    return _header("Content-Type", value)


def object_headers(fields: Mapping[str, str], default_acl: str = "", default_class: str = "Standard") -> dict[str, str]:
    """Return the headers to keep with the object.

    :param fields: form fields or request headers, by lower-case name.
    :param default_acl: the ACL if `fields` has none; a form may have it in a request header.
    :param default_class: the bucket's storage class, used if `fields` has none.
    :raises OSSError: OSS does not accept one of the values.
    """
    acl = fields.get("x-oss-object-acl", default_acl)
    if acl:
        one_of(ACLS, "x-oss-object-acl", acl, "no such object access control exists", "0017-00000104")
    if fields.get("x-oss-storage-class"):
        ec = "0013-00000101" if COPY_SOURCE in fields else "0017-00000132"
        one_of(STORAGE_CLASSES, "x-oss-storage-class", fields["x-oss-storage-class"], ec=ec)
    for name in NOT_KEPT:
        if fields.get(name):
            raise not_implemented(f"{name}: leave it out")
    for name in ("x-oss-server-side-encryption", "x-oss-server-side-data-encryption"):
        if fields.get(name, "AES256") not in ENCRYPTION_ALGORITHMS:
            message = "The encryption algorithm you specified is not supported."
            raise OSSError(400, "InvalidEncryptionAlgorithmError", message)
    headers = {title: _header(title, fields[name]) for name, title in STANDARD_HEADERS.items() if fields.get(name)}
    metadata = {name: _header(name, value) for name, value in fields.items() if name.startswith(METADATA)}
    for name in metadata:
        if not _METADATA_NAME.fullmatch(name):
            raise invalid_argument("The name of the user metadata is not valid.", name=name)
    if sum(len(name) + len(value.encode()) for name, value in metadata.items()) > MAX_METADATA_SIZE:
        raise invalid_argument("The size of the user metadata exceeds 8 KB.", name="x-oss-meta-*")
    if acl and acl != ACLS[0]:
        headers["x-oss-object-acl"] = acl
    storage_class = fields.get("x-oss-storage-class") or (default_class if default_class != "Standard" else "")
    if storage_class:
        headers["x-oss-storage-class"] = storage_class
    encryption = {name: _header(name, fields[name]) for name in ENCRYPTION_HEADERS if fields.get(name)}
    return headers | encryption | metadata


def headers_to_store(bucket: Bucket, fields: Mapping[str, str], default_acl: str = "") -> dict[str, str]:
    """Return the headers to keep with an object of this bucket; by default the object has the bucket's storage class.

    :raises OSSError: what `object_headers` raises; 403 for a public ACL if the bucket blocks public access.
    """
    headers = object_headers(fields, default_acl, bucket.storage_class)
    if bucket.blocks_public_access and headers.get("x-oss-object-acl") in PUBLIC_ACLS:
        raise access_denied("Put public object acl is not allowed", "0016-00000901")
    return headers


def one_of(allowed: tuple[str, ...], name: str, value: str, message: str = "", ec: str = "") -> str:
    """Return the value; raise OSSError, with OSS's message where it is known, unless it is allowed."""
    if value not in allowed:
        message = message or f"The {name} must be one of {', '.join(allowed)}."
        raise invalid_argument(message, ec, name=name, value=value)
    return value


def upload_headers(stored: StoredObject) -> Headers:
    return [*stored.checksum_headers, *encryption_headers(stored.headers)]


def encryption_headers(headers: Mapping[str, str]) -> Headers:
    """Return the headers that say how an object is encrypted."""
    return [(name, value) for name, value in headers.items() if name in ENCRYPTION_HEADERS]


def storage_class(headers: Mapping[str, str]) -> str:
    return headers.get("x-oss-storage-class", "Standard")


def forbids_overwrite(fields: Mapping[str, str]) -> bool:
    """Return x-oss-forbid-overwrite, False if absent; raise OSSError for a value other than true and false."""
    value = fields.get("x-oss-forbid-overwrite", "false")
    if value not in ("true", "false"):
        message = "The x-oss-forbid-overwrite must be true or false."
        raise invalid_argument(message, "0006-00000117", name="x-oss-forbid-overwrite", value=value)
    return value == "true"


def redirect(fields: Mapping[str, str]) -> str:
    """Return success_action_redirect, "" if absent; raise OSSError for a value that a header cannot hold."""
    return _header("success_action_redirect", fields.get("success_action_redirect", ""))


def _invalid_name(message: str, ec: str) -> OSSError:
    return OSSError(400, "InvalidObjectName", message, ec)


def _header(name: str, value: str) -> str:
    if not is_header_value(value):
        raise invalid_argument(f"The {name} is not a valid header value.", name=name)
    return value
