"""Runs the `oss-wsgi` command as `python -m oss_wsgi`."""

from __future__ import annotations

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
