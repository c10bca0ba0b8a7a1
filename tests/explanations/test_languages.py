"""The catalogue and the programs, compared in both directions: what they write for people has a translation."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Set
from pathlib import Path

import pytest

from oss_wsgi.explanations.languages import accepted_language, catalogue_texts, in_language, language_of

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "oss_wsgi"
#: What `doctor`, `explain`, `serve`, `cors`, `upload` and the window of the local OSS write.
MODULES = (
    *sorted(PACKAGE.glob("cli/doctor/*.py")),
    *(PACKAGE / name for name in ("cli/explain.py", "cli/http_client.py", "cli/refusals.py")),
    *(
        PACKAGE / name
        for name in (
            "cli/signature_difference.py",
            "explanations/signatures.py",
            "settings_check.py",
            "callback/url.py",
        )
    ),
    *(PACKAGE / "cli" / f"{name}.py" for name in ("cors", "loader", "local", "serve", "upload", "watch")),
    PACKAGE / "serving" / "until_stopped.py",
    PACKAGE / "wsgi" / "diagnosis.py",
    *(
        ROOT / "local_oss" / "inspector" / f"{name}.py"
        for name in ("access", "exchange_page", "inspector", "outcome", "pages")
    ),
)
#: Calls whose texts are not a finding: `--help`, and misuse of a command.
CALLS = {
    "add_parser",
    "add_argument",
    "ArgumentTypeError",
    "MisuseError",
    "compile",
    "ValueError",
    "partition",
    "startswith",
}
PLACE = re.compile(r"\{(\w+)\}")
CHINESE = re.compile("[一-鿿：]")

#: A text that the code puts together of parts -> what comes of it.
WHOLE = {
    "in the folder that holds it, or set PYTHONPATH.": ["Start in the folder that holds it, or set PYTHONPATH."],
    "Did you mean {1}? If not, start": [
        "Did you mean {1}? If not, start in the folder that holds it, or set PYTHONPATH."
    ],
    "{1} fails {2}": [
        "the import of {1} fails in {2}, line {3}: {4}",
        "the call of {1} fails in {2}, line {3}: {4}",
    ],
    "the server is {1}: {2}: {3}": ["the server is {1}"],
    "{1}dir: {2} cannot be used: {3}.": ["--local-dir: {1} cannot be used: {2}.", "--local-dir: {1}."],
    "{1} needs the official SDK: pip install 'oss-wsgi[sdk]'.": [
        "{1} needs the official SDK: pip install 'oss-wsgi[sdk]'.",
        "this needs the official SDK: pip install 'oss-wsgi[sdk]'.",
    ],
    "must be 'on' or 'off'": ["{1} must be 'on' or 'off', not {2}."],
    "must be a whole number, written in digits": ["{1} must be a whole number, written in digits, not {2}."],
    "must be a duration such as 15m, 26h or 7d": ["{1} must be a duration such as 15m, 26h or 7d, not {2}."],
    "must be KEY_URL=PEM_FILE pairs, joined by commas": [
        "{1} must be KEY_URL=PEM_FILE pairs, joined by commas, not {2}."
    ],
    "; its own handler was not called, which --handler does": ["its own handler was not called, which --handler does"],
    "{1}: {2}: check the access key, bucket and region{3}": [
        "check the access key, bucket and region",
        "check the access key, bucket and region, and that it has {1}",
    ],
    "{1}: the SDK raised {2}": ["the SDK raised {1}"],
    "; a change of a Python file restarts it": ["a change of a Python file restarts it"],
    "no signature: {1} {2}": ["no signature"],
    ": log in with --headers-from, or see the application's log. Without an authorize callable it needs "
    "OSS_ALLOW_ANONYMOUS=on.": [
        "log in with --headers-from, or see the application's log. Without an authorize callable it needs "
        "OSS_ALLOW_ANONYMOUS=on."
    ],
    "Check that the application runs, and give the URL of its signature endpoint with --endpoint, such as "
    "https://app.example.com{1}{2}.": [
        "Check that the application runs, and give the URL of its signature endpoint with --endpoint, such as {1}."
    ],
    "not checked: ": ["not checked"],
    "{1}OSS_CALLBACK_URL is not set": ["OSS_CALLBACK_URL is not set"],
    "{1} {2} missing or invalid": ["{1} is missing or invalid", "{1} are missing or invalid"],
    "{1}: it redirects{2}, and OSS does not follow redirects": [
        "{1}: it redirects to {2}, and OSS does not follow redirects",
        "{1}: it redirects, and OSS does not follow redirects",
    ],
    "{1}: header, path{2} and body arrive, behind {3}": [
        "{1}: header, path and body arrive, behind {2}",
        "{1}: header, path (as {2}, which the application's OSS_CALLBACK_URL corrects) and body arrive, behind {3}",
    ],
    "this machine's clock is {1} s {2} OSS's": [
        "this machine's clock is {1} s ahead of OSS's",
        "this machine's clock is {1} s behind OSS's",
    ],
    "pages of {1} may {2}": ["pages of {1} may upload", "pages of {1} may upload, in parts too"],
    "pages of {1} cannot read {2}: {3} {4}": [
        "pages of {1} cannot read OSS's answers: {2}",
        "pages of {1} cannot read OSS's answers to parts (PUT): {2}",
    ],
    "pages of {1} cannot read the header{2} {3}": [
        "pages of {1} cannot read the header {2}",
        "pages of {1} cannot read the headers {2}",
    ],
    "receipts are on, and handled uploads are remembered for {1}; {2}": [
        "receipts are on, and handled uploads are remembered for {1} days; {2}"
    ],
    "{1} cannot be reached: no connection within {2}": ["{1} cannot be reached: no connection within {2} s"],
    "{1} did not answer within {2}": ["{1} did not answer within {2} s"],
    "{1} is not a setting{2}": ["{1} is not a setting, remove it.", "{1} is not a setting: did you mean {2}?"],
    "{1} is not in the table.{2}": ["{1} is not in the table."],
    " See {1}{2}.": ["See {1}."],
    "For more see {1}{2}.": ["For more see {1}."],
    "For more run `oss-wsgi explain {1}`.": ["For more run `{1}`."],
    "OSS_UPLOAD_MAX_SIZE must be 1 to {1} bytes ({2}), not {3}.{4}": [
        "OSS_UPLOAD_MAX_SIZE must be 1 to {1} bytes ({2}), not {3}."
    ],
    "{1} is not in the table.{2} `oss-wsgi explain` alone lists the table.": [
        "`oss-wsgi explain` alone lists the table."
    ],
    "pip install 'oss-wsgi[sdk]'.": [],
    "{1} from {2}: {3}": ["{1} from OSS", "{1} from this application", "{1} from a server in front"],
    "Source: {1}": ["Source"],
    "{1} request{2}": ["{1} request", "{1} requests", "{1} request of {2}", "{1} requests of {2}"],
    "{1}: {2} was signed, but not sent.": ["{1} was signed, but not sent."],
    "Waiting for the callback’s answer": ["Waiting for the callback’s answer, {1}\u00a0s"],
    "Under way": ["Under way", "Under way, {1}\u00a0s"],
    "Allow the origin {1}: --cors {2}, or a rule of the bucket by ?cors.": [
        "Allow the origin {1}: --cors {1}, or a rule of the bucket by ?cors."
    ],
    "from character {1}{2}": ["from character {1}", "from character {1}; {2} characters, not {3}"],
    "{1} of {2} conditions {3} not hold": [
        "{1} of {2} conditions does not hold",
        "{1} of {2} conditions do not hold",
    ],
}
#: Parts of texts above, values that stay as they are, and what only `serve` writes of settings.
LEFT_OUT = re.compile(
    r"ahead of|upload, in parts too|OSS's answers.*|\{1\} (days|s)| \(as \{1\}, which .*|, to \{1\}| to \{1\}|"
    r"(a ledger|a ticket secret)|\{1\} processes (?:need|serve).*|--processes: \{1\}|"
    r"(, remove it\.|: did you mean \{1\}\?)|5 GB|48\.8 TB|"
    r"export .*|oss-wsgi explain \{1\}|no right|nested too deep| \(EC \{1\}\)|\{1\} within \{2\}|From \{1\}: \{2\}|"
    r"additional headers|policy of the form|parameter \{1\}|      OSS:    \{1\}|it is not text|https://any.*|"
    # Of commands: help, a right, the format of the log.
    r"Example: .*|.*With --app it serves.*|your application|oss:\S+ and oss:\S+|%\(asctime.*|"
    r"Apache (CGI|mod_\w+)|Phusion Passenger|Django runserver|\{1\} \((daemon|embedded)\)|"
    # Of a failed import: parts of sentences, and what comes before it has failed.
    r" It is in .*|The import of \{1\} is not done.*|in \{1\}, line .*|Start \{1\}|uvicorn .*|"
    r"the (call|import) of \{1\}|, and says: .*|--app: \{1\}|"
    # Of the window: lines of its log, headers, and what is JSON beside it.
    r"\s.*(cn-hangzhou|image/png|video/webm|\"conditions\").*|.*charset=utf-8|attachment; .*|"
    r"callback \{1\} in .*| of \{1\}|; \{1\} characters, .*|expiration \{1\}|\(not Base64\) \{1\}",
    re.DOTALL,
)


def texts(path: Path, left_out: Set[str] = CALLS) -> Iterator[str]:
    """Yield the texts of a module that contain words, except those of some calls; a value in an f-string is `{1}`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(node.value)  # a docstring
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in left_out:
            skipped.update(child for argument in [*node.args, *node.keywords] for child in ast.walk(argument))
        elif isinstance(node, ast.JoinedStr):
            skipped.update(part for part in node.values if isinstance(part, ast.Constant))
            skipped.update(part.format_spec for part in node.values if isinstance(part, ast.FormattedValue))
    for node in ast.walk(tree):
        text = ""
        if node in skipped:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value.replace("{!r}", "{1}")
        elif isinstance(node, ast.JoinedStr):
            numbers = iter(range(1, 100))
            text = "".join(
                str(part.value) if isinstance(part, ast.Constant) else f"{{{next(numbers)}}}" for part in node.values
            )
        if " " in text.strip() and re.search("[a-z]{2} ?", re.sub(r"`[^`]*`|<[^>]*>", "", PLACE.sub("", text))):
            yield text


