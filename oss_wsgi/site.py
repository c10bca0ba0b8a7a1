"""The upload page, and the application of page and DirectUpload that a WSGI server loads."""

from __future__ import annotations

import html
import ipaddress
import json
import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from .application import DEFAULT_PREFIX, RECOVER_PATH, SIGNATURE_PATH, DirectUpload
from .endpoints.static import StaticSite, shipped_folder
from .explanations.rows import hint_of
from .http import origin_of
from .middleware.dispatcher import check_prefix
from .settings import Settings
from .wsgi.facts import facts_of
from .wsgi.responses import SECURITY_HEADERS

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger("oss_wsgi.server")

#: The path below a page whose links lead to signed URLs.
LINK = "link"
#: The custom properties of static/style.css that are colors.
COLORS = (
    *("ground", "surface", "sunken", "line", "edge", "ink", "quiet", "accent", "accent-strong", "on-accent"),
    *("good", "warn", "bad", "track"),
)
_COLOR = re.compile(r"[#\w%.,()/ +*-]+")
_LOGOS = (".svg", ".png", ".webp", ".jpg", ".jpeg")
_TEXT = re.compile(r"^  (\w+): ", re.MULTILINE)


def site(
    settings: Settings, prefix: str = DEFAULT_PREFIX, *, links: Callable[[str], str] | None = None, **options: Any
) -> DirectUpload:
    """Return the upload page with DirectUpload over it.

    :param links: as for ``UploadPage``.
    :param options: further options of ``DirectUpload``.
    """
    return DirectUpload(UploadPage(settings, prefix, links=links), settings, prefix=prefix, **options)


def application_for(environ: Mapping[str, str]) -> WSGIApplication:
    """Return the application for the environment's settings; without a bucket it responds 503 to every request.

    Raises SettingsError for a wrong setting.
    """
    has_bucket = any(environ.get(name, "").strip() for name in ("OSS_BUCKET", "OSS_HOST"))
    settings = Settings.from_environ(environ, required=("access_key",) if has_bucket else ())
    return site(settings) if settings.configured else _refuse_unconfigured


