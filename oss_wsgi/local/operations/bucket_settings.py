"""What a bucket is set to: its ACL, storage class and redundancy, kept as text with the bucket."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..errors import OSSError, invalid_argument

ACLS = ("private", "public-read", "public-read-write")
STORAGE_CLASSES = ("Standard", "IA", "Archive", "ColdArchive", "DeepColdArchive")
REDUNDANCIES = ("LRS", "ZRS")


def check_bucket_name(name: str) -> None:
    if not re.fullmatch("[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", name):
        raise OSSError(400, "InvalidBucketName", "The specified bucket is not valid.", BucketName=name)


def acl(settings: Mapping[str, str]) -> str:
    return settings.get("acl", "private")


def storage_class(settings: Mapping[str, str]) -> str:
    return settings.get("storage-class", "Standard")


def redundancy(settings: Mapping[str, str]) -> str:
    return settings.get("redundancy", "LRS")


def one_of(allowed: tuple[str, ...], name: str, value: str) -> str:
    if value not in allowed:
        raise invalid_argument(f"The {name} is none of {', '.join(allowed)}.", name=name, value=value)
    return value
