"""Who is poisoned, which class is wanted, and what a defender holds (PROTOCOL 2.3, 7.1, 7.4)."""

import numpy as np
import pytest

from attacks.badnets import BadNets
from benchmark.api import AttackInfo, MedsafeError
from benchmark.data.poison import canonical_pool, defender_rows, draw_poison, target_class
from benchmark.data.splits import make_splits

OTHERS = BadNets.plugin_info
CLEAN_LABEL = AttackInfo("attacks", "sig", 1, {}, victims="target")
ANY = AttackInfo("attacks", "all", 1, {}, goal="all-to-all", victims="all")
CONTROL = AttackInfo("attacks", "clean", 1, {}, goal="none")


@pytest.fixture(scope="module")
def splits(bloodmini):
    return make_splits(bloodmini, seed=0)


def draw(dataset, splits, info=OTHERS, block=0, ratio=0.1, cover_ratio=0.0):
    return draw_poison(dataset, splits, info, block=block, ratio=ratio, cover_ratio=cover_ratio)


def test_eight_blocks_want_eight_classes_and_the_ninth_begins_again(bloodmini):
    targets = [target_class(bloodmini, block) for block in range(16)]
    assert sorted(targets[:8]) == list(range(8))
    assert targets[8:] == targets[:8]


def test_with_two_classes_the_target_is_the_one_called_normal(make_dataset):
    pneumonia = make_dataset([0, 1], [0, 1], [0, 1])
    for names, target in ((("malignant", "normal, benign"), 1), (("Normal", "sick"), 0), (("a", "b"), 0)):
        object.__setattr__(pneumonia, "class_names", names)
        assert {target_class(pneumonia, block) for block in range(5)} == {target}


@pytest.mark.parametrize("block", range(3))
def test_dirty_label_poison_is_a_share_of_the_pool_from_the_other_classes(bloodmini, splits, block):
    rows = draw(bloodmini, splits, block=block)
    assert len(rows.poisoned) == round(0.1 * len(splits.pool))
    assert np.isin(rows.poisoned, splits.pool).all()
    assert target_class(bloodmini, block) not in bloodmini.labels.numpy()[rows.poisoned]


def test_clean_label_poison_is_a_share_of_the_target_class(bloodmini, splits):
    labels = bloodmini.labels.numpy()
    of_target = splits.pool[labels[splits.pool] == target_class(bloodmini, 0)]
    rows = draw(bloodmini, splits, CLEAN_LABEL, ratio=0.5)
    assert np.isin(rows.poisoned, of_target).all()
    assert len(rows.poisoned) == round(0.5 * len(of_target))
    assert len(draw(bloodmini, splits, CLEAN_LABEL, ratio=1.0).poisoned) == len(of_target)


def test_all_attacks_of_a_block_with_the_same_victims_and_ratio_poison_the_same_images(bloodmini, splits):
    other = AttackInfo("attacks", "another", 7, {}, controls_training=True)
    np.testing.assert_array_equal(draw(bloodmini, splits).poisoned, draw(bloodmini, splits, other).poisoned)
    assert not np.array_equal(draw(bloodmini, splits).poisoned, draw(bloodmini, splits, block=1).poisoned)


def test_cover_images_are_of_any_class_and_never_poisoned_too(bloodmini, splits):
    rows = draw(bloodmini, splits, ratio=0.1, cover_ratio=0.2)
    assert len(rows.cover) == round(0.2 * len(splits.pool))
    assert not np.intersect1d(rows.cover, rows.poisoned).size
    assert len(np.unique(bloodmini.labels.numpy()[rows.cover])) == 8


def test_the_control_poisons_nothing(bloodmini, splits):
    rows = draw(bloodmini, splits, CONTROL, ratio=0.0)
    assert not len(rows.poisoned)
    assert not len(rows.cover)


