"""What plays a browser in `tests/static/` says what Chromium says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .test_for_everyone import LANGUAGES

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

STAND_INS = Path(__file__).parents[1] / "static" / "browser"

#: Returns the cases of which the browser and a stand-in say something else.
COMPARE = """([languages, cases]) => {
  const real = { Intl, URL, FormData, File, Blob, URLSearchParams };
  SCRIPT
  const { Intl: PlayedIntl, URL: PlayedURL } = globalThis;
  Object.assign(globalThis, real);
  const wrong = [];
  const compare = (name, act) => {
    const [one, two] = [[real.Intl, real.URL], [PlayedIntl, PlayedURL]].map((names) => {
      try {
        return JSON.stringify(act(...names));
      } catch (error) {
        return error.name;
      }
    });
    if (one !== two) wrong.push(`${name}: ${one} in Chromium, ${two} with the stand-in`);
  };
  const numbers = [...Array(220).keys(), 1000, 1_000_000, 1_000_001, 1.5];
  for (const language of languages) {
    compare(`${language} plurals`, ({ PluralRules }) => numbers.map((n) => new PluralRules(language).select(n)));
    compare(`${language} categories`, ({ PluralRules }) =>
      [...new PluralRules(language).resolvedOptions().pluralCategories].sort());
  }
  const sizes = [["byte", "long", 0], ["kilobyte", "short", 1], ["megabyte", "short", 0], ["terabyte", "short", 0]];
  for (const [unit, unitDisplay, digits] of sizes) {
    const style = { style: "unit", unit, unitDisplay, minimumFractionDigits: digits, maximumFractionDigits: digits };
    compare(`sizes in ${unit}`, ({ NumberFormat }) => {
      const format = new NumberFormat("en", style);
      return [0, 1, 2, 1.5, 999, 12345].map((n) => format.format(n));
    });
  }
  const wrongOption = { style: "unit", unit: "byte", unitDisplay: "longer" };
  compare("a wrong option", ({ NumberFormat }) => new NumberFormat("en", wrongOption));
  compare("numbers", ({ NumberFormat }) => [0, 7, 1234, 1234567.5].map((n) => new NumberFormat("en").format(n)));
  const percent = { style: "percent", maximumFractionDigits: 0 };
  compare("shares", ({ NumberFormat }) => [0, 0.127, 1].map((n) => new NumberFormat("en", percent).format(n)));
  for (const [text, base] of cases) {
    compare(`${text} at ${base}`, (_, Address) => {
      const url = new Address(text, base);
      url.searchParams.set("a b", "1+ä/&");
      return [url.href, url.origin, url.pathname, url.search, [...url.searchParams]];
    });
  }
  return wrong;
}"""
PAGE = "https://shop.example.com/albums/2/edit?draft=1"
ADDRESSES = [
    *(
        (text, PAGE)
        for text in ("oss/signature", "/oss/signature?x=1&a+b=2", "", "?y=1", "../up/./c", "//b.example/x", ".")
    ),
    ("HTTPS://API.Example.com/a b?q=%C3%A4", PAGE),
    ("https://b.example.com", None),
    ("https://", PAGE),
    ("relative", None),
]


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


def test_plurals_numbers_and_addresses_are_those_of_chromium(page: Page) -> None:
    script = "".join((STAND_INS / f"{name}.js").read_text(encoding="utf-8") for name in ("values", "intl"))
    arguments: list[Any] = [LANGUAGES, [[text, *([base] if base else [])] for text, base in ADDRESSES]]
    assert page.evaluate(COMPARE.replace("SCRIPT", script), arguments) == []
