"""The driver: hands out what is ready, shared models first, and gives a dead worker's job to another."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from benchmark.sweep.executors import Executor
from benchmark.sweep.jobs import Job
from benchmark.sweep.queue import Queue
from benchmark.sweep.work import FAILED, Result

MOST_DEATHS = 3
"""Workers that one job may cost."""


@dataclass
class Progress:
    """How far a sweep has come."""

    total: int
    expected: float
    """Seconds of one worker for all of it."""
    done: float = 0.0
    """Of these, those of the jobs that ended."""
    running: list[Job] = field(default_factory=list)
    ended: list[tuple[Job, Result]] = field(default_factory=list)

    @property
    def failed(self) -> list[tuple[Job, Result]]:
        """What went wrong."""
        return [(job, result) for job, result in self.ended if result.status in FAILED]

    def left(self, elapsed: float) -> float | None:
        """Seconds until the end, after so many; None while there is nothing to tell it by."""
        return elapsed * (self.expected / self.done - 1) if self.done else None


def drive(jobs: dict[str, Job], executor: Executor, on_change: Callable[[Progress], None]) -> Progress:
    """Have all jobs done. A failure is recorded and the others go on.

    Args:
        jobs: by id; none before what it needs.
        executor: does them.
        on_change: is told whenever jobs began or ended.
    """
    queue, deaths = Queue(jobs), Counter[str]()
    progress = Progress(len(jobs), sum(job.expected.seconds for job in jobs.values()))
    while queue or progress.running:
        while executor.free and (next_job := queue.take()):
            executor.submit(next_job)
            progress.running.append(next_job)
        on_change(progress)
        for job, result in executor.wait():
            progress.running = [other for other in progress.running if other.id != job.id]
            deaths[job.id] += result is None
            if result is None and deaths[job.id] < MOST_DEATHS:
                queue.put_back(job)
                continue
            known = result or Result("error", f"its process died {MOST_DEATHS} times, perhaps for lack of memory")
            if result is None and job.model is None and job.failed is None:
                queue.put_back(replace(job, failed=known.reason))  # another worker records it
                continue
            progress.ended.append((job, known))
            progress.done += job.expected.seconds
            queue.finish(job.id, f"{job.title}: {known.reason}" if known.status in FAILED else None)
    on_change(progress)
    return progress
