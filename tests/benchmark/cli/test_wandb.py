"""`medsafe run --wandb`."""

import subprocess
import sys
from pathlib import Path

import pytest
import wandb

from tests.benchmark.wandb_server import history, summary
from tests.helpers import records


@pytest.fixture(autouse=True)
def nobody(monkeypatch, tmp_path):
    """A user who is not logged in."""
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def test_a_mode_that_does_not_exist_is_one_line(run):
    said = run("finetune", "--wandb", "ofline")
    assert (said.code, said.out) == (2, "")
    assert said.err == "medsafe: unknown wandb mode 'ofline': did you mean 'offline'?\n"
    assert not Path("results").exists()


def test_without_the_package_nothing_is_computed_and_one_line_says_why(run, monkeypatch, cache):
    monkeypatch.setitem(sys.modules, "wandb", None)
    said = run("finetune", "--wandb", "offline")
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert "pip install wandb" in said.err
    assert not Path("results").exists()
    assert not list(cache.iterdir())


def test_failures_are_tracked_with_their_reasons_and_keep_their_exit_code(run, plugin):
    said = run("mine", "--plugin", plugin("raise RuntimeError('no idea')"), "--wandb", "offline")
    assert said.code == 1
    folder = said.out.splitlines()[-1].split(" wandb sync ")[1]
    (file,) = Path(folder).glob("*.wandb")
    (row,) = [row for row in history(file) if "run" in row]
    assert row["status"] == "error"
    assert "no idea" in row["reason"]
    assert any("loss/block_0/original" in row for row in history(file))
    assert summary(file)["statuses"] == {"error": 1}


def test_a_wandb_that_fails_changes_neither_records_nor_exit_code(run, monkeypatch):
    monkeypatch.setattr(wandb, "init", lambda **_: {}["broken"])
    said = run("finetune", "--wandb", "online")
    assert said.code == 0
    assert [record["status"] for record in records()] == ["ok"]
    assert "leaderboard: " in said.out
    assert "tracked" not in said.out


@pytest.mark.slow
def test_in_a_process_of_its_own_a_server_out_of_reach_is_one_line_on_standard_error(tmp_path, tiny_npz, monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # the port "discard": nobody listens
    monkeypatch.setenv("WANDB_API_KEY", 40 * "a")
    medsafe = str(Path(sys.executable).with_name("medsafe"))
    words = ("run", "--method", "original", "--dataset", tiny_npz, "--blocks", 1, "--retrains", 1, "--wandb", "online")
    done = subprocess.run(
        [medsafe, *map(str, words)], cwd=tmp_path, capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert line.endswith("connection refused: tracked offline, to be sent later")
    assert "wandb sync results/local/wandb/offline-run-" in done.stdout.splitlines()[-1]
