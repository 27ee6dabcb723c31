"""`medsafe run` on disks that are full or read-only, and on a cache that was damaged: one line, and then it goes on."""

import json

import pytest

from tests.benchmark.store.disks import small_disk

DISK = 8 << 20


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / "disk", DISK) as disk:
        yield disk


@pytest.fixture
def on_disk(run, disk, monkeypatch):
    """`medsafe run` whose cache and results lie on the small disk, or one of them."""

    def call(cache=True, results=True):
        if cache:
            monkeypatch.setenv("MEDSAFE_CACHE", str(disk.folder / "cache"))
        return run("finetune", "--results", disk.folder / "results" if results else "results")

    return call


def records(folder):
    return [json.loads(path.read_text()) for path in sorted((folder / "records").rglob("*.json"))]


@pytest.mark.parametrize("kilobytes_left", [16, 80, 300])
def test_a_full_cache_ends_the_run_in_one_line_and_the_same_command_finishes_it(
    on_disk, disk, tmp_path, kilobytes_left
):
    disk.fill(but=kilobytes_left << 10)
    said = on_disk(results=False)
    assert said.code == 2
    assert said.err.splitlines()[-1].startswith("medsafe: cache folder")
    assert "No space left on device" in said.err
    assert "Traceback" not in said.err
    assert records(tmp_path / "results") == [], "a full disk is no result of a method"
    assert disk.temporary_files() == []
    disk.free()
    assert on_disk(results=False).code == 0
    assert [record["status"] for record in records(tmp_path / "results")] == ["ok"]
    assert disk.temporary_files() == []


def test_full_results_end_the_run_in_one_line_and_the_same_command_finishes_it(on_disk, disk):
    disk.fill()
    said = on_disk(cache=False)
    assert said.code == 2
    assert said.err.splitlines()[-1].startswith("medsafe: re")
    assert "cannot be written (No space left on device)" in said.err
    assert records(disk.folder / "results") == []
    assert disk.temporary_files() == []
    disk.free()
    assert on_disk(cache=False).code == 0
    assert [record["status"] for record in records(disk.folder / "results")] == ["ok"]


def test_read_only_results_are_said_before_anything_is_trained(on_disk, disk, cache):
    with disk.read_only():
        said = on_disk(cache=False)
    assert said.code == 2
    assert said.err.startswith("medsafe: results folder")
    assert "Read-only file system" in said.err
    assert said.err.count("\n") == 1
    assert not list(cache.glob("*/manifest.json"))
