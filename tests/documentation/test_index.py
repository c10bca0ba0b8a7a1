"""What people ask most is answered within two clicks of the index, behind links in the words of the question."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from .blocks import is_chinese
from .chinese import CHINESE, DOCS, anchors, target

LINK = re.compile(r"\[([^\]]+)\]\(([^)\s]+)\)")
#: Words of a question, in English and in Chinese; the page that answers it, and what stands there.
QUESTIONS = (
    (
        ("change", "ticket secret", "without losing"),
        ("更换票据密钥", "不丢失上传"),
        "how-to/ticket-secrets.md",
        "NEW,OLD",
    ),
    (("callback", "403"), ("回调", "403"), "how-to/hosting/index.md#check-it", "authorization_missing"),
    (("mini program", "WeChat"), ("小程序", "微信"), "how-to/mini-programs.md", "wx."),
    (("nginx", "below a path"), ("nginx", "路径下"), "how-to/hosting/nginx.md#below-a-path", "location /shop/"),
    (("private files", "thumbnails"), ("私有文件", "缩略图"), "how-to/private-files.md#thumbnails", "x-oss-process"),
    (("FastAPI",), ("FastAPI",), "how-to/asgi.md", "app.mount("),
    (("limit", "each user"), ("限制", "每个用户"), "how-to/limits-per-user.md", "max_size="),
    (
        ("several processes", "one port"),
        ("多个进程", "同一个端口"),
        "scaling.md#2-processes-of-one-machine",
        "--processes",
    ),
    (("delete", "nobody asked for"), ("删除", "没有人要"), "how-to/orphans.md", "on_orphan="),
    (("official sample",), ("官方示例",), "how-to/from-the-sample.md", "get.php"),
    (("test", "without a network"), ("测试", "不连网络"), "how-to/testing.md", "UploadClient"),
    (("logged", "request ID"), ("日志", "请求 ID"), "how-to/logs.md", "oss_request_id"),
)
INDEXES = (DOCS / "index.md", CHINESE / "index.md")


def links(page: Path) -> list[tuple[str, str]]:
    """Return the links of a page: the words that a reader sees, with those of the row of a table; and the target."""
    found = []
    for line in page.read_text(encoding="utf-8").splitlines():
        row = LINK.sub(r"\1", line) if line.startswith("|") else ""
        for text, link in LINK.findall(line):
            name, hash_, anchor = link.partition("#")
            file = (page.parent / name).resolve() if name else page
            if file.suffix == ".md" and file.is_relative_to(DOCS):
                found.append((row or text, f"{file.relative_to(DOCS).as_posix()}{hash_}{anchor}"))
    return found


def within_two_clicks(index: Path) -> list[tuple[str, str]]:
    """Return the links of an index and of the pages that it leads to."""
    first = links(index)
    pages = {link.partition("#")[0] for _, link in first}
    return [*first, *(link for page in sorted(pages) for link in links(DOCS / page))]


@pytest.mark.parametrize("index", INDEXES, ids=("English", "Chinese"))
@pytest.mark.parametrize(
    ("english", "chinese", "page", "answer"), QUESTIONS, ids=[" ".join(row[0]) for row in QUESTIONS]
)
def test_a_question_is_answered_within_two_clicks(
    index: Path, english: tuple[str, ...], chinese: tuple[str, ...], page: str, answer: str
) -> None:
    name, _, anchor = page.partition("#")
    assert not anchor or anchor in anchors(DOCS / name)
    words = english
    if is_chinese(index):
        page = os.path.relpath(index.parent / target(DOCS / name, anchor, index), DOCS)
        words = chinese
    shown = [text.lower() for text, link in within_two_clicks(index) if link == page]
    assert any(all(word.lower() in text for word in words) for text in shown), shown
    assert answer in (DOCS / page.partition("#")[0]).read_text(encoding="utf-8")
