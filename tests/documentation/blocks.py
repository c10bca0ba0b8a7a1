"""The steps of a page: its blocks of code and its hidden comments, in order."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]

COMMENT = re.compile(r"<!--\s*(.*?)\s*-->", re.DOTALL)
#: Comments that belong to the next block.
MARKS = ("file", "server", "output", "status", "needs", "example", "run-by", "visit")
#: Languages of text that nobody runs: trees, diagrams, responses, log lines.
TEXTS = frozenset({"text", "json", "xml", "http", "svg", "mermaid"})
#: Languages that run without a file.
RUNNABLE = frozenset({"sh", "console", "python", "js", "apache", "nginx"})
#: Markup of Sphinx, no code: ```{toctree} and the like.
DIRECTIVE = re.compile(r"\{[\w:-]+\}")
#: MyST's directives that hold code, which the runner would not see.
HIDING = frozenset({"{code-block}", "{code}", "{sourcecode}", "{code-cell}"})
#: A Chinese page with a step or a mark of its own is typed as it is; one without has those of the English page.
OWN_STEP = re.compile(rf"<!--\s*(?:sh|python|stop|after:|(?:{'|'.join(MARKS)}):)\s")
#: In reStructuredText only what autodoc reads is allowed.
AUTODOC = re.compile(r"(\.\. auto\w+:: [\w.]+| +:[\w-]+:.*|)")


@dataclass
class Step:
    """A block of a page, or a hidden step."""

    page: Path
    line: int
    language: str
    text: str
    hidden: bool = False
    marks: dict[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def way(self) -> str:
        """Return how the step is run: by a mark, by its language, or "" if nothing runs it."""
        for mark in ("example", "run-by", "file"):
            if mark in self.marks:
                return mark
        if self.language in RUNNABLE or self.language == "stop":
            return self.language
        return ""


class PageError(ValueError):
    """Raised for a page with a block or a comment that the runner cannot read."""


class StepError(Exception):
    """Raised when a step does not do what its page says."""


class MissingError(Exception):
    """Raised when a program that a step needs is not installed."""


def pages() -> list[Path]:
    """Return the documents whose blocks are run."""
    top = [path for path in (ROOT / "README.md", ROOT / "README.zh-CN.md") if path.exists()]
    built = ROOT / "docs" / "_build"
    return top + sorted(path for path in (ROOT / "docs").rglob("*.md") if not path.is_relative_to(built))


def is_chinese(page: Path) -> bool:
    """Return whether a page, or a picture, is one of those in Chinese."""
    return page.is_relative_to(ROOT / "docs" / "zh-CN") or ".zh-CN." in page.name


def english_of(page: Path) -> Path:
    """Return the English page, or the picture, that a Chinese one translates."""
    docs = ROOT / "docs"
    path = docs / page.relative_to(docs / "zh-CN") if page.is_relative_to(docs / "zh-CN") else page
    return path.with_name(path.name.replace(".zh-CN.", "."))


def chinese_of(page: Path) -> Path:
    """Return where the Chinese page of an English one is, or the picture with Chinese texts; it may not exist."""
    docs = ROOT / "docs"
    if page.suffix == ".md" and page.is_relative_to(docs):
        return docs / "zh-CN" / page.relative_to(docs)
    return page.with_name(f"{page.stem}.zh-CN{page.suffix}")


def has_english_steps(page: Path) -> bool:
    """Return whether a page is Chinese and has no step or mark of its own."""
    return is_chinese(page) and english_of(page).exists() and not OWN_STEP.search(page.read_text(encoding="utf-8"))


def _fences(page: Path) -> list[tuple[int, str]]:
    """Return the line and the text of each block of a page."""
    tokens = MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8"))
    return [(token.map[0] + 1, token.content) for token in tokens if token.type == "fence" and token.map]


def _steps_in_chinese(page: Path) -> list[Step]:
    """Return the steps of the English page with the blocks of the Chinese one, except blocks of an example's file.

    A Chinese page without blocks has no steps.
    """
    english = english_of(page)
    before, fences = _fences(english), _fences(page)
    if not fences:
        return []
    if len(before) != len(fences):
        raise PageError(f"{page.name}: {len(fences)} blocks, and {len(before)} in English")
    blocks = {line: block for (line, _), block in zip(before, fences, strict=True)}
    return [
        replace(step, page=page, line=blocks[step.line][0], text=blocks[step.line][1])
        if step.page == english and not step.hidden and "example" not in step.marks
        else step
        for step in steps(english)
    ]


def steps(page: Path, text: str | None = None) -> list[Step]:
    """Return the steps of a page; raise ``PageError`` for an unknown block or comment."""
    if text is None and has_english_steps(page):
        return _steps_in_chinese(page)
    result: list[Step] = []
    marks: dict[str, str] = {}
    for token in MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8") if text is None else text):
        line = token.map[0] + 1 if token.map else 0
        place = f"{page.name}:{line}"
        if token.type == "code_block":
            raise PageError(f"{place}: an indented block has no language; write a fence")
        if token.type == "html_block":
            for comment in COMMENT.findall(token.content):
                if comment.startswith("after: "):
                    result += steps(page.parent / comment[len("after: ") :])
                    continue
                step = _comment(page, line, comment, marks)
                if step is not None:
                    result.append(step)
        elif token.type == "fence":
            language = token.info.split(" ")[0]
            hides = language in HIDING
            if language == "{eval-rst}":
                hides = not all(AUTODOC.fullmatch(line) for line in token.content.splitlines())
            elif language == "{literalinclude}":
                included = (page.parent / token.info.split(" ")[1]).resolve()
                hides = not (included.is_file() and included.is_relative_to(ROOT / "examples"))
            if hides:
                raise PageError(f"{place}: {language} hides code from the runner; write a plain fence")
            if language in TEXTS or DIRECTIVE.fullmatch(language):
                if marks.keys() - {"file"}:
                    raise PageError(f"{place}: {sorted(marks)} before a block that is not run")
                if "file" not in marks:
                    continue
            result.append(Step(page, line, language, token.content, marks=marks))
            marks = {}
        elif token.type == "heading_open" and marks:
            raise PageError(f"{place}: {sorted(marks)} have no block")
    if marks:
        raise PageError(f"{page.name}: {sorted(marks)} at the end have no block")
    return result


def _comment(page: Path, line: int, comment: str, marks: dict[str, str]) -> Step | None:
    """Note a mark for the next block, or return a hidden step; a plain remark is neither."""
    head, _, rest = comment.partition("\n")
    if head in ("sh", "python") or comment == "stop":
        if marks.keys() - {"server", "status", "output", "needs"}:
            raise PageError(f"{page.name}:{line}: {sorted(marks)} before a hidden step")
        step = Step(page, line, head, rest, True, dict(marks))
        marks.clear()
        return step
    name, colon, value = comment.partition(":")
    if colon and name in MARKS:
        if name in marks:
            raise PageError(f"{page.name}:{line}: two of {name!r} before one block")
        marks[name] = value.strip()
    elif colon and re.fullmatch(r"[a-z-]+", name):
        raise PageError(f"{page.name}:{line}: {name!r} is none of {', '.join(MARKS)}")
    return None


def without_way(page_steps: list[Step]) -> list[str]:
    """Return a line for each block that nothing runs."""
    problems = []
    for number, step in enumerate(page_steps):
        way = step.way()
        if not way:
            problems.append(f"{step.place}: nothing runs a block of {step.language or 'no language'}")
        elif way == "file":
            name = step.marks["file"]
            # A page or a template is named by the program that reads it, which may stand before.
            code = step.language in RUNNABLE or step.language == "ini"
            others = page_steps[number + 1 :] if code else [other for other in page_steps if other is not step]
            text = "\n".join(other.text for other in others)
            if not re.search(rf"(?<![\w-]){re.escape(Path(name).stem)}(?![\w-])", text):
                problems.append(f"{step.place}: no later step names {name}")
        elif way in ("example", "run-by"):
            file = ROOT / step.marks[way]
            content = file.read_text(encoding="utf-8") if file.is_file() else ""
            if way == "example" and step.text.strip() not in content:
                problems.append(f"{step.place}: {step.marks[way]} does not contain this block")
            if way == "run-by" and not any(
                page.name in content and step.text in page.read_text(encoding="utf-8") for page in pages()
            ):
                problems.append(f"{step.place}: {step.marks[way]} reads no page with this block")
    return problems
