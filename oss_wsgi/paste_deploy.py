"""Factories for PasteDeploy: the application, the filters and the composite that an .ini file names."""

from __future__ import annotations

import contextlib
import logging
import os
import pkgutil
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .application import DEFAULT_PREFIX, DirectUpload, public_key_store
from .callback.url import split_urls
from .callback.verifier import CallbackVerifier
from .exceptions import SettingsError
from .middleware.authorization import AuthorizationPassthrough
from .middleware.callback_guard import CallbackGuard
from .middleware.dispatcher import Dispatcher, check_prefix
from .settings import TABLE, Settings, items, switch, text
from .settings_check import unknown_name
from .site import upload_page

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

INDIRECTION = "env:"
THE_REST = "/"

_KEYS = {row.variable: row.name for row in TABLE}
_SECRETS = {row.name for row in TABLE if row.secret}
# A text in quotes is what was written, and stays; an apostrophe inside a word opens none.
_VARIABLE = re.compile(r"""(?<!\w)(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|OSS_[A-Z_]+)""")

log = logging.getLogger(__name__)

# In each factory the arguments before the slash cannot be taken for keys of the file, whatever that calls its keys.


def page(global_conf: Mapping[str, str], /, **local_conf: str) -> WSGIApplication:
    """Make the application ``egg:oss_wsgi``: the upload page and DirectUpload's endpoints, with nothing behind.

    Its keys are those of ``direct_upload`` but for ``forward_callback``.
    """
    with _speaking_for("application egg:oss_wsgi") as name:
        casts = {key: cast for key, cast in _OPTIONS.items() if key != "forward_callback"}
        settings, options = _read(name, local_conf, _KEYS.values(), casts)
        site = upload_page(settings, prefix=options.get("prefix", DEFAULT_PREFIX))
        return DirectUpload(site, settings, **options)


def direct_upload(app: WSGIApplication, global_conf: Mapping[str, str], /, **local_conf: str) -> WSGIApplication:
    """Make the filter ``egg:oss_wsgi``: DirectUpload over ``app``.

    Its keys are the names of ``Settings``, each read as the text of its environment variable is, and ``prefix``,
    ``authorize``, ``on_upload``, ``confirm``, ``on_issued`` and ``on_refused`` (``package.module:callable``) and
    ``forward_callback`` (on or off).
    The value ``env:NAME`` stands for that of the environment variable NAME. Nothing in ``[DEFAULT]`` is taken for a
    setting.

    Raises SettingsError with a sentence for each thing that is wrong, an unknown key or an unset variable included.
    """
    with _speaking_for("filter egg:oss_wsgi") as name:
        settings, options = _read(name, local_conf, _KEYS.values(), _OPTIONS)
        return DirectUpload(app, settings, **options)


def authorization_passthrough(
    global_conf: Mapping[str, str], /, **local_conf: str
) -> Callable[[WSGIApplication], WSGIApplication]:
    """Make the filter ``egg:oss_wsgi#authorization_passthrough``.

    Its one key is ``trusted_keys``: environ keys, comma-separated, that may hold the header too. (Not the setting of
    that name, which is about public keys.)
    """
    with _speaking_for("filter egg:oss_wsgi#authorization_passthrough") as name:
        _, options = _read(name, local_conf, (), {"trusted_keys": items})
    return lambda app: AuthorizationPassthrough(app, **options)


def callback_guard(app: WSGIApplication, global_conf: Mapping[str, str], /, **local_conf: str) -> WSGIApplication:
    """Make the filter ``egg:oss_wsgi#callback_guard``: only callbacks that OSS signed reach ``app``.

    Its keys are ``bucket``, ``callback_url`` and ``trusted_keys``, each with the meaning of the setting: the last are
    pairs KEY_URL=PEM_FILE, not the environ keys that ``authorization_passthrough`` calls so.
    """
    with _speaking_for("filter egg:oss_wsgi#callback_guard") as name:
        # As a setting, a bucket would ask for the region that signs for it; nothing is signed here.
        settings, options = _read(name, local_conf, ("callback_url", "trusted_keys"), {"bucket": text})
        urls = split_urls(settings.callback_url) if settings.callback_url else []
        return CallbackGuard(app, CallbackVerifier(public_key_store(settings)), callback_urls=urls, **options)


