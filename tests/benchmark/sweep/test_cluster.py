"""Workers on a Ray cluster of several nodes, as its test helper makes them on one machine."""

import os
import signal
import socket
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from benchmark.errors import MedsafeError
from benchmark.store.records import RecordStore
from benchmark.sweep import cluster
from benchmark.sweep.cluster import RayExecutor
from benchmark.sweep.devices import Share
from benchmark.sweep.drive import drive
from benchmark.sweep.executors import LocalExecutor
from benchmark.sweep.work import Place
from tests.helpers import words_of

STORE = 80 * 2**20
"""Bytes for objects; Ray takes no fewer."""
WATCHFUL = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4}
"""A lost node is found out in seconds."""
QUIET = (("USAGE_STATS_ENABLED", "0"), ("ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0"))
CPU = Share("cpu", threads=1)


@pytest.fixture(scope="module")
def head():
    """A cluster whose head computes nothing; sockets need short paths."""
    from ray.cluster_utils import Cluster

    with tempfile.TemporaryDirectory(prefix="ray") as folder, pytest.MonkeyPatch.context() as patch:
        for name, value in (("TMPDIR", folder), ("AUTH_MODE", "disabled"), *QUIET):
            patch.setenv(f"RAY_{name}", value)
        Path(folder, "ray").mkdir()
        head = Cluster()
        try:
            head.add_node(num_cpus=0, object_store_memory=STORE, include_dashboard=False, _system_config=WATCHFUL)
            yield head
        finally:
            head.shutdown()


@pytest.fixture
def node(head):
    """Adds a node to the cluster; it leaves after the test."""
    added = []

    def go(**resources):
        added.append(head.add_node(object_store_memory=STORE, **{"num_cpus": 1} | resources))
        return added[-1]

    yield go
    for each in added:
        if each in head.worker_nodes:
            head.remove_node(each)


@pytest.fixture
def place(cache, records):
    return Place(cache, records.root.parent, threads=1)


@pytest.fixture
def jobs(left):
    """Two runs of two blocks each share two Originals and two Retrains."""
    return left(
        {"method": "original", "retrains": 1, "blocks": "2"}, {"method": "finetune", "retrains": 1, "blocks": "2"}
    ).jobs


def comparable(results):
    """Name -> record without what differs between any two runs: when, and how many wall seconds."""
    found = {}
    for record in RecordStore(results):
        for each in (record, record["cost"], record["cost"].get("original", {})):
            for name in ("created", "seconds", "retrain_seconds"):
                each.pop(name, None)
        found[record["id"]] = record
    return found


def leave(head, node):
    """As a machine that lost power."""
    head.remove_node(node, allow_graceful=False)


@pytest.mark.slow
def test_two_nodes_record_what_one_machine_does(head, node, place, jobs, tmp_path):
    node(), node()
    with RayExecutor(place, CPU, head.address) as executor:
        progress = drive(jobs, executor, lambda progress: None)
        assert executor.free == 2
    assert {result.status for _, result in progress.ended} == {"ok"}

    alone = replace(place, cache=tmp_path / "another", results=tmp_path / "alone")
    with LocalExecutor(alone, ["cpu"]) as executor:
        drive(jobs, executor, lambda progress: None)
    assert len(comparable(alone.results)) == 4
    assert comparable(place.results) == comparable(alone.results)
    assert not list(tmp_path.rglob(".*.tmp"))


class Lossy:
    """A cluster's executor, one of whose nodes is lost as soon as all its workers are busy."""

    def __init__(self, executor, lose):
        self.executor, self.lose, self.dead, self.submitted = executor, lose, [], []

    @property
    def free(self):
        return self.executor.free

    def submit(self, job):
        self.executor.submit(job)
        self.submitted.append(job.id)
        if self.lose and not self.free:
            self.lose()
            self.lose = None

    def wait(self):
        ended = self.executor.wait()
        self.dead += [job.id for job, result in ended if result is None]
        return ended


