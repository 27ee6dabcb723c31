import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from metrics.declaration import Unresolved
from metrics.membership import tpr_at_fpr
from metrics.roc import POINTS, membership_roc

seeds = st.integers(0, 2**32 - 1)
tied_scores = st.lists(st.integers(-6, 6), min_size=11, max_size=90).map(lambda scores: np.array(scores, dtype=float))


def normal_scores(seed, members=300, non_members=240, shift=0.5):
    generator = np.random.default_rng(seed)
    return generator.normal(shift, 1, members), generator.normal(0, 1, non_members)


@given(tied_scores, tied_scores)
def test_every_point_is_the_attack_at_that_rate_ties_included(members, non_members):
    curve = membership_roc(members, non_members)
    assert curve.tpr.tolist() == [tpr_at_fpr(members, non_members, rate) for rate in curve.fpr]


@given(tied_scores, tied_scores)
def test_every_point_lies_on_the_steps_of_scikit_learn(members, non_members):
    is_member = np.repeat([1, 0], [len(members), len(non_members)])
    fpr, tpr, _ = roc_curve(is_member, np.concatenate([members, non_members]), drop_intermediate=False)
    curve = membership_roc(members, non_members)
    allowed = [tpr[fpr <= rate + 1e-12].max() for rate in curve.fpr]
    assert curve.tpr == pytest.approx(np.array(allowed), abs=1e-12)


@pytest.mark.parametrize("count", [11, 24, 240, 1000, 100_000])
def test_the_rates_rise_from_ten_accused_to_all_and_follow_from_their_number_alone(count):
    first, second = (membership_roc(*normal_scores(seed, 50, count)).fpr for seed in (0, 1))
    assert first.tolist() == second.tolist()
    assert (first[0], first[-1]) == (10 / count, 1.0)
    assert (np.diff(first) > 0).all()
    assert len(first) <= POINTS
    assert first * count == pytest.approx(np.round(first * count))


def test_many_non_members_get_evenly_spaced_rates_on_a_log_axis():
    steps = np.diff(np.log(membership_roc(*normal_scores(0, 50, 100_000)).fpr))
    assert len(steps) == POINTS - 1
    assert steps == pytest.approx(np.full(POINTS - 1, steps.mean()), rel=0.1)


@given(seeds)
def test_an_attack_never_finds_fewer_when_it_may_accuse_more(seed):
    assert (np.diff(membership_roc(*normal_scores(seed)).tpr) >= 0).all()


def test_members_that_all_stand_out_are_all_found_and_such_that_hide_behind_all_others_only_at_the_end():
    non_members = np.arange(100.0)
    assert set(membership_roc(non_members + 1000, non_members).tpr) == {1.0}
    hidden = membership_roc(non_members - 1000, non_members).tpr
    assert (set(hidden[:-1]), hidden[-1]) == ({0.0}, 1.0)


@pytest.mark.parametrize(("members", "non_members"), [(0, 100), (5, 10), (5, 0)])
def test_what_the_sample_cannot_resolve_is_no_curve(members, non_members):
    with pytest.raises(Unresolved, match=f"{members} members, {non_members} non-members; needs 1 and 11"):
        membership_roc(np.zeros(members), np.zeros(non_members))


def test_a_score_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="NaN or infinite"):
        membership_roc([0.0, np.nan], np.zeros(20))
