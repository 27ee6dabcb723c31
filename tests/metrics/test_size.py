"""All membership metrics on as many images as OrganAMNIST has: 34,561 for training, 6,491 and 17,778 held out."""

import time
import tracemalloc

import numpy as np
import pytest

from metrics import membership
from metrics.lira import lira_offline, lira_online, u_lira
from metrics.rmia import Population, rmia_offline, rmia_online, tuned_slope
from metrics.roc import membership_roc

TRAIN, VALIDATION, CLASSES, SHADOWS = 34_561, 6_491, 11, 32
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def organ():
    """Log-odds under an audited model and 32 shadows in pairs, on training images and on validation images."""
    generator = np.random.default_rng(0)
    first = generator.random((TRAIN, SHADOWS // 2)) < 0.5
    members = np.stack([first, ~first], axis=2).reshape(TRAIN, SHADOWS)
    log_odds = generator.normal(3, 2, (TRAIN + VALIDATION, 1)) + generator.normal(size=(TRAIN + VALIDATION, SHADOWS))
    log_odds[:TRAIN] += members
    return log_odds.astype(np.float32), members


def test_all_attacks_with_32_shadows_take_seconds_and_less_than_a_gigabyte(organ):
    log_odds, members = organ
    generator = np.random.default_rng(1)
    roles = generator.integers(0, 10, (TRAIN, 64))
    after = generator.normal(size=roles.shape).astype(np.float32)
    logits, labels = generator.normal(size=(TRAIN, CLASSES)).astype(np.float32), generator.integers(0, CLASSES, TRAIN)
    observed, validation = log_odds[:TRAIN, 0], log_odds[TRAIN:, 0]
    shadows, inside, own = log_odds[:TRAIN, 2:], members[:, 2:], members[:, 0]
    population = Population(validation, log_odds[TRAIN:, 2:])
    tracemalloc.start()
    start = time.perf_counter()
    membership.log_odds(logits, labels)
    slope = tuned_slope(observed, own, shadows, inside, population)
    all_scores = [
        lira_online(observed, shadows, inside),
        lira_online(observed, shadows, inside, spread="per-sample"),
        lira_offline(observed, shadows, inside),
        rmia_online(observed, shadows, inside, population),
        rmia_offline(observed, shadows, inside, population, slope=slope),
    ]
    for scores in all_scores:
        assert membership.attack_auc(scores[own], scores[~own]) > 0.6
        membership.tpr_at_fpr(scores[own], scores[~own], 0.01)
        membership_roc(scores[own], scores[~own])
    u_lira(after, roles == 0, roles >= 5, np.arange(64) // 8)
    seconds, peak = time.perf_counter() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 15
    assert peak < 1e9


def test_the_cross_fitted_attack_takes_seconds_too(organ):
    log_odds, _ = organ
    labels = np.random.default_rng(1).integers(0, CLASSES, TRAIN)
    confidences = np.exp(-np.logaddexp(0, -log_odds[:, 0].astype(np.float64)))
    forget, retain, held_out = np.split(confidences, [TRAIN // 10, TRAIN])
    start = time.perf_counter()
    membership.mia_svc(retain, labels[TRAIN // 10 :], held_out, labels[:VALIDATION], forget, seed=0)
    assert time.perf_counter() - start < 15
