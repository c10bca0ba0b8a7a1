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

#: Name of the diagram's file -> ink, quiet text, surface, line, accent.
COLORS = {
    "flow-light.svg": ("#1a1f26", "#59626e", "#ffffff", "#c9ced6", "#1a56c4"),
    "flow-dark.svg": ("#e7eaee", "#a2abb7", "#191d23", "#4a525d", "#82adff"),
}
FLOW = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 880 300" role="img" font-family="system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif" font-size="16">
<title>An upload in four steps</title>
<desc>The browser asks your application for a signed form, and posts the form with the file to OSS. OSS reports the upload, signed, to your application. What your application answers goes through OSS back to the browser.</desc>
<defs><marker id="end" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto-start-reverse"><path d="M0 0 10 5 0 10z" fill="{accent}"/></marker></defs>
<g fill="{surface}" stroke="{line}" stroke-width="1.5">
<rect x="10" y="105" width="170" height="90" rx="12"/>
<rect x="610" y="15" width="260" height="90" rx="12"/>
<rect x="610" y="195" width="260" height="90" rx="12"/>
</g>
<g fill="{ink}" text-anchor="middle" font-weight="600" font-size="18">
<text x="95" y="156">Browser</text>
<text x="740" y="55">Your application</text>
<text x="740" y="246">OSS</text>
</g>
<text x="740" y="80" fill="{quiet}" text-anchor="middle" font-size="14">oss_wsgi in front of it</text>
<g fill="none" stroke="{accent}" stroke-width="2" marker-end="url(#end)">
<path d="M150 103V60H606"/>
<path d="M150 197v43H606"/>
<path d="M690 193v-84"/>
</g>
<path d="M790 109v84" fill="none" stroke="{accent}" stroke-width="2" stroke-dasharray="5 5" marker-end="url(#end)"/>
<path d="M606 216H220V150h-36" fill="none" stroke="{accent}" stroke-width="2" stroke-dasharray="5 5" marker-end="url(#end)"/>
<g fill="{ink}">
<text x="172" y="48">1  May I upload cat.png?  A signed form comes back</text>
<text x="172" y="264">2  The form and the file</text>
<text x="676" y="156" text-anchor="end">3  Signed report</text>
<text x="804" y="156">4  Your</text>
<text x="822" y="176">JSON</text>
</g>
</svg>
"""


def draw(folder: Path) -> None:
    """Write the diagram, for light and for dark pages."""
    for name, (ink, quiet, surface, line, accent) in COLORS.items():
        text = FLOW.format(ink=ink, quiet=quiet, surface=surface, line=line, accent=accent)
        (folder / name).write_text(text, encoding="utf-8")


def pages() -> list[Path]:
    """Return the pages whose hidden steps take pictures."""
    candidates = [*ROOT.glob("README*.md"), *DOCS.rglob("*.md")]
    return sorted(page for page in candidates if re.search(r"^visit .* --picture ", page.read_text("utf-8"), re.MULTILINE))


def main() -> int:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else DOCS / "pictures").resolve()
    folder.mkdir(exist_ok=True)
    draw(folder)
    for page in pages():
        command = [sys.executable, "-m", "tests.documentation.reader", str(page)]
        process = subprocess.run(command, cwd=ROOT, env={**os.environ, "PICTURES": str(folder)})
        if process.returncode:
            return process.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
