"""New or changed metrics for old runs, from stored predictions: no training, no data set, no GPU."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from benchmark.audits import track as audit
from benchmark.leaderboard.blocks import key_of
from benchmark.store.artifacts import ArtifactStore
from benchmark.store.records import Record, RecordStore
from benchmark.tracks import backdoor, unlearning
from benchmark.tracks.scoring import declarations, has_present_metrics

LEFT = "left as it is: another block of its row is not in this cache"
RESCORE = {"unlearning": unlearning.rescore, "backdoor": backdoor.rescore, "audit": audit.rescore}


def rescore(records: RecordStore, store: ArtifactStore) -> Iterator[tuple[Record, str]]:
    """Bring every record to the present metric versions, and give it its curves; yields each with what was done.

    A row is brought to date whole, or stays: a block left behind would part from it, and the rest look complete.
    """
    for row in rows_of(records):
        found = [(record, *_changes(record, store)) for record in row]
        stays = any(changed is None and not has_present_metrics(record) for record, changed, _ in found)
        for record, changed, done in found:
            if changed and not stays:
                records.write(record | changed)
            yield record, LEFT if changed and stays else done


def rows_of(records: Iterable[Record]) -> Iterable[list[Record]]:
    """The records by the rows that they are in, each in one list; those that differ in the block alone."""
    rows = defaultdict(list)
    for record in records:
        rows[key_of(record, without=("block",))].append(record)
    return rows.values()


def _changes(record: Record, store: ArtifactStore) -> tuple[Record | None, str]:
    """What a record lacks, and in words what is done about it; one without scores gets the versions alone."""
    track = record["spec"]["track"]
    if has_present_metrics(record):
        if not unlearning.lacks_curves(record):
            return None, "up to date"
        drawn = unlearning.redraw(record, store)
        return drawn, "curves added" if drawn else "up to date, but for curves: its predictions are not in this cache"
    if "references" not in record:
        return Record(declarations=declarations(track)), f"{record['status']}, without scores"
    scored = RESCORE[track](record, store)
    return scored, "rescored" if scored else "not all of its models are in this cache: run it again"
