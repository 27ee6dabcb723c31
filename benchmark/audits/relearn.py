"""Relearn time: every model of an audit run trains on the forget set alone, until it is as good there as the Original.

The recipe's optimiser, batch size, augmentation and precision, at a constant tenth of its learning rate: the whole of
it is for networks that know nothing, and wipes out what is to be measured. All models of a block see the same batches.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from benchmark.api import derive_seed
from benchmark.seeding import seeded
from benchmark.store.artifacts import Artifact, ArtifactStore
from benchmark.store.records import Record
from benchmark.tracks.models import Workbench
from benchmark.tracks.stored import hash_rows, predictions_of
from benchmark.tracks.unlearning import artifacts_of, model_names, models_of, splits_of
from benchmark.training import make_loss, make_optimizer, predict
from metrics.relearn import LIMIT, Relearning

VERSION = 1
"""Raised with every change of what is computed here."""
RATE = 0.1
"""Share of the recipe's learning rate."""
PREFIX = "relearned "
"""Begins these artifacts' names in a record; the name of the model that learns follows."""


def relearn(bench: Workbench, record: Record) -> dict[str, str]:
    """Have the models of a record learn its forget set; the artifacts by name, none where a model is gone by now."""
    found, block = models_of(record, bench.store), record["spec"]["block"]
    if found is None:
        return {}
    stored = predictions_of(found.model)
    forget, labels = splits_of(stored).forget, stored["labels"]

    def right(artifact: Artifact) -> int:
        return int((predictions_of(artifact)["logits"][forget].argmax(axis=1) == labels[forget]).sum())

    goal = right(found.original)
    return {
        f"{PREFIX}{name}": _relearned(bench, artifact, forget, block, right(artifact), goal).folder.name
        for name, artifact in zip(model_names(record), found.judged, strict=True)
    }


def relearnings(record: Record, store: ArtifactStore) -> list[Relearning] | None:
    """How the method's model, the Original and each Retrain learned again; None where that is not in the cache."""
    found = artifacts_of(record, store, [f"{PREFIX}{name}" for name in model_names(record)])
    return None if found is None else [Relearning(**artifact.metadata) for artifact in found]


def _relearned(bench: Workbench, model: Artifact, forget: np.ndarray, block: int, right: int, goal: int) -> Artifact:
    """The course of one model's learning, `right` images being right before it."""
    key = {
        "kind": "relearned", "version": VERSION, "model": model.folder.name, "forget": hash_rows(forget),
        "block": block, "goal": goal, "limit": LIMIT, "recipe": asdict(bench.recipe),
    }  # fmt: skip

    def create(folder: Path) -> Mapping[str, Any]:
        correct = [right]
        with bench.clock.span("training"), seeded(derive_seed(block, "relearn", "global")):
            course = _course(bench, bench.load(model), forget, block)
            while correct[-1] < goal and len(correct) <= LIMIT:
                correct.append(next(course))
        return {"correct": correct, "goal": goal}

    return bench.store.get_or_create(bench.keyed(key), create)


def _course(bench: Workbench, model: nn.Module, forget: np.ndarray, block: int) -> Iterator[int]:
    """How many images are right after each step."""
    recipe, split = replace(bench.recipe, lr=RATE * bench.recipe.lr), bench.split(forget, block, "relearn", "order")
    optimizer, loss_of = make_optimizer(model, recipe), make_loss(model, recipe, replayed=False)
    labels = split.labels.cpu()
    for batch, truth in split.cycle(recipe.batch_size):
        model.train()
        loss = loss_of(batch, truth)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        yield int((predict(model, split.images).argmax(dim=1) == labels).sum())
