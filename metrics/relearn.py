"""How soon a model knows its forget set again: what was only hidden comes back faster than it is learned."""

from collections.abc import Sequence
from dataclasses import dataclass

from metrics.declaration import MetricInfo, metric
from metrics.scores import Scores

LIMIT = 200
"""Optimiser steps after which relearning is given up."""


@dataclass(frozen=True)
class Relearning:
    """How a model's training on the forget set went."""

    correct: Sequence[int]
    """How many of its images are classified rightly, before the first step and after each."""
    goal: int
    """How many the Original classifies rightly: training ends there, or after `LIMIT` steps."""


@metric("relearn_steps", title="Relearn time", direction="retrain", range=(0, LIMIT), version=1, unit="steps")
def relearn_steps(course: Relearning) -> float:
    """Optimiser steps on the forget set until as many of it are right as for the Original; 200 are "at least 200".

    Source: Chundawat et al., Zero-Shot Machine Unlearning, IEEE TIFS 2023, whose anamnesis index is the ratio of this
    to Retrain's, at a margin of 0 here.
    """
    reached = (step for step, correct in enumerate(course.correct) if correct >= course.goal)
    return float(min(next(reached, LIMIT), LIMIT))


METRICS: dict[str, MetricInfo] = {relearn_steps.info.name: relearn_steps.info}
"""The declarations of all scores."""


def score_relearning(course: Relearning) -> Scores:
    """Every name of `METRICS` with its value."""
    return Scores({relearn_steps.info.name: relearn_steps(course)}, {})
