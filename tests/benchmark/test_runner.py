"""Whole runs on real images: what is shared, what is paired, what a method may see, and what becomes of failures."""

import copy
import json
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmark.config import MethodSpec
from benchmark.data.datasets import load_dataset
from benchmark.errors import MedsafeError
from benchmark.models import build_model
from benchmark.plan import Request, make_plan
from benchmark.seeding import seeded
from benchmark.selection import BestEpoch
from benchmark.store.artifacts import ArtifactStore
from benchmark.tracks import shared, unlearning
from benchmark.tracks.nearness import untrained
from benchmark.tracks.scoring import metrics_of
from benchmark.tracks.stored import predictions_of
from benchmark.training import predict, silent
from methods.unlearning.retrain import Retrain
from metrics.accuracy import macro_auc
from tests.helpers import same_bits

METHODS = ["original", "retrain", "finetune", "random_label", "gradient_ascent", "neggrad_plus", "l1_sparse", "salun"]


def comparable(record):
    """A record without what may differ between two equal runs: time and wall seconds."""
    record = copy.deepcopy(record)
    record.pop("created")
    record.pop("seconds")
    for cost in (record["cost"], record["cost"]["original"]):
        cost.pop("seconds")
    record["cost"].pop("retrain_seconds")
    return record


@pytest.mark.parametrize("method", METHODS)
def test_every_method_ends_in_a_complete_record(bench, method):
    (record,) = bench(method)
    assert (record["status"], record["reason"]) == ("ok", None)
    assert set(record["metrics"]) == set(metrics_of("unlearning")) == set(record["declarations"])
    assert record["metrics"].keys() - record["unresolved"].keys() == {
        k for k, v in record["metrics"].items() if v is not None
    }
    assert len(record["references"]["retrain"]) == 2
    assert record["sizes"] | {"forget": 36, "retain": 324, "non_members": 40, "test": 100} == record["sizes"]


def test_the_original_row_has_the_originals_scores_and_costs_nothing(bench):
    (record,) = bench("original")
    assert record["metrics"] == record["references"]["original"]
    assert record["cost"]["flops"] == 0


def test_a_record_says_where_its_time_went(bench):
    start = time.perf_counter()
    (first,), whole = bench("finetune"), time.perf_counter() - start
    (second,) = bench("random_label")
    for seconds in (first["seconds"], second["seconds"]):
        assert all(seconds[name] > 0 for name in ("method", "prediction", "metrics", "suite"))
        parts = sum(value for name, value in seconds.items() if name != "total")
        assert seconds["total"] == pytest.approx(parts, abs=0.01)
    assert first["seconds"]["training"] > first["cost"]["original"]["seconds"] / 2
    assert first["seconds"]["total"] <= whole
    assert second["seconds"]["training"] == 0, "all that it shares was trained for the first"


def test_retrain_is_one_more_draw_beside_the_references(bench):
    (record,) = bench("retrain")
    assert record["metrics"] not in record["references"]["retrain"]
    assert record["cost"]["flops_share"] == pytest.approx(0.9, abs=0.05)


def test_the_same_request_in_another_cache_gives_the_same_record(bench, tmp_path):
    first = bench("salun", results=tmp_path / "one", cache_folder=tmp_path / "cache-one")
    second = bench("salun", results=tmp_path / "two", cache_folder=tmp_path / "cache-two")
    assert [comparable(record) for record in first] == [comparable(record) for record in second]


def test_methods_of_a_block_share_forget_set_original_and_retrains(bench):
    one, two = bench("finetune")[0], bench("salun")[0]
    assert one["references"] == two["references"]
    assert {name: key for name, key in one["artifacts"].items() if name != "model"}.items() <= two["artifacts"].items()


def test_scenarios_share_the_original_but_not_the_retrains(bench):
    one, two = bench(scenario="random:0.1")[0]["artifacts"], bench(scenario="random:0.5")[0]["artifacts"]
    assert one["original"] == two["original"]
    assert {one["retrain 0"], one["retrain 1"]}.isdisjoint({two["retrain 0"], two["retrain 1"]})


def test_blocks_differ_in_forget_set_original_and_retrains(bench):
    one, two = bench(blocks="2")
    assert set(one["artifacts"].values()).isdisjoint(two["artifacts"].values())


def test_what_is_recorded_is_not_computed_again(bench, monkeypatch):
    first = bench("finetune")
    monkeypatch.setattr(unlearning, "prepare", lambda *_: pytest.fail("computed again"))
    assert bench("finetune") == json.loads(json.dumps(first))


def test_a_lost_record_is_rebuilt_from_the_cache_without_training(bench, tmp_path, monkeypatch):
    first = bench("finetune")
    for record in (tmp_path / "results").rglob("*.json"):
        record.unlink()
    monkeypatch.setattr("benchmark.tracks.models.train", lambda *_: pytest.fail("trained again"))
    assert [comparable(record) for record in bench("finetune")] == [comparable(record) for record in first]


