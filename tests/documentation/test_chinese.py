"""Each Chinese page says what its English page says, in the words that docs/zh-CN/terms.md fixes."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from ..support.absent import skip_or_fail
from . import chinese
from .blocks import ROOT, chinese_of, english_of, steps
from .chinese import CHINESE, DOCS, pairs, problems, with_links, with_marks
from .test_generated import script_of_docs

#: Pages that have no Chinese one yet, one a line: take a page out that you have translated.
MISSING: set[str] = set()
#: From README.zh-CN.md to a verified upload, a real bucket, and out of a failure: nobody meets an English page here.
ROAD = (
    *("README.zh-CN.md", "docs/zh-CN/tutorial/first-upload.md", "docs/zh-CN/tutorial/real-bucket.md"),
    *(f"docs/zh-CN/how-to/{name}.md" for name in ("asgi", "cors", "diagnose", "frameworks")),
    *(f"docs/zh-CN/how-to/{name}.md" for name in ("own-login", "own-page", "production")),
)

#: The kinds of files that people read, or that hold what programs write for them.
WRITTEN = {".html", ".js", ".jsx", ".md", ".py", ".svg", ".toml", ".vue", ".wxml"}

PAIRS = pairs()
NAMES = [page.relative_to(ROOT).as_posix() for _, page in PAIRS]


def test_each_english_page_has_a_chinese_one() -> None:
    english = {page.relative_to(DOCS) for page in DOCS.rglob("*.md") if not page.is_relative_to(CHINESE)}
    english = {page for page in english if page.parts[0] != "_build"}
    without = {page.as_posix() for page in english if not (CHINESE / page).exists()}
    assert without == MISSING
    assert {page.name for page in CHINESE.rglob("*.md") if not english_of(page).exists()} == {"terms.md"}


@pytest.mark.slow
def test_the_chinese_page_says_what_the_english_one_says() -> None:
    assert [problem for english, page in PAIRS for problem in problems(english, page)] == []


@pytest.mark.slow
def test_the_command_has_nothing_left_to_write() -> None:
    unwritten = [
        name for name, (_, page) in zip(NAMES, PAIRS, strict=True) if with_links(page) != page.read_text("utf-8")
    ]
    assert unwritten == [], "run `python -m tests.documentation.chinese`"


def test_the_road_leads_to_no_page_that_has_no_chinese_one() -> None:
    for name in ROAD:
        page = ROOT / name
        links = {link.partition("#")[0] for section in chinese.sections(page) for link in section.links}
        files = {(page.parent / link).resolve() for link in links if link.endswith(".md")}
        assert not files & {DOCS / name for name in MISSING}, name


BEFORE = """# Title

