"""Draws the kept figures of tests/benchmarks/results/ as bars, for light and for dark pages.

    python docs/speed_chart.py [FOLDER]

writes speed-light.svg, speed-dark.svg and the same in Chinese. Without a folder it writes to docs/pictures/, which is
committed. docs/generate.py puts the same figures into a table.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

DOCS = Path(__file__).parent
RESULTS = DOCS.parent / "tests" / "benchmarks" / "results"
OURS = "server.py"

#: Kind of page -> the colors of the chart.
COLORS = {
    "light": {"ink": "#1a1f26", "quiet": "#49515c", "ours": "#164aaa", "theirs": "#b3bdca"},
    "dark": {"ink": "#e7eaee", "quiet": "#aeb6c1", "ours": "#82adff", "theirs": "#4f5967"},
}
#: End of the file's name -> the chart's title.
TITLES = {
    "": "Requests a second on one core, beside other servers",
    ".zh-CN": "一个核心上每秒的请求数，与其他服务器比较",
}
#: End of the file's name -> the heading of each benchmark's bars.
HEADINGS = {
    "": {
        "signature, 16 connections": "Signatures a second, 16 kept connections",
        "callback, 16 connections": "Callbacks a second, 16 kept connections",
        "callback, 16 connections, one for each request": "Callbacks a second, each on a new connection, as from OSS",
    },
    ".zh-CN": {
        "signature, 16 connections": "每秒签名数，16 个长连接",
        "callback, 16 connections": "每秒回调数，16 个长连接",
        "callback, 16 connections, one for each request": "每秒回调数，每次一个新连接，与 OSS 相同",
    },
}
_WIDTH, _MARGIN, _LABEL, _BAR, _ROW, _HEAD, _GAP = 760, 12, 210, 470, 26, 42, 18


def newest() -> dict[str, Any]:
    """Return the figures of the newest release: RESULTS has a file for each, such as 1.2.3.json."""
    path = max(RESULTS.glob("*.json"), key=lambda path: [int(part) for part in path.stem.split(".")])
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def names(results: dict[str, Any]) -> dict[str, str]:
    """Return the servers that are shown, by their names in the figures, with their versions; only those that ran."""
    short = {name: ".".join(version.split(".")[:2]) for name, version in results["versions"].items()}
    node, go = f"Node {short.get('node', '').split('.')[0]}", f"Go {short.get('go', '')}"
    shown = {
        OURS: OURS,
        "webob on waitress": f"WebOb on waitress {short['waitress']}",
        "http.server": "http.server",
        "php -S": f"PHP {short.get('php', '')}, php -S",
        "node": node,
        "node, like for like": f"{node}, like for like",
        "go": f"{go}, one core",
        "go, like for like": f"{go}, like for like",
    }
    ran = {name for work in results["works"].values() for name in work}
    return {name: words for name, words in shown.items() if name in ran}


def chart(results: dict[str, Any], language: str, colors: dict[str, str]) -> str:
    """Return the chart as SVG: a group of bars for each benchmark, the quickest server first.

    :param language: the end of the file's name.
    """
    shapes: list[str] = []
    shown = names(results)
    top = 0
    for work, heading in HEADINGS[language].items():
        figures = results["works"].get(work, {})
        rates = {name: figures[name]["requests_a_second"] for name in shown if name in figures}
        if not rates:
            continue
        shapes.append(_text(0, top + 22, heading, colors["ink"], 'font-weight="600" font-size="17"'))
        top += _HEAD
        for name, rate in sorted(rates.items(), key=lambda item: -item[1]):
            width = max(2, round(_BAR * rate / max(1, *rates.values())))
            ours = name == OURS
            ink, weight = (colors["ink"], 'font-weight="600"') if ours else (colors["quiet"], "")
            fill = colors["ours" if ours else "theirs"]
            shapes += [
                _text(_LABEL - 10, top + 15, shown[name], ink, f'{weight} text-anchor="end"'),
                f'<rect x="{_LABEL}" y="{top}" width="{width}" height="{_ROW - 6}" rx="3" fill="{fill}"/>',
                _text(_LABEL + width + 8, top + 15, f"{rate:,}", ink, weight),
            ]
            top += _ROW
        top += _GAP
    box = f"-{_MARGIN} 0 {_WIDTH + 2 * _MARGIN} {top}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" role="img" font-size="15"',
            " font-family=\"system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif\">",
            f"<title>{escape(TITLES[language])}</title>",
            *shapes,
            "</svg>",
            "",
        ]
    )


def _text(x: int, y: int, text: str, fill: str, more: str) -> str:
    return f'<text x="{x}" y="{y}" fill="{fill}" {more}>{escape(text)}</text>'


def draw(folder: Path) -> None:
    """Write the charts."""
    results = newest()
    for kind, colors in COLORS.items():
        for language in TITLES:
            (folder / f"speed-{kind}{language}.svg").write_text(chart(results, language, colors), encoding="utf-8")


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS / "pictures")
