"""Planning a sweep, and taking it up again, when ten or a hundred times as many runs are asked for or recorded."""

import gc
import time
from dataclasses import asdict, replace
from itertools import pairwise

import pytest

from benchmark import training
from benchmark.plan import Request, make_plan
from benchmark.runner import run
from benchmark.sweep.estimate import Estimator
from benchmark.sweep.jobs import todo

SIZES = (100, 1_000, 10_000)
BLOCKS = 5
"""Of a request, as in the suites of the repository."""
LONGEST = 5.0
"""Seconds of the processor at the largest size, whatever else it does."""


@pytest.fixture
def request_of(tiny_npz):
    """A request for so many runs, one of many that differ in the learning rate."""

    def go(number, blocks):
        rates = {"lr": str(0.001 * (number + 1))}
        return Request(
            "finetune", dataset=str(tiny_npz), blocks=f"0-{blocks - 1}", retrains=1, device="cpu", parameters=rates
        )

    return go


@pytest.fixture
def seconds(store, records):
    """How long it takes at least to find out what is left, and how much that is."""
    estimator = Estimator(())

    def once(requests):
        start = time.process_time()
        left = todo(requests, store, [records], estimator)
        return time.process_time() - start, left

    def go(requests):
        todo(requests[:1], store, [], estimator)  # the machine is timed once, however many runs there are
        return min((once(requests) for _ in range(3)), key=lambda timed: timed[0])

    gc.collect()
    gc.freeze()  # else each collection walks through all that earlier tests have left in this process
    yield go
    gc.unfreeze()


def grows_linearly(times):
    return all(later < 2 * 10 * earlier + 0.2 for earlier, later in pairwise(times))


@pytest.mark.slow
def test_planning_takes_time_in_proportion_and_seconds_at_most(seconds, request_of):
    times = []
    for size in SIZES:
        took, left = seconds([request_of(number, BLOCKS) for number in range(size // BLOCKS)])
        assert len(left.runs) == size
        assert len(left.models) == 2 * BLOCKS
        times.append(took)
    assert grows_linearly(times), times
    assert times[-1] < LONGEST, times


@pytest.mark.slow
def test_taking_up_what_is_recorded_takes_time_in_proportion_and_seconds_at_most(
    seconds, request_of, store, records, monkeypatch
):
    monkeypatch.setitem(training.RECIPES, "cpu", replace(training.RECIPES["cpu"], epochs=1))
    ((outcome),) = run(request_of(0, 1), store, records)
    times = []
    for size in SIZES:
        requests = [request_of(number, BLOCKS) for number in range(size // BLOCKS)]
        for spec in (spec for request in requests for spec in make_plan(request, store).specs):
            records.write(outcome.record | {"spec": asdict(spec), "id": spec.id})
        took, left = seconds(requests)
        assert (len(left.recorded), len(left.jobs)) == (size, 0)
        times.append(took)
    assert grows_linearly(times), times
    assert times[-1] < LONGEST, times