def all_texts(path: Path) -> Iterator[str]:
    """Yield the texts of a module, those of a single word and of all calls too."""
    yield from texts(path, frozenset())
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value.removesuffix(": ")


def expected(text: str) -> list[str]:
    """Return the entries of the catalogue that translate a text: itself, its parts, or each of its sentences."""
    if text in WHOLE:
        return WHOLE[text]
    # What stands before or behind a text of its own is translated apart from it.
    inner = re.sub(r"^\{1\}:? (?=[A-Z`])|(?<=[.`]) \{\d\}$|: \{\d\} \{\d\}$|^ |:$", "", text)
    numbers = {name: str(number) for number, name in enumerate(dict.fromkeys(PLACE.findall(inner)), 1)}
    return [PLACE.sub(lambda place: f"{{{numbers[place[1]]}}}", inner)]


def sentences(text: str) -> list[str]:
    parts = re.split(r"(?<=[.`]) (?=[A-Z`])|(?<=:) (?=`<)", text)
    return [entry for part in parts if not re.fullmatch("`[^`]*`", part) for entry in expected(part)]


def test_each_text_that_a_person_reads_has_a_translation() -> None:
    catalogue = catalogue_texts("zh")
    missing = [
        f"{path.name}: {text}"
        for path in MODULES
        for text in texts(path)
        if not LEFT_OUT.fullmatch(text)
        and text not in catalogue
        and f"{{1}} {text}" not in catalogue  # behind the URL that it is about
        and not all(entry in catalogue for entry in expected(text))
        and not all(entry in catalogue for entry in sentences(text))
    ]
    assert missing == []


