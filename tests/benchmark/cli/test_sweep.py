"""`medsafe sweep`, whole: in this process but for its workers, on the tiny data set."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

SUITE = """
[defaults]
dataset = "{data}"
blocks = 1
retrains = 1

[[grid]]
method = ["original", "finetune"]
"""


@pytest.fixture
def suite(tiny_npz, tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(SUITE.format(data=tiny_npz))
    return path


def scores(folder):
    """Everything of the records but when and how long."""
    found = {path.name: json.loads(path.read_text()) for path in Path(folder).rglob("records/**/*.json")}
    return {name: (record["metrics"], record["references"], record["artifacts"]) for name, record in found.items()}


def test_a_plan_says_what_there_is_to_do_and_does_nothing(medsafe, suite):
    said = medsafe("sweep", suite, "--plan")
    assert said.code == 0
    assert "tiny: 2 runs, 0 recorded, 2 to do" in said.out
    assert "models that runs share: 2, 0 in the cache, 2 to train (20,520 gradient-equivalents)" in said.out
    assert "original on 360 images, block 0: 10,800 gradient-equivalents, for 2 runs" in said.out
    assert not Path("results").exists()


def test_a_sweep_records_what_run_would_and_the_next_one_has_nothing_to_do(medsafe, suite, tiny_npz, monkeypatch):
    said = medsafe("sweep", suite, "--workers", 2)
    assert said.code == 0, said.err
    assert "gradient-equivalents, for" not in said.out, "it is for --plan"
    assert "4/4 " in said.out
    assert "4 jobs done, 0 failed" in said.out
    assert Path("results/local/leaderboards/unlearning.csv").is_file()
    assert "2 runs, 2 recorded, 0 to do" in medsafe("sweep", suite).out

    monkeypatch.setenv("MEDSAFE_CACHE", "another")
    for method in ("original", "finetune"):
        words = ("--dataset", tiny_npz, "--blocks", 1, "--retrains", 1, "--threads", 1, "--results", "single")
        assert medsafe("run", "--method", method, *words).code == 0
    assert scores("results/local") == scores("single")


@pytest.fixture
def short_folder():
    """For sockets, whose paths may not be long."""
    folder = tempfile.mkdtemp(prefix="ray")
    yield folder
    shutil.rmtree(folder)


@pytest.mark.slow
def test_a_cluster_is_started_for_the_sweep_and_nothing_of_it_is_left(suite, tmp_path, short_folder):
    home = tmp_path / "home"
    home.mkdir()
    environment = os.environ | {"MEDSAFE_CACHE": "cache", "TMPDIR": short_folder, "HOME": str(home)}
    words = [sys.executable, "-m", "benchmark.cli", "sweep", suite, "--executor", "ray", "--workers", "1"]
    said = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stderr) == (0, "")
    assert "4 jobs done, 0 failed" in said.stdout
    assert len(scores(tmp_path / "results")) == 2
    assert not list(Path(short_folder).glob("medsafe-*"))
    assert not (home / ".ray").exists()
    assert not [each for each in psutil.process_iter() if belongs(each, short_folder)]


def belongs(process, folder):
    try:
        return process.environ().get("TMPDIR") == folder and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def test_a_failure_is_recorded_the_others_go_on_and_the_exit_code_says_so(medsafe, suite, plugin):
    file = plugin("raise ValueError('no idea')")
    suite.write_text(suite.read_text() + f'\n[[grid]]\nmethod = "mine"\nplugin = "{file}"\n')
    said = medsafe("sweep", suite, "--workers", 1)
    assert said.code == 1
    assert "4 jobs done, 1 failed" in said.out
    assert "mine (published) · block 0: error: mine raised ValueError: no idea" in said.out
    assert "2 recorded, 1 to do" in medsafe("sweep", suite, "--plan").out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("nowhere.toml",), "cannot be read"),
        (("--workers", 0), "workers 0"),
        (("--threads", 0), "threads 0"),
        (("--device", "tpu"), "tpu"),
        (("--address", "head:6379"), "only a Ray cluster has one"),
        (("--executor", "slurm"), "unknown executor 'slurm'"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(medsafe, suite, words, says):
    said = medsafe("sweep", *(() if words[0] == "nowhere.toml" else (suite,)), *words)
    assert said.code == 2
    assert says in said.err
    assert len(said.err.strip().splitlines()) == 1
    assert not Path("results").exists()
