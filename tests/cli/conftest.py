"""Provides a deployment in which everything works."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..support.deployment import Deployment, deployed


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    with deployed(tmp_path, app={"on_upload": lambda upload: {"user": upload.user}}) as deployment:
        yield deployment