@pytest.fixture
def plan(tiny_npz, cache, short_recipe):
    return lambda **changes: make_plan(
        Request("finetune", dataset=str(tiny_npz), blocks="1", **changes), ArtifactStore(cache)
    )


def seen_by(plan):
    """The task of block 0, and the rows of every image in it."""
    block = unlearning.prepare(plan.bench, plan.track.scenario, 0, 1)
    task = unlearning.handout(plan.bench, block).task(silent)
    every = {image.numpy().tobytes(): row for row, image in enumerate(plan.bench.images)}
    rows = {
        part: {every[image.numpy().tobytes()] for image in getattr(task, part).images}
        for part in ("forget", "retain", "validation")
    }
    return task, block, rows


def test_a_task_holds_no_test_image_no_non_member_and_no_reserved_image(plan):
    made = plan()
    _, block, rows = seen_by(made)
    splits = made.bench.splits
    hidden = set(splits.test) | set(splits.non_members) | set(splits.reserved)
    assert not hidden & set.union(*rows.values())
    assert rows["forget"] == set(block.rows.forget)
    assert rows["retain"] == set(block.rows.retain)
    assert rows["forget"] | rows["retain"] == set(splits.pool)


def test_with_a_forgotten_class_the_head_stays_and_validation_and_test_lose_the_class(bench, plan):
    made = plan(scenario="class:6")
    task, _, _ = seen_by(made)
    assert task.num_classes == 8
    assert 6 not in task.validation.labels
    assert set(task.forget.labels.tolist()) == {6}
    (record,) = bench("retrain", scenario="class:6")
    labels = made.bench.dataset.labels.numpy()
    assert record["sizes"]["test"] == int((labels[made.bench.dataset.test] != 6).sum())
    assert record["sizes"]["test_forgotten_class"] == int((labels[made.bench.dataset.test] == 6).sum())
    assert record["metrics"]["ua"] == 1.0  # a model that never saw the class cannot name it
    assert record["metrics"]["ta_forgotten_class"] == 0.0


def test_listed_images_are_all_forgotten_even_if_they_would_have_been_held_out(plan, bench, tmp_path):
    held_out = [int(row) for row in plan().bench.splits.non_members[:5]]
    ids = tmp_path / "patient.txt"
    ids.write_text("\n".join(map(str, held_out)))
    (record,) = bench("finetune", scenario=f"ids:{ids}")
    assert record["sizes"]["forget"] == 5
    assert record["spec"]["scenario"].startswith("ids:patient-")


def test_the_users_groups_are_forgotten_whole_and_named_in_the_runs_identity(tiny_npz, plan, tmp_path):
    groups = tmp_path / "groups.csv"
    rows = [
        f"{split},{index},{split}-{index // 4}"
        for split, count in (("train", 400), ("val", 80), ("test", 100))
        for index in range(count)
    ]
    groups.write_text("split,index,group\n" + "\n".join(rows))
    made = plan(groups=groups)
    block = unlearning.prepare(made.bench, made.track.scenario, 0, 1)
    forgotten = set(block.rows.forget // 4)
    assert len(block.rows.forget) == 4 * len(forgotten)
    assert made.specs[0].id != plan().specs[0].id


def test_a_users_checkpoint_stands_in_for_the_original(bench, tmp_path):
    model = build_model("cnn-small", channels=3, num_classes=8, seed=77)
    path = tmp_path / "mine.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path)
    (record,) = bench("original", original=path)
    (trained,) = bench("original")
    assert record["id"] != trained["id"]
    assert record["references"]["retrain"] == trained["references"]["retrain"]
    assert record["metrics"]["ra"] < 0.5  # an untrained net
    assert record["cost"]["flops_share"] is None


def test_without_non_members_the_best_validation_epoch_counts_and_membership_is_unresolved(bench, plan):
    (record,) = bench("original", non_member_share=0.0)
    assert record["sizes"]["non_members"] == 0
    assert record["metrics"]["mia_svc"] is None
    assert "mia_loss_auc" in record["unresolved"]
    assert record["metrics"]["macro_auc"] is not None


def test_the_control_keeps_the_epoch_with_the_best_validation_auc(plan):
    made = plan(non_member_share=0.0).bench
    rows = made.validation_rows(None)
    images, labels = made.images[rows], made.dataset.labels.numpy()[rows]
    best = BestEpoch(images, torch.from_numpy(labels))
    models = [made.fresh_model("candidate", seed) for seed in range(4)]
    values = [macro_auc(predict(model, images).numpy(), labels) for model in models]
    for model in models:
        best(model)
    assert same_bits(best.state, models[values.index(max(values))].state_dict())
    assert best.auc == max(values)


def test_a_method_that_diverges_is_a_record_and_the_next_block_goes_on(bench):
    records = bench("finetune", parameters={"lr": "1e30"}, blocks="2")
    assert [record["status"] for record in records] == ["diverged", "diverged"]
    assert all("not finite" in record["reason"] for record in records)
    assert all("metrics" not in record for record in records)
    assert records[0]["spec"]["method"]["preset"] == "custom"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"architecture": "cnn-smal"}, "did you mean 'cnn-small'"),
        ({"scenario": "class:8"}, "class"),
        ({"scenario": "random:0"}, "random"),
        ({"retrains": 0}, "Retrains"),
        ({"recipe": "cpu+trivialaugment"}, "trivialaugment"),
        ({"non_member_share": 1.0}, "non-members"),
    ],
)
def test_a_request_that_cannot_be_run_says_so_before_anything_is_written(bench, tmp_path, cache, change, reason):
    with pytest.raises(MedsafeError, match=reason):
        bench(**change)
    assert not (tmp_path / "results").exists()
    assert not [path for path in cache.rglob("*") if path.is_file()]