def dispatcher(loader: Any, global_conf: Mapping[str, str], /, **local_conf: str) -> WSGIApplication:
    """Make the composite ``egg:oss_wsgi#dispatcher``: each key is a prefix, its value the application mounted there.

    ``/ = name`` takes all other requests, and must be there.
    """
    with _speaking_for("composite egg:oss_wsgi#dispatcher"):
        problems = [problem for key in local_conf if key != THE_REST for problem in _prefix_problems(key)]
        if THE_REST not in local_conf:
            problems.append("'/ = NAME' must be there, to name the application of all other paths.")
        if problems:
            raise SettingsError(*problems)
    mounts = {prefix: loader.get_app(name, global_conf=global_conf) for prefix, name in local_conf.items()}
    return Dispatcher(mounts.pop(THE_REST), mounts)


def _prefix_problems(key: str) -> Iterator[str]:
    try:
        check_prefix(key)
    except ValueError as error:
        yield str(error)


def _imported(value: str) -> Callable[..., Any]:
    """Import what ``package.module:callable`` names; ValueError says what would be right."""
    module, _, name = value.strip().partition(":")
    if not (module and name):
        raise ValueError("must be like package.module:callable")
    try:
        found: Any = pkgutil.resolve_name(f"{module}:{name}")
    except Exception as error:  # whatever the module raises while it is imported
        raise ValueError(f"must name what can be imported ({type(error).__name__}: {error})") from error
    if not callable(found):
        raise ValueError("must name what can be called")
    called: Callable[..., Any] = found
    return called


_OPTIONS: dict[str, Callable[[str], Any]] = {
    "prefix": text,
    "authorize": _imported,
    "on_upload": _imported,
    "forward_callback": switch,
    "confirm": _imported,
    "on_issued": _imported,
    "on_refused": _imported,
}


def _read(
    factory: str, local_conf: Mapping[str, str], settings: Collection[str], casts: Mapping[str, Callable[[str], Any]]
) -> tuple[Settings, dict[str, Any]]:
    """Give the settings that a section names, and its further keys as ``casts`` reads them; an empty one is unset."""
    problems: list[str] = []
    values: dict[str, Any] = {}
    options: dict[str, Any] = {}
    cause: BaseException | None = None
    for key, written in local_conf.items():
        if key not in settings and key not in casts:
            problems.append(_unknown(key, [*settings, *casts]))
            continue
        value = written
        if written.strip().startswith(INDIRECTION):
            variable = written.strip().removeprefix(INDIRECTION).strip()
            if variable not in os.environ:
                problems.append(f"{key} is to be read from the environment variable {variable!r}: set it.")
                continue
            value = os.environ[variable]
        elif key in _SECRETS and written.strip():
            log.warning(
                "The %s: %s stands in the file itself; write %sNAME and set the environment variable NAME instead.",
                factory, key, INDIRECTION,
            )  # fmt: skip
        if key in settings:
            values[key] = value
        elif value.strip():
            try:
                options[key] = casts[key](value)
            except ValueError as error:
                problems.append(f"{key} {error}, not {written.strip()!r}.")
                cause = error.__cause__
    if problems:
        raise SettingsError(*problems) from cause
    return Settings(**values), options


def _unknown(key: str, known: list[str]) -> str:
    if _KEYS.get(key) in known:
        return f"{key!r} is the name of a variable: the key is {_KEYS[key]}."
    return unknown_name(key, known)


@contextlib.contextmanager
def _speaking_for(factory: str) -> Iterator[str]:
    """Name the factory in what is wrong, and the keys of the file where the settings name their variables."""
    try:
        yield factory
    except ValueError as error:
        problems = error.problems if isinstance(error, SettingsError) else (str(error),)
        named = (_VARIABLE.sub(lambda match: _KEYS.get(match[0], match[0]), problem) for problem in problems)
        raise SettingsError(*(f"The {factory}: {problem}" for problem in named)) from error.__cause__
