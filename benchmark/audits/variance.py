"""Where a score's spread comes from: the forget set, the Original, or the method's own seed (PROTOCOL 6.5).

A balanced nested design: each forget set has Originals of its own, and from each of these the method unlearns under
several seeds. All share the one split of the data: what another split would change is not in it.
"""

from collections.abc import Iterator
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import pandas as pd

from benchmark.api import Diverged, Progress, Unsupported, derive_seed
from benchmark.checks import BrokenMethod
from benchmark.config import MOST_BLOCKS, UnlearningSpec
from benchmark.data.scenarios import ForgetRetain
from benchmark.errors import MedsafeError
from benchmark.isolation.process import TimedOut
from benchmark.plan import Request, make_plan
from benchmark.store.artifacts import Artifact, ArtifactStore
from benchmark.tracks.shared import original
from benchmark.tracks.stored import predictions_of
from benchmark.tracks.unlearning import Block, UnlearningTrack, forget_rows, splits_of, unlearn
from benchmark.training import silent
from metrics.unlearning import METRICS, Scores, score_unlearning
from metrics.variance import nested_variance

LEVELS = ("forget_set", "original", "method_seed")
COLUMNS = (
    "dataset", "architecture", "recipe", "scenario", "method", "preset", "forget_sets", "originals", "seeds", "metric",
    "mean", "standard_error", *(f"{level}_{value}" for level in LEVELS for value in ("variance", "share")),
    "unresolved",
)  # fmt: skip


@dataclass(frozen=True)
class Design:
    """How many units each level has: seeds for each Original, Originals for each forget set."""

    forget_sets: int = 5
    originals: int = 4
    seeds: int = 3

    def __post_init__(self) -> None:
        for name, units in vars(self).items():
            if not 2 <= units <= MOST_BLOCKS:
                raise MedsafeError(f"{units} {name.replace('_', ' ')}: a variance needs 2, and {MOST_BLOCKS} are most")


def variance_table(request: Request, design: Design, store: ArtifactStore, progress: Progress = silent) -> pd.DataFrame:
    """One row for each score that is one number: its mean, and the variance that each level adds to a single value.

    Estimates are unbiased, and fall below 0 by chance where the true variance is small: the share is then 0, and the
    row says so. Models are taken from the cache where they are there, and a larger design keeps those of a smaller one.

    Args:
        request: a method on a setting; its blocks and Retrains are not looked at.
        design: the sizes of the levels.
        store: of the models.
        progress: is shown the trainings.

    Raises:
        MedsafeError: the request cannot be run, its scenario or Original is the same in every draw, or a run failed:
            the design has no gaps.
    """
    plan = make_plan(request, store, progress)
    track, spec = plan.track, plan.specs[0]
    if not isinstance(track, UnlearningTrack) or not isinstance(spec, UnlearningSpec):
        raise MedsafeError(f"'{request.method}' is no unlearning run: variance is studied on those without --shadows")
    _check_varies(track)
    setting = {
        "dataset": spec.data.name, "architecture": spec.architecture, "recipe": spec.recipe.name,
        "scenario": spec.scenario, "method": spec.method.name, "preset": spec.method.preset, **vars(design),
    }  # fmt: skip
    scores = list(_scores(track, spec, design))
    names = [name for name in METRICS if not isinstance(scores[0].values[name], list)]
    return pd.DataFrame([setting | _row(name, scores, design) for name in names], columns=list(COLUMNS))


def _check_varies(track: UnlearningTrack) -> None:
    if track.scenario.kind in ("fixed", "class", "ids"):
        raise MedsafeError(
            f"scenario '{track.scenario.name}' forgets the same images in every draw, so forget sets cannot vary; use "
            f"random:0.1"
        )
    if track.bench.checkpoint is not None:
        raise MedsafeError("--original is one model, so Originals cannot vary: leave it out")


def _scores(track: UnlearningTrack, spec: UnlearningSpec, design: Design) -> Iterator[Scores]:
    """Of all runs, the method's seed changing fastest and the forget set slowest."""
    for number in range(design.forget_sets):
        rows = forget_rows(track.bench, track.scenario, number)
        for block in range(number * MOST_BLOCKS, number * MOST_BLOCKS + design.originals):
            try:
                before = original(track.bench, block).get()
                for run in range(block * MOST_BLOCKS, block * MOST_BLOCKS + design.seeds):
                    yield _unlearned(track, spec, rows, before, run)
            except (BrokenMethod, Diverged, TimedOut, Unsupported) as error:
                raise MedsafeError(
                    f"'{spec.method.name}' on forget set {number}: {error}; a variance study needs all of its runs"
                ) from error


def _unlearned(track: UnlearningTrack, spec: UnlearningSpec, rows: ForgetRetain, before: Artifact, run: int) -> Scores:
    """One run's scores; its number seeds the method and the draws of the membership attack."""
    model = unlearn(track.bench, spec.method, track.method, Block(run, track.scenario, rows, before, []))
    stored, seed = predictions_of(model), derive_seed(run, "membership")
    with track.bench.clock.span("metrics"):
        return score_unlearning(stored["logits"], stored["labels"], splits_of(stored), seed=seed)


def _row(metric: str, scores: list[Scores], design: Design) -> dict[str, Any]:
    values = [each.values[metric] for each in scores]
    if None in values:
        return {"metric": metric, "unresolved": scores[values.index(None)].unresolved[metric]}
    found = nested_variance(np.array(values, dtype=np.float64).reshape(astuple(design)), LEVELS)
    row: dict[str, Any] = {"metric": metric, "mean": found.mean, "standard_error": found.standard_error}
    for component in found.components:
        row |= {f"{component.level}_variance": component.estimate, f"{component.level}_share": component.share}
    below = ", ".join(found.negative)
    return row | {"unresolved": f"estimated below 0: {below}" if below else ""}
