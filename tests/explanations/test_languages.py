"""The catalogue and the programs, compared in both directions: what they write for people has a translation."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Set
from pathlib import Path

import pytest

from oss_wsgi.explanations.languages import accepted_language, catalogue_texts, in_language, language_of
from oss_wsgi.explanations.text import Text, sentences

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "oss_wsgi"
#: What `doctor`, `explain`, `serve`, `cors`, `upload`, the window of the local OSS and refusals of forms write.
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
    PACKAGE / "middleware" / "posted_files.py",
    PACKAGE / "serving" / "until_stopped.py",
    PACKAGE / "wsgi" / "diagnosis.py",
    *(
        ROOT / "local_oss" / "inspector" / f"{name}.py"
        for name in ("access", "exchange_page", "inspector", "outcome", "pages")
    ),
)
#: Calls whose texts are not a finding: `--help`, misuse of a command, and what only the log says.
CALLS = {
    "add_parser",
    "add_argument",
    "ArgumentTypeError",
    "MisuseError",
    "FormError",
    "PostedFileChangedError",
    "UnverifiedError",
    "compile",
    "ValueError",
    "partition",
    "startswith",
}
CHINESE = re.compile("[一-鿿：]")
#: Texts of the modules that nobody is shown as they are, and texts that stay as they are.
LEFT_OUT = re.compile(
    r"export .*|pip install .*|From \{\}: \{\}|no right|policy of the form|parameter \{\}|additional headers|"
    r"oss:\S+ and oss:\S+|Example: .*|.*With --app it serves.*|your application|%\(asctime.*|"
    r"Apache (CGI|mod_\w+)|Phusion Passenger|Django runserver|"
    r"\s.*(cn-hangzhou|image/png|audio/aac|\"conditions\").*|.*charset=utf-8|\(not Base64\) \{\}|expiration \{\}|"
    r"callback \{\} in .*|attachment; .*|"
    # Of forms: what only the log says, and the page around the sentence.
    r"oss_wsgi\.files lists .*|user \{\} sends .*|OSS (holds another|sent fewer) .*|reading the posted .*|<!DOCTYPE .*",
    re.DOTALL,
)
#: What the system and SQLite say, and the beginning of a text that a link shows.
OTHERS = {
    *("Connection refused", "Name or service not known", "Network is unreachable", "Address already in use", "Late"),
    *("No such file or directory", "Permission denied", "Is a directory"),
    *("file is not a database", "unable to open database file"),
}


def constants(path: Path, left_out: Set[str] = frozenset()) -> Iterator[str]:
    """Yield the texts of a module, except docstrings and those of some calls; of an f-string its parts, joined."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(node.value)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in left_out:
            skipped.update(child for argument in [*node.args, *node.keywords] for child in ast.walk(argument))
        elif isinstance(node, ast.JoinedStr):
            skipped.update(node.values)
            skipped.update(part.format_spec for part in node.values if isinstance(part, ast.FormattedValue))
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)


def is_text(text: str) -> bool:
    """Return whether a text has words: more than a name, a command or a URL."""
    return " " in text.strip() and bool(re.search("[a-z]{2} ?", re.sub(r"`[^`]*`|<[^>]*>|\{\w*\}", "", text)))


def templates() -> str:
    return "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("local_oss/inspector/templates/*.html"))


def test_each_text_that_a_person_reads_has_a_translation() -> None:
    catalogue = catalogue_texts("zh")
    missing = [
        f"{path.name}: {text}"
        for path in MODULES
        for text in constants(path, CALLS)
        if is_text(text) and text not in catalogue and not LEFT_OUT.fullmatch(text)
    ]
    assert missing == []


def test_each_text_with_values_has_a_translation_wherever_it_is_made() -> None:
    catalogue = catalogue_texts("zh")
    paths = [*PACKAGE.rglob("*.py"), *ROOT.glob("local_oss/**/*.py")]
    made = {text for path in paths for text in constants(path) if "{1}" in text}
    assert len(made) > 300
    assert [text for text in made if is_text(text) and text not in catalogue] == []


def test_a_translation_is_chinese_and_has_the_places_and_commands_of_its_text() -> None:
    names = re.compile(r"`[^`]*`|\bOSS_[A-Z_]+|\{\w+\}|--[a-z-]+")
    for text, translation in catalogue_texts("zh").items():
        assert CHINESE.search(translation) or not re.search("[a-z]{2}", text), text
        assert sorted(names.findall(text)) == sorted(names.findall(translation)), text
        assert text.endswith(".") == translation.endswith("。"), text


def test_no_entry_is_left_of_a_text_that_is_gone() -> None:
    paths = [*PACKAGE.rglob("*.py"), *ROOT.glob("local_oss/**/*.py")]
    written = {text for path in paths for text in constants(path)} | OTHERS
    pages = templates()
    assert [text for text in catalogue_texts("zh") if text not in written and f'"{text}"' not in pages] == []


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


@pytest.mark.parametrize(
    ("text", "translation"),
    [
        ("OSS_REGION is not set", "没有设置 OSS_REGION"),
        (Text("not checked: {1}", Text("{1} is missing or invalid", "OSS_REGION")), "未检查：OSS_REGION 缺失或无效"),
        (Text("the key may not {1}: {2}", "list parts", "NoSuchKey: gone"), "密钥不可以“列举分片”：NoSuchKey: gone"),
        (
            sentences(
                "Let the server in front pass the path on unchanged.", "Let the server in front keep the method."
            ),
            "让前面的服务器原样转发路径。让前面的服务器原样转发请求方法。",
        ),
        (
            sentences("Use what is yours.", "", "Let the server in front keep the method."),
            "Use what is yours. 让前面的",
        ),
        (Text.sentence("the body is not JSON"), "响应的内容不是 JSON。"),
        (Text("{1} is known to nobody", "the body is not JSON"), "响应的内容不是 JSON is known to nobody"),
        (Text("{1} is {2}, but OSS calls only public addresses", "{2}", "x"), "{2} 是 x，不是公网地址"),
        ("nobody: knows this; nor that", "nobody: knows this; nor that"),
    ],
)
def test_a_text_is_translated_with_its_values(text: str, translation: str) -> None:
    assert in_language(text, "zh").startswith(translation)
    assert in_language(text, "en") == text


def test_a_text_is_not_looked_for_within_another() -> None:
    """The catalogue has "{1} requests" and "The picture {1}": these are other texts."""
    for text in ("Too many requests.", "The picture is damaged.", "not checked: OSS_REGION is not set"):
        assert in_language(text, "zh") == text
