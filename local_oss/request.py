"""One request to the local OSS, and the state that all requests share, for the operations and the inspector."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote

from oss_wsgi.threads import cached_property

from .callbacks.sender import CallbackSender
from .cors import CORS, CORSRule, stored_rules
from .environ import Address
from .errors import OSSError, invalid_argument
from .faults import HEADER, Faults
from .inspector.exchange import Exchange
from .options import Options
from .signatures.account import Account
from .signatures.signed_request import read_headers
from .storage.storage import Bucket, Storage
from .xml_document import Node

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

PUBLIC_KEY_PATH = "callback_pub_key.pem"

#: Parameter -> the EC of a number out of its range, where the EC is known.
_NOT_IN_RANGE = {"max-keys": "0017-00000289"}


class Service:
    """The state that all requests to one LocalOSS share.

    :ivar url: the base URL as clients see it.
    :ivar former: the secrets that were kept before the present one.
    :ivar configured_buckets: the buckets that have the options' CORS rules until `?cors` replaces or deletes them.
    :ivar resolve: returns the addresses of a callback URL's host; None if hosts are not looked up.
    """

    options: Options
    url: str
    account: Account
    former: tuple[str, ...]
    storage: Storage
    configured_buckets: set[str]
    sender: CallbackSender
    resolve: Callable[[str], list[str]] | None
    faults: Faults

    @property
    def public_key_url(self) -> str:
        return f"{self.url}/{PUBLIC_KEY_PATH}"

    def cors(self, bucket: str) -> CORS:
        """Return the CORS rules in force: those that `?cors` stored or deleted, else those of the options."""
        rules: tuple[Sequence[CORSRule], bool] = self.options.cors_rules, False
        with suppress(OSSError):  # there is no such bucket
            stored = stored_rules(self.storage.bucket(bucket))
            if stored is not None or bucket not in self.configured_buckets:
                rules = stored or ((), False)
        return CORS(*rules, [HEADER] if self.options.test_mode else [])


@dataclass(frozen=True)
class Request:
    """One request, after its signature was checked.

    :param signer: the key that signed the request; None for an anonymous request, which has few rights.
    :param faults: the faults that this request can trigger.
    :param exchange: the request's ID and start, and what the inspector shows of the request.
    :param names_bucket: False if the request uses the default bucket because it names none.
    """

    environ: WSGIEnvironment
    address: Address
    oss: Service
    signer: Account | None
    faults: Faults
    exchange: Exchange
    names_bucket: bool

    @property
    def method(self) -> str:
        return self.exchange.method

    @property
    def bucket(self) -> str:
        """The name of the bucket, "" for a request to the service."""
        return self.address.bucket or ""

    @property
    def key(self) -> str:
        return self.address.key

    @cached_property
    def storage(self) -> Bucket:
        """The bucket in the storage; raises OSSError if it does not exist."""
        return self.oss.storage.bucket(self.bucket)

    @property
    def signed(self) -> bool:
        return self.signer is not None

    def check_right(self, action: str, bucket: str, key: str = "") -> None:
        """Raise OSSError unless the key that signed may do this; unsigned requests have checks of their own."""
        if self.signer:
            self.signer.check_right(action, bucket, key)

    @cached_property
    def query(self) -> Mapping[str, str]:
        """The query parameters in their order, the first of each name."""
        parameters: dict[str, str] = {}
        for name, value in parse_qsl(self.environ.get("QUERY_STRING", ""), keep_blank_values=True):
            parameters.setdefault(name, value)
        return parameters

    def whole_number(self, name: str, default: int, minimum: int, maximum: int) -> int:
        """Return the number in a query parameter, the default without one; raise OSSError for anything else."""
        value = self.query.get(name, "")
        if not value:
            return default
        if not (value.isascii() and value.isdigit()) or len(value) > 9 or not minimum <= int(value) <= maximum:
            message = f"Argument {name} must be an integer between {minimum} and {maximum}."
            raise invalid_argument(message, _NOT_IN_RANGE.get(name, ""), name=name, value=value)
        return int(value)

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """The headers by lower-case name, their bytes decoded as UTF-8."""
        return read_headers(self.environ)


class EncodingType:
    """Encodes the names in a response when the client asks for encoding: XML cannot hold every key.

    `nodes` is the element that repeats the parameter.
    """

    def __init__(self, request: Request) -> None:
        value = request.query.get("encoding-type", "")
        if value not in ("", "url"):
            message = "Invalid Encoding Method specified in Request"
            raise invalid_argument(message, "0017-00000235", name="encoding-type", value=value)
        self.nodes: list[Node] = [("EncodingType", value)] if value else []

    def __call__(self, name: str) -> str:
        return quote(name, safe="") if self.nodes else name
