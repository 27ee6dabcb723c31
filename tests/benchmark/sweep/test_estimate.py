"""What a sweep will cost, before it is begun."""

import time
from pathlib import Path

import pytest

from benchmark.plan import Request, make_plan
from benchmark.store.records import RecordStore
from benchmark.sweep.estimate import Estimator, Expected, PublishedCosts, Speed, measure_speed
from benchmark.sweep.jobs import Job
from benchmark.sweep.queue import wall_seconds

PUBLISHED = Path(__file__).parents[3] / "results"


@pytest.fixture(scope="module")
def published():
    return PublishedCosts(RecordStore(PUBLISHED))


@pytest.fixture
def plan(store, tiny_npz):
    def go(method, **changes):
        return make_plan(Request(method, **{"dataset": str(tiny_npz), "blocks": "1", "device": "cpu"} | changes), store)

    return go


def images(published, plan, pool=360):
    known, _ = published.of(plan.specs[0], pool)
    return known


def test_an_unlearning_method_goes_over_the_train_pool_as_often_as_its_published_runs_did(published, plan):
    finetuned = plan("finetune", scenario="random:0.1")
    assert images(published, finetuned, pool=1000) == 10 * 900
    assert images(published, plan("random_label", scenario="random:0.1"), pool=1000) == 10 * 1000
    assert images(published, plan("original", scenario="random:0.1")) == 0


def test_a_defender_works_on_his_own_images_however_large_the_train_pool_is(published, plan):
    nad = plan("nad", attack="badnets")
    assert images(published, nad, pool=100) == images(published, nad, pool=100_000) > 0
    retraining = plan("abl", attack="badnets")
    assert images(published, retraining, pool=2000) == pytest.approx(
        2 * images(published, retraining, pool=1000), abs=1
    )


def test_a_task_that_no_published_run_had_is_taken_for_one_that_it_had(published, plan):
    assert images(published, plan("salun", scenario="random:0.3")) > 0


def test_what_is_not_published_is_guessed_and_says_so(store, plan):
    wanted = plan("salun")
    expected = Estimator(()).run(wanted, wanted.specs[0])
    assert expected.guessed
    assert expected.images == len(wanted.bench.splits.pool) * wanted.bench.recipe.epochs
    assert not Estimator(RecordStore(PUBLISHED)).run(wanted, wanted.specs[0]).guessed


def test_what_is_known_under_another_recipe_alone_is_only_roughly_known(published, plan):
    wanted = plan("retrain", recipe="salun")
    _, guessed = published.of(wanted.specs[0], 360)
    assert guessed
    _, guessed = published.of(plan("retrain").specs[0], 360)
    assert not guessed


def test_a_net_that_cannot_be_trained_has_no_time_and_the_others_have(plan):
    estimator, broken, sound = Estimator(()), plan("salun", architecture="timm:vgg11"), plan("salun")
    expected = estimator.run(broken, broken.specs[0])
    assert expected.seconds == 0
    assert expected.untimed.startswith("timm:vgg11 under cpu: ")
    assert estimator.run(sound, sound.specs[0]).untimed is None


def test_workers_that_share_a_device_slow_each_other_down(plan, monkeypatch):
    monkeypatch.setattr("benchmark.sweep.estimate.measure_speed", lambda bench: Speed(100.0, 1000.0))
    wanted = plan("salun")
    alone, shared = (Estimator((), sharing).run(wanted, wanted.specs[0]).seconds for sharing in (1, 4))
    assert shared == 4 * alone > 0


def test_the_speed_is_roughly_that_of_a_training(plan):
    bench = plan("salun").bench
    split, start = bench.split(bench.splits.pool, "test"), time.perf_counter()
    bench.fit(bench.fresh_model("test"), split, bench.splits.validation, "test", seed=0)
    seconds = time.perf_counter() - start
    expected = len(split) * bench.recipe.epochs / measure_speed(bench).training
    assert seconds / 3 < expected < 3 * seconds


def test_a_machine_is_timed_once_for_a_net_and_a_recipe(plan, monkeypatch):
    timed = []

    def measure(bench):
        timed.append(bench.architecture)
        return measure_speed(bench)

    monkeypatch.setattr("benchmark.sweep.estimate.measure_speed", measure)
    estimator = Estimator(())
    for method in ("salun", "finetune"):
        wanted = plan(method)
        assert estimator.run(wanted, wanted.specs[0]).seconds > 0
    other = plan("salun", architecture="resnet18-quarter")
    estimator.run(other, other.specs[0])
    assert timed == ["cnn-small", "resnet18-quarter"]


def test_the_bytes_are_those_of_weights_and_logits(store, records, plan):
    wanted = plan("original")
    (model, *_) = wanted.track.models(wanted.specs[0])
    expected = Estimator(()).model(wanted.bench, model)
    folder = model.get().folder
    assert expected.bytes == pytest.approx(sum(path.stat().st_size for path in folder.iterdir()), rel=0.1)


def job(name, seconds, *needs, model=None):
    return Job(name, name, Request("none"), model, frozenset(needs), Expected(seconds=seconds))


def wall(workers, *jobs):
    return wall_seconds({each.id: each for each in jobs}, workers)


def test_wall_time_is_that_of_the_workers_with_what_they_wait_for():
    alone = [job("a", 4.0), job("b", 2.0), job("c", 2.0)]
    assert wall(1, *alone) == 8
    assert wall(2, *alone) == 4
    chain = [job("model", 4.0, model=0), job("run", 1.0, "model"), job("other", 2.0)]
    assert wall(2, *chain) == 5
    assert wall(2) == 0
