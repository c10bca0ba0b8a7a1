"""DirectUpload with a handler that takes 5 ms, as we start it.

python handler.py PORT
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import time

from oss_wsgi import DirectUpload, Settings, Upload
from oss_wsgi.serving import make_server

if __name__ == "__main__":
    logging.disable()

    def on_upload(upload: Upload) -> None:
        time.sleep(0.005)

    application = DirectUpload(
        lambda environ, start_response: [], Settings.from_environ(os.environ), on_upload=on_upload
    )
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=1024)
    make_server(application, listener, application.is_nonblocking, threads=8).run()
