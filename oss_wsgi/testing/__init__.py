"""Tools to test an application that uses oss_wsgi: signed callbacks, a clock, and whole uploads in process."""

from importlib import import_module
from typing import Any

from .callbacks import KEY_URL, CallbackSigner, FrozenClock, callback_body
from .clients import ExistingAppClient, UploadClient, Uploaded, multipart, oss_upload
from .recorded import CallbackRecorder, RecordedCallback

__all__ = [
    "KEY_URL",
    "CallbackRecorder",
    "CallbackSigner",
    "ExistingAppClient",
    "FrozenClock",
    "RecordedCallback",
    "UploadClient",
    "Uploaded",
    "callback_body",
    "multipart",
    "oss_upload",
]


def __getattr__(name: str) -> Any:
    if name == "InProcessBucket":
        return import_module(".local_oss", __name__).InProcessBucket
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
