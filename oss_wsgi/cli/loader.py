"""Loads what MODULE:NAME names: the application of `serve --app`, or any other object of a person's own module."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..application import DirectUpload, direct_uploads_of
from ..exceptions import SettingsError
from ..explanations.text import Text
from ..serving import until_stopped
from ..serving.until_stopped import CannotStartError

if TYPE_CHECKING:
    import webob
    from _typeshed.wsgi import WSGIApplication

    from ..signing.grant import Grant

_SPELLED = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(\(\))?")
_CANNOT_IMPORT = (
    "Start in the folder that holds the module, or set PYTHONPATH; install what it imports in this environment."
)
_NO_ATTRIBUTE = "Name a variable of the module, or NAME() to call a function of it."
_ENDS = "The module ends the program while it is loaded: start servers below `if __name__ == '__main__':`."
_FAILS = "Fix the module at the line that Python names."
_NO_APPLICATION = (
    "Name a callable that takes (environ, start_response); NAME() calls a factory. `uvicorn MODULE:NAME` serves an "
    "ASGI application, in which oss_wsgi.asgi.DirectUpload can be mounted."
)
_NO_AUTHORIZE = "Name a plain function that takes a webob.Request, and returns a Grant or None."


class CannotLoadError(CannotStartError):
    """Raised with Python's error and a line of advice when a name leads to nothing that can be used."""


def check_spelling(name: str) -> None:
    """Raise CannotLoadError unless a name is ``MODULE:NAME`` or ``MODULE:NAME()``."""
    if not _SPELLED.fullmatch(name):
        raise CannotLoadError(
            Text("write MODULE:NAME, such as shop:application, or MODULE:NAME() for a factory, not {1}.", repr(name))
        )


def load(name: str) -> Any:
    """Return what ``MODULE:NAME`` names, or ``MODULE:NAME()`` returns.

    The current folder is the first that modules are looked for in. Raises CannotLoadError and SettingsError.
    """
    check_spelling(name)
    folder = os.getcwd()
    if sys.path[:1] != [folder]:
        sys.path.insert(0, folder)
    module, _, attribute = name.partition(":")
    try:
        value: Any = importlib.import_module(module)
        for part in attribute.removesuffix("()").split("."):
            value = getattr(value, part)
        return value() if attribute.endswith("()") else value
    except SettingsError:
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) or _last_file(error) == until_stopped.__file__:
            raise  # a signal ends the program
        raise CannotLoadError(Text("{1} cannot be loaded:\n{2}", name, _explained(error))) from error


def load_application(name: str) -> WSGIApplication:
    """Return the WSGI application that a name leads to. Raises CannotLoadError and SettingsError."""
    application: WSGIApplication = load(name)
    try:
        _check_takes(application, "environ", "start_response")
    except TypeError as error:
        problem = Text("{1} is no WSGI application: {2}.", name, error)
        raise CannotLoadError(Text("{1}\n{2}", problem, _NO_APPLICATION)) from error
    return application


def load_direct_upload(name: str) -> DirectUpload:
    """Return the one DirectUpload that a name leads to. Raises CannotLoadError and SettingsError."""
    loaded = load(name)
    shown = (loaded,) if isinstance(loaded, DirectUpload) else direct_uploads_of(loaded)
    if len(shown) != 1:
        raise CannotLoadError(
            Text(
                "{1} is a {2}, not a DirectUpload: if middleware wraps your DirectUpload, give the DirectUpload a "
                "variable of its own, and name that.",
                name,
                type(loaded).__name__,
            )
        )
    return shown[0]


def load_authorize(name: str) -> Callable[[webob.Request], Grant | None]:
    """Return the ``authorize`` that a name leads to. Raises CannotLoadError and SettingsError."""
    authorize: Callable[[webob.Request], Grant | None] = load(name)
    try:
        _check_takes(authorize, "request")
        if inspect.iscoroutinefunction(authorize):
            raise TypeError("it is an async function")
    except TypeError as error:
        problem = Text("{1} cannot say who may upload: {2}.", name, error)
        raise CannotLoadError(Text("{1}\n{2}", problem, _NO_AUTHORIZE)) from error
    return authorize


def _check_takes(function: Callable[..., Any], *arguments: str) -> None:
    """Raise TypeError unless a function can be called with these arguments, as far as Python knows."""
    with contextlib.suppress(ValueError):  # a function in C may not say what it takes
        inspect.signature(function).bind(*arguments)


def _explained(error: BaseException) -> str:
    """Return the error as Python prints it, from the first line of the person's own code on, and what to do."""
    frames = error.__traceback__
    while frames is not None and _is_ours(frames):
        frames = frames.tb_next
    if isinstance(error, ImportError):
        advice = _CANNOT_IMPORT
    elif isinstance(error, SystemExit):
        advice = _ENDS
    else:
        advice = _NO_ATTRIBUTE if frames is None and isinstance(error, AttributeError) else _FAILS
    lines = (*traceback.format_tb(frames), *traceback.format_exception_only(error))
    return Text("{1}\n{2}", "".join(lines).rstrip(), advice)


def _is_ours(frame: TracebackType) -> bool:
    file = frame.tb_frame.f_code.co_filename
    return file in (__file__, importlib.__file__) or file.startswith("<frozen ")


def _last_file(error: BaseException) -> str:
    return traceback.extract_tb(error.__traceback__)[-1].filename
