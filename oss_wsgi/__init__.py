"""Browser uploads to Alibaba Cloud OSS for any WSGI application: signed forms, verified callbacks."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .public import *  # noqa: F403
    from .public import __all__ as __all__


def __getattr__(name: str) -> Any:
    # The pytest plugin and the local OSS's command come through here; they shall not wait for rooms they do not use.
    if name == "__all__" or not name.startswith("_"):
        public = import_module(".public", __name__)
        if name == "__all__" or name in public.__all__:
            return globals().setdefault(name, getattr(public, name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *import_module(".public", __name__).__all__})
