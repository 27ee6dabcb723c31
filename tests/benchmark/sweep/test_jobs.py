"""What a sweep has to do: runs that are missing, and each model that they share once."""

import pytest

from benchmark.errors import MedsafeError
from benchmark.store.records import RecordStore
from benchmark.sweep.work import Place, Worker
from benchmark.training import RECIPES

FINETUNE, SALUN = {"method": "finetune"}, {"method": "salun"}


@pytest.fixture
def done(cache, records):
    """Does jobs here, in their order."""

    def go(jobs):
        worker = Worker(Place(cache, records.root.parent, threads=1))
        return [worker.carry_out(job) for job in jobs]

    return go


def titles(jobs):
    return [job.title.rpartition(" · ")[2] for job in jobs]


def test_models_that_runs_share_are_trained_once(left):
    found = left(FINETUNE, SALUN, FINETUNE)
    assert titles(found.models) == [
        "original on 360 images, block 0", "retrain 0 on 324 images, block 0", "retrain 1 on 324 images, block 0",
    ]  # fmt: skip
    assert len(found.runs) == 2
    assert {found.uses[model.id] for model in found.models} == {2}
    for run in found.runs:
        assert run.needs == {model.id for model in found.models}


def test_gradient_equivalents_are_images_times_epochs(left):
    original, retrain, _ = left(FINETUNE).models
    epochs = RECIPES["cpu"].epochs
    assert (original.expected.images, retrain.expected.images) == (360 * epochs, 324 * epochs)


def test_a_static_poisoned_set_waits_for_its_attacker(left):
    found = left({"method": "abl", "attack": "input_aware", "retrains": None})
    clean, attacker, oracle, static = found.models
    assert static.needs == {attacker.id}
    assert not clean.needs | attacker.needs | oracle.needs


def test_what_is_there_is_not_done_again(left, done, short_recipe):
    first = left(FINETUNE)
    assert {result.status for result in done(first.jobs.values())} == {"ok"}
    again = left(FINETUNE, SALUN)
    assert [spec.method.name for spec in again.recorded] == ["finetune"]
    assert (len(again.models), len(again.cached), len(again.runs)) == (0, 3, 1)
    assert not again.runs[0].needs


def test_published_records_count_where_they_are_asked_for(left, done, records, tmp_path, short_recipe):
    done(left(FINETUNE).jobs.values())
    records.root.parent.rename(tmp_path / "published")
    assert not left(FINETUNE).recorded
    found = left(FINETUNE, known=[RecordStore(tmp_path / "published")])
    assert (len(found.recorded), found.jobs) == (1, {})


def test_a_failed_run_is_done_again(left, done, short_recipe, monkeypatch):
    def broken(self, model, task):
        raise RuntimeError("no idea")

    with monkeypatch.context() as patch:
        patch.setattr("methods.unlearning.finetune.FineTune.unlearn", broken)
        assert [result.status for result in done(left(FINETUNE).jobs.values())] == ["ok", "ok", "ok", "error"]
    assert [job.model for job in left(FINETUNE).jobs.values()] == [None]


def test_a_job_that_is_done_twice_finds_its_record(left, done, records, short_recipe):
    jobs = [*left(FINETUNE).jobs.values()]
    done(jobs)
    before = {path: path.read_bytes() for path in records.files()}
    assert [result.status for result in done(jobs)] == ["ok"] * 4
    assert {path: path.read_bytes() for path in records.files()} == before


def test_a_training_that_diverged_is_not_tried_for_every_run(left, done, records, short_recipe, monkeypatch):
    calls = []

    def diverges(*arguments, **options):
        calls.append(arguments)
        raise Diverged("loss is nan")

    from benchmark.api import Diverged

    monkeypatch.setattr("benchmark.tracks.models.train", diverges)
    results = done(left(FINETUNE, SALUN).jobs.values())
    assert [result.status for result in results] == ["ok", "ok", "ok", "diverged", "diverged"]
    assert [record["reason"] for record in records] == ["loss is nan"] * 2
    assert len(calls) == 3


def test_what_cannot_be_planned_says_which_request(left):
    with pytest.raises(MedsafeError, match=r"salun, .*class:99.*no such class"):
        left(FINETUNE, SALUN | {"scenario": "class:99"})