def test_a_translation_is_chinese_and_has_the_places_and_commands_of_its_text() -> None:
    names = re.compile(r"`[^`]*`|\bOSS_[A-Z_]+|\{\w+\}|--[a-z-]+")
    for text, translation in catalogue_texts("zh").items():
        assert CHINESE.search(translation) or not re.search("[a-z]{2}", text), text
        assert sorted(names.findall(text)) == sorted(names.findall(translation)), text
        assert text.endswith(".") == translation.endswith("。"), text


@pytest.mark.parametrize(
    ("environ", "language"),
    [
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LC_MESSAGES": "zh_TW", "LANG": "en_US.UTF-8"}, "zh"),
        ({"LC_ALL": "C", "LC_MESSAGES": "zh_CN", "LANG": "zh_CN.UTF-8"}, "en"),
        ({"LC_ALL": "", "LANG": "zh"}, "zh"),
        ({"LANG": "fr_FR.UTF-8"}, "en"),
        ({}, "en"),
    ],
)
def test_the_first_variable_that_is_set_names_the_language(environ: dict[str, str], language: str) -> None:
    assert language_of(environ) == language


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("zh-Hans-CN", "zh"),
        ("en-US,en;q=0.9,zh;q=0.5", "en"),
        ("fr,zh;q=0.5", "zh"),
        ("fr", "en"),
        ("*", "en"),
        (";;,", "en"),
        ("", "en"),
        (None, "en"),
    ],
)
def test_the_header_of_a_browser_names_the_language(header: str | None, language: str) -> None:
    assert accepted_language(header) == language


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "translation"),
    [
        ("OSS_REGION is not set", "没有设置 OSS_REGION"),
        ("not checked: OSS_REGION is missing or invalid", "未检查：OSS_REGION 缺失或无效"),
        ("the key may not list parts: NoSuchKey: gone", "密钥不可以 列举分片：NoSuchKey: gone"),
        (
            "Let the server in front pass the path on unchanged. Set OSS_REGION.",
            "让前面的服务器原样转发路径。设置 OSS_REGION。",
        ),
        ("Use what is yours. Set OSS_REGION.", "Use what is yours. 设置 OSS_REGION。"),
        ("the upload was refused: 403 AccessDenied: No. Never.", "上传被拒绝：403 AccessDenied: No. Never."),
        ("AccesDenied is not known in the town, or after it", "AccesDenied is not known in the town, or after it"),
        ("200 in 5 ms, http://127.0.0.1/oss/callback", "200，用时 5 ms，http://127.0.0.1/oss/callback"),
        ("nobody: knows this; nor that", "nobody: knows this; nor that"),
        (
            "nginx: `location /oss/ { proxy_pass http://127.0.0.1:8080; }`. Set OSS_REGION.",
            "nginx：`location /oss/ { proxy_pass http://127.0.0.1:8080; }`。设置 OSS_REGION。",
        ),
    ],
)
def test_texts_are_translated_with_what_stands_in_them(text: str, translation: str) -> None:
    assert in_language(text, "zh") == translation
    assert in_language(text, "en") == text


