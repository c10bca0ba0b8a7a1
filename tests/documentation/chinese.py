"""Compares each page in docs/zh-CN with the English page that it translates, and writes what a command can write.

Right behind each heading of a Chinese page stands an invisible mark, `<!-- en 1a2b3c4d -->`: eight hex digits of the
English section that was translated. Where the English section changes, its mark no longer fits.

    python -m tests.documentation.chinese --update docs/zh-CN/how-to/cors.md

writes the marks of a page; use it once the page says what the English page says. With or without a page it also changes
all links of the Chinese pages to Chinese pages, if they exist, and fills in the tables of contents of their indexes. So
links may be copied from the English page as they are.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from urllib.parse import unquote

from markdown_it import MarkdownIt

from .blocks import COMMENT, ROOT, chinese_of, english_of, has_english_steps, is_chinese, steps

DOCS = ROOT / "docs"
CHINESE = DOCS / "zh-CN"
#: A page of which only the first sections are in Chinese: the others are made of docstrings.
FIRST_SECTIONS = {"docs/reference/python.md": 2}

MARK = re.compile(r"en ([0-9a-f]{8})")
GENERATED = re.compile(r"<!-- docs/generate\.py writes .*? -->.*?<!-- docs/generate\.py wrote .*? -->", re.DOTALL)
BLOCK = re.compile(r"^ *```.*?^ *```|<!--.*?-->", re.DOTALL | re.MULTILINE)
CODE = re.compile(BLOCK.pattern + r"|`[^`\n]+`", BLOCK.flags)
LINK = re.compile(r"(?<=\]\()[^)\s]+(?=\))|(?<=src=\")[^\"]+(?=\")|(?<=srcset=\")[^\"]+(?=\")")
TOCTREE = re.compile(r"^```\{toctree\}\n(.*?)^```", re.DOTALL | re.MULTILINE)
#: A line of an index; what has no Chinese page yet is marked so.
ENTRY = re.compile(r"^- \[([^\n]+)\]\(([^)\s#]+)\)(?:（英文）)?$", re.MULTILINE)
HAN = re.compile("[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]")
COMMENTS = {
    "#": re.compile(r"(^|\s)#(?= ).*$", re.MULTILINE),
    "//": re.compile(r"(^|\s)//(?= ).*$|^ */\*\* .* \*/$", re.MULTILINE),
    ";": re.compile(r"^;(?= ).*$", re.MULTILINE),
    "<!--": COMMENT,
}
STYLES = {
    **dict.fromkeys(("js", "ts", "jsx", "go", "php"), "//"),
    **dict.fromkeys(("html", "xml", "vue"), "<!--"),
    "ini": ";",
}
#: Pages elsewhere that have both languages, by how their addresses begin.
ELSEWHERE = {
    "https://www.alibabacloud.com/help/en/": "https://help.aliyun.com/zh/",
    "https://ant.design/components/upload#": "https://ant.design/components/upload-cn#",
    "https://www.wangeditor.com/en/v5/": "https://www.wangeditor.com/v5/",
    "https://element-plus.org/en-US/": "https://element-plus.org/zh-CN/",
}


@dataclass
class Section:
    """A heading and what stands below it, until the next heading."""

    level: int
    title: str
    line: int
    mark: str = ""
    digest: str = ""
    links: list[str] = field(default_factory=list)
    blocks: list[tuple[str, str]] = field(default_factory=list)
    cells: list[list[str]] = field(default_factory=list)


def pairs() -> list[tuple[Path, Path]]:
    """Return the pages that exist in both languages, the English one first."""
    chinese = [ROOT / "README.zh-CN.md", *sorted(CHINESE.rglob("*.md"))]
    return [(english_of(page), page) for page in chinese if english_of(page).exists()]


def sections(page: Path) -> list[Section]:
    """Return the sections of a page, without the parts that docs/generate.py writes."""
    text = GENERATED.sub(lambda match: "\n" * match[0].count("\n"), page.read_text(encoding="utf-8"))
    lines = text.split("\n")
    result: list[Section] = []
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    for number, token in enumerate(tokens):
        if token.type == "heading_open":
            assert token.map is not None
            result.append(Section(int(token.tag[1]), tokens[number + 1].content, token.map[0] + 1))
        elif not result:
            raise ValueError(f"{page.name}: a page begins with its heading")
        elif token.type == "fence":
            if not token.info.startswith("{toctree}"):
                result[-1].blocks.append((token.info.strip(), token.content))
        elif token.type == "html_block":
            for comment in COMMENT.findall(token.content):
                found = MARK.fullmatch(comment)
                result[-1].mark = found[1] if found else result[-1].mark
            result[-1].links += LINK.findall(COMMENT.sub("", token.content))
        elif token.type == "tr_open":
            result[-1].cells.append([])
        elif token.type == "inline":
            if tokens[number - 1].type in ("th_open", "td_open"):
                result[-1].cells[-1].append(token.content)
            for child in token.children or ():
                result[-1].links += [unquote(str(child.attrs[name])) for name in ("href", "src") if name in child.attrs]
    for section, after in zip_longest(result, result[1:]):
        body = COMMENT.sub("", "\n".join(lines[section.line - 1 : after.line - 1 if after else None]))
        section.digest = hashlib.sha256(" ".join(body.split()).encode()).hexdigest()[:8]
    return result[: FIRST_SECTIONS.get(english_of(page).relative_to(ROOT).as_posix())]


def anchors(page: Path) -> list[str]:
    """Return the anchors of a page's headings, as GitHub and MyST make them."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles]


