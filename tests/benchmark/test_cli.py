"""`medsafe` as a user types it: what works, and what bad input is answered with."""

import copy
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file

from benchmark import cli, training
from benchmark.data.datasets import load_dataset
from benchmark.models import build_model
from benchmark.store.artifacts import ArtifactStore
from benchmark.tracks.models import predictions_of
from metrics import unlearning as scores_of_unlearning
from metrics.unlearning import METRICS, SCORES
from tests.benchmark.leaderboard.factory import make_record


@dataclass(frozen=True)
class Said:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def medsafe(monkeypatch, capsys, tmp_path):
    """Runs the command in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> Said:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["medsafe", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        printed = capsys.readouterr()
        return Said(stop.value.code or 0, printed.out, printed.err)

    return call


@pytest.fixture
def run(medsafe, tiny_npz, short_recipe):
    """`medsafe run` on the tiny data set: one block, one Retrain, two epochs."""

    def call(method="finetune", *words: object) -> Said:
        return medsafe("run", "--method", method, "--dataset", tiny_npz, "--blocks", 1, "--retrains", 1, *words)

    return call


def records(folder="results/local"):
    return [json.loads(path.read_text()) for path in sorted(Path(folder).rglob("*.json"))]


# Bad input


@pytest.fixture
def refused(medsafe, tiny_npz, cache, tmp_path):
    """Has a request refused as every bad one must be; returns the one line."""

    def call(*words: object) -> str:
        given = {"--method": "salun", "--dataset": tiny_npz} | dict(zip(words[::2], words[1::2], strict=True))
        said = medsafe("run", *[word for pair in given.items() for word in pair])
        assert said.code == 2
        assert said.out == ""
        assert said.err.startswith("medsafe: ")
        assert said.err.count("\n") == 1
        assert said.err.endswith("\n")
        assert not [path for path in (tmp_path / "results").rglob("*") if path.is_file()]
        assert ArtifactStore(cache).listing() == []
        return said.err

    return call


NAMES = [
    (("--method", "salum"), "unknown unlearning method 'salum': did you mean 'salun'?"),
    (("--dataset", "bloodmin"), "unknown data set 'bloodmin': did you mean 'bloodmini'?"),
    (("--arch", "cnn-smal"), "unknown architecture 'cnn-smal': did you mean 'cnn-small'?"),
    (("--arch", "timm:resnet81"), "unknown timm architecture 'resnet81': did you mean"),
    (("--recipe", "cpuu"), "unknown recipe 'cpuu': did you mean 'cpu'?"),
    (("--recipe", "cpu+standart"), "'standart': did you mean 'standard'?"),
    (("--profile", "quik"), "unknown profile 'quik': did you mean 'quick'?"),
    (("--preset", "publishd"), "unknown preset of salun 'publishd': did you mean 'published'?"),
    (("--device", "cudaa"), "unknown device 'cudaa': did you mean 'cuda'?"),
    (("--scenario", "randm:0.1"), "unknown scenario 'randm': did you mean 'random'?"),
    (("--params", "keep_ration=1"), "unknown hyper-parameter of salun 'keep_ration': did you mean 'keep_ratio'?"),
    (("--allow", "horizontl"), "unknown augmentation 'horizontl': did you mean 'horizontal'?"),
]


@pytest.mark.parametrize(("words", "answer"), NAMES, ids=[" ".join(words) for words, _ in NAMES])
def test_an_unknown_name_is_answered_with_the_nearest(refused, words, answer):
    assert answer in refused(*words)


VALUES = [
    (("--params", "epochs=many"), "'epochs' of salun takes a value of type int; not 'many'"),
    (("--params", "epochs=1.5"), "'epochs' of salun takes a value of type int; not '1.5'"),
    (("--params", "lr=nan"), "'lr' of salun takes a finite number; not 'nan'"),
    (("--params", "schedule=mixd"), "'schedule' of salun takes one of forget_then_retain, mixed; not 'mixd'"),
    (("--params", "keep_ratio=2"), "salun: keep_ratio must lie in [0, 1], not 2.0"),
    (("--params", "keep_ratio"), "parameter 'keep_ratio' not understood"),
    (("--params", "lr=1 lr=2"), "parameter 'lr' is given twice"),
    (("--scenario", "random:0"), "'random:0'"),
    (("--scenario", "random:1"), "'random:1'"),
    (("--scenario", "random:0.0001"), "'random:0.0001' forgets no image of the 360"),
    (("--scenario", "random:0.9999"), "'random:0.9999' forgets every image of the 360"),
    (("--scenario", "random"), "'random' lacks its value"),
    (("--scenario", "class:8"), "'class:8': no such class; those of tiny-blood are 0 to 7"),
    (("--scenario", "class:basophil"), "'class:basophil': give the number"),
    (("--scenario", "ids:nowhere.txt"), "nowhere.txt: cannot be read"),
    (("--blocks", "0"), "blocks '0' not understood"),
    (("--blocks", "3-1"), "blocks '3-1' not understood"),
    (("--retrains", "0"), "0 Retrains: at least 1 is needed"),
    (("--threads", "0"), "threads 0: at least 1 is needed"),
    (("--threads", "-2"), "threads -2: at least 1 is needed"),
    (("--non-members", "1"), "share of non-members 1.0"),
    (("--attack", "badnets"), "attack 'badnets' goes with a backdoor defence, and 'salun' is an unlearning method"),
    (("--dataset", "nowhere.npz"), "nowhere.npz"),
    (("--dataset", "octmnist", "--data-root", "nowhere"), "nowhere"),
    (("--original", "nowhere.safetensors"), "checkpoint 'nowhere.safetensors' does not exist"),
    (("--plugin", "nowhere.py"), "plugin file 'nowhere.py' does not exist"),
    (("--groups", "nowhere.csv"), "nowhere.csv: cannot be read"),
]


@pytest.mark.parametrize(("words", "answer"), VALUES, ids=[" ".join(words) for words, _ in VALUES])
def test_a_value_that_cannot_be_used_is_named(refused, words, answer):
    assert answer in refused(*words)


FILES = {
    "an id beyond official train": ("--scenario", "ids:{}", "0\n400\n", "id 400 is out of range"),
    "an id that is no number": ("--scenario", "ids:{}", "0\n-1\n", "line 2: '-1' is no training index"),
    "no id at all": ("--scenario", "ids:{}", "# nothing\n", "lists no training index"),
    "every id there is": ("--scenario", "ids:{}", "\n".join(map(str, range(400))), "forgets every image"),
    "a checkpoint that is none": ("--original", "{}", "no weights", "cannot be read as safetensors"),
    "a plugin that is no Python": ("--plugin", "{}", "this is no python", "cannot be imported: SyntaxError"),
    "groups without their columns": ("--groups", "{}", "a,b\n1,2\n", "no column 'split'"),
    "a data file that is none": ("--dataset", "{}", "no archive", "file.npz"),
}


@pytest.mark.parametrize(("option", "value", "text", "answer"), FILES.values(), ids=FILES)
def test_a_file_with_the_wrong_content_is_named(refused, tmp_path, option, value, text, answer):
    ending = {"--plugin": "py", "--dataset": "npz"}.get(option, "txt")
    path = tmp_path / f"file.{ending}"
    path.write_text(text)
    line = refused(option, value.format(path))
    assert answer in line
    assert "file" in line


def rewritten(path, target, **changes):
    """A copy of an .npz file with some arrays replaced."""
    with np.load(path) as arrays:
        np.savez(target, **({name: arrays[name] for name in arrays} | changes))
    return target


def test_a_truncated_data_file_is_named(refused, tiny_npz, tmp_path):
    path = tmp_path / "cut.npz"
    path.write_bytes(tiny_npz.read_bytes()[:-5000])
    assert "cut.npz" in refused("--dataset", path)


def test_labels_out_of_range_are_named(refused, tiny_npz, tmp_path):
    labels = np.load(tiny_npz)["test_labels"].copy()
    labels[3] = 9
    path = rewritten(tiny_npz, tmp_path / "odd.npz", test_labels=labels)
    line = refused("--dataset", path)
    assert "odd.npz: test_labels holds 9, but the classes of train are 0 to 7" in line


def test_a_class_of_a_two_class_set_cannot_be_forgotten(refused, tiny_npz, tmp_path):
    with np.load(tiny_npz) as arrays:
        labels = {name: (arrays[name] > 3).astype(np.uint8) for name in arrays if name.endswith("labels")}
    path = rewritten(tiny_npz, tmp_path / "two.npz", **labels)
    assert "two has two classes" in refused("--dataset", path, "--scenario", "class:1")


def test_an_official_file_that_was_altered_is_not_taken_for_it(refused, tmp_path):
    folder = os.environ.get("MEDSAFE_DATA")
    if not folder or not (Path(folder) / "breastmnist.npz").is_file():
        pytest.skip("MEDSAFE_DATA does not name a folder with official MedMNIST files")
    content = bytearray((Path(folder) / "breastmnist.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "breastmnist.npz").write_bytes(content)
    line = refused("--dataset", "breastmnist", "--data-root", tmp_path)
    assert "md5 is" in line
    assert "that of the official breastmnist is" in line


def test_results_that_cannot_be_written_are_found_out_before_anything_is_computed(refused, tmp_path):
    (tmp_path / "file").write_text("kept")
    line = refused("--results", tmp_path / "file" / "below")
    assert "file/below' cannot be written" in line
    assert (tmp_path / "file").read_text() == "kept"


def test_a_cache_that_cannot_be_written_is_named(refused, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MEDSAFE_CACHE", str(tmp_path / "file" / "below"))
    assert "cache folder" in refused()


def test_a_checkpoint_of_another_architecture_is_found_out_before_anything_is_computed(refused, run, tmp_path):
    from safetensors.torch import save_file

    model = build_model("cnn-small", channels=1, num_classes=8, seed=0)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, tmp_path / "grey.safetensors")
    assert "does not fit this architecture" in refused("--original", tmp_path / "grey.safetensors")


def test_a_line_about_a_name_in_brackets_or_with_emoji_words_keeps_it_as_it_is(refused):
    assert "unknown unlearning method '[bold]:bug:[/x]'" in refused("--method", "[bold]:bug:[/x]")


@pytest.mark.parametrize("words", [("run",), ("run", "--method"), ("run", "--metod", "salun"), ("leaderbord",)])
def test_a_command_that_cannot_be_parsed_ends_with_code_2(medsafe, words):
    said = medsafe(*words)
    assert said.code == 2
    assert words[-1].removeprefix("--") in said.err or "--method" in said.err


# A run and what follows it


def test_a_run_prints_its_outcome_and_the_leaderboard_and_leaves_record_and_csv(run):
    said = run("salun", "--threads", 1)
    assert said.code == 0, said.err
    (record,) = records()
    assert f"salun on tiny-blood, random:0.1, block 0 ({record['id']}): ok" in said.out
    assert "1 of 1 runs computed, 0 already recorded in results/local" in said.out
    assert "tiny-blood · cnn-small · cpu · none · random:0.1: own runs" in said.out
    assert "leaderboard: results/local/leaderboards/unlearning.csv" in said.out
    table = pd.read_csv("results/local/leaderboards/unlearning.csv")
    assert table["method"].tolist() == ["salun"]
    assert table["ua"].item() == pytest.approx(record["metrics"]["ua"], abs=1e-5)


def test_the_same_run_again_computes_nothing_and_says_so(run, monkeypatch):
    run("finetune")
    before = {path: path.read_bytes() for path in Path("results").rglob("*") if path.is_file()}
    monkeypatch.setattr("benchmark.runner.execute", lambda *_: pytest.fail("computed again"))
    said = run("finetune")
    assert said.code == 0
    assert "0 of 1 runs computed, 1 already recorded in results/local" in said.out
    assert "block 0" in said.out
    assert "): already recorded" in said.out
    assert {path: path.read_bytes() for path in Path("results").rglob("*") if path.is_file()} == before


def test_a_record_has_the_shape_that_the_synthetic_ones_of_these_tests_have(run):
    def shape(value):
        return {name: shape(part) for name, part in value.items()} if isinstance(value, dict) else ...

    run("finetune")
    (real,), synthetic = records(), make_record("finetune", retrains=1)
    for record in (real, synthetic):
        record["unresolved"] = record["spec"]["method"]["hyperparameters"] = {}  # their names are not fixed
    assert shape(real) == shape(synthetic)
    assert shape(real["references"]["retrain"][0]) == shape(synthetic["references"]["retrain"][0])
    assert real["declarations"].keys() == METRICS.keys()


def test_hyper_parameters_of_ones_own_make_the_row_custom(run):
    run("finetune", "--params", "lr=0.02 epochs=1")
    (record,) = records()
    assert record["spec"]["method"]["preset"] == "custom"
    assert record["spec"]["method"]["hyperparameters"]["lr"] == 0.02
    assert pd.read_csv("results/local/leaderboards/unlearning.csv")["standing"].tolist() == ["custom"]


def test_the_leaderboard_is_rebuilt_from_records_alone_to_the_same_bytes(run, medsafe, monkeypatch):
    run("finetune")
    run("original")
    folder = Path("results/local/leaderboards")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for path in folder.iterdir():
        path.unlink()
    monkeypatch.setenv("MEDSAFE_CACHE", "/nonexistent/file")
    said = medsafe("leaderboard")
    assert said.code == 0
    assert "finetune" in said.out
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_published_rows_stand_beside_ones_own(run, medsafe):
    run("finetune")
    medsafe("publish")
    said = run("original")
    assert said.out.count("own runs") == 1
    own, published = said.out.split("own runs")[1].split(": published")
    assert "original" in own
    assert "finetune" in own
    assert "finetune" in published
    assert "original" not in published.splitlines()[3]
    assert medsafe("leaderboard", "--results", "results").out.count("tiny-blood") == 1  # not beside themselves


def test_failures_are_published_with_the_rest_and_nobodys_own_tuning_is(run, medsafe, plugin):
    run("finetune")
    run("finetune", "--params", "lr=0.02 epochs=1")
    run("mine", "--plugin", plugin("raise RuntimeError('no')"))
    assert len(records()) == 3
    said = medsafe("publish")
    assert said.code == 0
    assert "2 records published to results" in said.out
    published = records("results/records")
    assert all(record in records() for record in published)
    assert {(record["spec"]["method"]["name"], record["status"]) for record in published} == {
        ("finetune", "ok"),
        ("mine", "error"),
    }
    table = pd.read_csv("results/leaderboards/unlearning.csv").set_index("method")
    assert table.loc["mine", "standing"] == "incomplete"
    assert set(table["preset"]) == {"published"}


def test_a_published_record_never_stands_in_for_a_run(run, medsafe):
    run("finetune")
    medsafe("publish")
    for path in Path("results/local").rglob("*.json"):
        path.unlink()
    assert "1 of 1 runs computed" in run("finetune").out


def test_the_cache_can_be_shown_and_cleared(run, medsafe, cache):
    run("finetune")
    said = medsafe("cache")
    assert said.code == 0
    assert str(cache) in said.out
    for kind in ("original: 1,", "retrain: 1,", "unlearned: 1,", "scores: 3,"):
        assert f"  {kind}" in said.out
    assert "0 artifacts" in medsafe("cache", "--clear").out
    assert ArtifactStore(cache).listing() == []


def test_an_exported_model_gives_the_stored_logits_and_its_card_says_what_it_is(run, medsafe, cache, tiny_npz):
    run("finetune")
    (record,) = records()
    assert medsafe("export", record["id"][:8], "--output", "taken").code == 0
    model = build_model("cnn-small", channels=3, num_classes=8, seed=1)
    model.load_state_dict(load_file("taken/model.safetensors"))
    images = load_dataset(str(tiny_npz)).images
    stored = predictions_of(ArtifactStore(cache).find(record["artifacts"]["model"]))["logits"]
    assert np.array_equal(training.predict(model, images).numpy(), stored)
    assert json.loads(Path("taken/record.json").read_text()) == record
    card = Path("taken/README.md").read_text()
    for fact in (record["id"], "finetune", "tiny-blood", "`random:0.1` (36 images)", record["spec"]["data"]["sha256"]):
        assert fact in card
    assert f"| UA | {record['metrics']['ua']:.4f} |" in card


def test_an_export_that_cannot_be_made_says_why_and_leaves_nothing(run, medsafe, cache):
    run("finetune")
    run("original")
    run("finetune", "--params", "lr=1e30 epochs=1")
    by_status = {(record["status"], record["spec"]["method"]["name"]): record["id"] for record in records()}
    good = by_status["ok", "finetune"]
    Path("there").mkdir()
    for words, answer in (
        (("0123456789abcdef",), "run '0123456789abcdef' is not in results/local/records"),
        (("",), "may be any of 3"),
        ((by_status["diverged", "finetune"],), "has no model: its status is diverged"),
        ((good, "--output", "there"), "output folder 'there' exists"),
    ):
        said = medsafe("export", *words)
        assert (said.code, said.err.count("\n")) == (2, 1)
        assert answer in said.err
    ArtifactStore(cache).clear()
    assert f"the model of run '{good}' is not in the cache" in medsafe("export", good).err
    assert not Path("export").exists()


# Rescoring


@pytest.fixture
def other_ua(monkeypatch):
    """Brings in a new version of one metric, with values of its own."""

    def change():
        entries = [replace(entry, compute=lambda model: 0.125) if entry.name == "ua" else entry for entry in SCORES]
        monkeypatch.setattr(scores_of_unlearning, "SCORES", tuple(entries))
        monkeypatch.setitem(METRICS, "ua", replace(METRICS["ua"], version=7))

    return change


def test_a_changed_metric_is_computed_anew_from_stored_predictions_without_training(
    run, medsafe, monkeypatch, tiny_npz, other_ua
):
    run("finetune")
    (before,) = records()
    other_ua()
    monkeypatch.setattr("benchmark.tracks.models.train", lambda *_: pytest.fail("trained"))
    monkeypatch.setattr("benchmark.plan.load_dataset", lambda *_: pytest.fail("loaded the data"))
    said = medsafe("rescore")
    assert said.code == 0, said.err
    assert said.out.count("): rescored") == 1
    (after,) = records()
    scores = [after["metrics"], after["references"]["original"], *after["references"]["retrain"]]
    assert [score["ua"] for score in scores] == [0.125] * 3
    assert after["declarations"]["ua"]["version"] == 7
    expected = copy.deepcopy(before)
    expected["declarations"]["ua"]["version"] = 7
    for score in (expected["metrics"], expected["references"]["original"], *expected["references"]["retrain"]):
        score["ua"] = 0.125
    assert after == expected
    assert pd.read_csv("results/local/leaderboards/unlearning.csv")["ua"].tolist() == [0.125]
    assert "up to date" in medsafe("rescore").out


def test_rescoring_leaves_records_alone_whose_predictions_are_gone(run, medsafe, cache, other_ua):
    run("finetune")
    before = records()
    ArtifactStore(cache).clear()
    other_ua()
    said = medsafe("rescore")
    assert said.code == 0
    assert "its predictions are not in this cache: run it again" in said.out
    assert records() == before


def test_rescoring_does_not_part_a_failed_block_from_its_row(run, medsafe, plugin, other_ua):
    # else the blocks that went well would look like a complete row (PROTOCOL 1.4)
    run("mine", "--plugin", plugin(NAN_IN_THE_SECOND_CALL), "--blocks", 2)
    assert sorted(record["status"] for record in records()) == ["diverged", "ok"]
    other_ua()
    assert medsafe("rescore").code == 0
    table = pd.read_csv("results/local/leaderboards/unlearning.csv")
    assert table[["standing", "statuses"]].to_numpy().tolist() == [["incomplete", "diverged:1 ok:1"]]


# Methods that fail

PLUGIN = """
import torch
from dataclasses import dataclass
from pathlib import Path
from benchmark.api import Diverged, MedsafeError, unlearning_method

