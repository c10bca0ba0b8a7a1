"""The options of a LocalOSS."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .cors import MAX_RULES, CORSRule
from .storage.storage import PUBLIC_ACCESS_BLOCK

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


@dataclass(frozen=True)
class Options:
    """The options of LocalOSS, under the names of its arguments.

    :param bucket: the bucket of a request that names none.
    :param region: with or without the `oss-` that some of OSS's pages put before it.
    :param access_key_id: the one access key that is accepted; without it one is made, and kept in `directory` with the
        key that signs callbacks.
    :param security_token: a token that forms and signed requests must then carry.
    :param security_token_expires: Unix seconds, after which the token is refused.
    :param directory: the folder of the objects; without it a temporary one, which close() removes.
    :param url: the base URL as clients see it; a LocalOSSServer sets it.
    :param reset_keys: with `directory`, replace the keys that are kept there with new ones.
    :param inspector: show requests and answers at `/` and `/_inspect`, to this machine; "everywhere": to all machines.
    :param acl: the ACL of `bucket` and of the buckets of `create_bucket()`: `private`, or `public-read` to let
        everybody read, which implies `allow_public`.
    :param allow_public: switch Block Public Access off for `bucket` and for new buckets. Without it OSS's default
        holds: a public ACL of a bucket or an object is refused.
    :param refuse_v1: refuse signatures of version 1, as OSS does for new accounts and new buckets (protocol.md 4).
    :param cnames: host names that are bound to a bucket: `{"img.example.com": "examplebucket"}`.
    :param cors_rules: the rules of `bucket` and of the buckets of `create_bucket()` until `?cors` replaces them, and of
        requests that mean no bucket.
    :param max_cors_rules: the most rules that `?cors` accepts; OSS's pages say 10 and 20.
    :param key_bits: the size of the key that signs callbacks; OSS's own has 512 bits.
    :param transport: a WSGI application that receives the callbacks in this process; without it they go over HTTP.
    :param callback_timeout: seconds that a callback URL has to reply over HTTP.
    :param international: errors name the page of OSS's international site, as for accounts of that site.
    :param strict: refuse every form field that the policy does not name, except the policy, the fields that sign it
        and `success_action_status` (protocol.md 3.3.2). So the policy pins every other field.
    :param exact_field_names: refuse form fields that are not spelled as documented (protocol.md 2.2).
    :param space_as_plus: in callbacks of the form type, write a space in a value as `+`, not `%20` (protocol.md 7.3).
    :param test_mode: let a request ask for the faults of `fail_next` in the header `x-oss-local-fault`:
        `callback_status; status=404; times=2, slow_upload`; and let an unsigned `POST /bucket?lifecycle&days=8` do what
        `apply_lifecycle` does 8 days ahead.
    :param allow_private_callback: call private addresses, such as this machine; OSS does not (protocol.md 7.1).
    :param log: called with a line for each upload and each failed request: the inspector's exchanges as text.
    :param clock: returns Unix seconds.
    """

    bucket: str = "examplebucket"
    region: str = "cn-hangzhou"
    _: KW_ONLY
    access_key_id: str | None = None
    access_key_secret: str | None = field(default=None, repr=False)
    security_token: str | None = field(default=None, repr=False)
    security_token_expires: float | None = None
    directory: str | Path | None = None
    url: str = "http://127.0.0.1:8081"
    acl: str = "private"
    allow_public: bool = False
    refuse_v1: bool = False
    cnames: Mapping[str, str] | None = None
    cors_rules: Sequence[CORSRule] = ()
    max_cors_rules: int = MAX_RULES
    key_bits: int = 2048
    transport: WSGIApplication | None = None
    callback_timeout: float = 5.0
    international: bool = False
    strict: bool = False
    exact_field_names: bool = False
    space_as_plus: bool = False
    test_mode: bool = False
    allow_private_callback: bool = True
    reset_keys: bool = False
    inspector: bool | Literal["everywhere"] = True
    log: Callable[[str], object] | None = None
    clock: Callable[[], float] = time.time

    @property
    def new_bucket_settings(self) -> dict[str, str]:
        """The settings of a new bucket, whether the options or a request creates it."""
        return {PUBLIC_ACCESS_BLOCK: "false"} if self.allow_public or self.acl != Options.acl else {}
