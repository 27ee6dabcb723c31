"""Pages built as the suite builds them, and a real browser that looks at them from the disk."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from benchmark.describe import describe
from benchmark.leaderboard.figures import Figure, figures
from benchmark.leaderboard.page.build import write_page
from benchmark.leaderboard.table import write_leaderboard
from benchmark.registry import BUILT_IN, built_in, find
from benchmark.store.records import RecordStore

PUBLISHED = Path(__file__).parents[4] / "results"
TRIGGERS = PUBLISHED / "triggers.png"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="session")
def cards():
    """The methods of the suite, described."""
    return [describe(find(kind, name).cls) for kind in BUILT_IN for name in built_in(kind)]


@pytest.fixture(scope="session")
def published(tmp_path_factory, cards):
    """A folder with the page of the published records, with figures and the picture of the triggers."""
    results = tmp_path_factory.mktemp("published")
    (results / "records").symlink_to(PUBLISHED / "records")
    shutil.copy(TRIGGERS, results)
    return build(results, cards, figures(list(RecordStore(results))))


@pytest.fixture
def results(tmp_path, cards):
    """A folder with the page of given records."""

    def write(records, drawings=()):
        store = RecordStore(tmp_path)
        for record in records:
            store.write(record)
        return build(tmp_path, cards, drawings)

    return write


def build(results, cards=(), drawings=()):
    """Leaderboards and page of a folder with records."""
    write_leaderboard(results)
    write_page(results, cards, drawings)
    return results


def drawn(title="Cost against gap", description="Two points.", setting="bloodmini"):
    """A figure like those of the suite."""
    line = '<path d="M0 0 L20 10" stroke="currentColor"/>'
    svg = f'<svg viewBox="0 0 20 10" role="img" aria-label="Two points.">{line}</svg>'
    return Figure("unlearning", setting, title, description, svg)


@pytest.fixture(scope="session")
def browser():
    """Debian's Chromium, or another one that is installed."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"no browser: install one of {', '.join(BROWSERS)}")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=list(QUIET))
        yield started
        started.close()


@dataclass
class Visit:
    """One page in a window of its own."""

    page: Page
    problems: list[str]
    """What must not happen: errors, dialogues, requests for anything but the file itself."""

    def tab(self, key):
        """Switch to a tab; returns its panel."""
        self.page.click(f"#tab-{key}")
        return self.page.locator(f"#{key}")

    def column(self, key, title):
        """The first lines of a column's cells, from top to bottom, without references."""
        return self.page.evaluate(COLUMN, [key, title])

    def status(self, key):
        """What a screen reader is told of the table."""
        return self.page.inner_text(f"#{key} .status")


COLUMN = """([key, title]) => {
  const heads = [...document.querySelectorAll(`#${key} thead th`)];
  const place = heads.findIndex((head) => head.querySelector("button").firstChild.textContent === title);
  const rows = [...document.querySelectorAll(`#${key} tbody tr:not(.heading, .reference)`)];
  return rows.map((row) => {
    const cell = row.children[place].cloneNode(true);
    cell.querySelectorAll(".second").forEach((part) => part.remove());
    return cell.textContent;
  });
}"""


@pytest.fixture
def visit(browser):
    """Opens a folder's page; after the test nothing may have gone wrong in it."""
    contexts, visits = [], []

    def go(results, address="", **options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page, problems = context.new_page(), []
        page.on("console", lambda message: problems.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: problems.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (problems.append(f"dialogue: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: is_local(request.url) or problems.append(f"request: {request.url}"))
        page.goto(f"{(results / 'index.html').as_uri()}{address}")
        visits.append(Visit(page, problems))
        return visits[-1]

    yield go
    for context in contexts:
        context.close()
    assert [visited.problems for visited in visits if visited.problems] == []


def is_local(address):
    """Whether an address is the file itself, or made within the page."""
    return address.startswith(("file:", "data:", "blob:"))
