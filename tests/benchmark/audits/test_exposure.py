"""What unlearning did to the exposure of a split: changes with intervals, and images that are accused."""

import numpy as np
import pytest

from benchmark.audits.exposure import changes
from benchmark.audits.track import Audited
from metrics.audit import AuditedModel, Judged
from metrics.membership import tpr_at_fpr


def models(non_members):
    """A method's model that gives away less than the Original, and two Retrains that give away nothing."""
    rng = np.random.default_rng(0)

    def model(gain):
        sides = Judged(rng.normal(gain, 1, 200), rng.normal(gain, 1, 300), rng.normal(0, 1, non_members).round(1))
        return AuditedModel(np.zeros(0), None, None, {"lira": sides, "rmia": sides})

    original, own, *retrains = (model(gain) for gain in (2, 1, 0, 0))
    return Audited(own, original, retrains)


def test_accused_are_the_images_that_the_true_positive_rate_counts():
    audited = models(1500)
    for change in changes(audited, grouped=False):
        for model, count in ((audited.original, change.accused.before), (audited.model, change.accused.after)):
            judged = model.judged(change.attack)
            images = getattr(judged, change.split)
            assert count == pytest.approx(tpr_at_fpr(images, judged.non_members) * len(images))
        assert change.accused.after >= change.accused.newly > change.accused.newly_retrain


def test_where_the_rate_is_not_resolved_nobody_is_counted():
    assert [change.accused for change in changes(models(900), grouped=False)] == [None] * 4


def test_a_direction_needs_images_that_are_independent():
    assert {change.direction for change in changes(models(900), grouped=False)} == {"lowered"}
    assert {change.direction for change in changes(models(900), grouped=True)} == {"undetermined"}
