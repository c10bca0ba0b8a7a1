"""Serves the upload page, the signatures and the callbacks; without a bucket, a local OSS too.

    python server.py                  try it: http://127.0.0.1:8080, nothing to set up
    python server.py --help           what can be set
    gunicorn server:application       the same application under another server

`oss-wsgi serve` does the same wherever the package is installed.
"""

from __future__ import annotations

import os
import sys

from oss_wsgi.cli import serve
from oss_wsgi.cli.options import server_parser
from oss_wsgi.site import application_for


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM, SIGHUP or Ctrl-C and return 0, or return 2 if the server cannot start."""
    arguments = server_parser().parse_args(argv)
    arguments.program = "server.py"
    arguments.environ = dict(os.environ)
    return serve.run(arguments)


if __name__ == "__main__":
    sys.exit(main())
else:
    application = application_for(os.environ)
