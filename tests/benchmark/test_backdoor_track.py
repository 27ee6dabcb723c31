"""Runs of the backdoor track: attack, gate, defence, scores, and what a defender can reach."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.config import identity
from benchmark.errors import MedsafeError
from benchmark.plan import Request, make_plan
from benchmark.rescoring import rescore
from benchmark.store.artifacts import Artifact, ArtifactStore
from benchmark.store.records import RecordStore
from benchmark.tracks import poisoning
from benchmark.tracks.backdoor import defense_handout
from benchmark.tracks.models import Workbench
from benchmark.tracks.poisoning import Attack, AttackedBlock
from benchmark.tracks.stored import predictions_of
from benchmark.training import silent
from tests.helpers import holders, reachable


@pytest.fixture
def plan(tiny_npz, cache, short_recipe):
    def make(method="none", attack="badnets", **changes):
        request = Request(method, dataset=str(tiny_npz), blocks="1", attack=attack, **changes)
        return make_plan(request, ArtifactStore(cache))

    return make


@pytest.fixture
def open_gate(monkeypatch):
    """Two epochs on 360 images make no strong attack: what happens behind the gate is what is tested here."""
    monkeypatch.setattr("benchmark.tracks.backdoor.gate", lambda *_: None)


@pytest.fixture
def attacked(bench):
    """Runs a defence against an attack."""
    return lambda method="none", attack="badnets", **changes: bench(method, retrains=None, attack=attack, **changes)


def test_doing_nothing_scores_what_the_backdoored_model_scores(attacked, open_gate):
    (record,) = attacked("none")
    assert record["status"] == "ok"
    backdoored = record["references"]["backdoored"]
    assert {name: record["metrics"][name] for name in backdoored} == backdoored
    assert record["metrics"]["der"] == 0.5
    assert record["metrics"]["acc_gap"] == backdoored["acc"] - record["references"]["oracle"]["acc"]
    assert record["cost"]["flops"] == 0


def test_a_weak_attack_is_recorded_as_failed_and_gives_no_defence_a_score(attacked):
    (record,) = attacked("finetune")
    assert record["status"] == "skipped"
    assert record["reason"].startswith("attack failed: ")
    assert "metrics" not in record
    assert record["gate"]["passed"] is False
    assert set(record["references"]) == {"clean", "backdoored", "oracle"}


def test_all_defences_of_a_block_share_its_models(attacked, open_gate, monkeypatch):
    (first,) = attacked("none")
    monkeypatch.setattr("benchmark.tracks.models.train", lambda *_, **__: pytest.fail("trained again"))
    (second,) = attacked("finetune")
    assert second["references"] == first["references"]
    assert second["artifacts"]["backdoored"] == first["artifacts"]["backdoored"]


def test_attacks_with_the_same_victims_share_the_oracle_and_the_clean_model(plan):
    blocks = [
        poisoning.prepare(made.bench, made.track.attack, 0, in_training=False)
        for made in (plan(attack="badnets"), plan(attack="blended"))
    ]
    assert blocks[0].oracle.folder == blocks[1].oracle.folder
    assert blocks[0].clean.folder == blocks[1].clean.folder
    assert blocks[0].backdoored.folder != blocks[1].backdoored.folder
    assert blocks[0].oracle.folder != blocks[0].clean.folder


def test_the_poisoned_pool_differs_from_the_clean_one_where_the_attacker_was(plan):
    made = plan()
    bench, attack = made.bench, made.track.attack
    block = poisoning.prepare(bench, attack, 0, in_training=False)
    rows = attack.rows(bench, 0)
    images, labels = bench.images[torch.from_numpy(bench.splits.pool)], bench.dataset.labels[bench.splits.pool]
    changed = (block.poison["images"] != images).flatten(1).any(dim=1).numpy()
    np.testing.assert_array_equal(bench.splits.pool[changed], rows.poisoned)
    np.testing.assert_array_equal(bench.splits.pool[(block.poison["labels"] != labels).numpy()], rows.poisoned)
    assert set(block.poison["labels"][changed].tolist()) == {block.target}


def test_ordinary_training_on_a_static_attack_gives_the_backdoored_model(attacked, open_gate):
    (record,) = attacked("ordinary_training")
    assert record["setting"]["power"] == "in-training"
    assert record["metrics"]["asr"] == record["references"]["backdoored"]["asr"]
    assert record["metrics"]["acc"] == record["references"]["backdoored"]["acc"]
    assert record["cost"]["flops_share"] == pytest.approx(1.0)


def test_an_attack_that_controls_training_hands_over_a_static_set_for_defences_that_train(plan):
    made = plan(attack="wanet", method="ordinary_training")
    block = poisoning.prepare(made.bench, made.track.attack, 0, in_training=True)
    assert block.backdoored.folder != block.attack.folder
    task = poisoning.training_handout(made.bench, block).task(silent)
    assert task.train.transform is None
    rows = made.track.attack.rows(made.bench, 0)
    clean = made.bench.images[torch.from_numpy(made.bench.splits.pool)]
    changed = (task.train.images != clean).flatten(1).any(dim=1)
    assert int(changed.sum()) == len(rows.poisoned) + len(rows.cover)


def test_the_control_runs_a_defence_on_the_clean_model_and_scores_no_trigger(attacked):
    (record,) = attacked("finetune", attack="clean")
    assert record["status"] == "ok"
    assert record["metrics"]["asr"] is None
    assert "asr" in record["unresolved"]
    clean = record["references"]["clean"]["acc"]
    assert record["metrics"]["acc_gap"] == pytest.approx(record["metrics"]["acc"] - clean)
    assert record["references"]["backdoored"] == record["references"]["clean"] == record["references"]["oracle"]


@pytest.mark.parametrize("pool", ["reserved", "reserved:20", "seen:30"])
def test_a_defender_holds_the_pool_that_the_row_names(attacked, open_gate, pool):
    (record,) = attacked("finetune", pool=pool)
    assert record["spec"]["pool"] == pool
    assert record["sizes"]["clean_images"] == int(pool.partition(":")[2] or 40)


def test_a_polarised_model_is_stored_whole(attacked, open_gate, plan):
    (record,) = attacked("neural_polarizer", parameters={"epochs": "1", "warmup_epochs": "1"})
    made = plan()
    artifact = made.bench.store.find(record["artifacts"]["model"])
    model = made.bench.load(artifact)
    assert len(model.state_dict()) > len(made.bench.fresh_model("x").state_dict())
    test = made.bench.images[torch.from_numpy(made.bench.splits.test)]
    with torch.no_grad():
        again = model.eval()(test.float().div(255))
    torch.testing.assert_close(again, torch.from_numpy(predictions_of(artifact)["clean"]), rtol=1e-4, atol=1e-5)


def test_a_method_that_does_not_fit_the_architecture_is_skipped_with_its_reason(attacked, open_gate, tmp_path):
    file = tmp_path / "picky.py"
    file.write_text(
        "from dataclasses import dataclass\nfrom benchmark.api import Unsupported, backdoor_defense\n\n"
        "@backdoor_defense('picky', version=1)\n@dataclass(frozen=True)\nclass Picky:\n"
        "    def defend(self, model, task):\n        raise Unsupported('no batch norm to prune')\n"
    )
    (record,) = attacked("picky", plugin=file)
    assert (record["status"], record["reason"]) == ("skipped", "no batch norm to prune")
    file.write_text(file.read_text().replace("raise Unsupported('no batch norm to prune')", "return 'a model'"))
    (record,) = attacked("picky", plugin=file)
    assert (record["status"], record["reason"]) == ("error", "picky returned str, not a model")


ATTACK = """
from dataclasses import dataclass
from benchmark.api import Diverged, Trigger, Unsupported, backdoor_attack

