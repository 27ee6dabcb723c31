"""What the features of an audit run's models still hold: many methods change little but the last layer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmark.api import derive_seed
from benchmark.store.artifacts import Artifact, ArtifactStore
from benchmark.store.records import Record
from benchmark.store.tensors import write_tensors
from benchmark.tracks.models import Workbench
from benchmark.tracks.nearness import beside_retrains
from benchmark.tracks.stored import PREDICTIONS, hash_rows, predictions_of
from benchmark.tracks.unlearning import artifacts_of, model_names, models_of, splits_of
from methods.layers import penultimate_features
from metrics.representation import SPLITS, RepresentedModel
from metrics.unlearning import ScoredSplits

VERSION = 1
"""Raised with every change of what is computed here."""
MOST = 2000
"""Images of a split whose features are kept: of a large network they take more room than its weights."""
PREFIX = "features "
"""Begins these artifacts' names in a record; the model's name follows."""
LABELS = "labels."
"""Begins the names of what is stored beside the features; the split's follows."""


def represent(bench: Workbench, record: Record) -> dict[str, str]:
    """Keep the features of a record's models; the artifacts by name, none where a model is gone by now."""
    found, block = models_of(record, bench.store), record["spec"]["block"]
    if found is None:
        return {}
    rows = _rows(splits_of(predictions_of(found.model)), block)
    return {
        f"{PREFIX}{name}": _features(bench, artifact, rows).folder.name
        for name, artifact in zip(model_names(record), found.judged, strict=True)
    }


def represented(record: Record, store: ArtifactStore) -> list[RepresentedModel] | None:
    """The method's model, the Original and each Retrain by their features; None where these are not in the cache."""
    found = artifacts_of(record, store, [f"{PREFIX}{name}" for name in model_names(record)])
    if found is None:
        return None
    own, before, *retrains = map(predictions_of, found)
    labels = {split: own[f"{LABELS}{split}"] for split in SPLITS}
    return [RepresentedModel(each, labels, beside) for each, beside in beside_retrains([own, before], retrains)]


def _rows(splits: ScoredSplits, block: int) -> dict[str, np.ndarray]:
    """The images of each split whose features are kept, the same for all models of a block."""
    generator = np.random.default_rng(derive_seed(block, "features"))
    return {name: np.sort(generator.permutation(getattr(splits, name))[:MOST]) for name in SPLITS}


def _features(bench: Workbench, model: Artifact, rows: Mapping[str, np.ndarray]) -> Artifact:
    key = {
        "kind": "features", "version": VERSION, "model": model.folder.name,
        "rows": {name: hash_rows(part) for name, part in rows.items()},
    }  # fmt: skip

    def create(folder: Path) -> Mapping[str, Any]:
        net = bench.load(model)
        with bench.clock.span("prediction"):
            kept = {name: penultimate_features(net, bench.split(part, name)).cpu() for name, part in rows.items()}
        labels = {f"{LABELS}{name}": bench.dataset.labels[torch.from_numpy(part)] for name, part in rows.items()}
        write_tensors(kept | labels, folder / PREDICTIONS)
        return {}

    return bench.store.get_or_create(bench.keyed(key), create)
