"""What an unlearned model's answers are compared with: Retrains, and a network that has learned nothing."""

from collections.abc import Sequence
from typing import TypeVar

from benchmark.store.artifacts import Artifact
from benchmark.tracks.models import Workbench
from benchmark.tracks.stored import Made, predictions_of
from metrics.nearness import ComparedModel
from metrics.unlearning import ScoredSplits

T = TypeVar("T")
UNTRAINED = "untrained"
"""Among a record's artifacts: the logits of the network that ZRF compares with."""


def untrained(bench: Workbench, block: int) -> Artifact:
    """Logits of the architecture at a fresh initialisation; one network for a block."""

    def make() -> Made:
        return Made(bench.fresh_model(block, UNTRAINED, "model"), {})

    key = bench.common_key(bench.splits.validation) | {"kind": UNTRAINED, "block": block}
    return bench.keep(key, make, summary=lambda logits: {"logits": logits})


def compared(
    models: Sequence[Artifact], retrains: Sequence[Artifact], fresh: Artifact, splits: ScoredSplits
) -> list[ComparedModel]:
    """Each of these models, then each Retrain, with what it is compared with."""
    own, references = ([predictions_of(artifact)["logits"] for artifact in part] for part in (models, retrains))
    nothing = predictions_of(fresh)["logits"]
    return [ComparedModel(logits, beside, nothing, splits) for logits, beside in beside_retrains(own, references)]


def beside_retrains(models: Sequence[T], retrains: Sequence[T]) -> list[tuple[T, list[T]]]:
    """Each of these models with all Retrains, then each Retrain with the other ones."""
    others = ((each, [*retrains[:index], *retrains[index + 1 :]]) for index, each in enumerate(retrains))
    return [*((model, list(retrains)) for model in models), *others]
