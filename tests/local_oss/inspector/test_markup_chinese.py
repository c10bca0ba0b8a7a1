"""The window in Chinese, where the browser prefers it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import local_oss as local
import local_oss.inspector as inspector
from oss_wsgi.explanations.languages import catalogue_texts
from oss_wsgi.explanations.rows import find

FOLDER = Path(inspector.__file__).parent
CHINESE = {"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.8"}
#: Names that stay as they are, in attributes and in what is shown.
ENGLISH = {"CRC-64", "ETag", "POST", "HTTP", "EC", "file"}


def template_texts() -> Iterator[str]:
    for path in sorted((FOLDER / "templates").glob("*.html")):
        source = path.read_text(encoding="utf-8")
        for call in re.findall(r"_\(([^\n]*?)\)", source):
            yield from re.findall(r'"([^"]+)"', call)
        yield from re.findall(r'parts\.(?:pair|quiet|button)\((?:"/[a-z]+", )?"([^"]+)"', source)
        yield from re.findall(r'call step\("([^"]+)"', source)


def words_outside_calls() -> Iterator[str]:
    """Yield words of the templates that no call translates."""
    for path in sorted((FOLDER / "templates").glob("*.html")):
        source = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        shown = re.sub(r"<[^>]*>", " ", source)
        labels = " ".join(re.findall(r'(?:aria-label|placeholder|alt|title)="([^"]*)"', source))
        yield from (f"{path.name}: {word}" for word in re.findall("[A-Za-z]{2,}", f"{shown} {labels}"))


def test_each_text_of_the_templates_is_translated() -> None:
    catalogue = catalogue_texts("zh")
    texts = [text for text in template_texts() if re.search("[a-z]{2}", text)]
    assert len(texts) > 60
    assert [text for text in texts if text not in catalogue and text not in ENGLISH] == []
    assert [word for word in words_outside_calls() if word.partition(": ")[2] not in ENGLISH] == []


def test_pages_speak_the_language_that_the_browser_prefers(browser, upload) -> None:
    upload()
    pages = {
        "": ("活动", "1 个请求", "已保存", "任何状态"),
        "/objects": ("对象", "名称", "大小"),
        "/faults": ("没有等待的故障：请求正常。", "次数", "应用没有及时返回"),
    }
    for path, words in pages.items():
        page = browser.page(path, headers=CHINESE)
        assert page.headers["Content-Language"] == "zh-CN"
        assert '<html lang="zh-CN">' in page.text
        assert [word for word in words if word not in page.text] == []
        english = browser.page(path, headers={"Accept-Language": "fr"})
        assert english.headers["Content-Language"] == "en"
        assert not re.search("[一-鿿]", english.text)


def test_an_exchange_is_told_in_chinese(browser, upload) -> None:
    upload(conditions=[["eq", "$key", "other"]])
    link = f"/requests/{browser.newest()[0]}"
    text = browser.page(link, headers=CHINESE).text
    for words in ("请求", "个条件中有 1 个不符合", "待签名字符串", "响应", "固定链接", "复制为 curl"):
        assert words in text
    shown = re.sub(r"<(script|style|pre|code).*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL)
    assert not re.search(r"\b(Headers|Request|conditions|not hold|Answer|Stored)\b", shown)
    assert "AccessDenied" in shown


def test_a_page_that_is_not_there_says_so_in_chinese(browser) -> None:
    assert "没有这个请求" in browser.page("/requests/NONE", headers=CHINESE, status=404).text
    assert "没有这个页面" in browser.page("/nothing", headers=CHINESE, status=404).text


REFUSALS = [
    pytest.param("GET", "", {}, {"Host": "rebound.example"}, 421, id="a foreign host"),
    pytest.param("PUT", "", {}, {}, 405, id="another method"),
    pytest.param("GET", "/content?bucket=examplebucket&key=none", {}, {}, 404, id="no object"),
    pytest.param("POST", "/clear", {"token": "of another run"}, {}, 403, id="another run's form"),
    pytest.param("POST", "/faults", {"name": "none", "seconds": "1", "times": "1"}, {}, 400, id="no fault"),
    pytest.param("POST", "/faults", {"name": "slow_upload", "seconds": "1", "times": "often"}, {}, 400, id="no number"),
]


@pytest.mark.parametrize(("method", "path", "form", "headers", "status"), REFUSALS)
def test_a_plain_refusal_is_in_the_language_of_the_browser(browser, method, path, form, headers, status) -> None:
    form = {"token": browser.token, **form} if method == "POST" else ""
    texts = []
    for language in (CHINESE, {"Accept-Language": "en"}):
        request = {"method": method, "headers": {**headers, **language}, "status": status}
        if method == "POST":
            response = browser.app.post(f"/_inspect{path}", form, headers=request["headers"], status=status)
        else:
            response = browser.app.request(f"/_inspect{path}", **request)
        assert response.content_type == "text/plain"
        texts.append(response.text)
    assert re.search("[一-鿿]", texts[0]), texts[0]
    assert not re.search("[a-z]+ [a-z]+ [a-z]+", texts[0]), texts[0]
    assert not re.search("[一-鿿]", texts[1]), texts[1]


def test_another_machine_reads_why_in_chinese(app) -> None:
    far = {"extra_environ": {"REMOTE_ADDR": "192.0.2.7"}, "status": 403}
    assert app.get("/_inspect", headers=CHINESE, **far).text == "本地 OSS 的页面只给本机看。请在本机用回环地址打开。\n"


def test_an_error_of_oss_is_explained_in_chinese_behind_its_own_message(browser) -> None:
    page = browser.page("/objects?bucket=none", headers=CHINESE, status=404)
    assert "The specified bucket does not exist." in page.text
    row = find("NoSuchBucket", "zh")
    assert row is not None
    assert row.meaning in page.text


def test_each_error_of_the_local_oss_has_a_row_in_chinese() -> None:
    codes = set()
    for path in Path(local.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "OSSError" and len(node.args) > 1:
                codes |= {node.args[1].value} if isinstance(node.args[1], ast.Constant) else set()
    assert len(codes) > 40
    # Answers of STS, which only a program reads.
    codes = {code for code in codes if "." not in code} - {"InvalidVersion"}
    found = {code: find(code, "zh") for code in codes}
    assert [code for code, row in found.items() if row is None or not re.search("[一-鿿]", row.meaning)] == []
