"""A run that is killed at any moment loses nothing that was finished, and leaves nothing half-written to be read."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmark.store.records import RecordStore

MEDSAFE = Path(sys.executable).with_name("medsafe")
KILLS = 8


def command(data: Path, results: Path) -> list[str]:
    options = {"method": "salun", "dataset": data, "blocks": 6, "retrains": 1, "threads": 1, "results": results}
    return [str(MEDSAFE), "run", *(str(part) for name, value in options.items() for part in (f"--{name}", value))]


def environment(cache: Path) -> dict[str, str]:
    return os.environ | {"MEDSAFE_CACHE": str(cache), "OMP_NUM_THREADS": "1"}


def finished(results: Path) -> dict[str, bytes]:
    """Every record file, which must be whole JSON, and its bytes."""
    files = {path.name: path.read_bytes() for path in results.rglob("*.json")}
    assert all(json.loads(content)["status"] == "ok" for content in files.values())
    return files


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kills_at_random_moments_lose_no_finished_run_and_change_no_number(tiny_npz, tmp_path):
    moments, killed, calm = random.Random(0), tmp_path / "killed", tmp_path / "calm"
    known: dict[str, bytes] = {}
    for _ in range(KILLS):
        process = subprocess.Popen(
            command(tiny_npz, killed), env=environment(tmp_path / "cache"), stdout=subprocess.DEVNULL
        )
        time.sleep(moments.uniform(3, 12))  # starting takes about four seconds, a block as long again
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        present = finished(killed)
        assert known.items() <= present.items()
        known = present
    for folder, cache in ((killed, "cache"), (calm, "another-cache")):
        subprocess.run(command(tiny_npz, folder), env=environment(tmp_path / cache), check=True, capture_output=True)

    assert known.items() <= finished(killed).items()
    assert [r["metrics"] for r in RecordStore(killed)] == [r["metrics"] for r in RecordStore(calm)]
    assert not list((tmp_path / "cache").glob("*.tmp"))  # what a kill left behind is cleared by whoever comes next
    assert len(finished(killed)) == 6
