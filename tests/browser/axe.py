"""axe-core with all its rules, on what a page shows at the moment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..support.absent import skip_or_fail

if TYPE_CHECKING:
    from playwright.sync_api import Page

LOOKS: list[dict[str, Any]] = [
    {"color_scheme": "light", "forced_colors": "none"},
    {"color_scheme": "dark", "forced_colors": "none"},
    {"color_scheme": "light", "forced_colors": "active"},
]

# Each rule runs, experimental and AAA ones too. What axe cannot decide counts as found, except two things.
# `hidden-content` says only that a part is hidden, and another state shows that part. The contrast of a mark such as a
# check is not measured, and the mark has the colour of text beside it.
RUN = """async () => {
  const rules = Object.fromEntries(axe.getRules().map(({ ruleId }) => [ruleId, { enabled: true }]));
  const { violations, incomplete } = await axe.run(document, { rules });
  const found = [...violations, ...incomplete.filter(({ id }) => id !== "hidden-content")];
  return found.flatMap(({ id, nodes }) => nodes.map((node) => `${id} ${node.target}: ${node.failureSummary}`))
    .filter((text) => !text.includes("only non-text characters"));
}"""


def axe_source() -> str:
    folders = os.environ.get("NODE_PATH", "").split(os.pathsep)
    scripts = [script for folder in folders if (script := Path(folder, "axe-core", "axe.min.js")).is_file()]
    if not scripts:
        skip_or_fail("axe-core of npm")
    return scripts[0].read_text(encoding="utf-8")


def findings(page: Page, source: str) -> list[str]:
    """Return what axe finds on a page, light, dark and in forced colours; its context needs ``bypass_csp``."""
    page.evaluate(source)
    found: list[str] = []
    for look in LOOKS:
        page.emulate_media(**look)
        found += [f"{look}: {each}" for each in page.evaluate(RUN)]
    page.emulate_media(**LOOKS[0])
    return found
