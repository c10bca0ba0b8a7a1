"""What you need to test an application that uses oss_wsgi: a clock, signed callbacks, and the whole road in process."""

from importlib import import_module
from typing import Any

from .callbacks import KEY_URL, CallbackSigner, FrozenClock, callback_body, multipart
from .recorded import CallbackRecorder, RecordedCallback
from .road import FinishedRoad, Road, Uploaded, oss_upload

__all__ = [
    "KEY_URL",
    "CallbackRecorder",
    "CallbackSigner",
    "FinishedRoad",
    "FrozenClock",
    "RecordedCallback",
    "Road",
    "Uploaded",
    "callback_body",
    "multipart",
    "oss_upload",
]


def __getattr__(name: str) -> Any:
    # They need pytest, and storage_contract the extra `local`, which the rest does not.
    if name in ("ledger_contract", "storage_contract"):
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
