"""The window looks like the page. It repeats the page's first rules, since the local OSS shares no file with it."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "static" / "style.css").read_text("utf-8")
WINDOW = (ROOT / "local_oss" / "inspector" / "inspector.css").read_text("utf-8")


def rules(style, selector):
    """Return the declarations of each rule of a selector, in their order: the second of `:root` is for the dark."""
    found = re.findall(rf"^ *{re.escape(selector)} \{{\n(.*?)^ *\}}", style, re.MULTILINE | re.DOTALL)
    return [dict(re.findall(r"([\w-]+): (.+?);", declarations)) for declarations in found]


def test_the_colours_are_the_pages():
    page, window = rules(PAGE, ":root"), rules(WINDOW, ":root")
    assert len(page) == len(window) == 2
    for ours, theirs in zip(window, page, strict=True):
        assert len(ours) > 10
        assert ours == {name: theirs[name] for name in ours}
        assert set(theirs) - set(ours) == {"--track"}, "the window has no progress bar"


def test_letters_are_the_pages():
    for selector in ("body", "[hidden]", "*::after"):
        assert rules(WINDOW, selector) == rules(PAGE, selector) != [], selector
