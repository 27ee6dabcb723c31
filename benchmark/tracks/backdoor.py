"""The backdoor track: a model trained on poison -> defence -> scores, beside the clean model and the oracle."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import Tensor

from benchmark.api import DefenseInfo, Unsupported, derive_seed
from benchmark.config import BackdoorSpec
from benchmark.data.catalogue import VALIDATION_SOURCE
from benchmark.data.poison import defender_rows, target_class
from benchmark.handout import Handout
from benchmark.models import insertion_point
from benchmark.store.artifacts import Artifact, ArtifactStore
from benchmark.store.records import Record
from benchmark.tracks.calls import kept_apart, made_by
from benchmark.tracks.models import Workbench
from benchmark.tracks.poisoning import Attack, AttackedBlock, AttackFailed, prepare, shared_models, training_handout
from benchmark.tracks.scoring import declarations
from benchmark.tracks.shared import SharedModel
from benchmark.tracks.stored import Made, hash_rows, predictions_of
from metrics.backdoor import compare, gate, score_backdoor
from metrics.trigger import MOST_CLEAN_LABEL

MOST_UNCHANGED = 0.01
"""Share of test images that a stamp may leave as they are: a white patch on a white corner (PROTOCOL 7.2)."""
REFERENCES = ("clean", "backdoored", "oracle")
"""What every defended model is compared with."""


@dataclass(frozen=True, eq=False)
class BackdoorTrack:
    """One defence against one attack."""

    bench: Workbench
    attack: Attack
    info: DefenseInfo
    defense: Any

    def run(self, spec: BackdoorSpec) -> Iterator[Record]:
        """Compute one run; yields the parts of its record as they become known.

        Raises:
            Unsupported: the attack failed (PROTOCOL 7.2): there is nothing to defend against.
        """
        clean_images = defender_rows(self.bench.dataset, self.bench.splits, spec.pool)
        try:
            block = prepare(self.bench, self.attack, spec.block, in_training=self.info.power == "in-training")
        except AttackFailed as error:
            yield Record(gate={"passed": False, "reason": str(error)})
            raise Unsupported(f"attack failed: {error}") from error
        setting = self._setting(block)
        yield Record(setting=setting, sizes=self._sizes(spec, clean_images), notes=list(self._notes(spec, setting)))
        references = {name: self._answers(block, getattr(block, name)) for name in REFERENCES}
        scored = self._scored(setting, references)
        yield scored | Record(artifacts={name: artifact.folder.name for name, artifact in references.items()})
        if not scored["gate"]["passed"]:
            raise Unsupported(f"attack failed: {scored['gate']['reason']}")
        model = self._defended(spec, block, clean_images)
        yield self.bench.stored(model, references, base=block.clean, ideal=[block.oracle])
        yield self._scored(setting, references | {"model": model})

    def models(self, spec: BackdoorSpec) -> list[SharedModel]:
        """What this run shares with others."""
        return shared_models(self.bench, self.attack, spec.block, in_training=self.info.power == "in-training")

    def _defended(self, spec: BackdoorSpec, block: AttackedBlock, clean_images: np.ndarray) -> Artifact:
        """The defence's model on this block, checked and stored with its answers and its cost."""
        bench, number = self.bench, block.number

        def make() -> Made:
            in_training = self.info.power == "in-training"
            handout = (
                training_handout(bench, block)
                if in_training
                else defense_handout(bench, block.backdoored, number, clean_images)
            )
            return made_by(bench, self.defense, handout, derive_seed(number, "method", "global"))

        key = bench.common_key(bench.splits.validation) | kept_apart(self.defense) | {
            "kind": "defended", "method": asdict(spec.method), "block": number, "clean": hash_rows(clean_images),
            "backdoored": block.backdoored.folder.name, "attack": block.attack.folder.name if block.attack else None,
        }  # fmt: skip
        return bench.keep(key, make, self._test_labels(), self._test_images(block))

    def _answers(self, block: AttackedBlock, model: Artifact) -> Artifact:
        """A reference's logits on the test images and on the stamped ones."""
        key = {"test": hash_rows(self.bench.splits.test), "attack": block.attack.folder.name if block.attack else None}
        return self.bench.predicted(model, key, self._test_images(block), self._test_labels())

    def _scored(self, setting: dict[str, Any], answers: dict[str, Artifact]) -> Record:
        with self.bench.clock.span("metrics"):
            return score(setting, answers)

    def _test_images(self, block: AttackedBlock) -> dict[str, Tensor]:
        test = {"clean": self.bench.images[self.bench.rows_on_device(self.bench.splits.test)]}
        return test | ({"stamped": block.poison["stamped"].to(self.bench.device)} if block.attack else {})

    def _test_labels(self) -> dict[str, np.ndarray]:
        return {"labels": self.bench.dataset.labels.numpy()[self.bench.splits.test]}

    def _setting(self, block: AttackedBlock) -> dict[str, Any]:
        """What the leaderboard has to know of the attack and the defender's power, beside their names."""
        info = self.attack.info
        unchanged = float(block.poison.get("unchanged", 0)) / len(self.bench.splits.test)
        return {
            "goal": info.goal, "victims": info.victims, "controls_training": info.controls_training,
            "target": block.target, "power": self.info.power, "unchanged": unchanged,
        }  # fmt: skip

    def _sizes(self, spec: BackdoorSpec, clean_images: np.ndarray) -> dict[str, int]:
        rows = self.attack.rows(self.bench, spec.block)
        held = {"post-training": len(clean_images), "data-free": 0, "in-training": 0}[self.info.power]
        return {
            "test": len(self.bench.splits.test), "train": len(self.bench.splits.pool), "clean_images": held,
            "poisoned": len(rows.poisoned), "cover": len(rows.cover),
        }  # fmt: skip

    def _notes(self, spec: BackdoorSpec, setting: dict[str, Any]) -> Iterator[str]:
        """What a reader of the row must know."""
        if setting["unchanged"]:
            yield f"the stamp leaves {setting['unchanged']:.2%} of the test images as they are"
        dataset, info = self.bench.dataset, self.attack.info
        if dataset.num_classes == 2 and info.goal == "all-to-one":
            name = dataset.class_names[target_class(dataset, spec.block)]
            yield f"two classes: all-to-one means that every stamped image of the other class is taken for '{name}'"
        if info.victims == "target" and self.attack.method.ratio > MOST_CLEAN_LABEL:
            yield f"clean-label poison of more than {MOST_CLEAN_LABEL:.0%} of the target class: never ranked"
        source = VALIDATION_SOURCE.get(dataset.name.partition("-")[0])
        if spec.pool.startswith("reserved") and self.info.power == "post-training" and source is not None:
            yield f"the reserved pool comes from {source}"


