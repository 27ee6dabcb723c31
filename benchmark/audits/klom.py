"""KLoM and `eps_lower_bound` (PROTOCOL 6.4): can N unlearned models be told from N retrained ones, image by image?

Their material are unlearning runs on `fixed:p`, which forget the same images in every block and have two Retrains each:
N blocks are N independent Originals, each with its unlearned model U, and 2N Retrains. R1 are the first Retrains of the
blocks, R2 the second. R2 against R1 is the null: what the same estimate gives where there is nothing to find.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmark.leaderboard.blocks import key_of
from benchmark.store.artifacts import ArtifactStore
from benchmark.store.records import Record
from benchmark.tracks.stored import predictions_of
from benchmark.tracks.unlearning import models_of, splits_of
from metrics.checks import Floats
from metrics.declaration import Unresolved
from metrics.epsilon import eps_lower_bound
from metrics.klom import gaussian_klom, klom, summarise
from metrics.membership import log_odds
from metrics.unlearning import ScoredSplits

PARTS = ("forget", "retain", "test")
FORMS = {form.info.name: form for form in (klom, gaussian_klom)}
VALUES = ("", "_p95", "_null", "_null_p95")
COLUMNS = (
    "dataset", "architecture", "recipe", "scenario", "method", "preset", "part", "images", "models",
    *(f"{form}{value}" for form in FORMS for value in VALUES),
    "eps_lower_bound", "eps_lower_bound_null", "eps_resolution", "eps_tested", "unresolved",
)  # fmt: skip
TESTED = 10
"""Images that epsilon is tested on, those that look most exposed on the first half of the models. With 32 models a side
the largest bound is 0.8 nats for 10 images, and 0.3 for the 216 that `fixed:0.1` forgets of bloodmini."""


class Margins(NamedTuple):
    """Log-odds of the true class, each of shape (images, models), float64; a column of each side is a block."""

    unlearned: Floats
    first: Floats
    """Of the Retrains that all is compared with (R1)."""
    second: Floats
    """Of the Retrains that stand in for unlearned models in the null (R2)."""


def klom_table(records: Iterable[Record], store: ArtifactStore) -> pd.DataFrame:
    """Three rows, for forget, retain and test images, for each method and setting that has runs on a fixed forget set.

    `klom` needs 32 models a side and `gaussian_klom` 4: each has its columns, the mean and the 95th percentile over
    images in nats, and the same of the null; what cannot be resolved is empty, and the row says why. `eps_lower_bound`
    holds with 95 % confidence for the forget set, `eps_resolution` is the most that it could be. Blocks that failed or
    have a model that is not in the cache are left out, and the row says so.
    """
    groups = defaultdict(list)
    for record in records:
        if record["spec"]["track"] == "unlearning" and record["spec"]["scenario"].startswith("fixed:"):
            groups[key_of(record, without=("block",))].append(record)
    rows = [row for _, group in sorted(groups.items()) for row in _rows(group, store)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(records: Sequence[Record], store: ArtifactStore) -> Iterator[dict[str, Any]]:
    spec = records[0]["spec"]
    setting = {
        "dataset": spec["data"]["name"], "architecture": spec["architecture"], "recipe": spec["recipe"]["name"],
        "scenario": spec["scenario"], "method": spec["method"]["name"], "preset": spec["method"]["preset"],
    }  # fmt: skip
    blocks = _blocks(records, store)
    said = list(_notes(spec, len(records) - len(blocks)))
    for part in PARTS:
        values, reasons = _values(part, _margins(part, blocks)) if blocks else ({}, [])
        yield setting | {"part": part, "models": len(blocks)} | values | {"unresolved": "; ".join([*said, *reasons])}


def _notes(spec: dict[str, Any], left_out: int) -> Iterator[str]:
    if spec["retrains"] < 2:
        yield "1 Retrain a block: the null needs 2 (--retrains 2)"
    elif left_out:
        yield f"{left_out} blocks left out: runs that failed or are not in the cache"
    if spec["original_sha256"]:
        yield "one Original for all blocks, the user's checkpoint: what is found holds for that one alone"


def _blocks(records: Sequence[Record], store: ArtifactStore) -> list[tuple[ScoredSplits, Floats]]:
    """What each whole block says, in the order of their numbers: epsilon chooses its events on the first half."""
    ordered = sorted(records, key=lambda record: record["spec"]["block"])
    return [found for record in ordered if (found := _block(record, store))]


def _block(record: Record, store: ArtifactStore) -> tuple[ScoredSplits, Floats] | None:
    """The images of the run's splits, and its three columns of margins, shape (3, images); None without its models."""
    comparable = record["status"] == "ok" and record["spec"]["retrains"] >= 2
    found = models_of(record, store) if comparable else None
    if found is None:
        return None
    stored, (first, second, *_) = predictions_of(found.model), found.retrains
    logits = (stored["logits"], *(predictions_of(artifact)["logits"] for artifact in (first, second)))
    return splits_of(stored), np.stack([log_odds(each, stored["labels"]) for each in logits])


def _margins(part: str, blocks: Sequence[tuple[ScoredSplits, Floats]]) -> Margins:
    return Margins(*np.stack([columns[:, getattr(splits, part)] for splits, columns in blocks], axis=-1))


def _values(part: str, margins: Margins) -> tuple[dict[str, Any], list[str]]:
    """The cells of a row, and why some are empty."""
    values: dict[str, Any] = {"images": len(margins.first)}
    reasons = []
    for name, form in FORMS.items():
        try:
            own, null = (summarise(form(side, margins.first)) for side in (margins.unlearned, margins.second))
            values |= dict(zip((f"{name}{value}" for value in VALUES), (*own, *null), strict=True))
        except Unresolved as reason:
            reasons.append(f"{name}: {reason}")
    if part == "forget":
        try:
            values |= _epsilon(margins)
        except Unresolved as reason:
            reasons.append(f"eps_lower_bound: {reason}")
    return values, reasons


def _epsilon(margins: Margins) -> dict[str, Any]:
    tested = min(TESTED, len(margins.first))
    own, null = (
        eps_lower_bound(side, margins.first, confidence=0.95, tested=tested)
        for side in (margins.unlearned, margins.second)
    )
    return {
        "eps_lower_bound": own.bound, "eps_lower_bound_null": null.bound, "eps_resolution": own.resolution,
        "eps_tested": tested,
    }  # fmt: skip
