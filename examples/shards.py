"""Machines that share no ledger: each form names one of them, which gets all reports of the form's ticket.

Each machine runs your application with its ``DirectUpload``, and with:

    OSS_CALLBACK_URL=https://u0.app.example.com/oss/callback    its own public URL
    OSS_UPLOAD_DIR=uploads/0/                                   its own folder, which its sweep looks at
    OSS_LEDGER=/var/lib/oss-wsgi/ledger.sqlite3                 its own disk
    OSS_TICKET_SECRET_FILE=/etc/oss-wsgi/ticket-secrets         the same everywhere

Pages ask the signer, ``shards:application``, on as many machines as you like. It needs the same secret, and no ledger.
"""

import dataclasses
import itertools
import os
import time

from oss_wsgi import DirectUpload, Grant, MemoryLedger, Settings

# Only callbacks find the ticket's machine, which has the ledger and the on_upload.
OFF = {"report_by": "oss", "recover": False, "multipart": False}


def not_found(environ, start_response):
    start_response("404 Not Found", [("Content-Type", "text/plain")])
    return [b"Not found\n"]


def signer(settings, shards, authorize):
    """Return an application that signs each form for one of ``shards``, callback URLs by the names of the folders."""
    signers = [
        DirectUpload(
            not_found,
            dataclasses.replace(settings, callback_url=url, upload_dir=f"{settings.upload_dir}{name}/", **OFF),
            authorize=authorize,
            ledger=MemoryLedger(clock=time.time),  # no report comes here
        )
        for name, url in shards.items()
    ]

    turns = itertools.cycle(signers)

    def application(environ, start_response):
        return next(turns)(environ, start_response)

    return application


def authorize(request):
    return Grant(user=request.remote_user) if request.remote_user else None


if "SHARDS" in os.environ:  # 0=https://u0.app.example.com/oss/callback 1=https://u1.app.example.com/oss/callback
    SHARDS = dict(shard.split("=", 1) for shard in os.environ["SHARDS"].split())
    application = signer(Settings.from_environ(os.environ), SHARDS, authorize)
