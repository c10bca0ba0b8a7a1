"""Imports what MODULE:NAME names, such as the application of `--app`, and says in a sentence why it cannot."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import inspect
import linecache
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..exceptions import SettingsError
from ..serving import until_stopped
from ..serving.until_stopped import CannotStartError

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_SPELLED = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(\(\))?")
_LIBRARIES = tuple(
    os.path.realpath(path) + os.sep
    for path in {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    if path
)
_PACKAGE = str(Path(__file__).parents[1]) + os.sep
_WHERE = "in the folder that holds it, or set PYTHONPATH."


class CannotLoadError(CannotStartError):
    """Raised with a sentence when a name leads to nothing that can be used."""


def check_spelling(name: str) -> None:
    """Raise CannotLoadError unless a name is ``MODULE:NAME`` or ``MODULE:NAME()``."""
    path, _, attribute = name.partition(":")
    if _SPELLED.fullmatch(name) and not os.path.isfile(path):
        return
    if path.endswith(".py"):
        path = path.removesuffix(".py").removeprefix("./").replace("/", ".")
    guess = f"{path}:{attribute or 'application'}"
    better = guess if _SPELLED.fullmatch(guess) else "shop:application"
    raise CannotLoadError(f"write MODULE:NAME, such as {better}, or MODULE:NAME() for a factory, not {name!r}.")


def load_application(name: str) -> WSGIApplication:
    """Return the application that ``--app`` names. Raises CannotLoadError and SettingsError."""
    application: WSGIApplication = load_attribute(name)
    problem = _application_problem(name, application)
    if problem:
        raise CannotLoadError(problem)
    return application


def load_attribute(name: str) -> Any:
    """Return what ``MODULE:NAME`` names, or ``MODULE:NAME()`` returns.

    The current folder is the first that modules are looked for in. Raises CannotLoadError and SettingsError.
    """
    check_spelling(name)
    folder = os.getcwd()
    if sys.path[:1] != [folder]:
        sys.path.insert(0, folder)
    module_name, _, rest = name.partition(":")
    attribute = rest.removesuffix("()")
    with _explained(f"the import of {module_name!r}"):
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            missing = error.name or ""
            if f"{module_name}.".startswith(f"{missing}."):  # it or its package, not what it imports
                raise CannotLoadError(_no_module(module_name, missing, folder)) from None
            raise
    value: Any = module
    for part in attribute.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            raise CannotLoadError(_no_attribute(module, value, part)) from None
    if rest.endswith("()"):
        if not callable(value):
            raise CannotLoadError(f"{module_name}:{attribute} is {_kind(value)} and cannot be called: omit '()'.")
        with _explained(f"the call of {name}"):
            value = value()
    return value


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    """Run the person's code; CannotLoadError says where it fails, and why."""
    try:
        yield
    except (CannotLoadError, SettingsError):
        raise
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        if isinstance(error, KeyboardInterrupt) or frames[-1].filename == until_stopped.__file__:
            raise  # a signal ends the program
        raise CannotLoadError(f"{what} fails {_failure(error, frames)}") from error


def _failure(error: BaseException, frames: list[traceback.FrameSummary]) -> str:
    """Return where the person's code fails and why, with the line itself below."""
    if isinstance(error, SyntaxError) and error.filename:
        line = (error.text or "").strip()
        return f"in {_shown(error.filename)}, line {error.lineno}: {error.msg}.\n    {line}"
    linecache.checkcache()
    outside = [frame for frame in frames if not frame.filename.startswith(("<", _PACKAGE))]
    own = [frame for frame in outside if _is_own_file(frame.filename)]
    if not outside:
        return f": {_reason(error, '')}"
    place = (own or outside)[-1]
    line = place.line or ""
    where = f"in {_shown(place.filename)}, line {place.lineno}"
    return f"{where}: {_reason(error, line)}" + (f"\n    {line}" if line else "")


def _is_own_file(path: str) -> bool:
    """Return whether a Python file is the person's: not of Python, nor of an installed package."""
    path = os.path.realpath(path)
    parts = path.split(os.sep)
    return not ("site-packages" in parts or "dist-packages" in parts or path.startswith(_LIBRARIES))


