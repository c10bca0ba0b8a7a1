"""Makes the pictures of the pages: a diagram, and what Chromium shows while a page is typed.

    python docs/pictures.py [FOLDER]

types each page that has pictures into a shell, as the tests do, and keeps what its hidden steps photograph
(`visit ... --picture NAME`). Without a folder it writes to docs/pictures/, which is committed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parent
ROOT = DOCS.parent

#: Kind of page -> the diagram's colors.
COLORS = {
    "light": {"ink": "#1a1f26", "quiet": "#49515c", "surface": "#ffffff", "line": "#c9ced6", "accent": "#164aaa"},
    "dark": {"ink": "#e7eaee", "quiet": "#aeb6c1", "surface": "#191d23", "line": "#4a525d", "accent": "#82adff"},
}
#: End of the file's name -> the diagram's words.
WORDS = {
    "": {
        "title": "An upload in four steps",
        "story": "The browser asks your application for a signed form, and posts the form with the file to OSS. OSS "
        "reports the upload, signed, to your application. Its answer goes through OSS back to the browser.",
        "browser": "Browser",
        "application": "Your application",
        "middleware": "oss_wsgi in front of it",
        "ask": "1  May I upload cat.png?  A signed form comes back",
        "post": "2  The form and the file",
        "report": "3  Signed report",
        "answer": "4  Your",
        "json": "JSON",
    },
    ".zh-CN": {
        "title": "四步完成上传",
        "story": "浏览器向你的应用请求签名表单，再把表单和文件一起提交给 OSS。"
        "OSS 向你的应用发送带签名的回调，应用的响应经 OSS 返回浏览器。",
        "browser": "浏览器",
        "application": "你的应用",
        "middleware": "前面是 oss_wsgi",
        "ask": "1  请求上传 cat.png，得到签名表单",
        "post": "2  表单和文件",
        "report": "3  签名的回调",
        "answer": "4  你的",
        "json": "JSON",
    },
}
FLOW = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 880 300" role="img" font-size="16"
 font-family="system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif">
<title>{title}</title>
<desc>{story}</desc>
<defs><marker id="end" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">
<path d="M0 0 10 5 0 10z" fill="{accent}"/></marker></defs>
<g fill="{surface}" stroke="{line}" stroke-width="1.5">
<rect x="10" y="105" width="170" height="90" rx="12"/>
<rect x="610" y="15" width="260" height="90" rx="12"/>
<rect x="610" y="195" width="260" height="90" rx="12"/>
</g>
<g fill="{ink}" text-anchor="middle" font-weight="600" font-size="18">
<text x="95" y="156">{browser}</text>
<text x="740" y="55">{application}</text>
<text x="740" y="246">OSS</text>
</g>
<text x="740" y="80" fill="{quiet}" text-anchor="middle" font-size="14">{middleware}</text>
<g fill="none" stroke="{accent}" stroke-width="2" marker-end="url(#end)">
<path d="M150 103V60H606"/>
<path d="M150 197v43H606"/>
<path d="M690 193v-84"/>
</g>
<path d="M790 109v84" fill="none" stroke="{accent}" stroke-width="2" stroke-dasharray="5 5" marker-end="url(#end)"/>
<path d="M606 216H220V150h-36" fill="none" stroke="{accent}" stroke-width="2" stroke-dasharray="5 5"
 marker-end="url(#end)"/>
<g fill="{ink}">
<text x="172" y="48">{ask}</text>
<text x="172" y="264">{post}</text>
<text x="676" y="156" text-anchor="end">{report}</text>
<text x="804" y="156">{answer}</text>
<text x="822" y="176">{json}</text>
</g>
</svg>
"""


def draw(folder: Path) -> None:
    """Write the diagram, for light and for dark pages."""
    for kind, colors in COLORS.items():
        for language, words in WORDS.items():
            (folder / f"flow-{kind}{language}.svg").write_text(FLOW.format(**colors, **words), encoding="utf-8")


def pages() -> list[Path]:
    """Return the pages whose hidden steps take pictures."""
    candidates = [*ROOT.glob("README*.md"), *DOCS.rglob("*.md")]
    return sorted(
        page for page in candidates if re.search(r"^visit .* --picture ", page.read_text("utf-8"), re.MULTILINE)
    )


def main() -> int:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else DOCS / "pictures").resolve()
    folder.mkdir(exist_ok=True)
    draw(folder)
    states = subprocess.run([sys.executable, str(DOCS / "page_states.py"), str(folder)], cwd=ROOT)
    if states.returncode:
        return states.returncode
    for page in pages():
        command = [sys.executable, "-m", "tests.documentation.reader", str(page)]
        process = subprocess.run(command, cwd=ROOT, env={**os.environ, "PICTURES": str(folder)})
        if process.returncode:
            return process.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
