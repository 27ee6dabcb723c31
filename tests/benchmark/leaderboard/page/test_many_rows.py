"""Thousands of rows: drawn in parts, filtered in a blink."""

import re

import pytest

from benchmark.leaderboard.page.build import write_page
from benchmark.perf.many import write_many_records
from tests.benchmark.leaderboard.page.conftest import build
from tests.benchmark.leaderboard.page.tables import TABLES, csv_of

TIMED = """async ([key, field, value]) => {
  const panel = document.getElementById(key);
  const part = panel.querySelector(`[name=${field}]`);
  const times = [];
  let found = "";
  for (const chosen of [value, "", value, "", value, ""]) {
    await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
    const start = performance.now();
    part.value = chosen;
    part.dispatchEvent(new Event("input", { bubbles: true }));
    document.body.getBoundingClientRect(); // until everything has its place
    times.push(performance.now() - start);
    if (chosen) found = panel.querySelector(".status").textContent;
  }
  return [Math.min(...times), Number(found.split(" ")[0])];
}"""
BLINK = 200  # milliseconds; of the quickest, for other programs may be at work


@pytest.mark.slow
def test_a_filter_of_the_rows_of_ten_thousand_records_takes_a_blink(visit, tmp_path, cards):
    write_many_records(tmp_path)
    visited = visit(build(tmp_path, cards))
    for key in ("unlearning", "backdoor", "attacks"):
        view = TABLES[key]
        panel, table = visited.tab(key), csv_of(tmp_path, key)
        for is_all in (False, True):
            panel.get_by_label(re.compile("Show all")).set_checked(is_all)
            name, dataset = table[view.name].iloc[-1], table["dataset"].iloc[-1]
            assert_quick(visited, key, "search", name, table[view.name].str.contains(name, regex=False).sum())
            assert_quick(visited, key, "filter-0", dataset, (table["dataset"] == dataset).sum())


def test_a_filter_of_thousands_of_rows_takes_a_blink(visit, published, tmp_path):
    lines = (published / "leaderboards" / "unlearning.csv").read_text().splitlines()
    (tmp_path / "leaderboards").mkdir()
    (tmp_path / "leaderboards" / "unlearning.csv").write_text("\n".join([lines[0], *lines[1:] * 62]) + "\n")
    write_page(tmp_path)
    visited = visit(tmp_path)
    table = csv_of(tmp_path, "unlearning")
    assert len(table) > 3000
    for is_all in (False, True):
        visited.page.get_by_label(re.compile("Show all")).set_checked(is_all)
        assert_quick(visited, "unlearning", "search", "salun", (table["method"] == "salun").sum())
        assert_quick(visited, "unlearning", "filter-3", "class:6", (table["scenario"] == "class:6").sum())


def assert_quick(visited, key, field, value, rows):
    duration, found = visited.page.evaluate(TIMED, [key, field, value])
    assert duration < BLINK
    assert found == rows


def test_more_rows_are_drawn_when_asked_for(visit, published):
    visited = visit(published)
    panel = visited.tab("attacks")
    panel.get_by_label(re.compile("Show all")).check()
    drawn = [len(visited.column("attacks", "Defence"))]
    assert f"the first {drawn[0]} are shown" in visited.status("attacks")
    while panel.locator("[name=more]").is_visible():
        panel.locator("[name=more]").click()
        drawn.append(len(visited.column("attacks", "Defence")))
    assert drawn == sorted(set(drawn))
    assert drawn[-1] == len(csv_of(published, "attacks"))
