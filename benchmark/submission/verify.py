"""A submission is computed again, in part: what comes out the same is marked, else the first difference is named."""

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import torch

from benchmark.api import Progress
from benchmark.config import canonical_json, identity
from benchmark.errors import MedsafeError
from benchmark.leaderboard.blocks import key_of
from benchmark.leaderboard.table import write_leaderboard
from benchmark.plan import Request, make_plan
from benchmark.runner import run
from benchmark.store.artifacts import ArtifactStore
from benchmark.store.files import sha256_of
from benchmark.store.records import Record, RecordStore
from benchmark.submission.compare import Difference, elsewhere, first_difference, parting
from benchmark.submission.consistency import file_of
from benchmark.submission.contents import Submission
from benchmark.submission.request import request_of
from benchmark.submission.schema import Refused
from benchmark.submission.verification import Agreement, marked, unmarked
from benchmark.training import silent


@dataclass(frozen=True)
class Verified:
    """A record that a second computation agreed with."""

    record: Record
    agreement: Agreement
    environment: Mapping[str, Any]
    elsewhere: Sequence[str]
    """What makes this another environment, in words; empty where the bits had to be equal."""


def verify(
    submission: Submission,
    base: Request,
    *,
    runs: int | None,
    seed: int,
    files: Sequence[Path] = (),
    threads: int | None = None,
    cache: Path | None = None,
    progress: Progress = silent,
) -> Iterator[Verified]:
    """Compute a part of a submission again, and yield each record that comes out the same; in the end mark them.

    Marks that it came with are removed first. Where a record comes out otherwise there are none.

    Args:
        submission: checked, as `read_submission` returns it.
        base: what no record says: folder of the data, plugin file, device, limits.
        runs: how many records to compute; None means all.
        seed: of their draw.
        files: data sets that have no name.
        threads: CPU threads; None means as many as recorded.
        cache: a cache to trust; None means an empty one.
        progress: of the training.

    Raises:
        Refused: a record comes out otherwise; the line names file and key.
        MedsafeError: it cannot be computed here.
    """
    if any("verification" in record for record in submission.records):
        _mark(submission, [])
    _check_code(submission.plugin, base.plugin)
    drawn = draw(submission.records, runs, seed)
    done = []
    with tempfile.TemporaryDirectory(prefix="medsafe-verify-") as name:
        scratch = Path(name)
        named = _named_files(files, submission.records, scratch)
        place = _Place(base, named, threads, ArtifactStore(cache or scratch / "cache"), scratch / "results", progress)
        place.check_specs(submission.records)
        for record in drawn:
            done.append(place.compute(record))
            yield done[-1]
    _mark(submission, done)


def draw(records: Sequence[Record], runs: int | None, seed: int) -> list[Record]:
    """Records to compute again, in the order of a seed, from as many rows as possible.

    Time-outs are never drawn: they say how fast a machine was.

    Raises:
        MedsafeError: there is nothing else.
    """
    rows = defaultdict(list)
    for record in sorted(records, key=lambda record: identity([seed, record["id"]])):
        if record["status"] != "timeout":
            rows[_row(record)].append(record)
    if not rows:
        raise MedsafeError("every record is of a run that took too long: there is nothing to compute again")
    turns = chain.from_iterable(zip_longest(*rows.values()))
    return [record for record in turns if record is not None][:runs]


@dataclass(frozen=True)
class _Place:
    """Where runs are computed for the second time."""

    base: Request
    files: Mapping[str, Path]
    threads: int | None
    store: ArtifactStore
    results: Path
    progress: Progress

    def check_specs(self, records: Sequence[Record]) -> None:
        """Have every row planned, and nothing computed: under the names that a record gives, does the suite do that?"""
        rows = defaultdict(list)
        for record in records:
            rows[_row(record)].append(record)
        for row in rows.values():
            plan = make_plan(self._request(row), self.store, self.progress)
            for record, spec in zip(row, plan.specs, strict=True):
                present = json.loads(canonical_json(asdict(spec)))
                _refuse(record, first_difference(record["spec"], present, ("spec",)))

    def compute(self, record: Record) -> Verified:
        """Compute a record again, and compare."""
        with _threads(self.threads or record["environment"]["threads"]):
            request = self._request([record])
            (outcome,) = run(request, self.store, RecordStore(self.results), progress=self.progress)
        anew = outcome.record
        if anew["status"] == "timeout":
            raise MedsafeError(f"{file_of(record)}: {anew['reason']}: this machine is too slow to verify it")
        reasons = elsewhere(record["environment"], anew["environment"])
        difference = parting(record, anew, exact=True)
        if difference is None or not reasons:
            _refuse(record, difference)
            return Verified(record, "bitwise", anew["environment"], reasons)
        _refuse(record, parting(record, anew, exact=False), f"; computed elsewhere, {'; '.join(reasons)}")
        return Verified(record, "within tolerance", anew["environment"], reasons)

    def _request(self, row: Sequence[Record]) -> Request:
        """For records of one row."""
        return request_of(row[0]["spec"], [record["spec"]["block"] for record in row], self.base, self.files)


def _row(record: Record) -> str:
    return key_of(record, without=("block",))


def _check_code(brought: Path | None, named: Path | None) -> None:
    """Nobody runs a stranger's code without naming it."""
    if brought is not None and named is None:
        raise MedsafeError(f"the submission brings code of its own: read '{brought}', then add --plugin {brought}")
    if named is not None and not named.is_file():
        raise MedsafeError(f"plugin file '{named}' does not exist")
    if named is not None and (brought is None or sha256_of(named) != sha256_of(brought)):
        raise MedsafeError(f"plugin file '{named}' is not the one that the submission brings: leave it out")


def _named_files(paths: Sequence[Path], records: Sequence[Record], folder: Path) -> dict[str, Path]:
    """sha256 -> data file, linked into the folder under the name in the records: unofficial data are named after it."""
    names = {record["spec"]["data"]["sha256"]: record["spec"]["data"]["name"] for record in records}
    found = {}
    for path in paths:
        if not path.is_file():
            raise MedsafeError(f"data file '{path}' does not exist")
        digest = sha256_of(path)
        if digest not in names:
            raise MedsafeError(
                f"data file '{path}' has sha256 {digest}, and no record was computed on it: leave it out"
            )
        if digest not in found:
            found[digest] = folder / digest / f"{names[digest]}.npz"
            found[digest].parent.mkdir()
            found[digest].symlink_to(path.resolve())
    return found


def _mark(submission: Submission, done: Sequence[Verified]) -> None:
    """Write these marks into the submission, and no others, and rebuild its leaderboards."""
    marks = {each.record["id"]: marked(each.record, each.agreement, each.environment) for each in done}
    for record in submission.records:
        RecordStore(submission.folder).write(marks.get(record["id"], unmarked(record)))
    write_leaderboard(submission.folder)


def _refuse(record: Record, difference: Difference | None, more: str = "") -> None:
    """Name a difference, if there is one."""
    if difference is not None:
        values = f"recorded {difference.first}, computed again {difference.second}"
        raise Refused(f"{file_of(record)}: {difference.key}: {values}{more}")


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """So many CPU threads inside, as many as before outside."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
