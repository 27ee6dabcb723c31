import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.declaration import Unresolved
from metrics.sampling import class_matched, stratified_folds

seeds = st.integers(0, 2**32 - 1)
label_lists = st.lists(st.integers(0, 4), min_size=1, max_size=80).map(np.array)


@settings(max_examples=60, deadline=None)
@given(label_lists, st.integers(2, 6), seeds)
def test_folds_differ_by_at_most_one_image_in_every_class_and_altogether(labels, folds, seed):
    fold_of = stratified_folds(labels, folds, np.random.default_rng(seed))
    for members in (fold_of, *(fold_of[labels == k] for k in range(5))):
        assert np.ptp(np.bincount(members, minlength=folds)) <= 1


def test_folds_are_dealt_anew_by_every_draw():
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1], 20)
    assert (stratified_folds(labels, 5, generator) != stratified_folds(labels, 5, generator)).any()


@settings(max_examples=60, deadline=None)
@given(label_lists, label_lists, st.integers(1, 100), seeds)
def test_matched_samples_have_the_same_classes_no_repeats_and_no_more_than_the_limit(first, second, limit, seed):
    shared = np.minimum(np.bincount(first, minlength=5), np.bincount(second, minlength=5))
    if not shared.any():
        with pytest.raises(Unresolved):
            class_matched(first, second, limit, np.random.default_rng(seed))
        return
    left, right = class_matched(first, second, limit, np.random.default_rng(seed))
    assert len(left) == len(set(left)) == len(set(right)) == min(limit, shared.sum())
    counts = np.bincount(first[left], minlength=5)
    assert counts.tolist() == np.bincount(second[right], minlength=5).tolist()
    assert (np.abs(counts - shared * len(left) / shared.sum()) < 1).all()
    assert (counts <= shared).all()


def test_every_image_of_a_class_is_drawn_equally_often():
    generator = np.random.default_rng(0)
    retain, non_members = np.repeat([0, 1], [20, 10]), np.repeat([0, 1], [5, 5])
    times = np.zeros(30)
    for _ in range(4000):
        times[class_matched(retain, non_members, 100, generator)[0]] += 1
    assert times[:20] / 4000 == pytest.approx(5 / 20, abs=0.03)
    assert times[20:] / 4000 == pytest.approx(5 / 10, abs=0.03)