def test_methods_draw_the_same_numbers_from_the_global_generators_and_leave_them_alone():
    torch.manual_seed(5)
    outside = torch.rand(1)
    torch.manual_seed(5)
    with seeded(1):
        first = (torch.rand(1), np.random.random())  # noqa: NPY002
    with seeded(1):
        second = (torch.rand(1), np.random.random())  # noqa: NPY002
    assert first == second
    assert torch.equal(torch.rand(1), outside)


def test_stored_predictions_are_those_of_the_stored_model(bench, cache, tiny_npz):
    (record,) = bench("finetune")
    artifact = ArtifactStore(cache).find(record["artifacts"]["model"])
    model = build_model("cnn-small", channels=3, num_classes=8, seed=0)
    model.load_state_dict(load_file(artifact / "model.safetensors"))
    logits = model.eval()(load_dataset(str(tiny_npz)).images[:64].float() / 255)
    np.testing.assert_allclose(predictions_of(artifact)["logits"][:64], logits.detach().numpy(), atol=1e-4)


def test_reduced_precision_is_for_the_training_loop_and_never_outlives_one_of_its_steps(plan):
    made = plan()
    bench = replace(made.bench, recipe=replace(made.bench.recipe, precision="bf16", epochs=8))
    block = unlearning.prepare(bench, made.track.scenario, 0, 1)
    model = unlearning.unlearn(bench, MethodSpec("unlearning", "retrain", "1", "published"), Retrain(), block)
    models = unlearning.Models(model, block.original, block.retrains)
    scores = unlearning.score(bench.store, 0, models, untrained(bench, 0))
    assert scores["metrics"]["ra"] == pytest.approx(scores["references"]["retrain"][0]["ra"], abs=0.15)
    assert scores["metrics"]["ra"] > 0.6


def test_layers_that_draw_from_the_global_generator_train_to_the_same_bits(plan, tmp_path):
    weights = []
    for attempt in ("one", "two"):
        torch.rand(3)  # what ran before must not matter
        bench = replace(plan(architecture="timm:ghostnet_050").bench, store=ArtifactStore(tmp_path / attempt))
        weights.append(load_file(shared.original(bench, 0).get() / "model.safetensors"))
    assert same_bits(*weights)


def test_a_users_checkpoint_is_noted_in_the_record(bench, tmp_path):
    model = build_model("cnn-small", channels=3, num_classes=8, seed=77)
    path = tmp_path / "mine.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path)
    assert "user's checkpoint" in bench("original", original=path)[0]["notes"][0]


MEMORY = """
import resource, sys
from dataclasses import replace
from pathlib import Path
from benchmark import training
from benchmark.plan import Request
from benchmark.runner import run
from benchmark.store.artifacts import ArtifactStore
from benchmark.store.records import RecordStore
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
training.RECIPES["cpu"] = replace(training.RECIPES["cpu"], epochs=1, batch_size=256)
baseline, folder = peak(), Path(sys.argv[1])
request = Request("salun", dataset=sys.argv[2], blocks="1", retrains=1, parameters={"epochs": "1"})
outcome, = run(request, ArtifactStore(folder / "cache"), RecordStore(folder / "results"))
assert outcome.record["status"] == "ok", outcome.record
sys.stdout.write(str(peak() - baseline))
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_on_a_set_of_pathmnists_size_stays_under_two_gigabytes(tmp_path):
    generator, arrays = np.random.default_rng(0), {}
    for part, count in (("train", 89_996), ("val", 10_004), ("test", 7_180)):
        arrays[f"{part}_images"] = generator.integers(0, 256, (count, 28, 28, 3), dtype=np.uint8)
        arrays[f"{part}_labels"] = generator.integers(0, 9, (count, 1), dtype=np.uint8)
    np.savez(tmp_path / "large.npz", **arrays)
    command = [sys.executable, "-c", MEMORY, str(tmp_path), str(tmp_path / "large.npz")]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(finished.stdout) < 2.0
