"""The public names of both packages with their signatures, as `public_api.txt` has them.

    python -m tests.public_api >tests/public_api.txt

writes the file anew. A change of it is a decision: docs/reference/versions.md says which release may make it.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_suffix(".txt")
#: Modules whose public names are those that they list, or else define.
MODULES = (
    "oss_wsgi",
    "oss_wsgi.asgi",
    "oss_wsgi.django",
    "oss_wsgi.exceptions",
    "oss_wsgi.log_format",
    "oss_wsgi.site",
    "oss_wsgi.testing",
    "local_oss",
)
#: Further names, which no list has.
NAMES = ("oss_wsgi.serving:make_server",)
_ANNOTATION = re.compile(r"""((?:: |-> ))(?:'([^']*)'|"([^"]*)")""")

_DEFAULT = re.compile(r"= ?<[^>]*>+( at 0x[0-9a-f]+>)?")


def public_api() -> str:
    """Return a line for each name, with its signature, and below a class one for each of its public attributes."""
    lines: list[str] = []
    for module in MODULES:
        for name in names_of(importlib.import_module(module)):
            lines += described(f"{module}:{name}", getattr(importlib.import_module(module), name))
    for path in NAMES:
        module, _, name = path.partition(":")
        lines += described(path, getattr(importlib.import_module(module), name))
    return "\n".join(lines) + "\n"


def names_of(module: Any) -> list[str]:
    """Return the names of ``__all__``, or else the public ones that the module defines."""
    if hasattr(module, "__all__"):
        return sorted(module.__all__)
    return sorted(
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    )


def described(path: str, value: Any) -> Iterator[str]:
    if not inspect.isclass(value):
        yield f"{path}{_signature(value) if callable(value) else ''}"
        return
    bases = [base.__name__ for base in value.__bases__ if base.__module__.startswith(("oss_wsgi", "local_oss"))]
    yield f"{path}({', '.join(bases)})"
    has_own = value.__init__ is not object.__init__ and not getattr(value, "_is_protocol", False)
    if has_own and not issubclass(value, BaseException):
        yield f"    __init__{_signature(value.__init__)}"
    if dataclasses.is_dataclass(value):
        yield from (f"    {field.name}" for field in dataclasses.fields(value) if not field.name.startswith("_"))
    for name, attribute in sorted(_attributes(value).items()):
        function = getattr(attribute, "__func__", attribute)
        if isinstance(attribute, property):
            yield f"    {name}: {attribute.fget.__annotations__['return']}"
            continue
        yield f"    {name}{_signature(function) if inspect.isfunction(function) else ''}"


def _attributes(owner: type) -> dict[str, Any]:
    """Return what a class and its bases of these packages define and annotate, without the fields of a dataclass."""
    fields = {field.name for field in dataclasses.fields(owner)} if dataclasses.is_dataclass(owner) else set()
    found: dict[str, Any] = {}
    for base in reversed(owner.__mro__):
        if base.__module__.startswith(("oss_wsgi", "local_oss")):
            found |= dict.fromkeys(vars(base).get("__annotations__", {})) | vars(base)
    return {name: value for name, value in found.items() if not name.startswith("_") and name not in fields}


def _signature(function: Any) -> str:
    """Return a signature without the quotes around its annotations, and without the addresses of its defaults."""
    return _DEFAULT.sub("=...", _ANNOTATION.sub(r"\1\2\3", str(inspect.signature(function))))


if __name__ == "__main__":
    print(public_api(), end="")
