"""Alternation and statistics, on a clock that the test itself moves."""

import pytest

from benchmark.perf.measure import Comparison, Measured, Spread, measure, spread


class Work:
    """Ways whose every call takes as long as the test says."""

    def __init__(self, **seconds):
        self.now, self.called = 0.0, []
        self.left = {name: list(values) for name, values in seconds.items()}

    def way(self, name):
        def call():
            self.called.append(name)
            self.now += self.left[name].pop(0)

        return call

    def comparison(self, **options):
        return Comparison("title", "detail", {name: self.way(name) for name in self.left}, **options)


def test_ways_take_turns_and_every_second_repeat_is_reversed():
    work = Work(ours=[1] * 3, plain=[2] * 3, other=[3] * 3)
    measure(work.comparison(warm_up=False), 3, lambda: work.now)
    forwards = ["ours", "plain", "other"]
    assert work.called == [*forwards, *reversed(forwards), *forwards]


def test_the_call_that_warms_up_does_not_count():
    work = Work(ours=[100, 1, 2], plain=[100, 3, 4])
    measured = measure(work.comparison(), 2, lambda: work.now)
    assert measured.seconds == {"ours": (1, 2), "plain": (3, 4)}


def test_what_takes_minutes_is_repeated_less_often():
    work = Work(ours=[1, 1], plain=[2, 2])
    measured = measure(work.comparison(warm_up=False, most_repeats=1), 5, lambda: work.now)
    assert measured.seconds == {"ours": (1,), "plain": (2,)}


def test_ratios_compare_within_a_repeat_so_that_a_slow_minute_changes_none():
    measured = Measured("t", "d", None, {"ours": (1.0, 10.0, 2.0), "plain": (2.0, 20.0, 4.0)})
    assert measured.ratios() == {"plain": Spread(2.0, 2.0, 2.0)}
    assert measured.spread("ours") == Spread(1.0, 2.0, 10.0)


def test_a_spread_of_an_even_number_has_the_mean_of_the_middle_ones():
    assert spread([4, 1, 3, 2]) == Spread(1, 2.5, 4)


def test_a_spread_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="empty"):
        spread([])
