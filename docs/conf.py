"""How Sphinx builds the documentation: `python -m sphinx -W docs docs/_build/html`."""

import os
import re
import sys
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup  # furo needs it too

sys.path.insert(0, str(Path(__file__).parents[1]))

from oss_wsgi import __version__

project = "oss_wsgi"
author = "The oss_wsgi project"
copyright = "the oss_wsgi project"  # noqa: A001 - Sphinx's own name
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
exclude_patterns = ["_build"]

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "attrs_inline"]

autodoc_class_signature = "mixed"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_preserve_defaults = True
add_module_names = False

# The Internet is not asked: only links into this documentation are checked.
linkcheck_ignore = [r"https?://"]

copybutton_prompt_text = r"\$ |> "
copybutton_prompt_is_regexp = True

templates_path = ["_templates"]
html_theme = "furo"
html_title = "oss_wsgi"
html_favicon = "../static/favicon.svg"
html_static_path = ["_static"]
html_css_files = ["docs.css"]
html_show_sourcelink = False
html_theme_options = {
    "source_repository": "https://github.com/oss-wsgi/oss-wsgi",
    "source_branch": "main",
    "source_directory": "docs/",
    "light_css_variables": {"color-brand-primary": "#1f5fbf", "color-brand-content": "#1f5fbf"},
    "dark_css_variables": {"color-brand-primary": "#8ab4ff", "color-brand-content": "#8ab4ff"},
}


def show_examples_as_code(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Make the indented examples of docstrings literal blocks: reStructuredText takes them for quotations."""
    for number in range(len(lines) - 1, 1, -1):
        before = lines[number - 2]
        begins = lines[number].startswith("    ") and not lines[number - 1]
        if begins and before and not before.startswith((" ", ":")) and not before.endswith("::"):
            lines[number:number] = ["::", ""]


def leave_attributes_to_their_table(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Cut the attributes of the two classes for which docs/generate.py writes a table into the same page."""
    if name in ("oss_wsgi.Grant", "oss_wsgi.Upload"):
        first = next(number for number, line in enumerate(lines) if line.startswith(":ivar "))
        lines[first:] = ["The attributes are in the table above.", ""]


#: A line end beside a Chinese character, of which browsers would make a space.
CHINESE_LINE_END = re.compile(
    "(?<=[\u3000-\u303f\uff00-\uffef])\n *(?![0-9]+\\. )(?=[^\\s|#>*:<`-]|`[^`]|\\*\\*)"
    "|(?<=[\u4e00-\u9fff])\n *(?=[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef])"
)
#: What the theme says on each page.
CHINESE_WORDS = {
    "Back to top": "回到顶部",
    "Home": "首页",
    "Made with ": "制作工具：",
    "Next": "下一页",
    "On this page": "本页内容",
    "Previous": "上一页",
    "Search": "搜索",
    "Skip to content": "跳到正文",
}


def speak_the_language_of_the_page(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Say where the same page is in the other language, and show the contents of the page's own language."""
    chinese = page.startswith("zh-CN/")
    there = page.removeprefix("zh-CN/") if chinese else f"zh-CN/{page}"
    if there not in app.env.found_docs:  # a page in one language alone
        there = "index" if chinese else "zh-CN/index"
    context["other_language"] = {"page": there, "name": "English" if chinese else "简体中文"}
    context["other_language"]["code"] = "en" if chinese else "zh-CN"
    tree = BeautifulSoup(context["furo_navigation_tree"], "html.parser")
    below = tree.find("a", href=context["pathto"]("zh-CN/index")) if page != "zh-CN/index" else tree.find("a", href="#")
    if below is not None:
        entry = below.find_parent("li")
        if chinese:
            pages = entry.find("ul").extract()
            tree.ul.replace_with(pages)
        else:
            entry.extract()
    context["furo_navigation_tree"] = str(tree)
    if chinese:
        context["language"] = "zh-CN"
        context["gettext"] = lambda text: CHINESE_WORDS.get(text, text)


#: Name of a build on the host -> its words; the host calls the newest release "stable", and others by their tags.
VERSIONS = {"stable": ("Released", "已发布"), "latest": ("Current", "开发中")}
_HOST = "https://oss-wsgi.readthedocs.io/en"


def offer_both_versions(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Let the sidebar lead to the same page of the newest release, and of what is not released yet."""
    chinese = page.startswith("zh-CN/")
    built = os.environ.get("READTHEDOCS_VERSION", "latest")
    shown = built if built in VERSIONS else "stable"
    context["versions"] = {
        "label": "版本" if chinese else "Version",
        "all": [
            {
                "name": f"{words[chinese]} ({__version__})" if name == shown else words[chinese],
                "url": f"{_HOST}/{name}/{page}.html",
                "is_shown": name == shown,
            }
            for name, words in VERSIONS.items()
        ],
    }


def join_chinese_lines(app: Any, page: str, source: list[str]) -> None:
    """Join the lines of a Chinese paragraph, outside the blocks of code."""
    if page.startswith("zh-CN/"):
        parts = re.split(r"(^ *```.*?^ *```$)", source[0], flags=re.DOTALL | re.MULTILINE)
        source[0] = "".join(part if number % 2 else CHINESE_LINE_END.sub("", part) for number, part in enumerate(parts))


def setup(app: Any) -> None:
    app.connect("source-read", join_chinese_lines)
    # After the theme, which makes the tree.
    app.connect("html-page-context", speak_the_language_of_the_page, priority=900)
    app.connect("html-page-context", offer_both_versions)
    app.connect("autodoc-process-docstring", leave_attributes_to_their_table)
    app.connect("autodoc-process-docstring", show_examples_as_code)
