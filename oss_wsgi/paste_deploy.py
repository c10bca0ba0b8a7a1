"""PasteDeploy factories for .ini files: the application, the filters and the composite."""

from __future__ import annotations

import contextlib
import logging
import os
import pkgutil
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .application import DEFAULT_PREFIX, DirectUpload, public_key_store
from .callback.verifier import CallbackVerifier
from .exceptions import SettingsError
from .middleware.authorization import AuthorizationPassthrough
from .middleware.callback_guard import CallbackGuard
from .middleware.dispatcher import Dispatcher, check_prefix
from .settings import TABLE, Settings, items, switch, text
from .settings_check import unknown_name
from .site import UploadPage

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

INDIRECTION = "env:"
THE_REST = "/"

_KEY_OF_VARIABLE = {row.variable: row.name for row in TABLE}
_SECRETS = {row.name for row in TABLE if row.secret}
# Also matches quoted texts, so that variables within quotes are not replaced. An apostrophe within a word does not open
# a quote.
_QUOTED_OR_VARIABLE = re.compile(r"""(?<!\w)(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|OSS_[A-Z_]+)""")

log = logging.getLogger(__name__)

# Arguments before the slash are positional only, so a file may use their names as keys.


def page(global_conf: Mapping[str, str], /, **local_conf: str) -> WSGIApplication:
    """Make the application ``egg:oss_wsgi``: the upload page with DirectUpload over it.

    Its keys are those of ``direct_upload`` except ``forward_callback``, ``forms`` and ``form_user``.
    """
    with _naming("application egg:oss_wsgi") as name:
        casts = {key: cast for key, cast in _OPTIONS.items() if key not in _OF_AN_APPLICATION}
        settings, options = _read(name, local_conf, _KEY_OF_VARIABLE.values(), casts)
        return DirectUpload(UploadPage(settings, options.get("prefix", DEFAULT_PREFIX)), settings, **options)


def direct_upload(app: WSGIApplication, global_conf: Mapping[str, str], /, **local_conf: str) -> WSGIApplication:
    """Make the filter ``egg:oss_wsgi``: DirectUpload over ``app``.

    Its keys are the names of ``Settings``, whose values are read like those of the environment variables; ``prefix``;
    ``authorize``, ``may_complete``, ``on_upload``, ``form_user``, ``confirm``, ``on_issued`` and ``on_refused``
    (``package.module:callable``); ``forward_callback`` (on or off); and ``forms`` (on, off or inject).
    The value ``env:NAME`` stands for the environment variable NAME. ``[DEFAULT]`` holds no settings.

    Raises SettingsError with a sentence for each problem, unknown keys and unset variables included.
    """
    with _naming("filter egg:oss_wsgi") as name:
        settings, options = _read(name, local_conf, _KEY_OF_VARIABLE.values(), _OPTIONS)
        return DirectUpload(app, settings, **options)


def authorization_passthrough(
    global_conf: Mapping[str, str], /, **local_conf: str
) -> Callable[[WSGIApplication], WSGIApplication]:
    """Make the filter ``egg:oss_wsgi#authorization_passthrough``.

    Its only key is ``trusted_keys``: environ keys, comma-separated, that may hold the header too. (The setting with the
    same name lists public keys.)
    """
    with _naming("filter egg:oss_wsgi#authorization_passthrough") as name:
        _, options = _read(name, local_conf, (), {"trusted_keys": items})
    return lambda app: AuthorizationPassthrough(app, **options)


def callback_guard(app: WSGIApplication, global_conf: Mapping[str, str], /, **local_conf: str) -> WSGIApplication:
    """Make the filter ``egg:oss_wsgi#callback_guard``: only callbacks that OSS signed reach ``app``.

    Its keys ``bucket``, ``callback_url`` and ``trusted_keys`` mean what the settings mean. So ``trusted_keys`` holds
    pairs KEY_URL=PEM_FILE, not the environ keys of ``authorization_passthrough``.
    """
    with _naming("filter egg:oss_wsgi#callback_guard") as name:
        # Not read as a setting, because that one also needs a region.
        settings, options = _read(name, local_conf, ("callback_url", "trusted_keys"), {"bucket": text})
        verifier = CallbackVerifier(public_key_store(settings))
        return CallbackGuard(app, verifier, callback_urls=settings.callback_urls, **options)


