"""Explains lines without a code: this application's log, the commands' notes, and the sentences of the upload page."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from ..endpoints.static import shipped_folder
from .error_codes import Explanation
from .pasted import MAX_TEXT, FoundCode
from .statuses import APPLICATION

_LANGUAGES = "languages"
_PAGE = "PAGE"
_DOCTOR = "Run `oss-wsgi doctor --only callback-url`, and `oss-wsgi doctor --only callback` after the mend."

#: What a line contains -> its explanation, under a short name of the line.
_LINES = (
    (
        re.compile(r"OSS_CALLBACK_URL is not set\b"),
        Explanation(
            "OSS_CALLBACK_URL is not set",
            "Files are stored, but the forms ask OSS for no report: on_upload, or your view, is never called.",
            "Set the public URL of this application's callback, with its prefix, such as "
            f"OSS_CALLBACK_URL=https://app.example.com/oss/callback, and restart. {_DOCTOR}",
            ("application",),
        ),
    ),
    (
        re.compile(r"OSS_CALLBACK_URL is \S+, but DirectUpload receives reports at\b"),
        Explanation(
            "OSS_CALLBACK_URL leads to another path",
            "OSS sends its reports to a path at which this DirectUpload does not listen: each upload is stored, the "
            "browser gets 203, and on_upload is not called.",
            "Set OSS_CALLBACK_URL to the line that the warning ends with, or give DirectUpload that prefix. "
            "Leave it only "
            f"if a server in front turns the one path into the other. {_DOCTOR}",
            ("application",),
        ),
    ),
    (
        re.compile(r"OSS reported an upload to \S+, and no DirectUpload is there"),
        Explanation(
            "OSS reported an upload, and no DirectUpload is there",
            "The local OSS called back at a path at which `oss-wsgi serve --app` finds no DirectUpload: the file is "
            "stored, and the page shows that the application was not told.",
            "Leave --prefix out: the callback URL then follows DirectUpload's own prefix. Only if the "
            "DirectUpload as a "
            "whole is mounted below a path, give that path and its prefix together, such as --prefix /files/oss.",
            ("cli.serve_application",),
        ),
    ),
    (
        re.compile(r"\brecovered: outcome=handled\b"),
        Explanation(
            "recovered: outcome=handled",
            "OSS's report of this upload was lost. The page asked, OSS still holds the file, and the handler "
            "was called, "
            "as by the report: nothing is missing.",
            "Nothing to do for this upload. If there are many, find out why reports are lost: "
            "`oss-wsgi doctor --only callback`, and the lines with `refused:` before it.",
            ("endpoints.recover",),
        ),
    ),
    (
        re.compile(r"\brecovered: outcome=repeated\b"),
        Explanation(
            "recovered: outcome=repeated",
            "The page asked for an upload whose report had arrived: it got the answer that was stored then, and the "
            "handler was not called again.",
            "Nothing to do. It happens where OSS waits longer than 5 s for the answer, or the browser loses it.",
            ("endpoints.recover",),
        ),
    ),
    (
        re.compile(r"\bhandled: object="),
        Explanation(
            "handled: object=",
            "OSS's report of this upload was verified, and the handler accepted it.",
            "Nothing to do.",
            ("middleware.once",),
        ),
    ),
)  # fmt: skip

#: Name of a text in static/languages/ -> its explanation.
_SENTENCES = {
    "untold": Explanation(
        "page: stored, but the application was not told",
        "OSS stored the file and then failed to report it (203): the callback was refused, failed, or did not get "
        "through. Sending the file again would store it twice.",
        "Find the line with `refused:` in the application's log at that time and run `oss-wsgi explain` on it. Without "
        "one the callback did not arrive: `oss-wsgi doctor --only callback`. With OSS_RECOVER=on the page's "
        "Retry tells "
        "the application now; without it, `oss-wsgi reconcile` does.",
        (_PAGE,),
    ),
    "unsure": Explanation(
        "page: sent, but without an answer",
        "All of the file was sent, and the connection ended before OSS's answer. The file may be stored.",
        "With OSS_RECOVER=on the page's Retry asks whether it arrived. Otherwise look into the bucket before "
        "the file is "
        "sent again; `oss-wsgi reconcile` tells the application of what is stored.",
        (_PAGE,),
    ),
    "asking": Explanation(
        "page: sent, making sure that it arrived",
        "The page asks the application whether the file is stored, up to five times in half a minute.",
        "Wait for the end. If it ends without an answer, see the application's log at that time.",
        (_PAGE,),
    ),
    "unreadable": Explanation(
        "page: the file can no longer be read",
        "The browser lost the file: it was moved, changed or deleted after it was chosen.",
        "Choose the file again.",
        (_PAGE,),
    ),
    "offline": Explanation(
        "page: the device seems to be offline",
        "The browser has no network.",
        "Connect it, and press Retry.",
        (_PAGE,),
    ),
    "serverUnreachable": Explanation(
        "page: the server that gives permission could not be reached",
        "The page got no answer from {prefix}/signature: the application is down, the network is, or the page is of "
        "another origin that OSS_ALLOWED_ORIGINS does not name.",
        "Open /oss/health below the application's public URL, and run `oss-wsgi doctor --only signature`.",
        (_PAGE,),
    ),
    "serverUnexpected": Explanation(
        "page: the server gave an answer that the page does not understand",
        "{prefix}/signature answered something else than a form: most often the login page, because the session ended "
        "or a layer in front wants a login.",
        "Sign in again. If it stays, `oss-wsgi doctor --only signature` shows who answers instead.",
        (_PAGE,),
    ),
    "storageUnreachable": Explanation(
        "page: no answer from storage",
        "The browser could not read OSS's answer: the bucket has no CORS rule for this page, the page's "
        "Content-Security-Policy does not allow the bucket's host in connect-src, or the network failed.",
        "Run `oss-wsgi cors apply` for the page's origin, and `oss-wsgi doctor --only cors`. The browser's "
        "console names "
        "a Content-Security-Policy.",
        (_PAGE,),
    ),
    "blocked": Explanation(
        "page: the page's Content-Security-Policy does not allow the bucket",
        "The browser did not send the file, because the policy of your own page forbids to connect to the bucket.",
        "Add the bucket's URL to connect-src of the page's Content-Security-Policy: docs/how-to/csrf-and-csp.md. "
        "`oss-wsgi doctor --only page` names the URL's host.",
        (_PAGE,),
    ),
    "expired": Explanation(
        "page: the permission ran out",
        "The form expired before OSS had the whole file.",
        "Press Retry. If it happens often, raise OSS_UPLOAD_EXPIRES, and check the clock: `oss-wsgi doctor "
        "--only clock`.",
        (_PAGE,),
    ),
    "condition": Explanation(
        "page: the file is not what permission was given for",
        "The file differs in size, type or name from what the form's policy pins.",
        "Choose the file again: it may have changed. A page of your own asks with the file's own name, size and type.",
        (_PAGE,),
    ),
}  # fmt: skip
#: Texts of the page that hold the end of a file in other words, and the name of their explanation.
_OTHER_WORDS = (
    (re.compile(r"[0-9] files? stored but not reported|[0-9]+ 个已存储但未通知应用"), "untold"),
    (re.compile(r"[0-9] files? without an answer|[0-9]+ 个没有答复"), "unsure"),
    (re.compile(r"Content-Security-Policy does not allow http|内容安全策略（CSP）不允许"), "blocked"),
)
_TEXT = re.compile(r'^ +(\w+): "(.{8,})",$|^ +(\w+): \{$', re.MULTILINE)


def explain_lines(text: str) -> list[Explanation]:
    """Return what explains the known lines and sentences in a text, each once."""
    text = text[:MAX_TEXT]
    found = [explanation for pattern, explanation in _LINES if pattern.search(text)]
    names = [name for _, name in _page_texts(text)] + [name for words, name in _OTHER_WORDS if words.search(text)]
    return [*found, *(_SENTENCES[name] for name in dict.fromkeys(names) if name in _SENTENCES)]


def codes_of_sentences(text: str) -> list[FoundCode]:
    """Return the codes for which the page shows the sentences in a text."""
    found = []
    for section, name in _page_texts(text[:MAX_TEXT]):
        if section == "server" and len(name) == 3:
            found.append(FoundCode(name, APPLICATION))
        elif section == "storage" and name[0].isupper():
            found.append(FoundCode(name))
    return found


def _page_texts(text: str) -> Iterator[tuple[str, str]]:
    """Yield section and name of each text of the page that a text holds."""
    text = " ".join(text.casefold().split())
    for sentence, place in _sentences().items():
        if sentence in text:
            text = text.replace(sentence, "")
            yield place


@functools.cache
def _sentences() -> dict[str, tuple[str, str]]:
    """Return the texts of the page for single files, in all its languages -> section and name.

    Of equal texts the first one counts. The longest come first, since one may be a part of another.
    """
    sentences: dict[str, tuple[str, str]] = {}
    for language in sorted((shipped_folder() / _LANGUAGES).glob("*.js")):
        section = ""
        for match in _TEXT.finditer(language.read_text(encoding="utf-8")):
            name, sentence, opened = match.groups()
            section = opened or section
            if not opened and section in ("states", "errors", "server", "storage"):
                sentences.setdefault(sentence.casefold().rstrip(".。"), (section, name))
    return dict(sorted(sentences.items(), key=lambda item: len(item[0]), reverse=True))
