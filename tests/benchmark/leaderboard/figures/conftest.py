"""Drawings of a setting, to be looked at before they are SVGs; and figures of the published records."""

from pathlib import Path

import pytest

from benchmark.leaderboard.figures import backdoor, figures, unlearning
from benchmark.leaderboard.figures.style import drawing
from benchmark.store.records import RecordStore

PUBLISHED = Path(__file__).parents[4] / "results"


@pytest.fixture(scope="session")
def published():
    return list(RecordStore(PUBLISHED))


@pytest.fixture(scope="session")
def published_figures(published):
    return figures(published)


@pytest.fixture
def style():
    with drawing():
        yield


@pytest.fixture
def comparison():
    """The rows of one setting, as the figures of the unlearning track take them."""

    def of(records):
        (found,) = unlearning.comparisons(unlearning.settings(records), None)
        return found

    return of


@pytest.fixture
def encounters():
    """The same of the backdoor track."""

    def of(records):
        (found,) = backdoor.settings(records)
        return backdoor.Encounters(found.rows)

    return of
