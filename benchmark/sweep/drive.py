"""The driver: hands out what is ready, shared models first, and gives a dead worker's job to another."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from benchmark.sweep.executors import Executor
from benchmark.sweep.jobs import Job
from benchmark.sweep.work import FAILED, Result

MOST_DEATHS = 3
"""Workers that one job may cost."""


@dataclass
class Progress:
    """How far a sweep has come."""

    total: int
    running: list[Job] = field(default_factory=list)
    ended: list[tuple[Job, Result]] = field(default_factory=list)

    @property
    def failed(self) -> list[tuple[Job, Result]]:
        """What went wrong."""
        return [(job, result) for job, result in self.ended if result.status in FAILED]

    @property
    def left(self) -> int:
        """Jobs that have not ended."""
        return self.total - len(self.ended)


def drive(jobs: dict[str, Job], executor: Executor, on_change: Callable[[Progress], None]) -> Progress:
    """Have all jobs done. A failure is recorded and the others go on.

    Args:
        jobs: by id; none before what it needs.
        executor: does them.
        on_change: is told whenever jobs began or ended.
    """
    waiting, progress, deaths = dict(jobs), Progress(len(jobs)), Counter[str]()
    while waiting or progress.running:
        for job in _ready(waiting, executor.free):
            executor.submit(waiting.pop(job.id))
            progress.running.append(job)
        on_change(progress)
        for job, result in executor.wait():
            progress.running = [other for other in progress.running if other.id != job.id]
            deaths[job.id] += result is None
            if result is None and deaths[job.id] < MOST_DEATHS:
                waiting = {job.id: job, **waiting}
                continue
            known = result or Result("error", f"its process died {MOST_DEATHS} times, perhaps for lack of memory")
            if result is None and job.model is None and job.failed is None:
                waiting[job.id] = replace(job, failed=known.reason)  # another worker records it
                continue
            progress.ended.append((job, known))
            _release(waiting, job, known)
    on_change(progress)
    return progress


def _ready(waiting: dict[str, Job], most: int) -> list[Job]:
    """The next jobs that need nothing more: models before runs, each in the order of the suite."""
    ready = [job for job in waiting.values() if not job.needs]
    return sorted(ready, key=lambda job: job.model is None)[:most]


def _release(waiting: dict[str, Job], job: Job, result: Result) -> None:
    """What needed this model has it now, or cannot have it."""
    for other in [each for each in waiting.values() if job.id in each.needs]:
        failed = f"{job.title}: {result.reason}" if result.status in FAILED else other.failed
        waiting[other.id] = replace(other, needs=other.needs - {job.id}, failed=failed)
