"""Splits cover what they should, never part a unit, and are stratified (PROTOCOL 2.1 to 2.3)."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.api import MedsafeError
from benchmark.data.datasets import load_dataset
from benchmark.data.splits import make_splits, read_groups
from benchmark.data.units import draw_share, draw_units, largest_remainder, merge_units


@st.composite
def label_lists(draw, images: int = 40):
    """Labels of train, val and test; train holds every class."""
    classes = draw(st.integers(2, 4))
    label = st.integers(0, classes - 1)
    train = list(range(classes)) + draw(st.lists(label, min_size=2, max_size=images))
    val, test = (draw(st.lists(label, min_size=1, max_size=images // 2)) for _ in range(2))
    return train, val, test


@st.composite
def datasets_with_units(draw):
    """Arguments of `make_dataset` with many copies, and perhaps a user's groups."""
    lists = draw(label_lists())
    total = sum(map(len, lists))
    content = draw(st.lists(st.integers(0, total), min_size=total, max_size=total))
    groups = draw(st.none() | st.lists(st.integers(0, total // 3), min_size=total, max_size=total))
    return (*lists, content), None if groups is None else np.array(groups)


def parts(splits):
    return {name: getattr(splits, name) for name in ("pool", "non_members", "validation", "reserved", "excluded")}


@settings(deadline=None)
@given(datasets_with_units(), st.sampled_from([0.0, 0.1, 0.3, 0.5]), st.integers(0, 5))
def test_splits_cover_the_data_and_part_no_unit(make_dataset, case, share, seed):
    arguments, groups = case
    dataset = make_dataset(*arguments)
    splits = make_splits(dataset, seed=seed, non_member_share=share, groups=groups)
    np.testing.assert_array_equal(np.union1d(splits.pool, splits.non_members), dataset.train)
    held = np.concatenate([splits.validation, splits.reserved, splits.excluded])
    np.testing.assert_array_equal(np.sort(held), dataset.validation)
    np.testing.assert_array_equal(splits.test, dataset.test)
    homes = [set(splits.unit[splits_part]) for name, splits_part in parts(splits).items() if name != "excluded"]
    assert sum(map(len, homes)) == len(set().union(*homes))
    assert set(splits.unit[splits.excluded]) <= set(splits.unit[dataset.train])
    for rows in parts(splits).values():
        assert rows.dtype == np.int64
        assert (np.diff(rows) > 0).all()
    assert splits.grouped == (groups is not None)


@settings(deadline=None)
@given(datasets_with_units())
def test_a_unit_joins_all_that_copies_and_groups_connect(make_dataset, case):
    arguments, groups = case
    dataset = make_dataset(*arguments)
    splits = make_splits(dataset, seed=0, groups=groups)
    content, unit = np.array(arguments[3]), splits.unit
    grouping = [content] if groups is None else [content, groups]
    reference = np.arange(len(unit))  # the smallest number that reaches an image through either grouping
    for _ in reference:
        for labels in grouping:
            smallest = np.full(labels.max() + 1, len(unit))
            np.minimum.at(smallest, labels, reference)
            reference = smallest[labels]
    np.testing.assert_array_equal(unit[:, None] == unit[None], reference[:, None] == reference[None])
    np.testing.assert_array_equal(splits.copies[:, None] == splits.copies[None], content[:, None] == content[None])


@settings(deadline=None)
@given(label_lists(80), st.floats(0, 0.9), st.integers(0, 5))
def test_without_copies_the_shares_are_met_exactly(make_dataset, lists, share, seed):
    dataset = make_dataset(*lists)
    labels = dataset.labels.numpy()
    splits = make_splits(dataset, seed=seed, non_member_share=share)
    assert len(splits.non_members) == round(share * len(dataset.train))
    wanted = share * np.bincount(labels[dataset.train])
    assert (np.abs(np.bincount(labels[splits.non_members], minlength=len(wanted)) - wanted) <= 1 + 1e-9).all()
    assert len(splits.reserved) == min(200, len(dataset.validation) // 2)
    exact = np.bincount(labels[dataset.validation]) * len(splits.reserved) / len(dataset.validation)
    assert (np.abs(np.bincount(labels[splits.reserved], minlength=len(exact)) - exact) <= 1 + 1e-9).all()
    assert not len(splits.excluded)


def test_the_same_seed_gives_the_same_splits_and_another_gives_others(bloodmini):
    first, again, other = (make_splits(bloodmini, seed=seed) for seed in (0, 0, 1))
    for name, rows in parts(first).items():
        np.testing.assert_array_equal(rows, getattr(again, name))
    assert not np.array_equal(first.non_members, other.non_members)
    assert not np.array_equal(first.reserved, other.reserved)


def test_bloodmini_is_split_as_the_protocol_says(bloodmini):
    sizes = {name: len(rows) for name, rows in parts(make_splits(bloodmini, seed=0)).items()}
    assert sizes == {"pool": 2160, "non_members": 240, "validation": 200, "reserved": 200, "excluded": 0}


def test_every_training_image_may_be_a_non_member(make_dataset):
    dataset = make_dataset([0, 1] * 10, [0, 1], [0, 1])
    drawn = np.unique(np.concatenate([make_splits(dataset, seed=seed).non_members for seed in range(100)]))
    np.testing.assert_array_equal(drawn, dataset.train)


def test_the_official_accuracy_control_trains_on_all_of_train(bloodmini):
    splits = make_splits(bloodmini, seed=0, non_member_share=0)
    np.testing.assert_array_equal(splits.pool, bloodmini.train)
    assert not len(splits.non_members)


@pytest.mark.parametrize("share", [-0.1, 1, float("nan")])
def test_a_share_that_is_none_is_refused(bloodmini, share):
    with pytest.raises(MedsafeError, match="non-member share"):
        make_splits(bloodmini, seed=0, non_member_share=share)


def test_what_is_to_be_forgotten_stays_in_the_pool_with_its_unit(make_dataset):
    content = [0, 0, *range(2, 24)]
    dataset = make_dataset([0, 1] * 10, [0, 1], [0, 1], content)
    keep = np.array([0, 2, 3])
    for seed in range(50):
        splits = make_splits(dataset, seed=seed, non_member_share=0.5, keep_in_pool=keep)
        assert {0, 1, 2, 3} <= set(splits.pool)
        assert len(splits.non_members) == 10


def test_copies_in_validation_and_test_are_told(make_dataset):
    #                      train 0-3, validation 4-7, test 8-12
    content = [*(0, 1, 2, 3), *(0, 10, 11, 12), *(1, 10, 20, 20, 21)]
    splits = make_splits(make_dataset([0, 1, 0, 1], [0, 1, 0, 1], [0, 1, 0, 1, 0], content), seed=0)
    assert splits.excluded.tolist() == [4]
    assert splits.test.tolist() == [8, 9, 10, 11, 12]
    assert splits.test_deduplicated.tolist() == [10, 12]


def test_the_known_duplicates_of_pneumoniamnist_cross_no_border(real_files):
    dataset = load_dataset("pneumoniamnist", real_files)
    splits = make_splits(dataset, seed=0)
    assert len(splits.reserved) == 200
    assert len(splits.non_members) == 471
    assert len(splits.test_deduplicated) < len(splits.test)
    assert not set(splits.unit[splits.validation]) & set(splits.unit[dataset.train])


def test_reserved_and_validation_images_of_one_patient_stay_together(make_dataset):
    dataset = make_dataset([0, 1] * 5, [0, 1] * 20, [0, 1])
    groups = np.concatenate([np.arange(10), 10 + np.arange(40) // 4, [50, 51]])
    splits = make_splits(dataset, seed=0, groups=groups)
    assert len(splits.reserved) == 20
    assert not set(groups[splits.reserved]) & set(groups[splits.validation])


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.floats(0, 1))
def test_largest_remainder_rounds_every_share_up_or_down(counts, share):
    shares = share * np.array(counts)
    total = round(share * sum(counts))
    seats = largest_remainder(shares, total)
    assert seats.sum() == total
    assert (np.abs(seats - shares) <= 1 + 1e-9).all()


def test_largest_remainder_of_a_textbook_example():
    votes = np.array([47_000, 16_000, 15_900, 12_000, 6_000, 3_100])
    assert largest_remainder(votes / 10_000, 10).tolist() == [5, 2, 1, 1, 1, 0]


@given(st.integers(1, 6), st.floats(0.05, 0.95), st.integers(0, 20))
def test_large_units_come_as_near_as_one_unit(size, share, seed):
    rows = np.arange(120)
    drawn = draw_share(rows, rows // size, np.zeros_like(rows), share, np.random.default_rng(seed))
    assert abs(len(drawn) - share * 120) <= size / 2 + 0.5
    assert set(np.bincount(drawn // size)) <= {0, size}


def test_nothing_is_drawn_from_nothing():
    empty = np.arange(0)
    assert not len(draw_units(empty, empty, empty, np.array([1, 2]), np.random.default_rng(0)))


def test_units_merge_through_a_chain():
    assert len(set(merge_units(np.array([7, 7, 3, 9]), np.array([0, 5, 5, 2])))) == 2


@pytest.fixture
def toy(make_dataset):
    return make_dataset([0, 1, 0, 1], [0, 1], [0, 1])


def test_groups_are_read_by_split_and_index(tmp_path, toy):
    path = tmp_path / "groups.csv"
    path.write_text("\ufeffgroup,split,index\nanna,train,0\nanna,train,2\nbert,train,1\n=1+1,train,3\ncarl,test,1\n")
    groups = read_groups(path, toy)
    assert groups[0] == groups[2]
    assert len(set(groups)) == 7
    assert make_splits(toy, seed=0, groups=groups).grouped


TRAIN = "split,index,group\ntrain,0,a\ntrain,1,a\ntrain,2,b\ntrain,3,c\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1: no column 'split'"),
        ("split,index\n", "line 1: no column 'group'"),
        (TRAIN + "validation,0,d\n", "line 6: split 'validation' does not exist"),
        (TRAIN + "val,2,d\n", "line 6: index '2' is no image of val"),
        (TRAIN + "val,-1,d\n", "line 6: index '-1'"),
        (TRAIN + "val,1.5,d\n", "line 6: index '1.5'"),
        (TRAIN + "val,,d\n", "line 6: index ''"),
        (TRAIN + "val\n", "line 6: index ''"),
        (TRAIN + "val,0,\n", "line 6: the group is empty"),
        (TRAIN + "train,0,a\n", "line 6: image 0 of train is listed twice"),
        (TRAIN + "test,0,b\n", "line 6: group 'b' lies in both train and test"),
        ("split,index,group\ntrain,0,a\n", "image 1 of train is in no line"),
        ("split,index,group\ntrain,0,\xff\n", "no CSV text file"),
    ],
)
def test_a_wrong_group_file_is_refused_in_one_line(tmp_path, toy, text, words):
    path = tmp_path / "groups.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(MedsafeError) as caught:
        read_groups(path, toy)
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    assert line.startswith(f"{path}: ")
    assert words in line


def test_a_missing_group_file_is_refused_in_one_line(tmp_path, toy):
    with pytest.raises(MedsafeError, match=r"cannot be read .*groups\.csv|groups\.csv.*cannot be read"):
        read_groups(tmp_path / "groups.csv", toy)


def test_splits_are_frozen(toy):
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_splits(toy, seed=0).pool = np.arange(3)
