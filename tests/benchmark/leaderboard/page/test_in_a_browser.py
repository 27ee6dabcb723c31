"""The page as its reader has it: in a real browser, from the disk. The fixture `visit` fails a test on any error."""

import csv
import re
from collections import Counter

import pandas as pd
import pytest

from benchmark.leaderboard.figures import figures
from benchmark.leaderboard.page.build import LEVELS, write_page
from benchmark.leaderboard.page.views import VIEWS
from tests.benchmark.leaderboard.backdoor_factory import make_runs, shifted
from tests.benchmark.leaderboard.factory import make_record, make_row
from tests.benchmark.leaderboard.many import write_many_records
from tests.benchmark.leaderboard.page.conftest import build

TABLES = {view.key: view for view in VIEWS}
TABS = [*TABLES, "methods"]
NAMES = {"unlearning": "Method", "backdoor": "Defence", "attacks": "Defence"}


def csv_of(results, key):
    return pd.read_csv(results / "leaderboards" / TABLES[key].file, dtype=str, keep_default_na=False)


def show_all(panel):
    while panel.get_by_role("button", name="Show", exact=False).and_(panel.locator("[name=more]")).is_visible():
        panel.locator("[name=more]").click()


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


# What is shown


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


# Order and choice


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


# Keyboard and screen reader


def test_tabs_are_worked_by_keys(visit, published):
    visited = visit(published)
    tabs = visited.page.get_by_role("tab")
    tabs.nth(0).focus()
    steps = {"ArrowRight": 1, "End": 3, "ArrowLeft": 2, "Home": 0}
    for key, place in [*steps.items(), ("ArrowLeft", 3), ("ArrowRight", 0)]:
        visited.page.keyboard.press(key)
        assert visited.page.evaluate("document.activeElement.id") == f"tab-{TABS[place]}"
        assert [tab.get_attribute("aria-selected") for tab in tabs.all()].index("true") == place
        assert visited.page.locator("[role=tabpanel]:visible").get_attribute("id") == TABS[place]
    assert [tab.get_attribute("tabindex") for tab in tabs.all()] == ["0", "-1", "-1", "-1"]


def test_headers_sort_and_explain_themselves_by_keys(visit, published):
    page = visit(published, viewport={"width": 375, "height": 812}).page
    page.locator("#unlearning .scroller").focus()
    for _ in range(3):
        page.keyboard.press("Tab")
    assert page.evaluate(FOCUSED) == "ua"
    assert "classified wrongly" in page.inner_text("#tooltip")
    page.keyboard.press("Enter")
    assert page.locator("th[data-column=ua]").get_attribute("aria-sort") == "ascending"
    assert page.evaluate(FOCUSED) == "ua"
    page.keyboard.press("Escape")
    assert page.locator("#tooltip").is_hidden()
    for _ in range(4):
        page.keyboard.press("Tab")  # the table is scrolled for it
    assert page.evaluate(FOCUSED) == "avg_gap"
    box = page.locator("#tooltip").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 375
    assert "headline metrics" in page.inner_text("#tooltip")


FOCUSED = "document.activeElement.closest('th').dataset.column"


def test_a_mouse_over_a_header_shows_what_the_column_means(visit, published):
    page = visit(published, reduced_motion="reduce").page
    for place in ("start", "end"):  # of the window: there is always room for it
        page.locator("#unlearning thead").evaluate("(head, block) => head.scrollIntoView({ block })", place)
        page.mouse.move(0, 450)
        assert page.locator("#tooltip").is_hidden()
        page.hover("#unlearning th[data-column=avg_gap] button")
        assert "mean |method - Retrain| over the headline metrics" in page.inner_text("#tooltip")
        box = page.locator("#tooltip").bounding_box()
        assert 0 <= box["y"] <= 900 - box["height"]


def test_a_screen_reader_hears_what_a_sighted_person_sees(visit, published):
    page = visit(published).page
    for role in ("banner", "main", "contentinfo", "tablist"):
        assert page.get_by_role(role).count() == 1
    assert page.get_by_role("status").first.get_attribute("aria-live") == "polite"
    table = page.get_by_role("table", name="Unlearning, from leaderboards/unlearning.csv")
    assert table.get_by_role("rowheader", name="salun").count() > 0
    assert table.get_by_role("columnheader").count() == page.locator("#unlearning thead th[scope=col]").count() > 5
    assert page.get_by_role("region", name="Unlearning, from").get_attribute("tabindex") == "0"
    description = described(page, "#unlearning th[data-column=ra] button")
    assert description == "Accuracy on the retained training images; closest to Retrain is best."


