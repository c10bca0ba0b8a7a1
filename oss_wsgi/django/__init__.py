"""For Django: its ledger's application (INSTALLED_APPS), a storage, a handler of posted files, and its users.

    FILE_UPLOAD_HANDLERS = ["oss_wsgi.django.PostedFilesHandler", ...]
    STORAGES = {"default": {"BACKEND": "oss_wsgi.django.OSSStorage"}, ...}

Each name is imported at its first use, because most of Django can be imported only when its settings are known.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .storage import OSSStorage as OSSStorage
    from .upload_handler import PostedFilesHandler as PostedFilesHandler
    from .users import user_of as user_of

_MODULES = {"OSSStorage": "storage", "PostedFilesHandler": "upload_handler", "user_of": "users"}

__all__ = ["OSSStorage", "PostedFilesHandler", "user_of"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