@pytest.mark.slow
def test_a_lost_node_costs_its_running_job_and_a_new_one_takes_part(head, node, place, jobs):
    node()
    lost = node()
    with RayExecutor(place, CPU, head.address) as executor:
        lossy = Lossy(executor, lambda: leave(head, lost))
        progress = drive(jobs, lossy, lambda progress: None)
        assert len(lossy.dead) == 1
        assert sorted(lossy.submitted) == sorted([*jobs, *lossy.dead])
        assert executor.free == 1
        node()
        again = next(iter(jobs.values()))
        executor.submit(again)
        while executor.free < 2:
            executor.wait()
    assert not progress.failed
    assert [record["status"] for record in RecordStore(place.results)] == ["ok"] * 4


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_without_any_node_there_is_an_end(head, node, place, jobs):
    last = node()
    with RayExecutor(place, CPU, head.address) as executor:
        job = next(iter(jobs.values()))
        executor.submit(job)
        (worker,) = [each for each in psutil.Process().children(recursive=True) if "_Seat" in words_of(each)]
        os.kill(worker.pid, signal.SIGKILL)
        ((died, result),) = executor.wait()
        assert (died.id, result, executor.free) == (job.id, None, 0)
        assert (executor.wait(), executor.free) == ([], 1)

        executor.submit(job)
        leave(head, last)
        assert [result for _, result in executor.wait()] == [None]
        with pytest.raises(MedsafeError, match="no node of the Ray cluster offers 1 CPU core"):
            while not executor.wait():
                pass


@pytest.mark.slow
def test_small_trainings_share_a_gpu(head, node, place, jobs):
    node(num_gpus=1)
    with RayExecutor(place, Share("cuda", threads=1, per_gpu=3), head.address) as executor:
        while executor.free < 3:
            executor.wait()
        executor.submit(next(iter(jobs.values())))
        ((_, result),) = executor.wait()
        assert "device 'cuda' is not there" in result.reason, "Ray's card is none here, but it is what was asked for"


@pytest.mark.slow
def test_no_more_workers_than_asked_for(head, node, place):
    node(num_cpus=3)
    with RayExecutor(place, replace(CPU, most=2), head.address) as executor:
        while executor.free < 2:
            executor.wait()
        workers = [each for each in psutil.Process().children(recursive=True) if "_Seat" in words_of(each)]
        assert (executor.free, len(workers)) == (2, 2), "there is room for three"


@pytest.mark.slow
def test_a_node_that_does_not_share_the_folders_is_named(head, node, place, tmp_path, monkeypatch):
    @contextmanager
    def elsewhere(place):
        with called(place) as meeting:
            yield replace(meeting, marks=(tmp_path / "local disk" / "mark",))

    called = cluster.called
    monkeypatch.setattr(cluster, "called", elsewhere)
    node()
    with pytest.raises(MedsafeError, match=rf"Ray node {socket.gethostname()}: '.*local disk' is not the driver's"):
        RayExecutor(place, CPU, head.address)


@pytest.mark.slow
def test_a_cluster_without_room_is_found_out_at_once(head, node, place):
    node()
    with pytest.raises(MedsafeError, match="offers 64 CPU cores"):
        RayExecutor(place, replace(CPU, threads=64), head.address)
    with pytest.raises(MedsafeError, match="offers a GPU"):
        RayExecutor(place, replace(CPU, device="cuda"), head.address)


@pytest.mark.parametrize(
    ("address", "says"),
    [("127.0.0.1:9", "no Ray cluster answers at '127.0.0.1:9'"), ("head", "address 'head' not understood")],
)
def test_a_cluster_that_is_not_there_is_one_line_and_leaves_nothing(place, address, says):
    with pytest.raises(MedsafeError, match=says) as caught:
        RayExecutor(place, CPU, address)
    assert len(str(caught.value).splitlines()) == 1
    assert not [path for path in place.results.rglob("*") if path.is_file()]


def test_without_ray_the_error_says_how_to_install_it(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MedsafeError, match=r"pip install 'medsafe-bench\[ray\]'"):
        RayExecutor(place, CPU)
