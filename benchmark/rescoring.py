"""New or changed metrics for old runs, from stored predictions: no training, no data set, no GPU."""

from collections.abc import Iterator

from benchmark.store.artifacts import Artifact, ArtifactStore
from benchmark.store.records import Record, RecordStore
from benchmark.tracks.unlearning import declarations, has_present_metrics, score


def rescore(records: RecordStore, store: ArtifactStore) -> Iterator[tuple[Record, str]]:
    """Bring every record to the present metric versions; yields each with what was done.

    One without scores gets the versions alone: left behind, it would part from its row, which then looked complete.
    """
    for record in records:
        if has_present_metrics(record):
            yield record, "up to date"
            continue
        if record["status"] != "ok":
            records.write(record | {"declarations": declarations()})
            yield record, f"{record['status']}, without scores"
            continue
        artifacts = stored_artifacts(record, store)
        if artifacts is None:
            yield record, "its predictions are not in this cache: run it again"
            continue
        model, original, *retrains = artifacts
        scored = score(store, record["spec"]["block"], model, original, retrains)
        records.write(record | scored)
        yield record, "rescored"


def stored_artifacts(record: Record, store: ArtifactStore) -> list[Artifact] | None:
    """A record's own model, Original and Retrains, in this order; None unless all of them are in the cache."""
    names = record["artifacts"]
    retrains = sorted((name for name in names if name.startswith("retrain")), key=lambda name: int(name.split()[1]))
    found = [store.find(names[name]) for name in ("model", "original", *retrains)]
    return None if None in found else found  # type: ignore[return-value]
