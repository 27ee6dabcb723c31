"""How the page looks: on a phone, in the dark, to weak eyes."""

import re

import pytest

from tests.benchmark.leaderboard.page.tables import TABLES, TABS


@pytest.mark.parametrize("width", [375, 320])
def test_nothing_sticks_out_of_a_phone(visit, published, width):
    visited = visit(published, viewport={"width": width, "height": 812})
    for key in TABS:
        panel = visited.tab(key)
        assert visited.page.evaluate("document.documentElement.scrollWidth") == width
        panel.locator("details").evaluate_all("parts => parts.forEach((part) => (part.open = true))")
        if key in TABLES:
            panel.get_by_label(re.compile("Show all")).check()
        assert visited.page.evaluate("document.documentElement.scrollWidth") == width


def test_the_method_stays_in_sight_while_its_row_is_scrolled(visit, published):
    page = visit(published, viewport={"width": 375, "height": 812}).page
    page.locator("#unlearning .scroller").evaluate("part => part.scrollLeft = 500")
    box = page.locator("#unlearning tbody a").first.bounding_box()
    assert 0 <= box["x"] < 100


@pytest.mark.parametrize(("scheme", "is_dark"), [("light", False), ("dark", True)])
def test_the_theme_follows_the_system_until_a_button_says_otherwise(visit, published, scheme, is_dark):
    page = visit(published, color_scheme=scheme).page
    assert (brightness(page) < 0.2) is is_dark
    page.get_by_role("button", name="Dark theme", pressed=is_dark).click()
    assert (brightness(page) < 0.2) is not is_dark
    page.reload()
    assert (brightness(page) < 0.2) is not is_dark


def brightness(page):
    red, green, blue = map(int, re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor")))
    return (red + green + blue) / 765


CONTRAST = """() => {
  const channels = (color) => color.match(/[\\d.]+/g).map(Number);
  const luminance = (rgb) => rgb.slice(0, 3).map((value) => value / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    .reduce((sum, value, place) => sum + value * [0.2126, 0.7152, 0.0722][place], 0);
  const behind = (part) => {
    for (let one = part; one; one = one.parentElement) {
      const color = channels(getComputedStyle(one).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
  };
  const low = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let seen = 0;
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const part = node.parentElement;
    if (!node.textContent.trim() || !part.checkVisibility({ visibilityProperty: true })) continue;
    const [one, other] = [channels(getComputedStyle(part).color), behind(part)].map(luminance);
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    seen += 1;
    if (contrast < 4.5) low.push([node.textContent, part.className, part.closest("td,th")?.className, contrast]);
  }
  return { seen, low, levels: [0, 1, 2, 3].map((n) => document.querySelectorAll(`td.level${n}`).length) };
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read_on_its_background(visit, published, scheme):
    visited = visit(published, color_scheme=scheme)
    for key in TABS:
        visited.tab(key).locator("summary").first.click()
        found = visited.page.evaluate(CONTRAST)
        assert found["seen"] > 100
        assert found["low"] == []
        assert key == "methods" or all(found["levels"])  # every colour was there to be judged


def test_a_figure_takes_the_ink_of_the_theme(visit, published):
    inks = set()
    for scheme in ("light", "dark"):
        line = visit(published, color_scheme=scheme).page.locator("figure [style*='stroke: currentColor']").first
        stroke, ink = line.evaluate("line => [getComputedStyle(line).stroke, getComputedStyle(document.body).color]")
        assert stroke == ink
        inks.add(ink)
    assert len(inks) == 2


def test_motion_is_reduced_where_it_is_asked_for(visit, published):
    page = visit(published, reduced_motion="reduce").page
    assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
