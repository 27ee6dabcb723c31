import dataclasses

import pytest

from metrics.declaration import metric


@metric("share", title="A share", direction="retrain", range=(0, 1), version=3, target=0.5)
def share(hits: int, trials: int) -> float:
    """Hits per trial.

    More about it.
    """
    return hits / trials


def test_a_declared_metric_is_still_the_function_it_was():
    assert share(1, 4) == 0.25
    assert share.__name__ == "share"


def test_a_metric_carries_all_that_a_leaderboard_needs():
    assert dataclasses.asdict(share.info) == {
        "name": "share",
        "title": "A share",
        "direction": "retrain",
        "range": (0, 1),
        "version": 3,
        "description": "Hits per trial.",
        "unit": "fraction",
        "target": 0.5,
    }


def test_the_title_defaults_to_the_name_in_words():
    @metric("loss_ratio", direction="lower", range=(0, 2), version=1, unit="ratio")
    def loss_ratio() -> float:
        """One loss over another."""
        return 1.0

    assert (loss_ratio.info.title, loss_ratio.info.unit, loss_ratio.info.target) == ("loss ratio", "ratio", None)


def test_a_metric_without_a_description_is_refused():
    with pytest.raises(ValueError, match="silent"):

        @metric("silent", direction="higher", range=(0, 1), version=1)
        def silent() -> float:
            return 0.0
