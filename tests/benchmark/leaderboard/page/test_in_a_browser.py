"""The page as its reader has it, in a real browser, from the disk: what is shown, and what he can choose.

The fixture `visit` fails a test on any error, dialogue or request.
"""

import csv
import re
from collections import Counter

import pandas as pd
import pytest

from benchmark.leaderboard.page.build import LEVELS
from tests.benchmark.leaderboard.backdoor_factory import make_runs, shifted
from tests.benchmark.leaderboard.factory import make_record, make_row
from tests.benchmark.leaderboard.page.tables import NAMES, TABLES, TABS, csv_of, show_all


def groups_of(visited, key):
    """The heading and the methods of each group, from top to bottom."""
    return visited.page.evaluate(
        """(key) => [...document.querySelectorAll(`#${key} tbody`)].map((body) => [
          body.querySelector(".heading div").firstChild.textContent,
          [...body.querySelectorAll("tr:not(.heading, .reference) th")].map((cell) => {
            const copy = cell.cloneNode(true);
            copy.querySelectorAll(".second").forEach((part) => part.remove());
            return copy.textContent;
          })])""",
        key,
    )


def test_every_tab_opens_without_an_error_or_a_request(visit, published):
    visited = visit(published)
    for key in TABS:
        assert visited.tab(key).is_visible()
        assert visited.page.locator("[role=tabpanel]:visible").count() == 1


@pytest.mark.parametrize("key", TABLES)
def test_every_row_of_the_csv_is_shown_once(visit, published, key):
    visited = visit(published)
    panel = visited.tab(key)
    show_all(panel)
    table = csv_of(published, key)
    assert Counter(visited.column(key, NAMES[key])) == Counter(table[TABLES[key].name])
    assert visited.status(key).startswith(f"{len(table)} of {len(table)} rows in ")


def test_a_rate_is_in_percent_with_interval_verdict_and_distance(visit, published):
    visited = visit(published)
    row = csv_of(published, "unlearning").iloc[0]
    cell = visited.page.locator("#unlearning tbody tr:not(.heading, .reference)").first.locator("td").nth(1)
    value, half = float(row["ua"]), float(row["ua_high"]) - float(row["ua"])
    mark = {"matches": "=", "differs": "≠", "undetermined": "?"}[row["ua_verdict"]]
    difference = f"{100 * float(row['ua_difference']):+.1f}".replace("+0.0", "0.0").replace("-", "−")
    assert cell.inner_text().split("\n") == [f"{100 * value:.1f} ± {100 * half:.1f} {mark}", difference]


def test_a_distance_in_nats_is_in_no_percent(visit, published):
    visited = visit(published)
    row = csv_of(published, "audits").iloc[0]
    heads = [shown.title for shown in TABLES["audits"].shown]
    cells = visited.tab("audits").locator("tbody tr:not(.heading, .reference)").first.locator("th, td")
    value, null = cells.nth(heads.index("KL, nats")).inner_text().split("\n")
    half = float(row["kl_forget_high"]) - float(row["kl_forget"])
    assert value == f"{float(row['kl_forget']):.3g} ± {half:.3g}"
    assert null == f"null {float(row['kl_forget_null']):.3g}"


def test_rows_stand_under_their_setting_with_what_they_are_measured_against(visit, published):
    visited = visit(published)
    table = csv_of(published, "unlearning")
    shown = dict(groups_of(visited, "unlearning"))
    assert len(shown) == table["setting"].nunique()
    for _, rows in table.groupby("setting", sort=False):
        heading = " · ".join(rows.iloc[0][list(TABLES["unlearning"].heading)])
        assert shown[heading] == list(rows["method"])
    references = visited.page.locator("#unlearning tbody").first.locator(".reference")
    assert references.locator("th").all_inner_texts() == ["Original, before", "Retrain, the target"]
    target = references.nth(1).locator("td").nth(1).inner_text()
    assert target == f"{100 * float(table.iloc[0]['retrain_ua']):.1f}"


def test_a_failed_row_gives_its_reason(visit, results):
    failed = make_record("salun", 7, status="error", reason="out of memory")
    visited = visit(results([*make_row("salun", 3), failed]))
    lines = visited.page.inner_text("#unlearning tbody tr:not(.heading, .reference) th.name").split("\n")
    assert lines == ["salun", "published, v1", "error:1 ok:3", "out of memory"]


def test_a_users_own_hyper_parameters_are_named(visit, results):
    visited = visit(results(make_row("salun", 3, method__preset="custom")))
    assert "custom, v1: lr=0.01" in visited.page.inner_text("#unlearning tbody")


@pytest.mark.parametrize(("error", "level"), [(0.01, 0), (0.04, 1), (0.10, 2), (0.30, 3)])
def test_the_colour_of_an_attack_rate_says_how_much_worse_than_the_oracle_it_is(visit, results, error, level):
    assert LEVELS == (0.02, 0.05, 0.15)
    visited = visit(results(make_runs("sau", rates=shifted(asr=error, acc=0.03))))
    visited.tab("attacks")
    cells = visited.page.locator("#attacks tbody tr:not(.heading, .reference) td.gap")
    acc, asr = cells.nth(0), cells.nth(1)
    assert acc.get_attribute("class").split()[-1] == "level0"  # better than the oracle is not worse
    assert asr.get_attribute("class").split()[-1] == f"level{level}"
    assert asr.locator(".second").inner_text() == f"+{100 * error:.1f}"


def test_all_columns_can_be_shown_and_are_explained(visit, published):
    visited = visit(published)
    for key in TABLES:
        panel = visited.tab(key)
        few = panel.locator("thead th").count()
        panel.get_by_label(re.compile("Show all")).check()
        columns = panel.locator("thead th").evaluate_all("heads => heads.map(head => head.dataset.column)")
        assert set(columns) == set(csv_of(published, key).columns)
        assert len(columns) > few
        assert panel.locator(".meanings dd").count() == len(columns)


