"""New or changed metrics for old runs, from stored predictions: no training, no data set, no GPU."""

from collections.abc import Iterator

from benchmark.store.artifacts import ArtifactStore
from benchmark.store.records import Record, RecordStore
from benchmark.tracks import backdoor, unlearning
from benchmark.tracks.scoring import declarations, has_present_metrics

RESCORE = {"unlearning": unlearning.rescore, "backdoor": backdoor.rescore}


def rescore(records: RecordStore, store: ArtifactStore) -> Iterator[tuple[Record, str]]:
    """Bring every record to the present metric versions; yields each with what was done.

    One without scores gets the versions alone: left behind, it would part from its row, which then looked complete.
    """
    for record in records:
        track = record["spec"]["track"]
        if has_present_metrics(record):
            yield record, "up to date"
            continue
        if "references" not in record:
            records.write(record | {"declarations": declarations(track)})
            yield record, f"{record['status']}, without scores"
            continue
        scored = RESCORE[track](record, store)
        if scored is None:
            yield record, "its predictions are not in this cache: run it again"
            continue
        records.write(record | scored)
        yield record, "rescored"
