"""A submission computed again: what agrees is marked, and of what does not, the first difference is named."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from benchmark.errors import MedsafeError
from benchmark.plan import Request
from benchmark.store.records import RecordStore, as_json
from benchmark.submission.contents import read_submission
from benchmark.submission.pack import Claim, pack
from benchmark.submission.schema import Refused
from benchmark.submission.verification import verified as is_verified
from benchmark.submission.verify import draw
from tests.benchmark.submission.conftest import IN_PROCESS, files_of, forge, paths_of


def marks(folder):
    return [record for record in RecordStore(folder) if is_verified(record)]


def refusal(verified, folder, **changes) -> str:
    """What a submission that does not agree is told; it must come out without a mark."""
    with pytest.raises(Refused) as error:
        verified(folder, **changes)
    assert not marks(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_honest_records_are_computed_again_to_the_bit_and_marked(submission, verified):
    found = verified(submission, cache=None)
    assert [each.agreement for each in found] == ["bitwise"] * 4
    assert len(marks(submission)) == 4
    table = pd.read_csv(submission / "leaderboards" / "unlearning.csv")
    assert table["verified"].tolist() == [2, 2]


def test_a_part_of_them_is_marked_where_only_a_part_was_computed(submission, verified):
    (found,) = verified(submission, runs=1)
    assert [record["id"] for record in marks(submission)] == [found.record["id"]]
    assert pd.read_csv(submission / "leaderboards" / "unlearning.csv")["verified"].sum() == 1


def test_a_marked_submission_is_still_a_submission(submission, verified):
    verified(submission)
    marked = files_of(submission)
    verified(submission)
    assert files_of(submission) == marked


EDITS = {
    "metrics.ta": lambda record: record["metrics"].update(ta=record["metrics"]["ta"] - 1e-9),
    "metrics.sensitivity[3]": lambda record: record["metrics"]["sensitivity"].__setitem__(3, 0.5),
    "references.retrain[0].mia_svc": lambda record: record["references"]["retrain"][0].update(mia_svc=0.123),
    "references.original.ua": lambda record: record["references"]["original"].update(ua=0.999),
    "curves.roc.model[1]": lambda record: record["curves"]["roc"]["model"].__setitem__(1, 0.9999),
    "sizes.test": lambda record: record["sizes"].update(test=1000),
    "cost.flops": lambda record: record["cost"].update(flops=record["cost"]["flops"] // 2),
    "cost.original.flops": lambda record: record["cost"]["original"].update(flops=10**15),
    "classes[0]": lambda record: record["classes"].__setitem__(0, "=HYPERLINK(1)"),
    "notes": lambda record: record["notes"].append("better than all others"),
    "status": lambda record: [record.update(status="skipped", reason="no", metrics={}), record.pop("unresolved")],
}


@pytest.mark.parametrize("key", EDITS)
def test_an_edited_value_is_named_by_file_and_key(submission, verified, key):
    path = forge(paths_of(submission)[1], EDITS[key])
    said = refusal(verified, submission)
    assert said.startswith(f"{path.relative_to(submission).as_posix()}: {key}: recorded ")
    assert "computed again " in said


def test_wall_seconds_and_the_date_may_differ(submission, verified):
    forge(paths_of(submission)[0], lambda r: r["cost"].update(seconds=1e6, retrain_seconds=0.1) or r.update(created=""))
    assert len(verified(submission)) == 4


def change_lr(record):
    record["spec"]["method"]["hyperparameters"]["lr"] = 0.5


def test_an_edited_hyper_parameter_does_not_fit_the_id(submission, verified):
    path = forge(paths_of(submission)[0], change_lr)
    assert f"{path.name}: id: is not that of its spec" in refusal(verified, submission)


def test_nor_with_a_new_id_what_the_suite_computes_under_that_preset(submission, verified):
    path = forge(paths_of(submission)[0], change_lr, new_id=True)
    said = refusal(verified, submission, runs=1, seed=1)
    assert f"{path.name}: spec.method.hyperparameters.lr: recorded 0.5, computed again 0.01" in said


RULES = {
    "training_version": lambda spec: spec.update(training_version=7),
    "protocol_version": lambda spec: spec.update(protocol_version=7),
    "recipe.epochs": lambda spec: spec["recipe"].update(epochs=300),
    "data.split_seed": lambda spec: spec["data"].update(split_seed=1),
    "method.preset": lambda spec: spec["method"].update(preset="scaled"),
}


@pytest.mark.parametrize("key", RULES)
def test_a_run_by_other_rules_than_the_suites_is_found_before_anything_is_computed(submission, verified, key, tmp_path):
    forge(paths_of(submission)[0], lambda record: RULES[key](record["spec"]), new_id=True)
    wrong = "method.hyperparameters.lr" if key == "method.preset" else key
    assert f"spec.{wrong}: recorded " in refusal(verified, submission, cache=tmp_path / "empty")
    assert not list((tmp_path / "empty").rglob("*.safetensors"))


def test_a_record_that_was_moved_to_another_block_is_found(submission, verified):
    first, second = paths_of(submission, "random:0.1")
    content = json.loads(second.read_text())

    def become_block_1(record):
        record["spec"] = content["spec"]

    copied = forge(first, become_block_1, new_id=True)
    assert copied == second
    assert f"{copied.name}: " in refusal(verified, submission)


def test_a_record_from_other_data_is_found(submission, verified, other_npz, computed, tiny_npz):
    """Computed on other images, and then said to be of these."""
    sha256 = json.loads(paths_of(submission)[0].read_text())["spec"]["data"]["sha256"]
    foreign = computed(dataset=str(other_npz), blocks="1", retrains=1, results="foreign", scenario="random:0.1")
    folder = pack(Claim("finetune", "Of other data."), foreign, submission.with_name("foreign")).submission.folder
    forge(paths_of(folder)[0], lambda record: record["spec"]["data"].update(sha256=sha256), new_id=True)
    assert "recorded " in refusal(verified, folder)


def test_a_record_from_other_data_than_its_name_says_is_found(submission, verified, computed, other_npz):
    foreign = computed(dataset=str(other_npz), blocks="1", retrains=1, results="foreign", scenario="random:0.1")
    folder = pack(Claim("finetune", "Of other data."), foreign, submission.with_name("foreign")).submission.folder

    def call_it_bloodmini(record):
        allowed = ["crop", "horizontal", "trivialaugment", "vertical"]
        record["spec"]["data"] |= {"name": "bloodmini", "allowed_augmentations": allowed}

    forge(paths_of(folder)[0], call_it_bloodmini, new_id=True)
    assert "spec.data.sha256: recorded " in refusal(verified, folder, files=[])


def test_without_the_data_nothing_is_verified_and_the_line_says_what_to_do(submission, verified, other_npz):
    before = files_of(submission)
    with pytest.raises(MedsafeError, match=r"'tiny-blood' .* not here: .* --dataset FILE"):
        verified(submission, files=[])
    with pytest.raises(MedsafeError, match="no record was computed on it"):
        verified(submission, files=[other_npz])
    assert files_of(submission) == before


def test_a_data_file_may_have_another_name_here(submission, verified, tiny_npz, tmp_path):
    shutil.copyfile(tiny_npz, tmp_path / "from a friend.npz")
    assert len(verified(submission, files=[tmp_path / "from a friend.npz"])) == 4


@pytest.fixture
def other_npz(tiny_npz, tmp_path):
    """The same file name, fewer images."""
    with np.load(tiny_npz) as arrays:
        fewer = {name: array[:360] if name.startswith("train") else array for name, array in arrays.items()}
    (tmp_path / "other").mkdir()
    np.savez(tmp_path / "other" / tiny_npz.name, **fewer)
    return tmp_path / "other" / tiny_npz.name


def moved_elsewhere(record):
    record["environment"]["torch"] = "2.11.0"


def test_in_another_environment_a_rate_may_be_off_by_what_the_images_allow(submission, verified):
    def edit(record):
        moved_elsewhere(record)
        record["metrics"]["ta"] += 0.03 if record["metrics"]["ta"] < 0.9 else -0.03

    forge(paths_of(submission)[0], edit)
    by_agreement = {each.agreement: each.elsewhere for each in verified(submission)}
    assert by_agreement["bitwise"] == []
    assert "torch 2.11.0 there" in by_agreement["within tolerance"][0]
    assert len(marks(submission)) == 4


def test_but_not_by_more_and_the_line_says_where_it_was_computed(submission, verified):
    def edit(record):
        moved_elsewhere(record)
        record["metrics"]["ta"] += 0.5 if record["metrics"]["ta"] < 0.5 else -0.5

    forge(paths_of(submission)[0], edit)
    said = refusal(verified, submission)
    assert "metrics.ta: recorded" in said
    assert "; computed elsewhere, torch 2.11.0 there" in said


def test_equal_bits_from_another_environment_are_equal_bits(submission, verified):
    forge(paths_of(submission)[0], moved_elsewhere)
    assert {each.agreement for each in verified(submission)} == {"bitwise"}


def test_a_record_that_does_not_say_its_cpu_gets_the_benefit_of_the_doubt(submission, verified):
    def edit(record):
        del record["environment"]["cpu"]
        record["metrics"]["ta"] -= 1e-9

    forge(paths_of(submission)[0], edit)
    (found,) = (each for each in verified(submission) if each.elsewhere)
    assert found.elsewhere[0].startswith("cpu unknown there, ")


def test_a_mark_is_void_once_its_record_is_changed(submission, verified):
    verified(submission)
    path = paths_of(submission)[0]
    record = json.loads(path.read_text())
    record["metrics"]["ta"] = 1.0
    path.write_bytes(as_json(record))
    assert len(marks(submission)) == 3


def test_marks_that_somebody_gave_himself_go_when_a_record_differs(submission, verified):
    verified(submission)
    kept = json.loads(paths_of(submission)[1].read_text())
    assert "verification" in kept
    forge(paths_of(submission)[0], EDITS["metrics.ta"])
    refusal(verified, submission)
    assert not any("verification" in record for record in RecordStore(submission))
    assert pd.read_csv(submission / "leaderboards" / "unlearning.csv")["verified"].sum() == 0


def test_and_when_only_others_were_computed_again(submission, verified):
    verified(submission)
    (found,) = verified(submission, runs=1)
    assert [record["id"] for record in marks(submission)] == [found.record["id"]]


def test_a_failed_block_is_verified_like_any_other(computed, verified, plugin_file, tmp_path):
    file = plugin_file("raise RuntimeError('as ever')")
    results = computed("mine", plugin=file, blocks="1", retrains=1, results="failing")
    folder = pack(Claim("mine", "It fails.", plugin=file), results, tmp_path / "failing").submission.folder
    (found,) = verified(folder, base=Request("", plugin=folder / "plugin.py", isolation=IN_PROCESS))
    assert (found.record["status"], found.agreement) == ("error", "bitwise")


def test_code_that_a_submission_brings_runs_only_once_it_was_named(mine, brought, verified, plugin_file):
    file, _ = mine
    with pytest.raises(MedsafeError, match=r"read '.*plugin.py', then add --plugin"):
        verified(brought)
    with pytest.raises(MedsafeError, match="not the one that the submission brings"):
        verified(brought, base=Request("", plugin=plugin_file("return None"), isolation=IN_PROCESS))
    assert len(verified(brought, base=Request("", plugin=file, isolation=IN_PROCESS))) == 1


def test_the_draw_follows_its_seed_and_covers_as_many_rows_as_it_can(submission):
    records = read_submission(submission).records
    for seed in range(5):
        drawn = draw(records, 2, seed)
        assert {record["spec"]["scenario"] for record in drawn} == {"random:0.1", "class:2"}
        assert draw(list(reversed(records)), 2, seed) == drawn
        assert draw(records, None, seed)[:2] == drawn
    assert len({draw(records, 1, seed)[0]["id"] for seed in range(20)}) == 4
    assert len(draw(records, None, 0)) == 4


def test_a_time_out_is_never_drawn(submission):
    records = read_submission(submission).records
    late = [record | {"status": "timeout"} for record in records]
    assert draw([*late[:3], records[3]], None, 0) == [records[3]]
    with pytest.raises(MedsafeError, match="took too long"):
        draw(late, None, 0)


@pytest.fixture
def open_gate(monkeypatch):
    monkeypatch.setattr("benchmark.tracks.backdoor.gate", lambda *_: None)


def test_defences_are_verified_against_their_attacks(computed, verified, open_gate, tmp_path):
    for attack in ("badnets", "clean"):
        results = computed("clp", attack=attack, blocks="1", results="defended")
    folder = pack(Claim("clp", "Prunes."), results, tmp_path / "clp").submission.folder
    assert [each.agreement for each in verified(folder)] == ["bitwise", "bitwise"]
    assert pd.read_csv(folder / "leaderboards" / "backdoor.csv")["verified"].tolist() == [2]
    assert pd.read_csv(folder / "leaderboards" / "backdoor_long.csv")["verified"].tolist() == [1, 1]
    path = next(path for path in paths_of(folder) if "badnets" in path.read_text())
    forge(path, lambda record: record["references"]["oracle"].update(asr=0.987))
    assert "references.oracle.asr: recorded 0.987" in refusal(verified, folder)


def test_an_attack_that_failed_is_verified_too(computed, verified, tmp_path):
    results = computed("clp", attack="badnets", blocks="1", results="failed attack")
    folder = pack(Claim("clp", "Prunes."), results, tmp_path / "clp").submission.folder
    (found,) = verified(folder)
    assert found.record["status"] == "skipped"
    forge(paths_of(folder)[0], lambda record: record["references"]["oracle"].update(asr=0.987))
    assert "references.oracle.asr: recorded 0.987" in refusal(verified, folder)


@pytest.mark.parametrize(
    "changes", [{"pool": "reserved:40"}, {"attack": "badnets_all_to_all", "attack_preset": "small-data"}], ids=str
)
def test_pools_and_presets_of_attacks_are_asked_for_again(computed, verified, tmp_path, changes):
    results = computed("nad", blocks="3-3", results=str(changes), **{"attack": "badnets", **changes})
    folder = pack(Claim("nad", "As said."), results, tmp_path / "other").submission.folder
    assert len(verified(folder)) == 1


def test_control_and_augmentation_are_asked_for_again(computed, verified, tmp_path):
    computed(recipe="cpu+standard", allow=("horizontal",), blocks="1", retrains=1, results="odd")
    results = computed(non_member_share=0, blocks="1", retrains=1, results="odd", scenario="random-iid:0.2")
    folder = pack(Claim("finetune", "As said."), results, tmp_path / "odd").submission.folder
    assert len(verified(folder)) == 2
