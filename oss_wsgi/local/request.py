"""One request as the operations see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from .callbacks.sender import CallbackSender
from .cors import BucketRules
from .environ import Address
from .faults import Faults
from .forms.post_object import PostObject
from .signatures.signed_request import read_headers
from .storage.interface import Bucket, Storage

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


@dataclass(frozen=True)
class Service:
    """What all operations share."""

    region: str
    storage: Storage
    sender: CallbackSender
    post_object: PostObject
    clock: Callable[[], float]
    rules: BucketRules


@dataclass(frozen=True)
class Request:
    """:param url: the base URL of this OSS; :param signed: False for a stranger, who may do little.

    :param faults: those that may befall it.
    """

    environ: WSGIEnvironment
    address: Address
    service: Service
    id: str
    now: float
    url: str
    public_key_url: str
    signed: bool
    faults: Faults

    @property
    def method(self) -> str:
        return str(self.environ["REQUEST_METHOD"])

    @property
    def bucket(self) -> str:
        return self.address.bucket or ""

    @cached_property
    def storage(self) -> Bucket:
        return self.service.storage.bucket(self.bucket)

    @property
    def key(self) -> str:
        return self.address.key

    @cached_property
    def query(self) -> Mapping[str, str]:
        """The parameters, the first of each name."""
        text = self.environ.get("QUERY_STRING", "")
        return dict(reversed(parse_qsl(text, keep_blank_values=True, max_num_fields=1000)))

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """The headers by lower-case name, their bytes read as UTF-8."""
        return read_headers(self.environ)
