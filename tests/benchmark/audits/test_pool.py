"""The shadow pool: half-split models in complementary pairs, each trained once, of which statistics are left."""

import itertools
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import pytest

from benchmark.audits.pool import Pool, statistics_of
from benchmark.tracks.shared import original
from benchmark.tracks.stored import MODEL, PREDICTIONS, predictions_of
from metrics.membership import log_odds


def test_of_a_pair_every_training_image_is_in_exactly_one(pool):
    train = pool.bench.dataset.train
    for purpose, first in itertools.product(("shadow", "target"), (0, 2)):
        halves = pool.half(purpose, first), pool.half(purpose, first + 1)
        np.testing.assert_array_equal(np.sort(np.concatenate(halves)), train)
        assert abs(len(halves[0]) - len(train) / 2) <= 1


def test_halves_have_half_of_every_class(pool):
    labels = pool.bench.dataset.labels.numpy()
    of_all = np.bincount(labels[pool.bench.dataset.train])
    of_half = np.bincount(labels[pool.half("shadow", 2)])
    assert np.abs(of_half - of_all / 2).max() < 1


def test_units_stay_whole(pool):
    unit = np.arange(len(pool.bench.dataset.labels)) // 5  # five images to a patient
    grouped = Pool(replace(pool.bench, splits=replace(pool.bench.splits, unit=unit)), shadows=2)
    first, second = grouped.half("shadow", 0), grouped.half("shadow", 1)
    assert not np.intersect1d(unit[first], unit[second]).size
    assert abs(len(first) - len(second)) <= 40


def test_halves_differ_between_pairs_and_purposes(pool):
    halves = [pool.half("shadow", 0), pool.half("shadow", 2), pool.half("target", 0)]
    for first, second in itertools.combinations(halves, 2):
        overlap = len(np.intersect1d(first, second)) / len(first)
        assert 0.35 < overlap < 0.65  # as of independent draws


def test_a_pool_that_grows_keeps_what_it_has(pool):
    assert [model.id for model in Pool(pool.bench, shadows=6).models()[:4]] == [model.id for model in pool.models()]


@pytest.mark.parametrize("shadows", [0, 3, -2])
def test_shadows_come_in_pairs(pool, shadows):
    with pytest.raises(ValueError, match="pairs"):
        Pool(pool.bench, shadows)


def test_a_target_is_an_original_on_its_half(pool):
    bench = pool.target(3)
    np.testing.assert_array_equal(bench.splits.pool, pool.half("target", 3))
    np.testing.assert_array_equal(bench.splits.non_members, pool.half("target", 2))
    np.testing.assert_array_equal(bench.splits.validation, pool.bench.splits.validation)
    assert (original(bench, 3).get() / MODEL).is_file()  # a method will work on it


def test_what_is_left_of_a_shadow_is_one_number_an_image(pool):
    artifact = pool.models()[1].get()
    assert sorted(path.name for path in artifact.folder.iterdir()) == ["manifest.json", PREDICTIONS]
    stored = predictions_of(artifact)
    assert list(stored) == ["log_odds"]
    assert stored["log_odds"].dtype == np.float32
    assert stored["log_odds"].shape == (len(pool.bench.dataset.labels),)


def test_a_shadow_is_what_the_training_loop_makes_of_its_half(pool):
    model = pool.models()[1]
    made = model.make()
    logits = made.model.eval()(pool.bench.images.float() / 255)
    stored = predictions_of(model.get())["log_odds"]
    np.testing.assert_allclose(log_odds(logits.detach(), pool.bench.dataset.labels), stored, atol=1e-4)
    assert model.images == 2 * 200  # two epochs on half of 400


def test_collected_statistics_say_who_was_trained_on_what(pool):
    statistics = statistics_of(pool.collect())
    assert statistics.log_odds.shape == statistics.members.shape == (len(pool.bench.dataset.labels), 4)
    train = pool.bench.dataset.train
    assert (statistics.members[train].sum(axis=1) == 2).all()  # in exactly half of them
    assert not np.delete(statistics.members, train, axis=0).any()  # validation and test in none
    np.testing.assert_array_equal(np.flatnonzero(statistics.members[:, 2]), pool.half("shadow", 2))
    assert not statistics.members[statistics.population].any()
    np.testing.assert_array_equal(statistics.population, pool.bench.splits.reserved)
    assert not np.isin(statistics.population, pool.bench.validation_rows(None)).any()  # what methods are handed
    np.testing.assert_array_equal(statistics.log_odds[:, 3], predictions_of(pool.models()[3].get())["log_odds"])


def test_a_pool_is_trained_once(pool, open_bench, monkeypatch):
    first = pool.collect()
    again = Pool(open_bench(), shadows=4)
    monkeypatch.setattr("benchmark.tracks.models.Workbench.fit", lambda *_, **__: pytest.fail("trained again"))
    assert again.collect().folder == first.folder


def test_a_pool_that_was_interrupted_goes_on_where_it_was(pool, open_bench, monkeypatch):
    fit, trained = type(pool.bench).fit, []

    def dies_at_the_third(bench, *args, **kwargs):
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(args)
        return fit(bench, *args, **kwargs)

    monkeypatch.setattr("benchmark.tracks.models.Workbench.fit", dies_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        pool.collect()
    monkeypatch.setattr("benchmark.tracks.models.Workbench.fit", fit)
    again = Pool(open_bench(pool.bench.store.root), shadows=4)
    assert [again.bench.store.has(model.id) for model in again.models()] == [True, True, False, False]


@pytest.mark.slow
def test_two_processes_make_the_pool_that_one_makes(pool, open_bench, tmp_path):
    alone = statistics_of(pool.collect())
    other = Pool(open_bench(tmp_path / "shared"), shadows=4)
    context = get_context("fork")
    processes = [context.Process(target=other.collect) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    both = statistics_of(other.collect())
    np.testing.assert_array_equal(both.log_odds, alone.log_odds)
    assert len([key for key, _ in other.bench.store.listing() if key["kind"] == "shadow"]) == 4