def _refuse_unconfigured(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    hint = hint_of("not_configured")
    return facts_of(environ).refuse(log, start_response, 503, "not_configured", hint, message="Not configured.")


class UploadPage(StaticSite):
    """The upload page as an application. It may reach only its own server and the OSS host.

        application = DirectUpload(Dispatcher(legacy_app, {"/files": UploadPage(settings)}), settings, authorize=allow)

    It may be the application of a DirectUpload, or be mounted below one by ``Dispatcher`` or another dispatcher; then
    the endpoints are one segment above it. For a longer mount such as ``/admin/files`` pass ``mount``.

    :param prefix: the prefix of the DirectUpload.
    :param mount: where a dispatcher below the DirectUpload mounts the page.
    :param title: the page's title and heading, in every language.
    :param texts: name of a text in ``static/languages/en.js`` -> another text, as ``{"lead": "For our members."}``; a
        language such as ``de`` -> texts of that language alone.
    :param colors: name of a custom property in ``COLORS`` -> a CSS color, or a pair for light and dark pages.
    :param logo: path of an SVG, PNG, WebP or JPEG file that stands above the title.
    :param language: a language such as ``de``; by default the browser's.
    :param links: returns the URL of an object; the page's link to the object redirects browsers on this machine there.
        Without ``links`` the link is the object's plain URL, which works if everybody may read it.

    Raises SettingsError without a bucket; ValueError for a prefix or mount that is not like ``/files``, for an unknown
    text, color, language or kind of logo, and for a malformed color.
    """

    def __init__(
        self,
        settings: Settings,
        prefix: str = DEFAULT_PREFIX,
        *,
        mount: str = "",
        title: str = "",
        texts: Mapping[str, str | Mapping[str, str]] | None = None,
        colors: Mapping[str, str | tuple[str, str]] | None = None,
        logo: str | os.PathLike[str] = "",
        language: str = "",
        links: Callable[[str], str] | None = None,
    ) -> None:
        check_prefix(prefix)
        if mount:
            check_prefix(mount)
        _, host = settings.bucket_and_host()
        root = shipped_folder()
        shipped = f'data-server-url="{DEFAULT_PREFIX[1:]}{SIGNATURE_PATH}"'
        place = html.escape("../" * mount.count("/") + quote(prefix[1:]))
        recover = f"{place}{RECOVER_PATH}" if settings.recover else ""  # "": the server has no such endpoint
        replacement = f'data-server-url="{place}{SIGNATURE_PATH}" data-recover-url="{recover}"'
        own_texts = _checked_texts(root, {**({"title": title} if title else {}), **(texts or {})})
        if own_texts:
            replacement += f' data-texts="{html.escape(json.dumps(own_texts, ensure_ascii=False))}"'
        self._links = links
        if links:
            replacement += f' data-link-url="{LINK}"'
        if language:
            _check_language(root, language)
            replacement += f' data-language="{html.escape(language)}"'
        index = (root / "index.html").read_text(encoding="utf-8").replace(shipped, replacement)
        for name, text in own_texts.items():
            if isinstance(text, str):  # otherwise the default text flashes until the script runs
                index = _with_text(index, f'data-text="{name}">', text)
                if name == "title":
                    index = _with_text(index, "<title>", text)
        overrides = {"/theme.css": _theme(colors or {})}
        if logo:
            name, content = _logo(Path(logo))
            overrides[f"/{name}"] = content
            index = index.replace("<header>", f'<header>\n      <img class="logo" src="{name}" alt="">', 1)
        overrides["/index.html"] = index.encode()
        policy = _page_policy(origin_of(host))
        super().__init__(root, content_security_policy=policy, overrides=overrides)
        self._endpoints = prefix.encode().decode("latin-1") + "/"

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO") or ""
        if self._links and path.startswith(f"/{LINK}/"):
            key = path[len(LINK) + 2 :].encode("latin-1").decode(errors="replace")
            return _lead_to_object(environ, start_response, key, self._links)
        if path.startswith(self._endpoints) and environ.get("SCRIPT_NAME"):
            # A DirectUpload directly around the page would have taken these paths, so it is above the page's mount.
            return _redirect_above(environ, start_response, path)
        return super().__call__(environ, start_response)


def _with_text(index: str, start: str, text: str) -> str:
    """Return the page with ``text`` as the content of the tag that ends in ``start``."""
    before, tag, rest = index.partition(start)
    return f"{before}{tag}{html.escape(text)}{rest[rest.index('<') :]}" if tag else index


def _checked_texts(root: Path, texts: Mapping[str, str | Mapping[str, str]]) -> dict[str, str | Mapping[str, str]]:
    """Return ``texts``; ValueError for an unknown language, or a name that the page's texts lack."""
    known = set(_TEXT.findall((root / "languages" / "en.js").read_text(encoding="utf-8")))
    names = [name for name, text in texts.items() if isinstance(text, str)]
    for language, its_texts in texts.items():
        if not isinstance(its_texts, str):
            _check_language(root, language)
            names += its_texts
    for name in names:
        if name not in known:
            raise ValueError(f"The page has no text {name!r}: static/languages/en.js names them.")
    return dict(texts)


def _check_language(root: Path, name: str) -> None:
    known = sorted(path.stem for path in (root / "languages").glob("*.js"))
    if name not in known:
        raise ValueError(f"The page has no language {name!r}, only {', '.join(known)}.")


def _theme(colors: Mapping[str, str | tuple[str, str]]) -> bytes:
    """Return a style sheet with the colors; ValueError for an unknown one, and for a malformed one."""
    light: list[str] = []
    dark: list[str] = []
    for name, color in colors.items():
        if name not in COLORS:
            raise ValueError(f"The page has no color {name!r}, only {', '.join(COLORS)}.")
        for values, value in zip((light, dark), (color, color) if isinstance(color, str) else color, strict=True):
            if not _COLOR.fullmatch(value):
                raise ValueError(f"{value!r} is not a CSS color such as '#164aaa' or 'rgb(22 74 170)'.")
            values.append(f"--{name}: {value};")
    if not colors:
        return b""
    rules = [
        ":root { " + " ".join(light) + " }",
        "@media (prefers-color-scheme: dark) { :root { " + " ".join(dark) + " } }",
    ]
    return "\n".join(rules).encode()


def _logo(path: Path) -> tuple[str, bytes]:
    """Return the logo's name on the page and its bytes; ValueError for a kind of file that is not a logo."""
    suffix = path.suffix.lower()
    if suffix not in _LOGOS:
        raise ValueError(f"The logo {str(path)!r} must be one of {', '.join(_LOGOS)}.")
    return f"logo{suffix}", path.read_bytes()


def _lead_to_object(
    environ: WSGIEnvironment, start_response: StartResponse, key: str, links: Callable[[str], str]
) -> Iterable[bytes]:
    """Redirect a browser on this machine to the URL of an object."""
    try:
        is_near = ipaddress.ip_address(environ.get("REMOTE_ADDR") or "").is_loopback
    except ValueError:
        is_near = False
    if not (key and is_near and environ["REQUEST_METHOD"] in ("GET", "HEAD")):
        return facts_of(environ).not_found(log, start_response)
    headers = [("Location", links(key)), ("Content-Length", "0"), *SECURITY_HEADERS]
    start_response("303 See Other", headers)
    return []


def _redirect_above(environ: WSGIEnvironment, start_response: StartResponse, path: str) -> Iterable[bytes]:
    """Redirect to the same path, method and query one segment above the mount."""
    query = environ.get("QUERY_STRING") or ""
    location = "../" * path.count("/") + quote(path[1:].encode("latin-1")) + (f"?{query}" if query else "")
    headers = [("Location", location), ("Content-Length", "0"), *SECURITY_HEADERS]
    start_response("307 Temporary Redirect", headers)
    return []


def _page_policy(oss: str) -> str:
    """Return the page's Content-Security-Policy; ``oss`` is the origin to which it uploads."""
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: {oss}; "
        f"connect-src 'self' {oss}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
