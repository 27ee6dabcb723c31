"""What a worker does with a job, wherever it runs: the store and the records are all that workers share."""

import time
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmark.api import Diverged, Unsupported
from benchmark.plan import plan_on
from benchmark.runner import execute, is_final, not_run, one_line
from benchmark.store.artifacts import ArtifactStore
from benchmark.store.records import RecordStore
from benchmark.sweep.jobs import Job
from benchmark.tracks.poisoning import AttackFailed
from benchmark.workbenches import Workbenches

FAILED = ("error", "timeout")


@dataclass(frozen=True)
class Place:
    """Where a sweep's workers meet, and how each of them computes."""

    cache: Path
    results: Path
    threads: int
    """CPU threads of one worker: bits depend on their number."""


@dataclass(frozen=True)
class Result:
    """What became of a job."""

    status: str
    """As in a record; a model's is `ok` also where it diverged: the runs that need it say so."""
    reason: str | None = None
    seconds: float = 0.0


class Worker:
    """Does one job after another; what it has loaded serves the next."""

    def __init__(self, place: Place) -> None:
        torch.set_num_threads(place.threads)
        self.records = RecordStore(place.results)
        self.workbenches = Workbenches(ArtifactStore(place.cache))

    def carry_out(self, job: Job) -> Result:
        """Train the model, or compute the run and write its record; whatever goes wrong is in the result."""
        start = time.monotonic()
        try:
            status, reason = self._run(job) if job.model is None else self._train(job, job.model)
        except Exception as error:
            status, reason = "error", f"{type(error).__name__}: {one_line(error)}"
        return Result(status, reason, time.monotonic() - start)

    def _train(self, job: Job, number: int) -> tuple[str, str | None]:
        plan = plan_on(job.request, self.workbenches)
        try:
            plan.track.models(plan.specs[0])[number].get()
        except (Diverged, Unsupported, AttackFailed) as error:
            return "ok", one_line(error)
        return "ok", None

    def _run(self, job: Job) -> tuple[str, str | None]:
        plan = plan_on(job.request, self.workbenches)
        (spec,) = plan.specs
        record = self.records.read(spec.fields, spec.id)
        if record is None or not is_final(record):
            record = execute(plan, spec) if job.failed is None else not_run(plan, spec, job.failed)
            self.records.write(record)
        return record["status"], record["reason"]
