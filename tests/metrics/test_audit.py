"""All audit scores of one model, on log-odds whose memberships are known."""

import numpy as np
import pytest

from metrics.audit import ATTACKS, METRICS, AuditedModel, Shadows, score_audit
from metrics.lira import lira_online
from metrics.unlearning import ScoredSplits

JUDGED, POPULATION, SHADOWS = 3000, 400, 16
GAIN = 2.0
"""By how much training on an image raises its log-odds."""


@pytest.fixture(scope="module")
def world():
    """Images of different difficulty, shadows in complementary pairs, and a target that never saw the last half."""
    rng = np.random.default_rng(7)
    difficulty = rng.normal(3, 2, JUDGED + POPULATION)[:, None]
    first = rng.random((JUDGED, SHADOWS // 2)) < 0.5
    members = np.zeros((JUDGED + POPULATION, SHADOWS), dtype=bool)
    members[:JUDGED, 0::2], members[:JUDGED, 1::2] = first, ~first
    log_odds = difficulty + GAIN * members + rng.normal(0, 1, members.shape)
    shadows = Shadows(log_odds, members, np.arange(JUDGED, JUDGED + POPULATION))
    return difficulty[:, 0], shadows, rng


SPLITS = ScoredSplits(
    forget=np.arange(300), retain=np.arange(300, 1500), non_members=np.arange(1500, 3000),
    test=np.array([], dtype=int), test_deduplicated=np.array([], dtype=int),
)  # fmt: skip


def model(world, forget_gain, retain_gain=GAIN):
    difficulty, shadows, rng = world
    gain = np.zeros(len(difficulty))
    gain[SPLITS.forget], gain[SPLITS.retain] = forget_gain, retain_gain
    return AuditedModel(difficulty + gain + rng.normal(0, 1, len(difficulty)), shadows, SPLITS)


def test_a_model_that_forgot_nothing_is_found_out_by_every_attack(world):
    values = score_audit(model(world, GAIN)).values
    for attack in ATTACKS:
        assert values[f"{attack}_auc"] > 0.75
        assert values[f"{attack}_auc"] == pytest.approx(values[f"{attack}_retain_auc"], abs=0.05)


def test_a_model_that_never_saw_the_forget_set_is_at_the_null(world):
    values = score_audit(model(world, 0)).values
    for attack in ATTACKS:
        assert values[f"{attack}_auc"] == pytest.approx(0.5, abs=0.06)
        assert values[f"{attack}_tpr_1"] < 0.04
        assert values[f"{attack}_retain_auc"] > 0.75


def test_over_forgetting_shows_at_the_other_end(world):
    values = score_audit(model(world, -3)).values
    for attack in ATTACKS:
        assert values[f"{attack}_auc"] < 0.25
        assert values[f"{attack}_tpr_over_10"] > 0.5 > values[f"{attack}_tpr_10"]


def test_what_is_kept_counts_for_itself(world):
    values = score_audit(model(world, 0, retain_gain=0)).values
    assert values["lira_retain_auc"] == pytest.approx(0.5, abs=0.06)


def test_scores_are_those_of_the_attacks_on_the_judged_rows(world):
    audited = model(world, GAIN)
    rows = audited.rows
    expected = lira_online(audited.log_odds[rows], audited.shadows.log_odds[rows], audited.shadows.members[rows])
    np.testing.assert_array_equal(np.concatenate(audited.judged("lira")), expected)
    assert audited.judged("lira") is audited.judged("lira")  # carried out once


def test_the_audited_model_tunes_nothing(world):
    """The one pair's slope comes from shadows alone: shifting the audited model's other images changes no score."""
    audited = model(world, GAIN)
    moved = AuditedModel(audited.log_odds.copy(), audited.shadows, SPLITS)
    moved.log_odds[SPLITS.retain] += 5
    np.testing.assert_array_equal(moved.judged("rmia_pair").forget, audited.judged("rmia_pair").forget)


def test_every_score_is_declared_and_a_small_sample_says_what_it_cannot_resolve(world):
    audited = model(world, GAIN)
    few = ScoredSplits(
        forget=np.arange(20), retain=np.arange(20, 60), non_members=np.arange(60, 160),
        test=SPLITS.test, test_deduplicated=SPLITS.test,
    )  # fmt: skip
    scores = score_audit(AuditedModel(audited.log_odds, audited.shadows, few))
    assert set(scores.values) == set(METRICS)
    assert set(scores.unresolved) == {name for name in METRICS if name.endswith("_1")}
