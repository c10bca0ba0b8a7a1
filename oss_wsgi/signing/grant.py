"""The grant: what one request may upload."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..callback.ticket import RECEIPT_NAME
from ..exceptions import GrantError
from ..http import essence
from ..object_names import dir_problem, is_hidden, path_problem
from ..settings_check import MAX_EXPIRES, MAX_OBJECT_BYTES

ACLS = ("default", "private", "public-read", "public-read-write")
_STORAGE_CLASSES = ("Standard", "IA", "Archive", "ColdArchive", "DeepColdArchive")
_METADATA_NAME = re.compile(r"[a-z0-9-]{1,128}")
_CUSTOM_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_MAX_USER = 256
MAX_OBJECTS = 1_000_000
_MAX_DATA_BYTES = 1024


@dataclass(frozen=True)
class Grant:
    """What one request may upload; a limit that is left out comes from the settings.

    ``acl`` to ``custom`` add form fields. The policy pins all of these, and they need an exact object name: a ``key``,
    or a ``filename`` in the request.

    Raises GrantError with one sentence for each problem.

    :ivar user: whom the upload is for; the verified ``Upload.user`` is this text.
    :ivar dir: the prefix of the object's name; a missing ``/`` at its end is added.
    :ivar key: the exact object name, chosen by the application.
    :ivar max_size: bytes; over 5 GB, which is a form's most, only with OSS_MULTIPART=on.
    :ivar min_size: bytes.
    :ivar content_types: the allowed types; None means the settings' list, an empty list any type.
    :ivar expires: seconds for which the form is valid.
    :ivar acl: the object's access; None means the bucket's.
    :ivar storage_class: the object's storage class; None means the bucket's.
    :ivar forbid_overwrite: whether the upload fails if the object exists.
    :ivar content_disposition: None means ``attachment``, unless the type is known and browsers run nothing in it; ""
        sends none.
    :ivar metadata: ``x-oss-meta-*`` headers by name; the name ``oss-wsgi`` is reserved.
    :ivar custom: ``x:`` callback variables by name; the browser sees them.
    :ivar data: a small mapping of the application's own, at most 1,024 bytes as JSON, which ``Upload.data`` returns.
        It travels sealed: the browser can neither read nor change it.
    :ivar max_objects: how many objects, sent with one form without an exact name, may be reported; 1 to 1,000,000. (The
        official samples' page sends all files that a person chose with one such form.) OSS stores further objects, but
        their reports are refused. A form with an exact name is for one object.
    """

    user: str | None = None
    dir: str | None = None
    key: str | None = None
    max_size: int | None = None
    min_size: int = 0
    content_types: Sequence[str] | None = None
    expires: int | None = None
    acl: str | None = None
    storage_class: str | None = None
    forbid_overwrite: bool = True
    content_disposition: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    custom: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)
    max_objects: int = 1000

    def __post_init__(self) -> None:
        if self.dir and not self.dir.endswith("/"):
            object.__setattr__(self, "dir", f"{self.dir}/")
        if isinstance(self.content_types, str):
            raise GrantError(f"content_types must be a list of types, not the text {self.content_types!r}.")
        if self.content_types is not None:
            object.__setattr__(self, "content_types", tuple(name.lower() for name in self.content_types))
        problems = [
            *self._name_problems(),
            *self._limit_problems(),
            *self._field_problems(),
            *self._ticket_problems(),
        ]
        if problems:
            raise GrantError("\n".join(problems))

    @property
    def has_fields(self) -> bool:
        """Return whether the grant adds form fields that need an exact object name."""
        return bool(self.acl or self.storage_class or self.content_disposition or self.metadata or self.custom)

    def _name_problems(self) -> Iterator[str]:
        if self.dir:
            problem = dir_problem(self.dir)
            if problem:
                yield f"dir: {problem}"
        if self.key is not None:
            problem = path_problem(self.key) if self.key else "must not be empty."
            if problem:
                yield f"key: {problem}"
            elif self.dir and not self.key.startswith(self.dir):
                yield f"key: {self.key!r} is not below dir {self.dir!r}: use a key that begins with it."

    def _limit_problems(self) -> Iterator[str]:
        largest = MAX_OBJECT_BYTES if self.max_size is None else self.max_size
        if any(type(number) is not int for number in (self.min_size, largest, self.expires or 1)):
            yield "min_size, max_size and expires must be whole numbers."
        else:
            if not 0 <= self.min_size <= largest <= MAX_OBJECT_BYTES:
                yield f"min_size and max_size must be bytes, 0 <= min_size <= max_size <= {MAX_OBJECT_BYTES} (48.8 TB)."
            if self.expires is not None and not 0 < self.expires <= MAX_EXPIRES:
                yield f"expires must be 1 to {MAX_EXPIRES} seconds (7 days), not {self.expires}."
        for name in self.content_types or ():
            if essence(name) != name:
                yield f"content_types must list types like image/png, no wildcards or parameters, not {name!r}."
        if type(self.max_objects) is not int or not 1 <= self.max_objects <= MAX_OBJECTS:
            yield f"max_objects must be a whole number of 1 to {MAX_OBJECTS}, not {self.max_objects!r}."

    def _field_problems(self) -> Iterator[str]:
        if self.acl is not None and self.acl not in ACLS:
            yield f"acl must be one of {', '.join(ACLS)}, not {self.acl!r}."
        if self.storage_class is not None and self.storage_class not in _STORAGE_CLASSES:
            yield f"storage_class must be one of {', '.join(_STORAGE_CLASSES)}, not {self.storage_class!r}."
        for name in self.metadata:
            if not _METADATA_NAME.fullmatch(name):
                yield f"metadata: {name!r} must be lower-case letters, digits and hyphens."
            if name == RECEIPT_NAME:
                yield f"metadata: {RECEIPT_NAME!r} is the name of this server's own receipt: use another."
        for name in self.custom:
            if not _CUSTOM_NAME.fullmatch(name):
                yield f"custom: {name!r} must be lower-case letters, digits and '_', without 'x:'."
        texts = [self.content_disposition or "", *self.metadata.values(), *self.custom.values()]
        if any(is_hidden(character) for text in texts for character in text):
            yield "content_disposition, metadata and custom values must not have control or invisible characters."

    def _ticket_problems(self) -> Iterator[str]:
        if self.user is not None and not (isinstance(self.user, str) and len(self.user) <= _MAX_USER):
            yield f"user must be a text of at most {_MAX_USER} characters, such as str(user.pk)."
        if not self.data:
            return
        try:
            text = json.dumps(self.data, allow_nan=False)
            survives = json.loads(text) == self.data
        except (TypeError, ValueError, RecursionError):
            survives = False
        if not survives or not isinstance(self.data, dict):
            yield (
                "data must be a dict that JSON keeps unchanged: text keys, and texts, numbers, lists and dicts as "
                "values."
            )
        elif len(text) > _MAX_DATA_BYTES:
            yield f"data is {len(text)} bytes of JSON, over the {_MAX_DATA_BYTES} that fit: use an ID instead."