def _shown(path: str) -> str:
    """Return a file's path as a person in the current folder writes it."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


def _reason(error: BaseException, line: str) -> str:
    if isinstance(error, SystemExit):
        text = "" if error.code is None or isinstance(error.code, int) else f", and says: {error.code}"
        return f"the code ends the program while it is loaded{text}. Start servers below `if __name__ == '__main__':`."
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"there is no module {error.name!r}: install it in this environment, or correct the name."
    if isinstance(error, KeyError) and error.args:
        if "environ" in line:
            return f"the environment variable {error.args[0]} is not set."
        return f"the key {error.args[0]!r} is missing."
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}{f': {error.filename!r}' if error.filename else ''}."
    text = str(error).strip()
    return f"{text.rstrip('.')}." if text else f"{type(error).__name__}, without a message."


def _no_module(name: str, missing: str, folder: str) -> str:
    parent, _, last = missing.rpartition(".")
    if parent:
        hint = f"Start {_WHERE}"
        return f"there is no module {last!r} in {parent!r}, as {name!r} asks for. {hint}"
    here = {path.stem for path in Path(folder).glob("*.py")}
    here |= {path.parent.name for path in Path(folder).glob("*/*.py" if "." in name else "*/__init__.py")}
    close = difflib.get_close_matches(last, sorted(here), n=1)
    guess = f"Did you mean {close[0]!r}? If not, start" if close else "Start"
    hint = f"{guess} {_WHERE}"
    return f"there is no module {missing!r} in {folder} or among the installed ones. {hint}"


def _no_attribute(module: ModuleType, owner: Any, missing: str) -> str:
    is_module = isinstance(owner, ModuleType)
    place = _shown(module.__file__) if is_module and module.__file__ else type(owner).__name__
    names = [name for name in vars(owner) if not name.startswith("_")] if hasattr(owner, "__dict__") else []
    close = difflib.get_close_matches(missing, names, n=1)
    usual = [name for name in ("application", "app", "wsgi_app", "create_app", "make_app") if name in names]
    if close or usual:
        suggested = close[0] if close else usual[0]
        call = "()" if suggested.startswith(("create_", "make_")) else ""
        return f"{place} has no {missing!r}: did you mean {module.__name__}:{suggested}{call}?"
    return f"{place} has no {missing!r}: name the variable that holds your WSGI application."


def _application_problem(name: str, value: Any) -> str | None:
    """Return why a value is no WSGI application, or None."""
    if not callable(value):
        return (
            f"{name} is {_kind(value)}, not a WSGI application: name a callable that takes (environ, start_response)."
        )
    if inspect.iscoroutinefunction(value) or inspect.iscoroutinefunction(getattr(value, "__call__", None)):  # noqa: B004
        return _is_asgi(name, value)
    if inspect.isclass(value) and not hasattr(value, "__iter__"):
        return f"{name} is a class, not a WSGI application: name an instance of it."
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):  # written in C, or hidden
        return None
    if _takes(signature, 2):
        return None
    if _takes(signature, 0) and not name.endswith("()"):
        return f"{name} takes no (environ, start_response). If it makes the application, write {name}()."
    if _takes(signature, 3):
        return _is_asgi(name, value)
    return f"{name} is {_kind(value)} that does not take (environ, start_response), so not a WSGI application."


def _is_asgi(name: str, value: Any) -> str:
    """Return the sentence for an ASGI application: another server runs it."""
    module, kind = type(value).__module__, type(value).__name__
    what = "an ASGI application" if inspect.isfunction(value) else f"an ASGI application, of type {kind}"
    command = f"uvicorn --factory {name[:-2]}" if name.endswith("()") else f"uvicorn {name}"
    if module.startswith("django."):
        other = "Django has a WSGI application too, usually in the project's wsgi.py: name that, or"
    else:
        other = "This command serves WSGI applications:"
    return f"{name} is {what}. {other} start it with `{command}`, and mount oss_wsgi.asgi.DirectUpload in it."


def _takes(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def _kind(value: Any) -> str:
    if value is None:
        return "None"
    if inspect.isfunction(value):
        return "a function"
    if inspect.ismodule(value):
        return "a module"
    return f"of type {type(value).__name__}"
