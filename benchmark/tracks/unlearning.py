"""The unlearning track: Original -> method -> scores, beside K models retrained without the forget set."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmark.api import derive_seed
from benchmark.config import MethodSpec, UnlearningSpec
from benchmark.data.scenarios import ForgetRetain, Scenario, draw_forget
from benchmark.handout import Handout
from benchmark.store.artifacts import Artifact, ArtifactStore
from benchmark.store.records import Record
from benchmark.tracks.calls import kept_apart, made_by
from benchmark.tracks.models import Workbench
from benchmark.tracks.nearness import UNTRAINED, compared, untrained
from benchmark.tracks.scoring import declarations, joined
from benchmark.tracks.shared import SharedModel, original, retrained
from benchmark.tracks.stored import Made, hash_rows, predictions_of
from metrics.declaration import Unresolved
from metrics.nearness import score_nearness
from metrics.roc import Roc, membership_roc
from metrics.unlearning import METRICS, ScoredModel, ScoredSplits, Scores, score_unlearning

ROWS = "rows."
DIGITS = 6
"""Of the rates of a curve, which is drawn and never ranks: more would double the size of a record's curves."""


@dataclass(frozen=True, eq=False)
class UnlearningTrack:
    """One method on one forget set a block."""

    bench: Workbench
    scenario: Scenario
    method: Any

    def run(self, spec: UnlearningSpec) -> Iterator[Record]:
        """Compute one run; yields the parts of its record as they become known."""
        yield Record(notes=list(self._notes(spec)))
        block = prepare(self.bench, self.scenario, spec.block, spec.retrains)
        yield Record(notes=[*self._notes(spec), *block.rows.notes])
        model = unlearn(self.bench, spec.method, self.method, block)
        fresh = untrained(self.bench, spec.block)
        references = {"original": block.original, UNTRAINED: fresh} | {
            f"retrain {index}": artifact for index, artifact in enumerate(block.retrains)
        }
        yield self.bench.stored(model, references, base=block.original, ideal=block.retrains)
        yield score(self.bench.store, spec.block, Models(model, block.original, block.retrains), fresh)

    def models(self, spec: UnlearningSpec) -> list[SharedModel]:
        """What this run shares with others."""
        bench, scenario = self.bench, self.scenario
        return bench.once(
            ("shared", scenario, spec.block, spec.retrains),  # the same for all methods
            lambda: shared_models(bench, scenario, forget_rows(bench, scenario, spec.block), spec.block, spec.retrains),
        )

    def _notes(self, spec: UnlearningSpec) -> Iterator[str]:
        """What a reader of the row must know."""
        bench = self.bench
        if bench.dataset.num_classes == 2 and "label_pool" in spec.method.hyperparameters:
            yield "two classes: a wrong random label is the other label, a deterministic flip"
        if bench.checkpoint is not None:
            yield (
                "Original is the user's checkpoint, one for all blocks: "
                "whether it never saw the non-members is his word"
            )


@dataclass(frozen=True, eq=False)
class Block:
    """What all methods of a block share: forget set, Original, Retrains. Every comparison is paired on it."""

    number: int
    scenario: Scenario
    rows: ForgetRetain
    original: Artifact
    retrains: list[Artifact]


def prepare(bench: Workbench, scenario: Scenario, block: int, retrains: int) -> Block:
    """Draw the forget set and have the block's models trained, or found."""
    rows = forget_rows(bench, scenario, block)
    before, *references = (model.get() for model in shared_models(bench, scenario, rows, block, retrains))
    return Block(block, scenario, rows, before, references)


def shared_models(
    bench: Workbench, scenario: Scenario, rows: ForgetRetain, block: int, retrains: int
) -> list[SharedModel]:
    """The models that all methods of a block are compared with: the Original, then the Retrains."""
    forgotten = scenario.forgotten_class
    references = [retrained(bench, block, index, rows.retain, forgotten) for index in range(retrains)]
    return [original(bench, block), *references]


