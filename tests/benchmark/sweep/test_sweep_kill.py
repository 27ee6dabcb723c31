"""SIGKILL of driver, worker or both at random moments: the finished sweep is that of one that nobody disturbed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.helpers import words_of

KILLS = 8
WORKERS = 2
DRIVERS = 8


@pytest.fixture
def start(suite):
    """Starts `medsafe sweep` in a folder with cache and results of its own."""

    def go(folder: Path, workers: int = WORKERS) -> subprocess.Popen:
        words = [sys.executable, "-m", "benchmark.cli", "sweep", suite, "--workers", workers]
        with (folder / "said").open("a") as said:
            return subprocess.Popen(
                [*map(str, words)], cwd=folder, env=os.environ | {"MEDSAFE_CACHE": str(folder / "cache")},
                start_new_session=True, stdout=said, stderr=subprocess.STDOUT,
            )  # fmt: skip

    return go


def records(folder):
    """Name -> record without what differs between any two runs: when, and how many wall seconds."""
    found = {}
    for path in (folder / "results").rglob("records/**/*.json"):
        record = json.loads(path.read_text())
        for name in ("created", "seconds"):
            record.pop(name, None)
        cost = record.get("cost", {})  # none where the attack came to nothing on so few images
        for each in (cost, cost.get("original", {})):
            each.pop("seconds", None)
            each.pop("retrain_seconds", None)
        found[path.name] = record
    return found


def strike(driver, moments):
    """Kill the driver, one of its workers, or all."""
    workers = [child.pid for child in psutil.Process(driver.pid).children() if "spawn_main" in words_of(child)]
    whom = moments.choice(["driver", "worker", "all"])
    if whom == "all":
        os.killpg(driver.pid, signal.SIGKILL)
    else:
        os.kill(driver.pid if whom == "driver" or not workers else moments.choice(workers), signal.SIGKILL)


def ended(folder):
    """How many jobs the sweeps in this folder said they had done, one after the other."""
    return sum(
        "): " not in line and "/" in line.split()[0] for line in (folder / "said").read_text().splitlines() if line
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_sweep_that_is_killed_again_and_again_ends_as_one_that_was_not(start, tmp_path):
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    for folder in (calm, killed):
        folder.mkdir()
    assert start(calm).wait(250) == 0, (calm / "said").read_text()
    reference, moments, kills = records(calm), random.Random(5), 0
    assert len(reference) == 6

    for _ in range(KILLS):
        driver = start(killed)
        time.sleep(moments.uniform(2, 9))
        if driver.poll() is None:
            strike(driver, moments)
            kills += 1
            time.sleep(moments.uniform(0, 1))
        if driver.poll() is None:
            os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
        found = records(killed)
        assert {name: reference[name] for name in found} == found

    assert kills > KILLS / 2, "most came too late to tell anything"
    assert start(killed).wait(250) == 0, (killed / "said").read_text()
    assert records(killed) == reference
    left = [path for path in killed.rglob("*") if path.name.endswith(".tmp")]
    assert left == []
    assert artifacts(killed) == artifacts(calm)
    assert ended(killed) <= ended(calm) + KILLS * WORKERS


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_many_drivers_on_one_sweep_end_with_one_record_each_and_train_no_model_twice(start, tmp_path):
    alone, crowd = tmp_path / "alone", tmp_path / "crowd"
    for folder in (alone, crowd):
        folder.mkdir()
    assert start(alone).wait(250) == 0, (alone / "said").read_text()
    drivers = [start(crowd, workers=1) for _ in range(DRIVERS)]
    assert [driver.wait(600) for driver in drivers] == [0] * DRIVERS, (crowd / "said").read_text()
    assert records(crowd) == records(alone)
    assert artifacts(crowd) == artifacts(alone)
    assert not list(crowd.rglob("*.tmp"))


def artifacts(folder):
    """Names of what is in the cache."""
    return sorted(path.name for path in (folder / "cache").iterdir() if path.name != "locks")