@backdoor_attack("mine", version=1)
@dataclass(frozen=True)
class Mine:
    {field}

    def trigger(self, task):
        {body}
"""


def write_attack(folder, body, field="ratio: float = 0.1"):
    file = folder / "mine.py"
    file.write_text(ATTACK.format(body=body, field=field))
    return {"attack": "mine", "attack_plugin": file}


@pytest.mark.parametrize("error", ["Unsupported", "Diverged"])
def test_an_attack_that_comes_to_nothing_has_failed_and_is_not_the_defences_fault(attacked, tmp_path, error):
    (record,) = attacked("none", **write_attack(tmp_path, f"raise {error}('needs colour')"))
    assert (record["status"], record["reason"]) == ("skipped", "attack failed: needs colour")
    assert record["gate"] == {"passed": False, "reason": "needs colour"}


def test_a_stamp_that_leaves_images_as_they_are_is_no_attack(attacked, tmp_path):
    (record,) = attacked("none", **write_attack(tmp_path, "return Trigger(lambda images: images)"))
    assert record["reason"] == "attack failed: its stamp leaves 100.0% of the test images as they are"


def test_an_attack_without_a_ratio_is_refused(plan, tmp_path):
    with pytest.raises(MedsafeError, match="attack 'mine' has no field `ratio`"):
        plan(**write_attack(tmp_path, "pass", field="share: float = 0.1"))


def test_a_run_that_the_gate_kept_back_is_run_when_the_gate_opens_and_not_before(
    attacked, tmp_path, cache, monkeypatch
):
    attacked("clp")
    store, folder = ArtifactStore(cache), RecordStore(tmp_path / "results")
    (old,) = folder
    folder.write(old | {"declarations": old["declarations"] | {"asr": old["declarations"]["asr"] | {"version": 0}}})
    assert [outcome for _, outcome in rescore(folder, store)] == ["rescored"]
    assert next(iter(folder))["status"] == "skipped"
    folder.write(old | {"declarations": {}})
    monkeypatch.setattr("benchmark.tracks.backdoor.gate", lambda *_: None)
    assert [outcome for _, outcome in rescore(folder, store)] == [
        "not all of its models are in this cache: run it again"
    ]
    (record,) = attacked("clp")
    assert record["status"] == "ok"


def test_scores_that_the_gate_no_longer_lets_through_are_taken_back(attacked, tmp_path, cache):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmark.tracks.backdoor.gate", lambda *_: None)
        attacked("clp")
    folder = RecordStore(tmp_path / "results")
    (old,) = folder
    folder.write(old | {"declarations": {}})
    list(rescore(folder, ArtifactStore(cache)))
    (record,) = folder
    assert (record["status"], record["metrics"]) == ("skipped", {})
    assert record["reason"].startswith("attack failed: ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attack": "badnet"}, "unknown attack 'badnet': did you mean 'badnets'"),
        ({"method": "saux"}, "unknown method 'saux': did you mean 'sau'"),
        ({"method": "salun"}, "attack 'badnets' goes with a backdoor defence, and 'salun' is an unlearning method"),
        ({"attack_parameters": {"ratio": "0"}}, "ratio"),
        ({"attack_parameters": {"ratio": "1"}}, "ratio"),
        ({"attack": "sig", "attack_parameters": {"ratio": "1.5"}}, "ratio"),
        ({"pool": "mine"}, "pool 'mine' not understood"),
        ({"scenario": "random:0.1"}, "--scenario belongs to unlearning"),
        ({"method": "clp", "pool": "seen"}, "--pool belongs to a defence that is handed clean images"),
        ({"method": "finetune", "attack": None, "attack_parameters": {"ratio": "0.2"}}, "--attack-params belongs to a"),
        ({"method": "salun", "attack": None, "attack_preset": "small-data"}, "--attack-preset belongs to a backdoor"),
    ],
)
def test_bad_input_is_one_line_before_anything_is_computed(plan, cache, changes, message):
    with pytest.raises(MedsafeError) as error:
        plan(**changes)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert {entry.name for entry in cache.iterdir()} == {"locks"}


def test_the_identity_of_a_run_holds_attack_and_pool(plan):
    ids = {
        made.specs[0].id
        for made in (
            plan(), plan(attack="blended"), plan(attack_parameters={"ratio": "0.2"}), plan(pool="seen"), plan("sau")
        )
    }  # fmt: skip
    assert len(ids) == 5
    assert len(identity("")) == 64


def test_nothing_of_test_set_trigger_or_target_can_be_reached_from_a_defenders_task(plan):
    made = plan("sau")
    bench = made.bench
    block = poisoning.prepare(bench, made.track.attack, 0, in_training=False)
    rows = made.bench.splits.reserved
    task = defense_handout(bench, block.backdoored, 0, rows).task(silent)
    pool, test = (bench.images[torch.from_numpy(part)] for part in (bench.splits.pool, bench.splits.test))
    for hidden in (*pool[:5], *test[:5], *block.poison["stamped"][:5]):
        assert holders(task, hidden) == []
    assert holders(task, bench.images[int(rows[0])]) != []  # the search does find what is there
    forbidden = Workbench | AttackedBlock | Attack | ArtifactStore | Artifact | Path
    assert not [path for path, thing in reachable(task) if isinstance(thing, forbidden)]
