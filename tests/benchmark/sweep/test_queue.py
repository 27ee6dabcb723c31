"""What may begin next."""

import time

import pytest

from benchmark.plan import Request
from benchmark.sweep.jobs import Job
from benchmark.sweep.queue import Queue


def job(name, *needs, model=None):
    return Job(name, name, Request("none"), model, frozenset(needs))


def queue(*jobs):
    return Queue({each.id: each for each in jobs})


def taken(waiting):
    return [each.id for each in iter(waiting.take, None)]


def test_models_come_before_runs_each_in_the_order_of_the_suite():
    waiting = queue(job("run 1"), job("b", model=0), job("run 0"), job("a", model=0))
    assert taken(waiting) == ["b", "a", "run 1", "run 0"]
    assert not waiting


def test_nothing_comes_before_all_that_it_needs():
    waiting = queue(job("run", "a", "b"), job("a", model=0), job("b", "a", model=1))
    assert taken(waiting) == ["a"]
    waiting.finish("a")
    assert taken(waiting) == ["b"]
    assert len(waiting) == 1
    waiting.finish("b")
    assert taken(waiting) == ["run"]


def test_what_needed_a_failed_job_comes_too_with_the_first_reason():
    waiting = queue(job("a", model=0), job("b", model=0), job("run", "a", "b"), job("other", "b"))
    assert taken(waiting) == ["a", "b"]
    waiting.finish("a", "no memory")
    waiting.finish("b")
    assert [(each.id, each.failed) for each in iter(waiting.take, None)] == [("run", "no memory"), ("other", None)]


def test_what_is_put_back_comes_again_in_its_old_place():
    waiting = queue(job("first", model=0), job("second", model=0), job("third", model=0))
    first = waiting.take()
    waiting.put_back(first)
    assert taken(waiting) == ["first", "second", "third"]


@pytest.mark.parametrize("runs", [20_000])
def test_many_jobs_are_handed_out_at_once(runs):
    jobs = [job(f"model {number}", model=0) for number in range(runs // 4)]
    jobs += [job(f"run {number}", f"model {number // 4}") for number in range(runs)]
    start = time.perf_counter()
    waiting = queue(*jobs)
    while waiting:
        waiting.finish(waiting.take().id)
    assert time.perf_counter() - start < 5
