"""The driver: order, deaths and failures, with an executor that does nothing but keep to a script."""

from collections import deque

import pytest

from benchmark.plan import Request
from benchmark.sweep.drive import MOST_DEATHS, drive
from benchmark.sweep.jobs import Job
from benchmark.sweep.work import Result

OK = Result("ok")


def job(name, *needs, model=None):
    return Job(name, name, Request("none"), model, frozenset(needs))


class Scripted:
    """Ends jobs in the order in which it got them; a job's script says how, attempt by attempt."""

    def __init__(self, workers=1, **scripts):
        self.workers, self.scripts = workers, {name: deque(script) for name, script in scripts.items()}
        self.running, self.seen = deque(), []

    @property
    def free(self):
        return self.workers - len(self.running)

    def submit(self, job):
        assert self.free, "more jobs than workers"
        self.running.append(job)
        self.seen.append(job)

    def wait(self):
        job = self.running.popleft()
        script = self.scripts.get(job.id)
        return [(job, script.popleft() if script else OK)]

    def close(self):
        pass


def go(executor, *jobs):
    return drive({each.id: each for each in jobs}, executor, lambda progress: None)


def names(jobs):
    return [each.id for each in jobs]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_models_come_first_and_nothing_before_what_it_needs(workers):
    executor = Scripted(workers)
    jobs = [job("run", "a", "b"), job("a", model=0), job("c", "a", model=1), job("b", model=2), job("free run")]
    progress = go(executor, *jobs)
    assert len(progress.ended) == 5
    order = names(executor.seen)
    assert order.index("run") > max(order.index("a"), order.index("b"))
    assert order.index("c") > order.index("a")
    assert order[0] == "a"


def test_a_dead_workers_job_goes_to_another():
    executor = Scripted(a=[None, OK])
    progress = go(executor, job("a", model=0), job("run", "a"))
    assert names(executor.seen) == ["a", "a", "run"]
    assert not progress.failed


def test_a_run_that_kills_its_workers_is_recorded_as_an_error():
    recorded = Result("error", "its process died")
    executor = Scripted(run=[*[None] * MOST_DEATHS, recorded])
    progress = go(executor, job("run"), job("other"))
    assert names(executor.seen).count("run") == MOST_DEATHS + 1
    assert [each.failed for each in executor.seen if each.id == "run"][:-1] == [None] * MOST_DEATHS
    assert "died 3 times" in executor.seen[MOST_DEATHS].failed
    assert [each.id for each, _ in progress.failed] == ["run"]
    assert len(progress.ended) == 2


def test_runs_whose_model_failed_are_recorded_with_its_reason_and_the_others_go_on():
    executor = Scripted(a=[Result("error", "no memory")])
    progress = go(executor, job("a", model=0), job("run", "a"), job("other"))
    by_name = {each.id: each for each in executor.seen}
    assert by_name["run"].failed == "a: no memory"
    assert by_name["other"].failed is None
    assert [each.id for each, _ in progress.failed] == ["a"]


def test_even_recording_a_failure_cannot_go_on_for_ever():
    executor = Scripted(run=[None] * 100)
    progress = go(executor, job("run"))
    assert [result.status for _, result in progress.failed] == ["error"]
    assert len(executor.seen) < 10
