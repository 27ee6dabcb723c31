"""What the tests of the page know of its tables."""

import pandas as pd

from benchmark.leaderboard.page.views import VIEWS

TABLES = {view.key: view for view in VIEWS}
TABS = [*TABLES, "methods"]
NAMES = {"unlearning": "Method", "audits": "Method", "backdoor": "Defence", "attacks": "Defence"}
"""The column of each with the method's name."""


def csv_of(results, key):
    """A table as it lies on the disk, all cells as text."""
    return pd.read_csv(results / "leaderboards" / TABLES[key].file, dtype=str, keep_default_na=False)


def show_all(panel):
    """Ask for more rows until there are no more."""
    more = panel.locator("[name=more]")
    while more.is_visible():
        more.click()