@pytest.mark.slow
def test_no_entry_is_left_of_a_text_that_is_gone() -> None:
    houses = (PACKAGE, ROOT / "local_oss")
    paths = [path for house in houses for pattern in ("*.py", "templates/*.html") for path in house.rglob(pattern)]
    written = {text for path in paths if path.suffix == ".py" for text in all_texts(path)}
    written |= {entry for text in written for entry in [*WHOLE.get(text, ()), *expected(text), *sentences(text)]}
    written |= {f"{{1}} {text}" for text in written}
    templates = "".join(path.read_text(encoding="utf-8") for path in paths if path.suffix == ".html")
    others = {"Connection refused", "Name or service not known", "Network is unreachable", "OSS"}  # the system's
    others |= {"Address already in use", "No such file or directory", "Permission denied", "Is a directory"}
    others |= {"file is not a database", "unable to open database file"}  # SQLite's
    others |= {"Late", "Look for a rule that sets or extends Authorization."}  # cut off, and begun with a capital
    unused = [
        text
        for text in catalogue_texts("zh")
        if text not in written | others and f'"{text}"' not in templates and not is_fact(text, templates)
    ]
    assert unused == []


def is_fact(text: str, templates: str) -> bool:
    """Return whether the templates combine a text from these parts."""
    return all(part.strip(", ") in templates for part in PLACE.split(text)[::2])