def test_exact_copies_are_poisoned_together_or_not_at_all(make_dataset):
    content = [number // 2 for number in range(80)] + list(range(100, 140))
    dataset = make_dataset([0, 0, 1, 1] * 20, [0, 1] * 10, [0, 1] * 10, content)
    splits = make_splits(dataset, seed=0)
    rows = draw(dataset, splits, ANY, ratio=0.3, cover_ratio=0.2)
    for chosen in (rows.poisoned, rows.cover):
        assert len(chosen)
        units = splits.unit[chosen]
        assert np.isin(splits.pool[np.isin(splits.unit[splits.pool], units)], chosen).all()


@pytest.mark.parametrize(
    ("info", "ratio", "message"),
    [
        (OTHERS, 1e-5, "stamps no image of 2160; choose a larger one"),
        (OTHERS, 0.99, "is 2138 images, and there are 1794 to stamp; choose a smaller one"),
        (CLEAN_LABEL, 1.2, "of the target class is 439 images, and there are 366 to stamp; choose a smaller one"),
    ],
)
def test_a_ratio_that_cannot_be_had_is_refused(bloodmini, splits, info, ratio, message):
    with pytest.raises(MedsafeError, match=f"^attack {info.name}: a ratio of {ratio} .*{message}$"):
        draw(bloodmini, splits, info, ratio=ratio)


def test_the_reserved_pool_is_never_trained_on_and_its_part_is_stratified(bloodmini, splits):
    pool, part = defender_rows(bloodmini, splits, "reserved"), defender_rows(bloodmini, splits, "reserved:50")
    np.testing.assert_array_equal(pool, splits.reserved)
    assert not np.intersect1d(pool, np.concatenate([splits.pool, splits.test, splits.validation])).size
    assert np.isin(part, pool).all()
    counts = np.bincount(bloodmini.labels.numpy()[part], minlength=8)
    assert counts.sum() == 50
    whole = np.bincount(bloodmini.labels.numpy()[pool], minlength=8)
    assert np.abs(counts - whole / 4).max() < 1


def test_a_seen_pool_comes_from_the_images_that_were_trained_on(bloodmini, splits):
    seen = defender_rows(bloodmini, splits, "seen")
    assert len(seen) == 200
    assert np.isin(seen, splits.pool).all()


@pytest.mark.parametrize("pool", ["reserve", "reserved:0", "reserved:x", ":50", "reserved:1.5", "seen:99999"])
def test_a_pool_that_is_none_or_too_large_is_refused(bloodmini, splits, pool):
    with pytest.raises(MedsafeError, match=f"^pool '{pool}'"):
        defender_rows(bloodmini, splits, pool)


def test_an_exact_copy_with_the_targets_label_keeps_its_twin_from_being_poisoned(make_dataset):
    labels = [0, 1] * 40
    content = [number // 2 for number in range(20)] + list(range(50, 110)) + list(range(200, 240))
    dataset = make_dataset(labels, [0, 1] * 10, [0, 1] * 10, content)
    splits = make_splits(dataset, seed=0)
    rows = draw(dataset, splits, ratio=0.3)
    assert not np.isin(rows.poisoned, np.arange(20)).any()


def test_groups_too_large_for_a_ratio_or_a_pool_are_refused(make_dataset):
    dataset = make_dataset([0, 1] * 40, [0, 1] * 20, [0, 1] * 10)
    groups = np.arange(140) // 20
    splits = make_splits(dataset, seed=0, groups=groups)
    with pytest.raises(MedsafeError, match=r"^attack all: a ratio of 0.05 means .* exact copies and groups"):
        draw(dataset, splits, ANY, ratio=0.05)
    with pytest.raises(MedsafeError, match=r"^pool 'seen:4'"):
        defender_rows(dataset, splits, "seen:4")


def test_one_pool_has_one_name(bloodmini, splits):
    names = {pool: canonical_pool(pool, splits) for pool in ("reserved", "reserved:200", "seen:200", "seen:50")}
    assert names == {"reserved": "reserved", "reserved:200": "reserved", "seen:200": "seen", "seen:50": "seen:50"}
