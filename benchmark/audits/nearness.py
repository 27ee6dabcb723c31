"""How near the models of an audit run are to its Retrains, from stored predictions."""

from benchmark.store.artifacts import Artifact, ArtifactStore
from benchmark.store.records import Record
from benchmark.tracks.models import Workbench
from benchmark.tracks.stored import Made, predictions_of
from benchmark.tracks.unlearning import models_of, splits_of
from metrics.nearness import ComparedModel

UNTRAINED = "untrained"
"""Among a record's artifacts: the logits of the network that ZRF compares with."""


def untrained(bench: Workbench, block: int) -> Artifact:
    """Logits of the architecture at a fresh initialisation, which has learned nothing; one network for a block."""

    def make() -> Made:
        return Made(bench.fresh_model(block, UNTRAINED, "model"), {})

    key = bench.common_key(bench.splits.validation) | {"kind": UNTRAINED, "block": block}
    return bench.keep(key, make, summary=lambda logits: {"logits": logits})


def compared_models(record: Record, store: ArtifactStore) -> list[ComparedModel] | None:
    """The method's model, the Original and each Retrain of a record; None where their predictions are not in the cache.

    A Retrain is compared with the others.
    """
    found, fresh = models_of(record, store), store.find_all([record["artifacts"].get(UNTRAINED, UNTRAINED)])
    if found is None or fresh is None:
        return None
    model, original, retrains = found
    splits = splits_of(predictions_of(model))
    own, before, nothing, *references = (
        predictions_of(artifact)["logits"] for artifact in (model, original, *fresh, *retrains)
    )
    pairs = [(own, references), (before, references)]
    pairs += [(each, references[:index] + references[index + 1 :]) for index, each in enumerate(references)]
    return [ComparedModel(logits, beside, nothing, splits) for logits, beside in pairs]
