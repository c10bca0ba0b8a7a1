"""One upload by one call, through any application."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from ..application import DEFAULT_PREFIX, HEALTH_PATH
from ..callback.upload import Upload
from ..signing.grant import Grant
from .road import APPLICATION_URL, FinishedRoad, Road, read

if TYPE_CHECKING:
    import webob
    from _typeshed.wsgi import WSGIApplication

    from .local_oss import InProcessOSS


class Uploaded(NamedTuple):
    """What the application heard, None unless it accepted the callback; and what the browser was answered."""

    upload: Upload | None
    answer: webob.Response


def oss_upload(
    app: WSGIApplication,
    filename: str,
    data: bytes,
    /,
    *,
    oss: InProcessOSS | None = None,
    content_type: str | None = None,
    on_upload: Callable[[Upload], dict[str, Any] | None] | None = None,
    forward_callback: bool = False,
    prefix: str = DEFAULT_PREFIX,
    environ: Mapping[str, Any] | None = None,
    **grant: Any,
) -> Uploaded:
    """Upload through ``app`` as a browser would: signature, form to the local OSS, callback, answer.

        upload, answer = oss_upload(app, "cat.png", data, user="eric", dir="users/eric")

    An application that has DirectUpload in it already (its health endpoint tells) goes as it is: its own ``authorize``
    and ``on_upload`` decide. It must have been made from the settings of ``environ_for(oss, folder)``. Any other is
    wrapped in a DirectUpload that grants ``Grant(**grant)`` to everybody.

    :param oss: where the file goes; without it one that is gone afterwards.
    :param environ: what a server or a login would put into the environ of the request for the signature.
    :param forward_callback: the application's own view answers the callback.
    """
    if not is_finished(app, prefix):
        with_handler: dict[str, Any] = {"on_upload": on_upload, "forward_callback": forward_callback}
        road: FinishedRoad = Road(app, oss=oss, prefix=prefix, authorize=lambda _: Grant(**grant), **with_handler)
    elif grant or on_upload or forward_callback or oss is None:
        raise TypeError(
            "This application has DirectUpload in it already: give the oss whose settings it was made from, and "
            "leave grant and handler to the application."
        )
    else:
        road = FinishedRoad(app, oss, prefix=prefix)
    try:
        answer = road.upload(filename, data, content_type=content_type, environ=environ)
    finally:
        if oss is None:
            road.local_oss.close()
    return Uploaded(road.uploads[-1] if road.uploads else None, answer)


def is_finished(app: WSGIApplication, prefix: str = DEFAULT_PREFIX) -> bool:
    """Tell whether an application has DirectUpload in it, whatever stands around that."""
    import webob

    request = webob.Request.blank(quote(prefix) + HEALTH_PATH, base_url=APPLICATION_URL)
    try:
        answer = read(request, app)
        return answer.status_int == 200 and answer.json == {"status": "ok"}
    except Exception:  # of an application that does not expect this path
        return False