def defense_handout(bench: Workbench, backdoored: Artifact, block: int, clean_images: np.ndarray) -> Handout:
    """All that a defender of a trained model gets: nothing in it leads to test images, trigger or target."""
    shares = {"clean": bench.share(clean_images, block, "method", "clean")}
    place = insertion_point(bench.architecture, bench.fresh_model("check"))
    return bench.handout("post-training", block, shares, base=backdoored, insertion_point=place)


def score(setting: dict[str, Any], answers: dict[str, Artifact]) -> Record:
    """The scored part of a record, from stored predictions alone.

    Args:
        setting: the record's: goal, target, and the share of test images that the stamp leaves unchanged.
        answers: predictions of the references, and, where the attack passed its gate, of `model`.
    """
    stored = {name: predictions_of(artifact) for name, artifact in answers.items()}
    known = stored["clean"]["clean"].argmax(axis=1) == stored["clean"]["labels"]
    scores = {
        name: score_backdoor(
            own["clean"], own.get("stamped"), own["labels"], goal=setting["goal"], target=setting["target"], known=known
        )
        for name, own in stored.items()
    }
    references = {name: scores[name].values for name in REFERENCES}
    reason = _failure(setting, references)
    record = Record(
        references=references,
        gate={"passed": reason is None, "reason": reason},
        declarations=declarations("backdoor"),
    )
    if "model" not in scores:
        return record
    own = scores["model"]
    compared = compare(own.values, references["backdoored"], references["oracle"])
    return record | Record(metrics=own.values | compared.values, unresolved=own.unresolved | compared.unresolved)


def rescore(record: Record, store: ArtifactStore) -> Record | None:
    """The scored part of a record anew; None where its predictions are not in the cache."""
    names = record["artifacts"]
    found = store.find_all(list(names.values()))
    if found is None:
        return None
    scored = score(record["setting"], dict(zip(names, found, strict=True)))
    if scored["gate"]["passed"]:
        return scored if "model" in names else None  # no defence was run on an attack that had failed
    failed = Record(status="skipped", reason=f"attack failed: {scored['gate']['reason']}", metrics={}, unresolved={})
    return scored | failed


def _failure(setting: dict[str, Any], references: dict[str, Any]) -> str | None:
    """Why the attack does not count; None where it does, or where there is none."""
    if setting["goal"] == "none":
        return None
    if setting["unchanged"] > MOST_UNCHANGED:
        return f"its stamp leaves {setting['unchanged']:.1%} of the test images as they are"
    return gate(references["backdoored"]["acc"], references["backdoored"]["asr"], references["clean"]["acc"])
