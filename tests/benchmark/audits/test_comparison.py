"""All methods on one target, as far as its sample resolves their scores."""

import pytest

from benchmark.audits.comparison import compare
from tests.benchmark.leaderboard.factory import make_record


def audit(own, before, retrains=(0.5, 0.52)):
    record = make_record(retrains=2, track="audit", shadows=4)
    references = record["references"]
    for scores, value in zip((record["metrics"], references["original"], *references["retrain"]),
                             (own, before, *retrains), strict=True):  # fmt: skip
        scores |= {"lira_auc": value, "lira_retain_auc": value}
    return record


@pytest.mark.parametrize("lacking", [{"own": None}, {"before": None}, {"retrains": (0.5, None)}])
def test_what_a_tiny_set_does_not_resolve_is_left_empty(lacking):
    record = audit(**{"own": 0.6, "before": 0.9, **lacking})
    (row,) = compare(record, [record])
    assert row.removed is None
    assert (row.retained is None) == (lacking.keys() != {"retrains"})


def test_a_run_without_scores_has_an_empty_row():
    record = make_record(status="error", track="audit", shadows=4)
    (row,) = compare(record, [record])
    assert (row.removed, row.retained, row.lira) == (None, None, None)


def test_what_is_resolved_is_compared():
    record = audit(0.6, 0.9)
    (row,) = compare(record, [record])
    assert row.removed == pytest.approx(0.3 / 0.39)
    assert row.retained == pytest.approx(-0.3)