def test_a_click_on_a_header_sorts_numbers_as_numbers_within_each_setting(visit, published):
    visited = visit(published)
    before = visited.column("unlearning", "Cost")
    header = visited.page.locator("#unlearning thead th[data-column=flops_share]")
    for direction, is_reversed in (("ascending", False), ("descending", True)):
        header.get_by_role("button").click()
        assert header.get_attribute("aria-sort") == direction
        table = csv_of(published, "unlearning")
        table["flops_share"] = table["flops_share"].astype(float)
        parts = [sorted(rows["flops_share"], reverse=is_reversed) for _, rows in table.groupby("setting", sort=False)]
        wanted = [f"{100 * v:.1f}" if v < 1.1 else f"{100 * v:.0f}" for part in parts for v in part]
        assert visited.column("unlearning", "Cost") == wanted
        assert f"sorted by Cost, {direction} within each" in visited.status("unlearning")
    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") is None
    assert visited.column("unlearning", "Cost") == before


def test_a_missing_value_comes_last_in_either_direction(visit, results):
    unresolved = make_row("none", 3)
    for record in unresolved:
        record["metrics"]["ua"] = None
    folder = results([*unresolved, *make_row("low", 3, error=-0.2), *make_row("high", 3, error=0.2)])
    visited = visit(folder)
    header = visited.page.locator("#unlearning thead th[data-column=ua] button")
    header.click()
    assert visited.column("unlearning", "Method") == ["low", "high", "none"]
    header.click()
    assert visited.column("unlearning", "Method") == ["high", "low", "none"]


def test_what_is_good_high_is_first_sorted_from_the_top(visit, results):
    folder = results([*make_runs("low", rates=shifted(acc=-0.2)), *make_runs("high", rates=shifted(acc=-0.1))])
    visited = visit(folder)
    visited.tab("attacks")
    header = visited.page.locator("#attacks thead th[data-column=acc]")
    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    assert visited.column("attacks", "Defence") == ["high", "low"]


def test_without_groups_every_row_names_its_setting(visit, published):
    visited = visit(published)
    panel = visited.page.locator("#unlearning")
    panel.get_by_label("Group by setting").uncheck()
    assert panel.locator(".heading, .reference").count() == 0
    panel.locator("thead th[data-column=avg_gap] button").click()
    gaps = [float(text.split()[0]) for text in visited.column("unlearning", "Avg. gap")]
    assert gaps == sorted(gaps)
    table = csv_of(published, "unlearning").astype({"avg_gap": float}).sort_values("avg_gap", kind="stable")
    settings = [" · ".join(row[list(TABLES["unlearning"].heading)]) for _, row in table.iterrows()]
    assert [text.split("\n")[-1] for text in panel.locator("tbody th.name").all_inner_texts()] == settings
    assert "rows of different settings do not compete" in visited.status("unlearning")


@pytest.mark.parametrize("key", TABLES)
def test_a_filter_leaves_the_rows_with_its_value(visit, published, key):
    visited = visit(published)
    panel, table = visited.tab(key), csv_of(published, key)
    for chosen in TABLES[key].filters:
        values = table[list(chosen.columns)].agg(" · ".join, axis=1)
        select = panel.get_by_role("combobox", name=chosen.title, exact=True)
        assert select.locator("option").all_text_contents()[1:] == sorted(set(values))
        select.select_option(values.iloc[-1])
        show_all(panel)
        left = table[values == values.iloc[-1]]
        assert Counter(visited.column(key, NAMES[key])) == Counter(left[TABLES[key].name])
        assert visited.status(key).startswith(f"{len(left)} of {len(table)} rows")
        select.select_option("")


def test_a_search_finds_parts_of_names_and_reset_undoes_everything(visit, published):
    visited = visit(published)
    panel = visited.page.locator("#unlearning")
    before = visited.column("unlearning", "Method")
    panel.get_by_label("Method").fill(" TUNE")
    assert set(visited.column("unlearning", "Method")) == {"finetune"}
    panel.locator("thead th[data-column=ua] button").click()
    panel.get_by_label("Method").fill("no such method")
    assert visited.status("unlearning").startswith("0 of ")
    panel.get_by_role("button", name="Reset", exact=True).click()
    assert visited.column("unlearning", "Method") == before


@pytest.mark.parametrize("key", TABLES)
def test_the_download_is_the_file_on_the_disk(visit, published, key, tmp_path):
    visited = visit(published)
    panel = visited.tab(key)
    panel.get_by_label("Standing").select_option(index=1)  # whatever is shown, the file is whole
    with visited.page.expect_download() as started:
        panel.get_by_role("button", name="Download CSV").click()
    copy = tmp_path / started.value.suggested_filename
    started.value.save_as(copy)
    original = published / "leaderboards" / TABLES[key].file
    assert copy.name == original.name
    assert copy.read_bytes() == original.read_bytes()
    pd.testing.assert_frame_equal(pd.read_csv(copy), pd.read_csv(original))


TEXTS = [
    "a,b\n1,2\n", 'a,"b"\n"x, ""y""","two\nlines"\n', "a,b\r\n1,\r\n", "a\n\nb", ",\n,", '""', '"","a"\n',
    'a"b,c\n', "ä,µ ≠ 中\n", "",
]  # fmt: skip


def test_the_page_reads_csv_as_python_does(visit, results):
    page = visit(results(make_row("salun", 1))).page
    wanted = [[row or [""] for row in csv.reader(text.splitlines(keepends=True))] for text in TEXTS]
    assert page.evaluate("texts => texts.map(parseCsv)", TEXTS) == wanted