def forget_rows(bench: Workbench, scenario: Scenario, block: int) -> ForgetRetain:
    """What the block forgets."""
    return draw_forget(scenario, bench.dataset, bench.splits, seed=derive_seed(block, "forget"))


def unlearn(bench: Workbench, spec: MethodSpec, method: Any, block: Block) -> Artifact:
    """The method's model on this block, checked and stored with its predictions and its cost."""

    def make() -> Made:
        return made_by(bench, method, handout(bench, block), derive_seed(block.number, "method", "global"))

    validation = bench.validation_rows(block.scenario.forgotten_class)
    key = bench.common_key(validation) | kept_apart(method) | {
        "kind": "unlearned", "method": asdict(spec), "block": block.number,
        "original": block.original.folder.name, "forget": hash_rows(block.rows.forget), "retain":
        hash_rows(block.rows.retain), "validation": hash_rows(validation),
    }  # fmt: skip
    return bench.keep(key, make, _beside(bench, block))


class Models(NamedTuple):
    """Those that get scores, all of one block."""

    model: Artifact
    """The method's, with labels and rows beside its predictions."""
    original: Artifact
    retrains: list[Artifact]

    @property
    def judged(self) -> list[Artifact]:
        """All of them, in the order of `model_names`."""
        return [self.model, self.original, *self.retrains]


def model_names(record: Record) -> list[str]:
    """What the models with scores are called among a record's artifacts."""
    return ["model", "original", *(f"retrain {index}" for index in range(record["spec"]["retrains"]))]


def score(store: ArtifactStore, block: int, models: Models, fresh: Artifact) -> Record:
    """The scored part of a record, from stored predictions alone.

    Args:
        store: keeps the scores of single models too, so that the references of a block are scored once for all methods.
        block: its number; names the seed of the membership attack's draws, the same for every model.
        models: of the block.
        fresh: the block's untrained network.
    """
    splits = splits_of(predictions_of(models.model))
    own, before, *retrains = _each_alone(store, block, models)
    with store.clock.span("metrics"):
        beside = compared([models.model, models.original], models.retrains, fresh, splits)
        nearness, curves = map(score_nearness, beside), _curves(models)
        alone = Record(
            metrics=own.values,
            unresolved=own.unresolved,
            references={"original": before.values, "retrain": [each.values for each in retrains]},
            curves=curves,
            declarations=declarations("unlearning"),
            sizes={name: len(rows) for name, rows in _row_sets(splits).items()},
        )
        return joined(alone, nearness)


def _each_alone(store: ArtifactStore, block: int, models: Models) -> Iterator[Scores]:
    """The scores of every model that take nothing but its own predictions."""
    stored, seed = predictions_of(models.model), derive_seed(block, "membership")
    splits = splits_of(stored)
    context = {
        "kind": "scores", "seed": seed, "versions": {name: info.version for name, info in METRICS.items()},
        "splits": {name: hash_rows(rows) for name, rows in _row_sets(splits).items()},
    }  # fmt: skip

    def create(artifact: Artifact, _: Path) -> dict[str, Any]:
        with store.clock.span("metrics"):
            return asdict(score_unlearning(predictions_of(artifact)["logits"], stored["labels"], splits, seed=seed))

    for artifact in models.judged:
        made = store.get_or_create(context | {"model": artifact.folder.name}, partial(create, artifact))
        yield Scores(**made.metadata)


def rescore(record: Record, store: ArtifactStore) -> Record | None:
    """The scored part of a record anew; None where its models are not in the cache, or it is too old to name all."""
    found, fresh = models_of(record, store), artifacts_of(record, store, [UNTRAINED])
    return score(store, record["spec"]["block"], found, *fresh) if found and fresh else None


def redraw(record: Record, store: ArtifactStore) -> Record | None:
    """The curves of a record that was written without; None where its models are not in the cache."""
    found = models_of(record, store)
    return found and Record(curves=_curves(found))