calls = []

@unlearning_method("{name}", version=1)
@dataclass(frozen=True)
class Mine:
    def unlearn(self, model, task):
        {body}
"""
NAN = "next(model.parameters()).data.fill_(float('nan')); return model"
NAN_IN_THE_SECOND_CALL = f"""calls.append(1)
        if len(calls) == 2:
            {NAN}
        return model"""


@pytest.fixture
def plugin(tmp_path):
    def write(body, name="mine"):
        path = tmp_path / f"{name}.py"
        path.write_text(PLUGIN.format(name=name, body=body))
        return path

    return write


FAILURES = {
    "raises": ("raise RuntimeError('no idea')", "error", "mine raised RuntimeError: no idea"),
    "raises in two lines": ("raise RuntimeError('one' + chr(10) + 'two')", "error", "RuntimeError: one two"),
    "raises the suite's own error": ("raise MedsafeError('mine')", "error", "mine raised MedsafeError: mine"),
    "raises an error of the disk": ("raise OSError('disk')", "error", "OSError"),
    "returns nothing": ("pass", "error", "returned NoneType, not a model"),
    "returns a number": ("return 3", "error", "returned int, not a model"),
    "returns another net": ("return torch.nn.Linear(2, 2)", "error", "another structure"),
    "sets weights to NaN": (NAN, "diverged", "weights that are not finite"),
    "says that it diverged": ("raise Diverged('loss is inf')", "diverged", "loss is inf"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "status", "reason"), FAILURES.values(), ids=FAILURES)
def test_a_method_that_fails_becomes_a_record_with_a_reason_and_the_next_block_goes_on(
    run, plugin, body, status, reason
):
    said = run("mine", "--plugin", plugin(body), "--blocks", 2)
    assert said.code == (1 if status == "error" else 0)
    found = records()
    assert [record["status"] for record in found] == [status] * 2
    assert sorted(record["spec"]["block"] for record in found) == [0, 1]
    for record in found:
        assert reason in record["reason"]
        assert "\n" not in record["reason"]
        assert "metrics" not in record
        assert f"block {record['spec']['block']} ({record['id']}): {status}: " in said.out
    table = pd.read_csv("results/local/leaderboards/unlearning.csv")
    assert table[["standing", "statuses"]].to_numpy().tolist() == [["incomplete", f"{status}:2"]]
    assert reason in table["reasons"].item()


def test_an_error_is_tried_again_and_a_divergence_is_not(run, plugin, tmp_path):
    flag = tmp_path / "broken"
    flag.write_text("")
    failing = plugin(f"if Path({str(flag)!r}).exists(): raise RuntimeError('no')\n        return model", "failing")
    nan = plugin(f"if Path({str(flag)!r}).exists(): {NAN}\n        return model", "diverging")
    assert run("failing", "--plugin", failing).code == 1
    assert run("diverging", "--plugin", nan).code == 0
    flag.unlink()
    again = run("failing", "--plugin", failing)
    assert again.code == 0
    assert "): ok" in again.out
    assert "): already recorded" in run("diverging", "--plugin", nan).out
    assert {record["spec"]["method"]["name"]: record["status"] for record in records()} == {
        "failing": "ok",
        "diverging": "diverged",
    }


# The same in processes of their own

MEDSAFE = [str(Path(sys.executable).with_name("medsafe"))]


def process(*words, cwd, limit=300):
    started = time.monotonic()
    done = subprocess.run(
        [*MEDSAFE, *map(str, words)], capture_output=True, text=True, cwd=cwd, timeout=limit, check=False
    )
    return Said(done.returncode, done.stdout, done.stderr), time.monotonic() - started


def test_the_installed_command_answers_bad_input_with_one_line_and_code_2(tmp_path):
    said, _ = process("run", "--method", "salum", cwd=tmp_path)
    assert said == Said(2, "", "medsafe: unknown unlearning method 'salum': did you mean 'salun'?\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_installed_command_from_a_first_run_to_an_exported_model(tmp_path, tiny_npz):
    listed, _ = process("list", cwd=tmp_path)
    assert listed.code == 0
    for name in ("salun", "bloodmini", "pathmnist", "cnn-small", "medmnist", "random:0.1", "quick"):
        assert name in listed.out
    words = ("run", "--method", "salun", "--dataset", tiny_npz, "--blocks", 1, "--retrains", 1, "--threads", 1)
    first, first_seconds = process(*words, cwd=tmp_path)
    assert (first.code, first.err) == (0, "")
    assert "1 of 1 runs computed" in first.out
    second, seconds = process(*words, cwd=tmp_path)
    assert second.code == 0
    assert "1 already recorded" in second.out
    assert seconds < 15
    assert seconds < first_seconds
    csv = tmp_path / "results/local/leaderboards/unlearning.csv"
    before = csv.read_bytes()
    csv.unlink()
    assert process("leaderboard", cwd=tmp_path)[0].code == 0
    assert csv.read_bytes() == before
    assert "unlearned: 1," in process("cache", cwd=tmp_path)[0].out
    assert "up to date" in process("rescore", cwd=tmp_path)[0].out
    assert "1 records published" in process("publish", cwd=tmp_path)[0].out
    (record,) = records(tmp_path / "results/local")
    assert process("export", record["id"], cwd=tmp_path)[0].code == 0
    assert (tmp_path / "export" / "model.safetensors").is_file()
    assert "0 artifacts" in process("cache", "--clear", cwd=tmp_path)[0].out
