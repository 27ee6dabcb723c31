"""Records of one setting, with all that its figures show."""

import contextlib

import numpy as np

from metrics.roc import membership_roc
from tests.benchmark.leaderboard.factory import make_row

COSTS = {"finetune": 0.3, "salun": 0.33, "gradient_ascent": 0.02, "retrain": 0.9, "original": 0.0}


def whole_setting(**changes):
    """Three methods at a growing distance from Retrain, and the references, run like methods."""
    errors = {"finetune": 0.02, "salun": 0.1, "gradient_ascent": 0.3, "retrain": 0.0, "original": 0.2}
    rows = [make_row(name, error=error, **changes) for name, error in errors.items()]
    return [with_cost(record) for row in rows for record in row]


def with_cost(record):
    with contextlib.suppress(KeyError):
        record["cost"]["flops_share"] = COSTS[record["spec"]["method"]["name"]]
    return record


def with_curves(records, non_members=100):
    """Curves of random scores; the same for the same references of a block."""
    for record in records:
        seed = [record["spec"]["block"], *record["spec"]["method"]["name"].encode()]
        rng = np.random.default_rng(seed)
        count = len(record["references"]["retrain"])
        scores = [rng.normal(size=(2, non_members)) for _ in range(2 + count)]
        own, before, *rest = (membership_roc(*pair) for pair in scores)
        record["curves"] = {
            "roc": {
                "fpr": own.fpr.tolist(),
                "model": own.tpr.tolist(),
                "original": before.tpr.tolist(),
                "retrain": [one.tpr.tolist() for one in rest],
            }
        }
    return records
