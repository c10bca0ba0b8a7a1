"""The inspector: answers its own URLs, sends callbacks again, and leaves all other requests to OSS."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote

from oss_wsgi.explanations.languages import accepted_language
from oss_wsgi.explanations.rows import find
from oss_wsgi.explanations.text import Text, sentences

from ..callbacks.parameters import CallbackURL, check_address, parse_callback_url
from ..callbacks.sender import CallbackCall, CallbackRequest, CallbackSender
from ..callbacks.signing_key import CallbackKey
from ..environ import Address
from ..errors import OSSError, Response
from ..request import Service
from ..signatures.v4 import signed_path
from .access import SAFE, Access, plain
from .curl import curl_line
from .exchange import Exchange, Journal, new_request_id
from .exchange_page import exchange_page
from .markup import ROOT, Page
from .outcome import log_line
from .pages import (
    activity_page,
    add_fault,
    faults_page,
    filters_of,
    matching,
    object_content,
    object_page,
    objects_page,
)
from .rows import rows_of

#: Name -> what the page says.
CHANGES = {
    "": "Unchanged",
    "late": "Late: after 6 seconds, when OSS has given up",
    "twice": "Twice at once",
    "body": "Altered body, with the old signature",
    "key": "Signed with another key",
    "path": "Signed for another path",
}
LATE_SECONDS = 6.0
#: Seconds that the links to objects are valid.
LINK_LIFETIME = 3600
MAX_FORM = 64 * 1024
#: Rows in the list beside an exchange, and links to those of the same upload.
MAX_BESIDE = 40
MAX_RELATED = 200

#: The parameters of a signed URL, which asks for an object.
_SIGNED = re.compile(r"(^|&)(Signature|x-oss-signature|X-Amz-Signature)=")
_FOLDER = Path(__file__).parent
_FILES = {"inspector.css": "text/css", "inspector.js": "text/javascript", "icon.svg": "image/svg+xml"}


class Inspector:
    """The pages, their actions, and the journal that they show."""

    def __init__(self, oss: Service) -> None:
        self.journal = Journal()
        self._oss = oss
        self._options = oss.options
        self._access = Access(everywhere=self._options.inspector == "everywhere")

    def answer(self, environ: Mapping[str, Any]) -> Response | None:
        """Return the response to a request for the inspector; None for a request to OSS."""
        if not self.has_pages:
            return None
        path = str(environ.get("PATH_INFO", ""))
        is_own = path == ROOT or path.startswith(f"{ROOT}/")
        if environ.get("HTTP_AUTHORIZATION") or _SIGNED.search(str(environ.get("QUERY_STRING", ""))):
            return None
        if not is_own:
            return self._root(environ, path.strip("/"))
        page = self._page(environ)
        refusal = self._access.refusal(environ, self._oss.url)
        if refusal:
            return page.refuse(*refusal)
        method = environ["REQUEST_METHOD"]
        if method not in ("GET", "HEAD", "POST"):
            return page.refuse(405, "The inspector answers GET, HEAD and POST.", [("Allow", "GET, HEAD, POST")])
        try:
            act = self._act if method == "POST" else self._show
            return act(page, environ, path.removeprefix(ROOT))
        except OSSError as error:
            row = find(error.ec) or find(error.code)
            words = sentences(error.message, row.meaning, row.fix) if row else error.message
            return page.message(error.code, words, status=error.status)
        except ModuleNotFoundError as error:
            return page.refuse(501, Text("{1} is not installed: pip install 'oss-wsgi[local]'", error.name))

    @property
    def has_pages(self) -> bool:
        return bool(self._options.inspector)

    def begin(self, exchange: Exchange) -> None:
        if self.has_pages:
            exchange.changed = self.journal.add
            self.journal.add(exchange)

    def record(self, exchange: Exchange) -> None:
        if self.has_pages:
            self.journal.add(exchange)
            self._note_recovery(exchange)
        if self._options.log:
            link = f"{self._oss.url}{ROOT}/requests/{exchange.id}" if self.has_pages else ""
            line = log_line(exchange, link)
            if line:
                self._options.log(line)

    def _note_recovery(self, head: Exchange) -> None:
        """Note a recovered report: with its key, the application asked for an object whose callback failed."""
        if head.operation != "HeadObject" or head.status != 200 or not head.header("authorization"):
            return
        uploads = (other for other in self.journal.exchanges() if other.kind == "upload" and other.stored)
        upload = next((other for other in uploads if (other.bucket, other.key) == (head.bucket, head.key)), None)
        if upload and upload.status == 203 and not upload.recovered:
            upload.recovered = head.id
            self.journal.add(upload)

    def _root(self, environ: Mapping[str, Any], bucket: str) -> Response | None:
        """Return the activity for a person who opens the root; for the root of a bucket, a redirect to its objects.

        Return None for a program, which lists buckets or objects, and for a stranger.
        """
        is_asked = environ["REQUEST_METHOD"] in ("GET", "HEAD") and not environ.get("QUERY_STRING")
        if not is_asked or environ.get("HTTP_ORIGIN"):
            return None
        if bucket and ("text/html" not in environ.get("HTTP_ACCEPT", "") or not self._has_bucket(bucket)):
            return None
        if self._access.refusal(environ, self._oss.url):
            return None
        page = self._page(environ)
        return _see_other(page, "/objects", bucket=bucket) if bucket else self._show(page, environ, "")

    def _has_bucket(self, name: str) -> bool:
        return any(bucket.name == name for bucket in self._oss.storage.buckets())

    def _page(self, environ: Mapping[str, Any]) -> Page:
        base = quote(str(environ.get("SCRIPT_NAME", "")), safe="/")

        account = self._oss.account

        def signed(bucket: str, key: str) -> str:
            options = self._options
            return signed_path(Address(bucket, key), account, options.region, options.clock(), LINK_LIFETIME)

        language = accepted_language(environ.get("HTTP_ACCEPT_LANGUAGE"))
        return Page(base, self._access.token, None if account.security_token else signed, language)

    def _show(self, page: Page, environ: Mapping[str, Any], path: str) -> Response:
        query = dict(parse_qsl(str(environ.get("QUERY_STRING", "")), max_num_fields=50))
        if path in ("", "/"):
            buckets = [bucket.name for bucket in self._oss.storage.buckets()]
            own = {"url": self._oss.url, "bucket": self._options.bucket, "buckets": buckets}
            own["pillow_by"] = "" if find_spec("PIL") else "pip install 'oss-wsgi[local]'"
            return activity_page(page, self.journal, query, **own)
        if path == "/news":  # the pages ask each second
            return plain(200, str(self.journal.count))
        if path == "/objects":
            return objects_page(page, self._oss.storage, query, self._options.bucket)
        if path == "/object":
            return object_page(page, self._oss.storage, query.get("bucket", ""), query.get("key", ""))
        if path == "/content":
            return object_content(
                page, self._oss.storage, query.get("bucket", ""), query.get("key", ""), download="download" in query
            )
        if path == "/faults":
            return faults_page(page, self._oss.faults)
        name = path.removeprefix("/")
        if name in _FILES:
            return _file(name)
        if path.startswith("/requests/"):
            return self._request(page, environ, query, path.removeprefix("/requests/"))
        return page.message("No such page", status=404)

    def _request(self, page: Page, environ: Mapping[str, Any], query: Mapping[str, str], rest: str) -> Response:
        request_id, _, form = rest.partition("/")
        exchange = self.journal.exchange(request_id)
        if exchange is None or form not in ("", "curl"):
            gone = "The local OSS no longer keeps it, or was started again since."
            return page.message("No such request", gone, status=404)
        if form:
            return plain(200, curl_line(exchange, _address(environ) or self._oss.url))
        return exchange_page(
            page,
            exchange,
            strict=self._options.strict,
            related=islice(self._related(page, exchange), MAX_RELATED),
            beside=rows_of(matching(self.journal.exchanges(), query))[:MAX_BESIDE],
            filters=filters_of(query),
            changes=CHANGES,
        )

    def _related(self, page: Page, exchange: Exchange) -> Iterator[tuple[str, str]]:
        """Yield links to the parts of the same upload, and to its callbacks sent again."""
        if exchange.origin:
            yield page.link(f"/requests/{exchange.origin}"), "The upload whose callback this is"
        if exchange.recovered:
            yield page.link(f"/requests/{exchange.recovered}"), "How the application asked for it"
        for other in reversed(self.journal.exchanges()):
            if other.id == exchange.id:
                continue
            link = page.link(f"/requests/{other.id}")
            if other.origin == exchange.id or (exchange.origin and other.origin == exchange.origin):
                yield link, Text("{1}: {2}, {3}", "Sent again", other.again, _result(other))
            elif exchange.upload_id and other.upload_id == exchange.upload_id:
                yield link, f"{other.operation} {dict(other.query).get('partNumber', '')}"

    def _act(self, page: Page, environ: Mapping[str, Any], path: str) -> Response:
        form = _read_form(environ)
        if form is None or not self._access.is_token(form.get("token", "")):
            return page.refuse(403, "The local OSS was started again since the page was loaded: load it again.")
        if path == "/clear":
            self.journal.clear()
            return _see_other(page, "")
        if path == "/faults":
            try:
                add_fault(self._oss.faults, form)
            except (ValueError, OverflowError) as error:
                return page.refuse(400, str(error))
            return _see_other(page, "/faults")
        if path == "/delete":
            bucket, key = form.get("bucket", ""), form.get("key", "")
            self._oss.storage.bucket(bucket).delete(key)
            folder = f"{key.rpartition('/')[0]}/" if "/" in key else ""
            return _see_other(page, "/objects", bucket=bucket, prefix=folder)
        if path.startswith("/requests/") and path.endswith("/again"):
            return self._send_again(page, path.removeprefix("/requests/").removesuffix("/again"), form)
        return page.refuse(404, "There is no such action.")

    def _send_again(self, page: Page, request_id: str, form: Mapping[str, str]) -> Response:
        exchange = self.journal.exchange(request_id)
        change = form.get("change", "")
        if exchange is None or not exchange.calls or not exchange.calls[-1].request.body or change not in CHANGES:
            return page.refuse(404, "There is no such callback to send again.")
        request, url = exchange.calls[-1].request, self._callback_url(form.get("url", ""))
        started = self._options.clock()
        again = Exchange(
            id=new_request_id(started),
            started=started,
            method="POST",
            operation="Callback",
            target=(url or request.url).target,
            bucket=exchange.bucket,
            key=exchange.key,
            origin=exchange.origin or exchange.id,
            again=CHANGES[change].partition(":")[0],
            is_under_way=True,
        )
        self.begin(again)
        try:
            for call in send_again(self._oss.sender, request, change, url, again.note_request):
                again.note_call(call)
        finally:
            # The worse of two responses: a repeated callback is refused while the first one is handled.
            status = max((call.reply.status if call.reply else 0 for call in again.calls), default=0)
            again.finish(status)
            self.record(again)
        return _see_other(page, f"/requests/{again.id}")

    def _callback_url(self, address: str) -> CallbackURL | None:
        """Return another URL that the form asks for; raise OSSError if OSS could not call it."""
        if not address.strip():
            return None
        url = parse_callback_url(address)
        check_address(url, allow_private=self._options.allow_private_callback, resolve=self._oss.resolve)
        return url


def _address(environ: Mapping[str, Any]) -> str:
    """Return scheme, host and port of the pages' URL, as Access has checked them; "" without a Host.

    `localhost` replaces its subdomains: they would name a bucket.
    """
    host = re.sub(r".*\.(?=localhost\b)", "", str(environ.get("HTTP_HOST", "")))
    return f"{environ.get('wsgi.url_scheme', 'http')}://{host}" if host else ""


def _result(exchange: Exchange) -> str:
    return "under way" if exchange.is_under_way else str(exchange.status or "no reply")


def _file(name: str) -> Response:
    headers = [("Content-Type", f"{_FILES[name]}; charset=utf-8"), ("Cache-Control", "no-cache"), *SAFE]
    if name.endswith(".svg"):
        headers.append(("Content-Security-Policy", "sandbox"))
    return Response(200, headers, (_FOLDER / name).read_bytes())


def _see_other(page: Page, path: str, **query: str) -> Response:
    return Response(303, [("Location", page.link(path, **query)), ("Cache-Control", "no-store"), *SAFE])


def _read_form(environ: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the fields of a form; None if the body is not a form, or too long."""
    length = str(environ.get("CONTENT_LENGTH") or "0")
    media_type = str(environ.get("CONTENT_TYPE", "")).partition(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded" or not length.isdecimal() or int(length) > MAX_FORM:
        return None
    body = environ["wsgi.input"].read(int(length)).decode("latin-1")
    try:
        return dict(parse_qsl(body, keep_blank_values=True, max_num_fields=50))
    except ValueError:
        return None


def send_again(
    sender: CallbackSender,
    request: CallbackRequest,
    change: str,
    url: CallbackURL | None,
    on_request: Callable[[CallbackRequest], None],
) -> list[CallbackCall]:
    """Send the request, and return the calls that this made: two for "twice".

    :param change: a name of CHANGES.
    :param url: another URL, for which the request is signed again.
    :param on_request: called with each request before it is sent.
    """
    if url and url != request.url:
        request = _signed(replace(request.with_header("Host", url.netloc), url=url), url, sender.key)
    if change == "body":
        body = altered(request.body)
        request = replace(request, body=body).with_header("Content-Length", str(len(body)))
    elif change == "key":
        request = _signed(request, request.url, CallbackKey.generate(2048))
    elif change == "path":
        elsewhere = replace(request.url, path=f"{request.url.path.rstrip('/')}/elsewhere")
        request = _signed(request, elsewhere, sender.key)
    elif change == "late":
        time.sleep(LATE_SECONDS)
    on_request(request)
    requests = [request, request] if change == "twice" else [request]
    with ThreadPoolExecutor(len(requests)) as threads:
        return [call for call, _ in threads.map(sender.call, requests)]


def altered(body: bytes) -> bytes:
    """Return the body with another last digit or letter, so that it stays as long and can be parsed."""
    last = re.search(rb"[0-9A-Za-z](?=[^0-9A-Za-z]*\Z)", body)
    if not last:
        return body + b"1"
    one, other = (b"1", b"2") if last[0].isdigit() else (b"b", b"c")
    return body[: last.start()] + (other if last[0] == one else one) + body[last.end() :]


def _signed(request: CallbackRequest, url: CallbackURL, key: CallbackKey) -> CallbackRequest:
    return request.with_header("Authorization", key.sign(url.string_to_sign(request.body)))
