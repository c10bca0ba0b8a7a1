"""An OSS on this machine, for development and tests; it needs the extra `oss-wsgi[local]`."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .application import LocalOSS
    from .cors import CORSRule
    from .serving.server import LocalOSSServer

__all__ = ["CORSRule", "LocalOSS", "LocalOSSServer"]

_MODULES = {
    "CORSRule": ".cors",
    "LocalOSS": ".application",
    "LocalOSSServer": ".serving.server",
}


def __getattr__(name: str) -> Any:
    # `python -m local_oss` imports this package first and must start without the extra, to say that it is missing.
    if name in _MODULES:
        return globals().setdefault(name, getattr(import_module(_MODULES[name], __name__), name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
