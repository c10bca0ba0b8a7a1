"""The README is short, in two languages with the same content, and its set-up is one line each."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import flask
import pytest
import webob

from .documentation.blocks import steps

ROOT = Path(__file__).parent.parent
READMES = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md")}


@pytest.mark.parametrize("name", READMES)
def test_the_readme_has_at_most_160_lines(name: str) -> None:
    lines = [line for line in READMES[name].splitlines() if not line.startswith("<!-- en ")]
    assert len(lines) <= 160


@pytest.mark.parametrize("name", READMES)
@pytest.mark.parametrize(
    "command",
    [
        "python3 -m venv .venv && .venv/bin/pip install -e '.[local]' && .venv/bin/python server.py",
        "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/pytest",
    ],
)
def test_each_set_up_is_one_line(name: str, command: str) -> None:
    assert command in READMES[name].splitlines()


def test_both_languages_have_the_same_blocks() -> None:
    english, chinese = (steps(ROOT / name) for name in READMES)

    def without_comments(text: str) -> list[str]:
        return [re.sub(r"\s*(?<![:/\w])(?:# .*|// .*)$", "", line) for line in text.splitlines()]

    assert [(step.language, step.marks) for step in english] == [(step.language, step.marks) for step in chinese]
    for ours, theirs in zip(english, chinese, strict=True):
        if not ours.hidden:
            assert without_comments(ours.text) == without_comments(theirs.text)


def test_both_languages_have_the_same_links_and_sections() -> None:
    def links(text: str) -> set[str]:
        """Return the pages that a text links to; a Chinese page counts as the English page that it translates."""
        targets = (target.partition("#")[0] for target in re.findall(r"\]\(([^)]+)\)", text))
        return {target.replace("docs/zh-CN/", "docs/") for target in targets if "README" not in target}

    assert links(READMES["README.md"]) == links(READMES["README.zh-CN.md"])
    sections = [[line.count("#") for line in text.splitlines() if re.match("#+ ", line)] for text in READMES.values()]
    assert sections[0] == sections[1]


@pytest.mark.parametrize("name", ["docs/how-to/own-login.md", "docs/zh-CN/how-to/own-login.md"])
def test_the_line_for_flask_finds_the_login_as_it_is_pasted(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    (expression,) = re.findall(r"yourapp\.app\.session_interface.*?\.get\(\"user\"\)", text)
    assert "import flask" in text
    app = flask.Flask("yourapp")
    app.secret_key = "half a bee"
    app.add_url_rule("/login", view_func=lambda: flask.session.update(user="eric") or "welcome", endpoint="login")
    cookie = app.test_client().get("/login").headers["Set-Cookie"].partition(";")[0]
    for header, user in ((cookie, "eric"), ("session=guess", None)):
        environ = webob.Request.blank("/oss/signature", headers={"Cookie": header}).environ
        names = {"yourapp": SimpleNamespace(app=app), "flask": flask, "request": webob.Request(environ)}
        assert eval(expression, names) == user
        assert "werkzeug.request" not in environ


def test_every_public_name_has_a_docstring() -> None:
    import oss_wsgi

    assert [name for name in oss_wsgi.__all__ if not getattr(oss_wsgi, name).__doc__] == []
    assert sorted(oss_wsgi.__all__) == list(oss_wsgi.__all__)


@pytest.mark.parametrize("name", READMES)
def test_the_readme_leads_a_cgi_script_to_its_page(name: str) -> None:
    sentence = re.search(r"CGI[^。.]*docs/(?:zh-CN/)?how-to/cgi-script\.md", READMES[name])
    assert sentence is not None
    assert "WSGI" in sentence[0]


@pytest.mark.parametrize("name", READMES)
def test_the_readme_says_who_names_the_objects(name: str) -> None:
    assert "`OSS_UPLOAD_NAMES=original`" in READMES[name]
