import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.declaration import Unresolved
from metrics.variance import LEVELS, nested_variance

seeds = st.integers(0, 2**32 - 1)


def effects(generator, deviations, shape):
    """A table whose effect of each level is Gaussian with the given standard deviation."""
    table = np.zeros(shape)
    for depth, deviation in enumerate(deviations, start=1):
        size = (*shape[:depth], *[1] * (len(shape) - depth))
        table = table + generator.normal(0, deviation, size)
    return table


def estimates(values):
    return np.array([component.estimate for component in nested_variance(values).components])


@pytest.mark.parametrize("deviations", [(1.0, 2.0, 0.5), (0.0, 1.0, 1.0), (0.3, 0.0, 1.0)])
def test_the_components_of_a_simulated_study_come_out_right_on_average(deviations):
    generator = np.random.default_rng(0)
    found = np.array([estimates(effects(generator, deviations, (4, 3, 5))) for _ in range(3000)])
    errors = found.std(axis=0) / np.sqrt(len(found))
    assert (np.abs(found.mean(axis=0) - np.square(deviations)) < 4 * errors).all()


def test_one_large_study_finds_each_component():
    table = effects(np.random.default_rng(0), (1.0, 2.0, 0.5), (300, 20, 5))
    assert estimates(table) == pytest.approx([1.0, 4.0, 0.25], rel=0.15)
    assert [component.share for component in nested_variance(table).components] == pytest.approx(
        [0.19, 0.762, 0.048], abs=0.03
    )


def test_an_example_worked_by_hand():
    """Two forget sets of two Originals of two seeds: means 1 and 7, of Originals 0, 2, 6 and 8, seeds +-1 around."""
    study = nested_variance([[[-1, 1], [1, 3]], [[5, 7], [7, 9]]])
    assert study.mean == 4
    assert [component.level for component in study.components] == list(LEVELS)
    assert [component.degrees for component in study.components] == [1, 2, 4]
    assert [component.mean_square for component in study.components] == pytest.approx([72, 4, 2])
    assert [component.estimate for component in study.components] == pytest.approx([17, 1, 2])
    assert [component.share for component in study.components] == pytest.approx([0.85, 0.05, 0.1])
    assert study.standard_error == pytest.approx(3)
    assert study.negative == ()


@given(seeds)
def test_the_mean_squares_split_the_whole_sum_of_squares(seed):
    table = np.random.default_rng(seed).normal(size=(3, 4, 2))
    parts = nested_variance(table).components
    assert sum(part.degrees for part in parts) == table.size - 1
    assert sum(part.degrees * part.mean_square for part in parts) == pytest.approx(np.sum((table - table.mean()) ** 2))


def test_a_negative_estimate_is_kept_and_named_and_its_share_is_nothing():
    """Originals agree in the mean although their seeds do not: less spread than the seeds alone would give."""
    study = nested_variance([[[-1, 1], [-1, 1]], [[4, 6], [4, 6]]])
    assert study.negative == ("Original",)
    assert study.components[1].estimate == -1
    assert study.components[1].share == 0
    assert sum(component.share for component in study.components) == pytest.approx(1)


def test_the_mean_lies_within_two_standard_errors_as_often_as_a_t_interval_says():
    generator = np.random.default_rng(0)
    studies = [nested_variance(effects(generator, (1.0, 1.0, 1.0), (6, 2, 2))) for _ in range(2000)]
    covered = [abs(study.mean) <= 2.5706 * study.standard_error for study in studies]  # t of 5 degrees
    assert 0.93 < np.mean(covered) < 0.97


def test_a_deterministic_method_has_no_component_of_its_seed():
    table = np.repeat(np.random.default_rng(0).normal(size=(3, 4, 1)), 2, axis=2)
    seed = nested_variance(table).components[-1]
    assert (seed.estimate, seed.share) == (0, 0)


def test_a_study_without_any_spread_has_shares_of_zero():
    assert [component.share for component in nested_variance(np.full((2, 2, 2), 0.1)).components] == [0, 0, 0]


def test_two_levels_are_a_study_too_and_every_level_needs_two_units():
    assert len(nested_variance(np.eye(3), ("Original", "method seed")).components) == 2
    with pytest.raises(Unresolved, match="1 method seed"):
        nested_variance(np.zeros((3, 3, 1)))
    with pytest.raises(ValueError, match="expected 3 dimension"):
        nested_variance(np.zeros((3, 3)))
    with pytest.raises(ValueError, match="NaN"):
        nested_variance(np.full((2, 2, 2), np.nan))
