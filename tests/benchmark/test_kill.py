"""SIGKILL at any moment loses no finished run and leaves nothing that a later run would believe."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

COMMAND = """
import sys
from dataclasses import replace
from benchmark import cli, training
training.RECIPES["cpu"] = replace(training.RECIPES["cpu"], epochs=2)
sys.argv[0] = "medsafe"
cli.main()
"""
"""The real command, but for the length of training."""
KILLS = 8
WALL_TIMES = ["seconds", "retrain_seconds"]


@pytest.fixture
def start(tiny_npz):
    """Starts `medsafe run`, four blocks, in a folder with cache and results of its own."""

    def go(folder: Path) -> subprocess.Popen:
        words = ["run", "--method", "finetune", "--dataset", tiny_npz, "--blocks", 4, "--retrains", 2, "--threads", 1]
        return subprocess.Popen(
            [sys.executable, "-c", COMMAND, *map(str, words)],
            cwd=folder, env=os.environ | {"MEDSAFE_CACHE": str(folder / "cache")}, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    return go


def wait_for_changes(process, folder, count):
    """Return when the files in cache and results have changed so often, or the process has ended."""

    def names():
        return [(root, sorted(folders), sorted(files)) for root, folders, files in os.walk(folder)]

    before = names()
    while process.poll() is None and count:
        time.sleep(0.002)
        now = names()
        count, before = count - (now != before), now


def record_files(folder):
    """Every JSON file in the results, each of which must parse."""
    paths = sorted((folder / "results").rglob("*.json"))
    return {path.relative_to(folder): path.read_bytes() for path in paths if json.loads(path.read_text())}


def comparable(content):
    """A record without what differs between any two runs: when, and how many wall seconds."""
    record = json.loads(content)
    del record["created"], record["seconds"], record["cost"]["retrain_seconds"]
    for cost in (record["cost"], record["cost"]["original"]):
        del cost["seconds"]
    return record


def rows(folder):
    table = pd.read_csv(folder / "results" / "local" / "leaderboards" / "unlearning.csv")
    return table.drop(columns=WALL_TIMES)


def finish(process):
    output, _ = process.communicate(timeout=250)
    assert process.returncode == 0, output
    return output


@pytest.mark.slow
def test_killing_a_run_at_any_moment_loses_no_finished_run_and_changes_no_result(start, tmp_path):
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    calm.mkdir()
    killed.mkdir()
    finish(start(calm))
    reference = record_files(calm)
    assert len(reference) == 4

    moments, finished, kills = random.Random(20), {}, 0
    for _ in range(KILLS):
        process = start(killed)
        wait_for_changes(process, killed, moments.randint(4, 24))
        time.sleep(moments.uniform(0, 0.03))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
        found = record_files(killed)
        assert {path: found.get(path) for path in finished} == finished, "a finished record was lost or changed"
        finished = found
        for path, content in found.items():
            assert comparable(content) == comparable(reference[path])

    assert kills > KILLS / 2, "most came too late to tell anything"
    output = finish(start(killed))
    assert f"{4 - len(finished)} of 4 runs computed, {len(finished)} already recorded" in output
    found = record_files(killed)
    assert found.items() >= finished.items()
    assert {path: comparable(content) for path, content in found.items()} == {
        path: comparable(content) for path, content in reference.items()
    }
    pd.testing.assert_frame_equal(rows(killed), rows(calm), check_exact=True)
    leftovers = [path for path in (killed / "cache").iterdir() if path.suffix == ".tmp"]
    assert leftovers == []
