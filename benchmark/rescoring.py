"""New or changed metrics for old runs, from stored predictions: no training, no data set, no GPU."""

from collections.abc import Iterator

from benchmark.audits import track as audit
from benchmark.store.artifacts import ArtifactStore
from benchmark.store.records import Record, RecordStore
from benchmark.tracks import backdoor, unlearning
from benchmark.tracks.scoring import declarations, has_present_metrics

RESCORE = {"unlearning": unlearning.rescore, "backdoor": backdoor.rescore, "audit": audit.rescore}


def rescore(records: RecordStore, store: ArtifactStore) -> Iterator[tuple[Record, str]]:
    """Bring every record to the present metric versions, and give it its curves; yields each with what was done."""
    for record in records:
        changed, done = _changes(record, store)
        if changed:
            records.write(record | changed)
        yield record, done


def _changes(record: Record, store: ArtifactStore) -> tuple[Record | None, str]:
    """What a record lacks, and in words what is done about it.

    One without scores gets the versions alone: left behind, it would part from its row, which then looked complete.
    """
    track = record["spec"]["track"]
    if has_present_metrics(record):
        if not unlearning.lacks_curves(record):
            return None, "up to date"
        drawn = unlearning.redraw(record, store)
        return drawn, "curves added" if drawn else "up to date, but for curves: its predictions are not in this cache"
    if "references" not in record:
        return Record(declarations=declarations(track)), f"{record['status']}, without scores"
    scored = RESCORE[track](record, store)
    return scored, "rescored" if scored else "its predictions are not in this cache: run it again"