def dispatcher(loader: Any, global_conf: Mapping[str, str], /, **local_conf: str) -> WSGIApplication:
    """Make the composite ``egg:oss_wsgi#dispatcher``: each key is a prefix, its value the application mounted there.

    ``/ = name`` gets all other requests, and is required.
    """
    with _naming("composite egg:oss_wsgi#dispatcher"):
        problems = [problem for key in local_conf if key != THE_REST for problem in _prefix_problems(key)]
        if THE_REST not in local_conf:
            problems.append("Add '/ = NAME', which names the application of all other paths.")
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
    """Import the callable that ``package.module:callable`` names; ValueError says what is wrong."""
    module, _, name = value.strip().partition(":")
    if not (module and name):
        raise ValueError("must be like package.module:callable")
    try:
        imported: Any = pkgutil.resolve_name(f"{module}:{name}")
    except Exception as error:  # the module may raise anything while it is imported
        raise ValueError(f"must name what can be imported ({type(error).__name__}: {error})") from error
    if not callable(imported):
        raise ValueError("must name what can be called")
    function: Callable[..., Any] = imported
    return function


def _forms(value: str) -> bool | str:
    """Read the option ``forms``."""
    word = value.strip().lower()
    if word == "inject":
        return word
    try:
        return switch(word)
    except ValueError:
        raise ValueError("must be 'on', 'off' or 'inject'") from None


_OPTIONS: dict[str, Callable[[str], Any]] = {
    "prefix": text,
    "authorize": _imported,
    "may_complete": _imported,
    "on_upload": _imported,
    "forward_callback": switch,
    "forms": _forms,
    "form_user": _imported,
    "confirm": _imported,
    "on_issued": _imported,
    "on_refused": _imported,
}

#: Those that change what an application behind DirectUpload gets.
_OF_AN_APPLICATION = ("forward_callback", "forms", "form_user")


def _read(
    factory: str, local_conf: Mapping[str, str], settings: Collection[str], casts: Mapping[str, Callable[[str], Any]]
) -> tuple[Settings, dict[str, Any]]:
    """Return the settings of a section, and its other keys as read by ``casts``; an empty value means unset."""
    problems: list[str] = []
    values: dict[str, Any] = {}
    options: dict[str, Any] = {}
    cause: BaseException | None = None
    for key, raw in local_conf.items():
        if key not in settings and key not in casts:
            problems.append(_unknown(key, [*settings, *casts]))
            continue
        value = raw
        if raw.strip().startswith(INDIRECTION):
            variable = raw.strip().removeprefix(INDIRECTION).strip()
            if variable not in os.environ:
                problems.append(f"{key} is read from the environment variable {variable!r}, which is not set: set it.")
                continue
            value = os.environ[variable]
        elif key in _SECRETS and raw.strip():
            log.warning(
                "The %s: the file itself holds %s; write %sNAME and set the environment variable NAME instead.",
                factory, key, INDIRECTION,
            )  # fmt: skip
        if key in settings:
            values[key] = value
        elif value.strip():
            try:
                options[key] = casts[key](value)
            except ValueError as error:
                problems.append(f"{key} {error}, not {raw.strip()!r}.")
                cause = error.__cause__
    if problems:
        raise SettingsError(*problems) from cause
    return Settings(**values), options


def _unknown(key: str, known: list[str]) -> str:
    if _KEY_OF_VARIABLE.get(key) in known:
        return f"{key!r} is the name of an environment variable: use the key {_KEY_OF_VARIABLE[key]}."
    return unknown_name(key, known)


@contextlib.contextmanager
def _naming(factory: str) -> Iterator[str]:
    """Raise each problem with the factory's name before it, and with the file's keys instead of the variables."""
    try:
        yield factory
    except ValueError as error:
        problems = error.problems if isinstance(error, SettingsError) else (str(error),)
        sentences = (
            _QUOTED_OR_VARIABLE.sub(lambda match: _KEY_OF_VARIABLE.get(match[0], match[0]), problem)
            for problem in problems
        )
        raise SettingsError(*(f"The {factory}: {problem}" for problem in sentences)) from error.__cause__
