"""What befalls an upload on demand: it takes longer, or its connection breaks."""

from __future__ import annotations

import time
from types import TracebackType

from .faults import ConnectionDroppedError, Faults


class UploadFaults:
    """Made when an upload has passed its checks, for what is refused uses up no fault; a `with` around its answer."""

    def __init__(self, faults: Faults) -> None:
        self._slow, self._dropped = faults.take("slow_upload"), faults.take("dropped_connection")

    def arriving(self) -> None:
        if self._slow:
            time.sleep(self._slow.details["seconds"])

    def arrived(self) -> None:
        """Called before anything is stored."""
        if self._dropped and not self._dropped.details["stored"]:
            raise ConnectionDroppedError

    def __enter__(self) -> UploadFaults:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._dropped:
            raise ConnectionDroppedError