def described(page, selector):
    """An element's description, as the browser hands it to a screen reader."""
    session = page.context.new_cdp_session(page)
    found = session.send("Runtime.evaluate", {"expression": f"document.querySelector('{selector}')"})
    nodes = session.send("Accessibility.getPartialAXTree", {"objectId": found["result"]["objectId"]})["nodes"]
    return nodes[0]["description"]["value"]


def test_the_first_stop_of_the_keyboard_skips_to_the_tables(visit, published):
    page = visit(published).page
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"


def test_a_method_in_the_table_leads_to_its_card_and_back(visit, published):
    visited = visit(published)
    visited.page.locator("#unlearning tbody").get_by_role("link", name="salun").first.click()
    card = visited.page.locator("#card-unlearning-salun")
    assert card.get_by_text("saliency").first.is_visible()
    assert card.get_by_text("May see:").is_visible()
    assert visited.page.evaluate("document.activeElement.parentElement.id") == "card-unlearning-salun"
    visited.page.go_back()
    assert visited.page.locator("#unlearning").is_visible()


def test_an_address_leads_to_a_tab_or_a_card(visit, published):
    assert visit(published, "#attacks").page.locator("#attacks table").is_visible()
    assert visit(published, "#card-attacks-wanet").page.locator("#card-attacks-wanet pre").is_visible()
    assert visit(published, "#%E0%A4%A").page.locator("#unlearning table").is_visible()


def test_without_javascript_there_are_links_to_the_files_and_all_the_rest(visit, published):
    page = visit(published, java_script_enabled=False).page
    for view in VIEWS:
        address = page.get_by_role("link", name=view.file, exact=True).get_attribute("href")
        assert (published / address).exists()
    assert page.locator("figure svg").first.is_visible()
    assert page.locator("#card-unlearning-salun summary").is_visible()
    assert page.locator(".scripted:visible").count() == 0


# Looks


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


# Hostile data


EVIL = [
    '=HYPERLINK("http://x","y")', "<img src=x onerror=alert(1)>", "</script><script>alert(2)</script>", "__proto__",
    "constructor", "{{ 7 * 7 }}", "$& $1 '\"`", "javascript:alert(3)",
]  # fmt: skip


INTRUDERS = ":is(table, figure) :is(img, image, script, iframe, object, a:not([href^='#card-']))"


@pytest.fixture
def hostile(results):
    """A page whose names, settings, reasons and notes all want to be run."""
    rows = [record for name in EVIL for record in make_row(name, notes=[name])]
    rows += [make_record("broken", block, status="error", reason=name) for block, name in enumerate(EVIL)]
    rows += [make_record("salun", data__name=name) for name in EVIL]
    rows += [run for name in EVIL for run in [*make_runs(name, "badnets", 2), *make_runs("sau", name, 2)]]
    return results(rows, figures(rows))


def test_nothing_in_a_record_is_ever_run(visit, hostile):
    visited = visit(hostile)
    for key in TABLES:
        panel = visited.tab(key)
        panel.get_by_label(re.compile("Show all")).check()
        show_all(panel)
        for filter_ in panel.locator("select").all():
            filter_.select_option(index=1)
        panel.get_by_role("button", name="Reset", exact=True).click()
        assert panel.locator(INTRUDERS).count() == 0
    assert visited.page.locator("figure svg").count() > 4
    assert EVIL[1] in visited.page.locator("#unlearning figure svg").first.text_content()
    assert visited.page.evaluate("({}).constructor === Object && document.images.length") == 0


def test_a_hostile_name_is_shown_letter_by_letter(visit, hostile):
    visited = visit(hostile)
    for key in ("unlearning", "backdoor"):
        show_all(visited.tab(key))
        table = csv_of(hostile, key)
        assert set(visited.column(key, NAMES[key])) == set(table[TABLES[key].name])
    assert "'=HYPERLINK" in visited.page.inner_text("#backdoor tbody")  # disarmed for spreadsheets, as in the file


def test_a_hostile_value_can_be_filtered_by(visit, hostile):
    visited = visit(hostile)
    visited.page.locator("#unlearning").get_by_label("Data set").select_option(EVIL[1])
    assert visited.column("unlearning", "Method") == ["salun"]
    assert EVIL[1] in visited.page.inner_text("#unlearning .heading")


def test_the_browser_forbids_what_the_page_does_not_do(visit, results):
    visited = visit(results(make_row("salun", 1)))
    blocked = visited.page.evaluate(
        """() => new Promise((resolve) => {
          document.addEventListener("securitypolicyviolation", (event) => resolve(event.effectiveDirective));
          document.body.append(Object.assign(new Image(), { src: "http://127.0.0.1:9/x.png" }));
        })"""
    )
    assert blocked == "img-src"
    visited.problems.clear()  # the browser reports what it has blocked


# Many rows


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
    for key, view in TABLES.items():
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
