"""Where a run's wall time goes: every second once."""

import pytest

from benchmark.clock import Clock


class Hand:
    """A clock's time, moved by hand."""

    def __init__(self):
        self.time = 100.0

    def __call__(self):
        return self.time

    def pass_by(self, seconds):
        self.time += seconds


@pytest.fixture
def hand():
    return Hand()


def test_a_second_counts_for_the_innermost_span_and_else_for_the_suite(hand):
    clock = Clock(hand)
    hand.pass_by(1)
    with clock.span("method"):
        hand.pass_by(2)
        with clock.span("training"):
            hand.pass_by(4)
        hand.pass_by(8)
    hand.pass_by(16)
    assert clock.seconds() == {
        "training": 4, "method": 10, "prediction": 0, "metrics": 0, "waiting": 0, "suite": 17,
    }  # fmt: skip


def test_a_run_counts_from_its_own_beginning_and_its_parts_make_up_the_total(hand):
    clock = Clock(hand)
    hand.pass_by(1000)
    before = clock.seconds()
    with clock.span("metrics"):
        hand.pass_by(0.25)
    hand.pass_by(1.5)
    since = clock.since(before)
    assert since.pop("total") == pytest.approx(sum(since.values())) == 1.75
    assert since["suite"] == 1.5


def test_a_span_that_ends_in_an_error_is_over(hand):
    clock = Clock(hand)
    with pytest.raises(KeyError), clock.span("prediction"):
        hand.pass_by(1)
        raise KeyError
    hand.pass_by(2)
    assert clock.seconds()["prediction"] == 1
    assert clock.seconds()["suite"] == 2
