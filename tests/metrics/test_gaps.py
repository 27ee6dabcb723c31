import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.declaration import Unresolved
from metrics.gaps import (
    average_gap,
    gap_of_means,
    method_gap,
    null_average_gap,
    null_gap,
    null_tow,
    signed_differences,
    tow,
)

seeds = st.integers(0, 2**32 - 1)
METRICS = ("ua", "ra", "ta")


def fractions(seed: int, blocks: int = 6, retrains: int = 3) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.uniform(size=blocks), generator.uniform(size=(blocks, retrains))


def tables(seed: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    pairs = {name: fractions(seed + i) for i, name in enumerate(METRICS)}
    return {name: pair[0] for name, pair in pairs.items()}, {name: pair[1] for name, pair in pairs.items()}


def leave_one_out(aggregate, retrains):
    """Every Retrain in the role of the method against the others, averaged."""
    count = next(iter(retrains.values())).shape[1]
    return np.mean(
        [
            aggregate(
                {name: values[:, k] for name, values in retrains.items()},
                {name: np.delete(values, k, axis=1) for name, values in retrains.items()},
            )
            for k in range(count)
        ],
        axis=0,
    )


def mean_absolute_normal(mean: float, deviation: float) -> float:
    """Closed form of E|X| for a normal X."""
    scaled = mean / deviation
    density = deviation * math.sqrt(2 / math.pi) * math.exp(-(scaled**2) / 2)
    return density + mean * math.erf(scaled / math.sqrt(2))


def test_the_formulas_on_numbers_small_enough_to_check_by_hand():
    values, retrains = [0.5, 0.9], [[0.4, 0.7], [0.9, 0.8]]
    assert method_gap(values, retrains) == pytest.approx((0.1 + 0.2 + 0.0 + 0.1) / 4)
    assert null_gap(retrains) == pytest.approx((0.3 + 0.1) / 2)
    assert signed_differences(values, retrains) == pytest.approx([-0.05, 0.05])
    assert gap_of_means(values, retrains) == pytest.approx(0)
    assert average_gap({"ua": values, "ra": [1, 1]}, {"ua": retrains, "ra": [[1, 1], [1, 0.8]]}) == pytest.approx(
        [0.15 / 2, (0.05 + 0.1) / 2]
    )
    assert tow({"ua": values, "ra": [1, 1]}, {"ua": retrains, "ra": [[1, 1], [1, 0.8]]}) == pytest.approx(
        [(0.9 + 0.8) / 2, (1 * 1 + 0.9 * 0.8) / 2]
    )


@pytest.mark.parametrize("retrains", [2, 3, 5])
def test_a_retrain_in_the_role_of_the_method_has_exactly_the_null_gap(retrains):
    _, references = fractions(0, retrains=retrains)
    as_method = leave_one_out(lambda values, others: method_gap(values["ua"], others["ua"]), {"ua": references})
    assert as_method == pytest.approx(null_gap(references), abs=1e-15)


def test_a_retrain_in_the_role_of_the_method_has_exactly_the_null_of_both_aggregates():
    _, references = tables(0)
    assert leave_one_out(average_gap, references) == pytest.approx(null_average_gap(references), abs=1e-15)
    assert leave_one_out(tow, references) == pytest.approx(null_tow(references), abs=1e-15)


@pytest.mark.parametrize(("offset", "noise"), [(0.03, 0.0), (0.0, 0.01), (0.02, 0.01), (-0.01, 0.04)], ids=str)
def test_a_method_with_a_known_offset_and_noise_has_the_gap_that_theory_predicts(offset, noise):
    retrain_noise, blocks = 0.01, 20_000
    generator = np.random.default_rng(0)
    level = generator.uniform(0.3, 0.7, size=blocks)  # blocks differ, and pairing removes that
    values = level + offset + noise * generator.normal(size=blocks)
    references = level[:, None] + retrain_noise * generator.normal(size=(blocks, 3))
    expected = mean_absolute_normal(offset, math.hypot(noise, retrain_noise))
    assert method_gap(values, references) == pytest.approx(expected, rel=0.02)
    assert null_gap(references) == pytest.approx(mean_absolute_normal(0, math.hypot(0.01, 0.01)), rel=0.02)
    assert signed_differences(values, references).mean() == pytest.approx(offset, abs=0.001)


def test_errors_of_opposite_sign_cancel_in_the_gap_of_means_but_not_in_the_method_gap():
    values, references = [0.4, 0.6], [[0.5, 0.5], [0.5, 0.5]]
    assert gap_of_means(values, references) == pytest.approx(0)
    assert method_gap(values, references) == pytest.approx(0.1)


def test_the_retrained_model_itself_has_no_gap_and_full_tow():
    _, references = fractions(0)
    same = references[:, :1]
    assert method_gap(same[:, 0], same) == 0
    assert tow({"ua": same[:, 0]}, {"ua": same}).tolist() == [1.0] * 6


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_the_average_gap_is_the_mean_of_the_gaps_and_tow_never_exceeds_one(seed):
    values, references = tables(seed)
    gap_by_metric = [method_gap(values[name], references[name]) for name in METRICS]
    assert average_gap(values, references).mean() == pytest.approx(np.mean(gap_by_metric))
    for aggregate in (tow(values, references), average_gap(values, references)):
        assert aggregate.shape == (6,)
        assert aggregate.min() >= 0
        assert aggregate.max() <= 1


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_neither_the_order_of_blocks_nor_of_retrains_nor_of_metrics_matters(seed):
    values, references = fractions(seed)
    generator = np.random.default_rng(seed)
    blocks, retrains = generator.permutation(6), generator.permutation(3)
    shuffled = references[blocks][:, retrains]
    assert method_gap(values[blocks], shuffled) == pytest.approx(method_gap(values, references))
    assert null_gap(shuffled) == pytest.approx(null_gap(references))
    by_name, reference_by_name = tables(seed)
    backwards = {name: by_name[name] for name in reversed(METRICS)}
    assert tow(backwards, reference_by_name) == pytest.approx(tow(by_name, reference_by_name))


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_the_gap_is_never_below_the_gap_of_means(seed):
    values, references = fractions(seed)
    assert method_gap(values, references) >= gap_of_means(values, references) - 1e-12


def test_error_and_accuracy_on_the_forget_set_give_the_same_gap_and_tow():
    values, references = tables(3)
    errors, reference_errors = (dict(table, ua=1 - table["ua"]) for table in (values, references))
    assert tow(errors, reference_errors) == pytest.approx(tow(values, references))
    assert average_gap(errors, reference_errors) == pytest.approx(average_gap(values, references))


@pytest.mark.parametrize("null", [null_gap, lambda r: null_average_gap({"ua": r}), lambda r: null_tow({"ua": r})])
def test_one_retrain_has_no_null(null):
    with pytest.raises(Unresolved, match="needs two"):
        null([[0.5], [0.6]])


def test_no_block_gives_no_gap():
    with pytest.raises(Unresolved):
        method_gap([], np.empty((0, 2)))


def test_blocks_that_do_not_pair_are_refused():
    with pytest.raises(ValueError, match="1 blocks of the method, but 2"):
        method_gap([0.5], [[0.5], [0.5]])
    with pytest.raises(ValueError, match="same metrics"):
        average_gap({"ua": [0.5]}, {"ra": [[0.5]]})
    with pytest.raises(ValueError, match="same blocks"):
        average_gap({"ua": [0.5], "ra": [0.5]}, {"ua": [[0.5]], "ra": [[0.5, 0.5]]})


@pytest.mark.parametrize("table", [([98.0], [[0.5]]), ([0.5], [[98.0]])])
def test_tow_refuses_percentages(table):
    with pytest.raises(ValueError, match="percentages"):
        tow({"ta": table[0]}, {"ta": table[1]})
