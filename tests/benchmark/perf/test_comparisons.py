"""The real comparisons, as short as they can be: figures are figures. How large they are, a quiet machine says."""

import math

import pytest

from benchmark.errors import MedsafeError
from benchmark.perf.comparisons import epoch, overhead, saliency, sau
from benchmark.perf.experiment import call, experiment, leaderboard
from benchmark.perf.measure import measure

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("opened", "ways"),
    [
        (lambda: epoch("cnn-small", 128, None), 3),
        (overhead, 2),
        (saliency, 2),
        (sau, 2),
        (lambda: leaderboard(40), 1),
    ],
    ids=["epoch", "overhead", "saliency", "sau", "leaderboard"],
)
def test_every_way_of_a_comparison_takes_a_while(opened, ways):
    with opened() as comparison:
        measured = measure(comparison, 1)
    assert len(measured.seconds) == ways
    values = [*measured.seconds.values(), [ratio.median for ratio in measured.ratios().values()]]
    assert all(math.isfinite(value) and value > 0 for each in values for value in each)


@pytest.mark.timeout(900)
def test_both_ways_run_the_whole_experiment():
    with experiment(1, 1, 6, required=2.0) as comparison:
        measured = measure(comparison, 1)
    assert "plain PyTorch, 0 workers" in measured.ratios()
    assert all(0 < share < 1 for (share,) in measured.shares.values())
    assert sum(share for (share,) in measured.shares.values()) < 1


def test_a_command_that_fails_is_named_with_what_it_said_last():
    with pytest.raises(MedsafeError, match=r"benchmark\.cli ended with 2: .*no-such-method"):
        call(("benchmark.cli", "run", "--method", "no-such-method"))
