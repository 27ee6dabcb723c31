"""Distances to Retrain as scores: means over Retrains, with Retrain against Retrain as their null."""

from itertools import combinations

import numpy as np
import pytest
from scipy.special import softmax

from metrics.nearness import DISTANCES, METRICS, ComparedModel, score_nearness
from metrics.unlearning import ScoredSplits

ROWS = {"forget": np.arange(20), "retain": np.arange(20, 70), "test": np.arange(70, 100)}


@pytest.fixture
def splits():
    return ScoredSplits(**ROWS, non_members=np.arange(100, 120), test_deduplicated=ROWS["test"])


@pytest.fixture
def logits():
    """Of four models on 120 images: three that differ by noise, and one that knows the forget set."""
    rng = np.random.default_rng(0)
    shared = 3 * rng.normal(size=(120, 4))
    models = [shared + 0.1 * rng.normal(size=shared.shape) for _ in range(4)]
    models[3][ROWS["forget"], 0] += 5
    return models


@pytest.fixture
def compared(splits, logits):
    """Scores of a model beside these."""

    def go(model, retrains):
        untrained = 0.01 * np.random.default_rng(1).normal(size=model.shape)
        return score_nearness(ComparedModel(model, retrains, untrained, splits))

    return go


def test_the_same_model_has_distance_0_and_not_more(compared, logits):
    scores = compared(logits[0], [logits[0], logits[0]])
    assert [scores.values[entry.name] for entry in DISTANCES] == [0.0] * len(DISTANCES)
    assert set(scores.values) == set(METRICS)


def test_a_distance_is_a_mean_over_retrains_on_one_split(compared, logits):
    values = compared(logits[3], logits[:2]).values
    for split, rows in ROWS.items():
        own, *others = (softmax(each[rows], axis=1) for each in (logits[3], *logits[:2]))
        kl = np.mean([np.sum(own * np.log(own / other), axis=1).mean() for other in others])
        assert values[f"kl_{split}"] == pytest.approx(kl, rel=1e-9)
        l2 = np.mean([np.sqrt(((own - other) ** 2).sum(axis=1)).mean() for other in others])
        assert values[f"activation_distance_{split}"] == pytest.approx(l2, rel=1e-9)


def test_the_mean_of_retrains_scores_is_the_null_over_pairs_in_both_directions(compared, logits, splits):
    retrains = logits[:3]
    others = [retrains[:index] + retrains[index + 1 :] for index in range(3)]
    null = np.mean([compared(*each).values["kl_forget"] for each in zip(retrains, others, strict=True)])
    pairs = [
        (compared(first, [second]).values["kl_forget"] + compared(second, [first]).values["kl_forget"]) / 2
        for first, second in combinations(retrains, 2)
    ]
    assert null == pytest.approx(np.mean(pairs), rel=1e-12)


def test_what_a_model_knows_of_the_forget_set_shows_there_alone(compared, logits):
    knows, forgot = compared(logits[3], logits[:2]).values, compared(logits[2], logits[:2]).values
    for measure in ("kl", "js", "activation_distance"):
        assert knows[f"{measure}_forget"] > 10 * forgot[f"{measure}_forget"]
        assert knows[f"{measure}_test"] < 1.5 * forgot[f"{measure}_test"]


def test_a_single_retrain_has_no_null(compared, logits):
    scores = compared(logits[0], [])
    assert set(scores.unresolved) == {entry.name for entry in DISTANCES}
    assert scores.values["zrf_forget"] is not None
