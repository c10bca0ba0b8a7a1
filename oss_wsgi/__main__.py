"""`python -m oss_wsgi`: the same as the `oss-wsgi` command."""

from __future__ import annotations

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
