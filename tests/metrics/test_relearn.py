"""Relearn time from the course of a training on the forget set."""

from metrics.relearn import LIMIT, Relearning, relearn_steps


def test_it_is_the_first_step_after_which_as_many_are_right():
    assert relearn_steps(Relearning([3, 5, 4, 7, 6], goal=7)) == 3


def test_a_model_that_is_there_already_needs_no_step():
    assert relearn_steps(Relearning([9], goal=8)) == 0


def test_one_that_never_gets_there_has_the_limit():
    assert relearn_steps(Relearning([1] * (LIMIT + 1), goal=2)) == LIMIT
