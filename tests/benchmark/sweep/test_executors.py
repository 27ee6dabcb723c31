"""Worker processes of this machine: they do jobs, may die, and end with their driver."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from benchmark.sweep.drive import drive
from benchmark.sweep.executors import LocalExecutor
from benchmark.sweep.work import Place


@pytest.fixture
def executor(cache, records):
    with LocalExecutor(Place(cache, records.root.parent, threads=1), ["cpu"]) as started:
        yield started


def test_workers_do_jobs_and_a_killed_one_is_replaced(left, records, executor):
    jobs = left({"method": "original", "retrains": 1}).jobs
    first, killed = next(iter(jobs.values())), executor.processes
    executor.submit(first)
    assert executor.free == 0
    os.kill(killed[0], signal.SIGKILL)
    ((job, result),) = executor.wait()
    assert (job.id, result) == (first.id, None)
    assert executor.free == 1
    assert executor.processes != killed
    progress = drive(jobs, executor, lambda progress: None)
    assert not progress.failed
    assert [record["status"] for record in records] == ["ok"]


DRIVER = """
import sys, time
from pathlib import Path
from benchmark.sweep.executors import LocalExecutor
from benchmark.sweep.work import Place

if __name__ == "__main__":
    executor = LocalExecutor(Place(Path(sys.argv[1]), Path(sys.argv[2]), 1), ["cpu", "cpu"])
    print(*executor.processes, flush=True)
    time.sleep(100)
"""


def test_workers_end_when_their_driver_is_killed(tmp_path):
    (tmp_path / "driver.py").write_text(DRIVER)
    words = [sys.executable, tmp_path / "driver.py", tmp_path / "cache", tmp_path / "results"]
    driver = subprocess.Popen([*map(str, words)], stdout=subprocess.PIPE, text=True)
    workers = [int(word) for word in driver.stdout.readline().split()]
    assert len(workers) == 2
    driver.kill()
    driver.communicate()
    deadline = time.monotonic() + 60
    while any(map(is_alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(is_alive, workers))


def is_alive(process: int) -> bool:
    """Ended processes may stay in the table: where this process adopts orphans, nobody asks for their exit code."""
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
