"""Audit runs: a method unlearns from a target of the shadow pool, and strong attacks judge what is left (PROTOCOL 6.1).

The unlearning track on other splits: the train pool is the target's IN half, the non-members are its OUT half, and the
block's number is the target's.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from benchmark.audits.pool import FEWEST_POPULATION, Pool, statistics_of
from benchmark.audits.relearn import relearn, relearnings
from benchmark.audits.representation import represent, represented
from benchmark.config import AuditSpec
from benchmark.data.scenarios import Scenario
from benchmark.errors import MedsafeError
from benchmark.store.artifacts import Artifact, ArtifactStore
from benchmark.store.records import Record
from benchmark.tracks import unlearning
from benchmark.tracks.scoring import declarations, joined
from benchmark.tracks.shared import SharedModel
from benchmark.tracks.stored import predictions_of
from benchmark.tracks.unlearning import UnlearningTrack, models_of, splits_of
from metrics.audit import AuditedModel, Shadows, audited, score_audit
from metrics.relearn import score_relearning
from metrics.representation import score_representation


@dataclass(frozen=True, eq=False)
class AuditTrack:
    """One method on one target a block."""

    pool: Pool
    scenario: Scenario
    method: Any

    def run(self, spec: AuditSpec) -> Iterator[Record]:
        """Compute one run; yields the parts of its record as they become known.

        Scores come last and all together: a record has those of both tracks or none.
        """
        store, record = self.pool.bench.store, Record(spec=asdict(spec))
        statistics = self.pool.collect()
        for part in self._on_target(spec).run(spec):
            record |= part
            if "metrics" not in part:
                yield part
        bench, artifacts = self.pool.bench, record["artifacts"] | {"pool": statistics.folder.name}
        artifacts |= relearn(bench, record) | represent(bench, record)
        yield Record(artifacts=artifacts, notes=[*record["notes"], *self._notes()])
        scored = rescore(record | Record(artifacts=artifacts), store)
        if scored is None:
            raise MedsafeError(f"cache folder '{store.root}' lost models of a run that was using them: run it again")
        yield scored

    def models(self, spec: AuditSpec) -> list[SharedModel]:
        """What this run shares with others."""
        return [*self._on_target(spec).models(spec), *self.pool.models()]

    def _notes(self) -> Iterator[str]:
        """What a reader of the scores must know."""
        population = len(self.pool.bench.splits.reserved)
        if population < FEWEST_POPULATION:
            yield f"RMIA compares with {population} reserved images only: its scores are coarse"

    def _on_target(self, spec: AuditSpec) -> UnlearningTrack:
        return UnlearningTrack(self.pool.target(spec.block), self.scenario, self.method)


@dataclass(frozen=True, eq=False)
class Audited:
    """The models of a run, each with what it is audited with."""

    model: AuditedModel
    original: AuditedModel
    retrains: list[AuditedModel]


def audited_models(record: Record, store: ArtifactStore) -> Audited | None:
    """A record's models from their stored predictions; None where these are not in the cache."""
    found, pool = models_of(record, store), store.find(record["artifacts"]["pool"])
    if found is None or pool is None:
        return None
    stored, statistics = predictions_of(found.model), statistics_of(pool)
    splits = splits_of(stored)
    shadows = Shadows(statistics.log_odds.astype(np.float64), statistics.members, statistics.population)

    def of(artifact: Artifact) -> AuditedModel:
        return audited(predictions_of(artifact)["logits"], stored["labels"], shadows, splits)

    model, original, *retrains = map(of, found.judged)
    return Audited(model, original, retrains)


def rescore(record: Record, store: ArtifactStore) -> Record | None:
    """The scored part of a record anew; None where its models are not in the cache."""
    plain, judged = unlearning.rescore(record, store), audited_models(record, store)
    courses, features = relearnings(record, store), represented(record, store)
    if plain is None or judged is None or courses is None or features is None:
        return None
    with store.clock.span("metrics"):
        exposure = [score_audit(model) for model in (judged.model, judged.original, *judged.retrains)]
        for further in (exposure, map(score_relearning, courses), map(score_representation, features)):
            plain = joined(plain, further)
    return plain | Record(declarations=declarations("audit"))
