"""What may begin next: shared models before runs, each in the order of the suite, none before what it needs."""

import heapq
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from benchmark.sweep.jobs import Job


class Queue:
    """Jobs that have not begun; no step looks at all of them."""

    def __init__(self, jobs: Mapping[str, Job]) -> None:
        """Take all of these, by id."""
        self._jobs = dict(jobs)
        self._place = {name: (job.model is None, number) for number, (name, job) in enumerate(jobs.items())}
        self._dependents: defaultdict[str, list[str]] = defaultdict(list)
        for job in jobs.values():
            for need in job.needs:
                self._dependents[need].append(job.id)
        self._ready = [(self._place[name], name) for name, job in jobs.items() if not job.needs]
        heapq.heapify(self._ready)

    def __len__(self) -> int:
        """How many have not begun."""
        return len(self._jobs)

    def take(self) -> Job | None:
        """The next job that needs nothing more; None while there is none."""
        return self._jobs.pop(heapq.heappop(self._ready)[1]) if self._ready else None

    def put_back(self, job: Job) -> None:
        """It has to begin anew: ahead of those that came after it."""
        self._jobs[job.id] = job
        heapq.heappush(self._ready, (self._place[job.id], job.id))

    def finish(self, name: str, failed: str | None = None) -> None:
        """What needed this job has it now, or with a reason cannot have it."""
        for dependent in self._dependents[name]:
            job = self._jobs[dependent]
            self._jobs[dependent] = replace(job, needs=job.needs - {name}, failed=failed or job.failed)
            if not self._jobs[dependent].needs:
                heapq.heappush(self._ready, (self._place[dependent], dependent))


def wall_seconds(jobs: Mapping[str, Job], workers: int) -> float:
    """How long so many workers should take for these jobs, handed out as the driver does."""
    queue, running, now = Queue(jobs), list[tuple[float, str]](), 0.0
    while queue or running:
        while len(running) < workers and (job := queue.take()):
            heapq.heappush(running, (now + job.expected.seconds, job.id))
        now, ended = heapq.heappop(running)
        queue.finish(ended)
    return now