def target(file: Path, anchor: str, page: Path) -> str:
    """Return the link from a Chinese page to an English file, or to the Chinese one if it exists."""
    chinese = chinese_of(file)
    if chinese.exists():
        english = anchors(file) if file.suffix == ".md" else []
        if anchor in english and len(anchors(chinese)) > english.index(anchor):
            anchor = anchors(chinese)[english.index(anchor)]
        file = chinese
    name = "" if file == page and anchor else os.path.relpath(file, page.parent).replace(os.sep, "/")
    return f"{name}#{anchor}" if anchor else name


def elsewhere(link: str) -> str:
    """Return a link to another site, to its Chinese page where it has one."""
    return next((link.replace(*both) for both in ELSEWHERE.items() if link.startswith(both[0])), link)


def expected_link(link: str, english: Path, chinese: Path) -> str:
    """Return what a link of an English page is in its Chinese page."""
    if re.match(r"\w+:", link):
        return elsewhere(link)
    name, _, anchor = link.partition("#")
    return target((english.parent / name).resolve() if name else english, anchor, chinese)


def is_switch(link: str, page: Path, other: Path) -> bool:
    """Return whether a link leads to the same page in the other language, or to a page that only Chinese has."""
    file = (page.parent / link).resolve()
    return file == other or (is_chinese(file) and file.exists() and not english_of(file).exists())


def is_typed_already(page: Path) -> bool:
    """Return whether a page is Chinese and its steps differ from those of its English page in comments only."""
    if not has_english_steps(page):
        return False
    both = zip(steps(english_of(page)), steps(page), strict=True)
    return all(code_lines(one.language, one.text) == code_lines(other.language, other.text) for one, other in both)


def code_lines(language: str, text: str) -> list[str]:
    """Return the lines of a block without its comments and empty lines."""
    bare = text if language == "text" else COMMENTS[STYLES.get(language, "#")].sub("", text)
    return [line.rstrip() for line in bare.split("\n") if line.strip()]


def is_translated_line(english: str, chinese: str) -> bool:
    """Return whether two lines differ only in text that people read: text between two marks with Chinese characters.

    An English apostrophe before an s is no mark.
    """
    pieces = re.split("([\"'<>{}`]|  +)", chinese)
    pattern = "".join("(?:[^\"'<>{}`]|(?<=[a-z])'s\\b)+" if HAN.search(piece) else re.escape(piece) for piece in pieces)
    return re.fullmatch(pattern, english) is not None


def block_problem(english: tuple[str, str], chinese: tuple[str, str]) -> str:
    """Return how a Chinese page's block differs; "" if only comments and shown texts are translated."""
    if english[0] != chinese[0]:
        return f"the block of {english[0] or 'no language'} is one of {chinese[0] or 'no language'}"
    lines = [code_lines(*block) for block in (english, chinese)]
    if len(lines[0]) != len(lines[1]):
        return f"the block has {len(lines[1])} lines of code, the English one {len(lines[0])}"
    for before, line in zip(*lines, strict=True):
        if line != before and not is_translated_line(before, line):
            return f"the line of code {line.strip()!r} is {before.strip()!r} in English"
    return ""


def problems(english: Path, chinese: Path) -> Iterator[str]:
    """Yield a sentence for each difference of two pages, with the page and the section."""
    name = chinese.relative_to(ROOT).as_posix()
    both = sections(english), sections(chinese)
    for before, section in zip_longest(*both):
        if before is None or section is None:
            other = "has a section more" if before is None else "lacks the section"
            yield f"{name}: {other}: {(section or before).title!r}"
            return
        where = f"{name}:{section.line}: section {section.title!r} ({before.title!r})"
        number = r"(?:[0-9]+\.)*[0-9]*\b"
        numbers = [match[0] if (match := re.match(number, one.title)) else "" for one in (before, section)]
        if before.level != section.level or numbers[0] != numbers[1]:
            yield f"{where}: the headings differ in their level or their number"
            return
        if section.mark != before.digest:
            yield f"{where}: the English section has changed, or was never translated: translate it, then --update"
        yield from _differences(where, before, section, english, chinese)