Words, [a page](b.md#more) and [another](https://www.alibabacloud.com/help/en/oss/x).

## 1. Code

```python
def save(upload):  # told
    print("Stored.", upload.object)
```

| name | meaning |
|---|---|
| `one` | the first |
| a sentence | the second |
"""
AFTER = """# 标题

文字、[一页](b.md#再说)和[另一页](https://help.aliyun.com/zh/oss/x)。

## 1. 代码

```python
# 收到通知
def save(upload):
    print("已保存。", upload.object)
```

| 名称 | 含义 |
|---|---|
| `one` | 第一个 |
| 一句话 | 第二个 |
"""


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Return a page and its Chinese page, in folders of their own."""
    english, page = tmp_path / "docs" / "a.md", tmp_path / "docs" / "zh-CN" / "a.md"
    page.parent.mkdir(parents=True)
    english.write_text(BEFORE, encoding="utf-8")
    english.with_name("b.md").write_text("# B\n\n## More\n", encoding="utf-8")
    page.with_name("b.md").write_text("# 乙\n\n## 再说\n", encoding="utf-8")
    page.write_text(AFTER, encoding="utf-8")
    monkeypatch.setattr(chinese, "ROOT", tmp_path)
    monkeypatch.setattr("tests.documentation.blocks.ROOT", tmp_path)
    page.write_text(with_marks(english, page), encoding="utf-8")
    return english, page


def test_translated_comments_texts_and_anchors_are_no_difference(pair: tuple[Path, Path]) -> None:
    assert list(problems(*pair)) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("## 1. 代码", "### 1. 代码", "the headings differ"),
        ("## 1. 代码", "## 2. 代码", "the headings differ"),
        ("## 1. 代码", "代码", "lacks the section: '1. Code'"),
        ("# 标题", "# 标题\n\n## 更多", "the headings differ"),
        ("upload.object)", "upload.name)", "section '1. 代码' ('1. Code'): the line of code"),
        ('"已保存。"', '"Saved."', "the line of code"),
        ("def save", "import os\ndef save", "the block has 3 lines of code, the English one 2"),
        ("```python", "```js", "the block of python is one of js"),
        ("b.md#再说", "b.md#more", "links that are missing: ['b.md#再说']"),
        ("b.md#再说", "../b.md#more", "links that are missing"),
        ("[另一页](https://help.aliyun.com/zh/oss/x)", "另一页", "links that are missing"),
        ("help.aliyun.com/zh/oss/x", "www.alibabacloud.com/help/en/oss/x", "links that are missing"),
        ("| 一句话 | 第二个 |\n", "", "the tables have other rows"),
        ("| `one` |", "| `two` |", "the first cell '`two`' is '`one`' in English"),
        ("| 一句话 |", "| sentence |", "the first cell 'sentence'"),
    ],
)
def test_a_difference_is_named(pair: tuple[Path, Path], old: str, new: str, problem: str) -> None:
    english, page = pair
    text = page.read_text(encoding="utf-8")
    assert old in text
    page.write_text(text.replace(old, new, 1), encoding="utf-8")
    assert any(problem in line for line in problems(english, page)), list(problems(english, page))


def test_a_section_whose_english_was_changed_is_named(pair: tuple[Path, Path]) -> None:
    english, page = pair
    english.write_text(BEFORE.replace("the second", "the last"), encoding="utf-8")
    (line,) = problems(english, page)
    assert line.startswith("docs/zh-CN/a.md:6: section '1. 代码' ('1. Code'): the English section has changed")
    english.write_text(BEFORE.replace(", [a page]", ",\n[a page]"), encoding="utf-8")
    assert list(problems(english, page)) == [], "another line end is no change"


def test_the_command_leads_links_to_the_chinese_page(pair: tuple[Path, Path]) -> None:
    _, page = pair
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace("b.md#再说", "../b.md#more"), encoding="utf-8")
    assert with_links(page) == text
    page.write_text(text.replace("b.md#再说", "b.md#more"), encoding="utf-8")
    assert with_links(page) == text
    page.with_name("b.md").unlink()
    assert "(../b.md#more)" in with_links(page)


def test_an_apostrophe_does_not_end_a_text() -> None:
    assert chinese.is_translated_line("a.py  reads the body's members, asks `f`", "a.py  读取请求体的成员，询问 `f`")
    assert not chinese.is_translated_line("save('it', 'so')", "save('它')")
    assert not chinese.is_translated_line("save(a's', b)", "save(保存)")


@pytest.mark.parametrize(
    ("language", "comment"), [("python", "# told"), ("ini", "; told"), ("js", "// told"), ("js", "/** told: `a` */")]
)
def test_a_comment_is_no_line_of_code(language: str, comment: str) -> None:
    assert chinese.code_lines(language, f"{comment}\na = 1;\n") == ["a = 1;"]


def test_a_page_without_steps_of_its_own_is_typed_with_those_of_the_english_page(pair: tuple[Path, Path]) -> None:
    english, page = pair
    hidden = BEFORE.replace("# Title", "# Title\n\n<!-- stop -->")
    english.write_text("<!-- sh\ntrue\n-->\n\n" + hidden, encoding="utf-8")
    typed = steps(page)
    assert [(step.way(), step.page) for step in typed] == [("sh", english), ("stop", english), ("python", page)]
    assert '"已保存。"' in typed[-1].text
    assert not chinese.is_typed_already(page), "another text is another program"
    page.write_text(page.read_text(encoding="utf-8").replace("已保存。", "Stored."), encoding="utf-8")
    assert chinese.is_typed_already(page), "comments are not"
    page.write_text("<!-- stop -->\n\n" + page.read_text(encoding="utf-8"), encoding="utf-8")
    assert [step.way() for step in steps(page)] == ["stop", "python"]


