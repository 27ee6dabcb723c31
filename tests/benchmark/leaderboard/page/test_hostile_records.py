"""Records that want to be run."""

import re

import pytest

from benchmark.leaderboard.figures import figures
from tests.benchmark.leaderboard.backdoor_factory import make_runs
from tests.benchmark.leaderboard.factory import make_audit, make_record, make_row
from tests.benchmark.leaderboard.page.tables import NAMES, TABLES, csv_of, show_all

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
    rows += [make_audit(name, data__name=other, notes=[name]) for name in EVIL for other in ("bloodmini", name)]
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
