"""PutObject: the body of a request becomes an object."""

from __future__ import annotations

from ..answer import Answer
from ..object_headers import check_key, content_type, forbids_overwrite, object_headers
from ..request import Request
from ..upload_faults import UploadFaults
from .bodies import receive_body
from .upload_callback import call_back, image_info, read_callback


def put_object(request: Request) -> Answer:
    check_key(request.key)
    callback = read_callback(request)
    kind = content_type({"content-type": request.headers.get("content-type", "")}, "")
    headers = object_headers(request.headers)
    forbid_overwrite = forbids_overwrite(request.headers)
    failing = UploadFaults(request.faults)
    with request.storage.incoming() as incoming:
        failing.arriving()
        receive_body(request, incoming)
        failing.arrived()
        image = image_info(callback, incoming)
        now = request.service.clock()
        stored = incoming.commit(request.key, kind, headers, now=now, forbid_overwrite=forbid_overwrite)
    with failing:
        if callback:
            return call_back(request, callback, stored, image, "PutObject")
        return Answer(200, stored.checksum_headers)