@pytest.mark.parametrize(
    ("source", "joined"),
    [
        ("保存。\n然后", "保存。然后"),
        ("- 保存，\n  再读", "- 保存，再读"),
        ("保存。\n`ls`", "保存。`ls`"),
        ("保存\nOSS", "保存\nOSS"),
        ("保存。\n- 再读", "保存。\n- 再读"),
        ("1. 保存。\n2. 再读", "1. 保存。\n2. 再读"),
        ("运行：\n```sh\n一\n二\n```\n", "运行：\n```sh\n一\n二\n```\n"),
    ],
)
def test_the_site_shows_no_space_where_a_chinese_line_ends(source: str, joined: str) -> None:
    if importlib.util.find_spec("bs4") is None:
        skip_or_fail("oss-wsgi[docs]")
    lines = [source]
    script_of_docs("conf").join_chinese_lines(None, "zh-CN/page", lines)
    assert lines == [joined]


def terms() -> list[list[str]]:
    """Return the rows of docs/zh-CN/terms.md: the English word, the Chinese one, those that it replaces, a remark."""
    text = (CHINESE / "terms.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in re.findall(r"^\| .+ \|$", text, re.M)]
    return [row for row in rows if row[0] != "英文"]


def forbidden() -> dict[str, str]:
    """Return the word that docs/zh-CN/terms.md fixes for each word that it forbids."""
    return {word: row[1] for row in terms() if len(row) > 2 for word in re.findall("`([^`]+)`", row[2])}


def chinese_texts() -> dict[str, str]:
    """Return every text with Chinese words, by the file: pages and their code, the upload page, programs, examples."""
    files = [ROOT / "README.zh-CN.md"]
    for folder in ("docs/zh-CN", "docs/pictures", "static", "oss_wsgi", "local_oss", "examples"):
        files += [path for path in (ROOT / folder).rglob("*") if path.suffix in WRITTEN]
    others = {path for path in ROOT.glob("static/languages/*.js") if path.stem != "zh-CN"}
    texts = {path: path.read_text(encoding="utf-8") for path in files if path not in {*others, CHINESE / "terms.md"}}
    return {path.relative_to(ROOT).as_posix(): text for path, text in texts.items() if re.search("[一-鿿]", text)}


def wrong_words(text: str) -> list[str]:
    return [f"{word}: write {term}" for word, term in forbidden().items() if word in text]


def test_each_term_has_one_word() -> None:
    found = {name: wrong_words(text) for name, text in chinese_texts().items()}
    assert {name: words for name, words in found.items() if words} == {}


def test_each_text_in_chinese_is_read() -> None:
    named = {"README.zh-CN.md", "docs/zh-CN/texts.toml", "docs/pictures/flow-light.zh-CN.svg", "static/upload.js"}
    named |= {f"oss_wsgi/{name}" for name in ("explanations/rows.toml", "explanations/zh.toml")}
    named |= {"static/languages/zh-CN.js", "local_oss/inspector/inspector.js"}
    named |= {"examples/mini-programs/oss-upload.js", *NAMES}
    assert named - chinese_texts().keys() == set()


def test_a_concept_has_one_row_and_a_word_one_meaning() -> None:
    words = {row[0]: re.split("、", row[1]) for row in terms()}
    assert len(words) == len(terms()) > 40
    chinese = [word for each in words.values() for word in each]
    assert [word for word in chinese if chinese.count(word) > 1] == []
    assert [word for word in chinese if wrong_words(word)] == []
    wrong = [word for row in terms() if len(row) > 2 for word in re.findall("`([^`]+)`", row[2])]
    assert [word for word in wrong if wrong.count(word) > 1] == []


def test_a_wrong_word_is_found() -> None:
    assert wrong_words("请设置存储桶的跨源规则。") == ["存储桶: write Bucket", "跨源规则: write 跨域规则"]
    fixed = {term.strip() for term in forbidden().values()}
    assert len(fixed) > 30
    assert not fixed & forbidden().keys()
    assert chinese_of(ROOT / "README.md").name in NAMES