def _differences(where: str, before: Section, section: Section, english: Path, chinese: Path) -> Iterator[str]:
    if len(before.blocks) != len(section.blocks):
        yield f"{where}: {len(section.blocks)} blocks of code, {len(before.blocks)} in English"
    else:
        found = map(block_problem, before.blocks, section.blocks)
        yield from (f"{where}: {problem}" for problem in found if problem)
    expected = Counter(
        expected_link(link, english, chinese) for link in before.links if not is_switch(link, english, chinese)
    )
    links = Counter(link for link in section.links if not is_switch(link, chinese, english))
    if expected != links:
        missing, more = sorted((expected - links).elements()), sorted((links - expected).elements())
        yield f"{where}: links that are missing: {missing}; that are too many: {more}"
    if list(map(len, before.cells)) != list(map(len, section.cells)):
        yield f"{where}: the tables have other rows or columns"
        return
    for one, other in ((row[0], cells[0]) for row, cells in zip(before.cells, section.cells, strict=True)):
        spans = [sorted(re.findall("`[^`]+`", cell)) for cell in (one, other)]
        if spans[0] != spans[1] or (one != other and not HAN.search(other)):
            yield f"{where}: the first cell {other!r} is {one!r} in English"


def with_marks(english: Path, chinese: Path) -> str:
    """Return a Chinese page with the marks of the English sections; raise ``ValueError`` if the headings differ."""
    both = sections(english), sections(chinese)
    if [one.level for one in both[0]] != [one.level for one in both[1]]:
        raise ValueError(next(problems(english, chinese)))
    lines = chinese.read_text(encoding="utf-8").split("\n")
    for before, section in reversed(list(zip(*both, strict=True))):
        behind = lines[section.line] if section.line < len(lines) else ""
        marked = MARK.fullmatch(behind.removeprefix("<!-- ").removesuffix(" -->"))
        lines[section.line : section.line + bool(marked)] = [f"<!-- en {before.digest} -->"]
    return "\n".join(lines)


def with_links(page: Path) -> str:
    """Return a Chinese page with links to Chinese pages, and with an index of the pages that exist."""
    text = page.read_text(encoding="utf-8")
    english = english_of(page)

    def link(match: re.Match[str]) -> str:
        if re.match(r"\w+:", match[0]):
            return elsewhere(match[0])
        if is_switch(match[0], page, english):
            return match[0]
        name, _, anchor = match[0].partition("#")
        file = (page.parent / name).resolve() if name else page
        if is_chinese(file):
            if file.suffix == ".md" and file.exists() and (not anchor or anchor in anchors(file)):
                return match[0]
            file = english_of(file)
        if not file.exists():
            file = (english.parent / name).resolve()
        return target(file, anchor, page) if file.exists() else match[0]

    def entry(match: re.Match[str]) -> str:
        file = (page.parent / match[2]).resolve()
        if not is_chinese(file):
            return f"- [{match[1]}]({match[2]})（英文）"
        return f"- [{file.read_text(encoding='utf-8').split(chr(10))[0].removeprefix('# ')}]({match[2]})"

    code = [match.span() for match in CODE.finditer(text)]
    text = LINK.sub(
        lambda match: match[0] if any(begin < match.start() < end for begin, end in code) else link(match), text
    )
    trees = [tree[1] for tree in TOCTREE.finditer(english.read_text(encoding="utf-8"))] if english.exists() else []

    def toctree(match: re.Match[str]) -> str:
        options = [line for line in match[1].splitlines() if line.startswith(":")]
        names = [line for line in trees.pop(0).splitlines() if line and not line.startswith(":")] if trees else []
        own = [line for line in match[1].splitlines() if line and not line.startswith(":") and line not in names]
        there = [name for name in [*names, *own] if (page.parent / f"{name}.md").exists()]
        return "\n".join(["```{toctree}", *options, "", *there, "```"])

    if trees:
        text = TOCTREE.sub(toctree, ENTRY.sub(entry, text))
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the marks and the links of Chinese pages.")
    parser.add_argument("--update", nargs="*", type=Path, default=[], metavar="PAGE", help="pages that were translated")
    for page in parser.parse_args().update:
        chinese = page.resolve()
        chinese.write_text(with_marks(english_of(chinese), chinese), encoding="utf-8")
    for page in [ROOT / "README.zh-CN.md", *sorted(CHINESE.rglob("*.md"))]:
        page.write_text(with_links(page), encoding="utf-8")


if __name__ == "__main__":
    main()
