"""The command against an attack: the same run, records and tables, and the picture of the triggers."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from benchmark.contracts.insertion import rebuild
from benchmark.models import build_model
from benchmark.store.artifacts import ArtifactStore
from benchmark.tracks.stored import INSERTIONS
from tests.helpers import records

TABLES = Path("results/local/leaderboards")


@pytest.fixture
def defend(medsafe, tiny_npz, short_recipe):
    """`medsafe run` of a defence on the tiny data set: one block, two epochs."""
    return lambda method, *words: medsafe("run", "--method", method, "--dataset", tiny_npz, "--blocks", 1, *words)


@pytest.fixture
def open_gate(monkeypatch):
    monkeypatch.setattr("benchmark.tracks.backdoor.gate", lambda *_: None)


def test_a_run_prints_its_outcome_and_writes_both_tables(defend, open_gate):
    said = defend("clp", "--attack", "badnets")
    assert said.code == 0, said.err
    (record,) = records()
    assert f"clp on tiny-blood, badnets, reserved, block 0 ({record['id']}): ok" in said.out
    assert "oracle" in said.out
    wide, long = (pd.read_csv(TABLES / name) for name in ("backdoor.csv", "backdoor_long.csv"))
    assert wide["defense"].tolist() == ["clp"]
    assert wide["badnets_asr"].item() == pytest.approx(record["metrics"]["asr"], abs=1e-5)
    assert long["attack"].tolist() == ["badnets"]
    assert long["asr_gap"].item() == pytest.approx(record["metrics"]["asr_gap"], abs=1e-5)


def test_without_an_attack_a_defence_meets_the_profiles(defend):
    defend("clp")
    assert [record["spec"]["attack"]["name"] for record in records()] == ["badnets"]


def test_a_failed_attack_is_said_and_counts_for_nobody(defend):
    said = defend("clp", "--attack", "badnets")
    assert said.code == 0
    assert "skipped: attack failed: " in said.out
    table = pd.read_csv(TABLES / "backdoor.csv")
    assert table["attacks_passed"].item() == 0
    assert "attack failed" in table["badnets_cured"].item()


def test_both_tracks_share_a_folder_and_each_has_its_tables(defend, medsafe, tiny_npz, open_gate):
    defend("none")
    medsafe("run", "--method", "finetune", "--dataset", tiny_npz, "--blocks", 1, "--retrains", 1)
    assert {record["spec"]["track"] for record in records()} == {"backdoor", "unlearning"}
    assert pd.read_csv(TABLES / "unlearning.csv")["method"].tolist() == ["finetune"]
    assert pd.read_csv(TABLES / "backdoor.csv")["defense"].tolist() == ["none"]
    assert medsafe("rescore").out.count("up to date") == 2


def test_an_exported_polarised_model_says_which_layers_it_has_and_can_be_rebuilt(defend, medsafe, cache, open_gate):
    defend("neural_polarizer", "--attack", "badnets", "--params", "epochs=1 warmup_epochs=1")
    (record,) = records()
    assert medsafe("export", record["id"], "--output", "taken").code == 0
    insertions = ArtifactStore(cache).find(record["artifacts"]["model"]).metadata[INSERTIONS]
    model = rebuild(build_model("cnn-small", channels=3, num_classes=8, seed=1), insertions)
    model.load_state_dict(load_file("taken/model.safetensors"))
    card = Path("taken/README.md").read_text()
    assert "- Added in front of `network.11`: " in card
    assert f"| ASR | {record['metrics']['asr']:.4f} |" in card
    assert torch.isfinite(model.eval()(torch.rand(2, 3, 28, 28))).all()


def test_the_gallery_shows_an_attack(medsafe, tiny_npz, short_recipe):
    said = medsafe("gallery", "--dataset", tiny_npz, "--attack", "blended", "--images", 2, "--output", "here/t.png")
    assert said.code == 0, said.err
    assert Path("here/t.png").read_bytes().startswith(b"\x89PNG")


def test_list_names_defences_attacks_and_pools(medsafe):
    said = medsafe("list").out
    for title, entry in (("defences", "neural_polarizer"), ("attacks", "wanet"), ("pools", "reserved:50")):
        assert any(title in line and entry in line for line in said.splitlines())