def lacks_curves(record: Record) -> bool:
    """Whether a scored record was written without curves."""
    return record["spec"]["track"] == "unlearning" and "references" in record and "curves" not in record


def models_of(record: Record, store: ArtifactStore) -> Models | None:
    """A record's models; None where one is not in the cache."""
    found = artifacts_of(record, store, model_names(record))
    return Models(found[0], found[1], found[2:]) if found else None


def artifacts_of(record: Record, store: ArtifactStore, names: Sequence[str]) -> list[Artifact] | None:
    """A record's artifacts of these names; None where one is not in the cache, or the record is too old to name it."""
    known = record["artifacts"]
    return store.find_all([known[name] for name in names]) if known.keys() >= set(names) else None


def _curves(models: Models) -> dict[str, Any]:
    """The loss attack's ROC of each model, for a figure; empty where the sample resolves none."""
    stored = predictions_of(models.model)
    splits = splits_of(stored)

    def roc(artifact: Artifact) -> Roc:
        scored = ScoredModel(predictions_of(artifact)["logits"], stored["labels"], splits, seed=0)
        forget, non_members = scored.losses
        return membership_roc(-forget, -non_members)

    try:
        own, before, *references = map(roc, models.judged)
    except Unresolved:
        return {}
    rates = {"fpr": own.fpr, "model": own.tpr, "original": before.tpr, "retrain": np.array([r.tpr for r in references])}
    return {"roc": {name: values.round(DIGITS).tolist() for name, values in rates.items()}}


def _row_sets(splits: ScoredSplits) -> dict[str, np.ndarray]:
    return {name: rows for name, rows in vars(splits).items() if isinstance(rows, np.ndarray)}


def _beside(bench: Workbench, block: Block) -> dict[str, np.ndarray]:
    """What is stored beside a method's logits, so that they can be scored again without the data."""
    splits = _scored_splits(bench, block)
    forgotten = np.array([] if splits.forgotten_class is None else [splits.forgotten_class], dtype=np.int64)
    rows = {f"{ROWS}{name}": rows for name, rows in _row_sets(splits).items()}
    return rows | {"labels": bench.dataset.labels.numpy(), "forgotten_class": forgotten}


def splits_of(stored: dict[str, np.ndarray]) -> ScoredSplits:
    """The inverse of `_beside`."""
    rows = {name.removeprefix(ROWS): array for name, array in stored.items() if name.startswith(ROWS)}
    return ScoredSplits(**rows, forgotten_class=next(iter(stored["forgotten_class"].tolist()), None))


def _scored_splits(bench: Workbench, block: Block) -> ScoredSplits:
    """Which images each metric runs on; a forgotten class leaves the test set."""
    splits, labels, forgotten = bench.splits, bench.dataset.labels.numpy(), block.scenario.forgotten_class

    def of_class(candidates: np.ndarray, wanted: bool) -> np.ndarray:
        return candidates if forgotten is None else candidates[(labels[candidates] == forgotten) == wanted]

    return ScoredSplits(
        forget=block.rows.forget,
        retain=block.rows.retain,
        non_members=splits.non_members,
        test=of_class(splits.test, False),
        test_deduplicated=of_class(splits.test_deduplicated, False),
        forgotten_class=forgotten,
        test_forgotten_class=splits.test[:0] if forgotten is None else of_class(splits.test, True),
    )


def handout(bench: Workbench, block: Block) -> Handout:
    """All that a method sees of a block: no test image, no non-member, no retrained reference."""
    number, validation = block.number, bench.validation_rows(block.scenario.forgotten_class)
    rows = {"forget": block.rows.forget, "retain": block.rows.retain, "validation": validation}
    shares = {name: bench.share(part, number, "method", name) for name, part in rows.items()}
    return bench.handout("unlearning", number, shares, base=block.original, selects_epoch=bench.selects_epoch)
