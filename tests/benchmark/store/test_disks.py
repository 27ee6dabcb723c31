"""Records and artifacts on real disks that are full or read-only: the old one or the new one, and nothing else."""

import pytest

from benchmark.config import identity
from benchmark.errors import MedsafeError
from benchmark.store.artifacts import ArtifactStore
from benchmark.store.records import RecordStore
from tests.benchmark.leaderboard.factory import make_record
from tests.benchmark.store.disks import BLOCK, small_disk

KEY = {"kind": "model", "block": 3}
WEIGHTS = bytes(range(256)) * 1024


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        yield disk


def make(folder):
    (folder / "weights").write_bytes(WEIGHTS)
    return {"ua": 0.5}


@pytest.mark.parametrize("blocks_left", [0, 1])
def test_a_full_disk_keeps_the_old_record_and_has_room_for_the_new_one_later(disk, blocks_left):
    store = RecordStore(disk.folder)
    old, new = make_record(status="error", reason="out of memory"), make_record(notes=["long" * 3 * BLOCK])
    store.write(old)
    disk.fill(but=blocks_left * BLOCK)
    with pytest.raises(MedsafeError, match=r"^re.* cannot be written \(No space left on device\): "):
        store.write(new)
    assert list(store) == [old]
    assert disk.temporary_files() == []
    disk.free()
    store.write(new)
    assert list(store) == [new]


@pytest.mark.parametrize("bytes_left", [0, BLOCK, len(WEIGHTS) // 2, len(WEIGHTS)])
def test_a_full_disk_keeps_nothing_of_an_artifact_that_is_made_when_there_is_room(disk, bytes_left):
    store = ArtifactStore(disk.folder / "cache")
    other = store.get_or_create(KEY | {"block": 4}, make)
    disk.fill(but=bytes_left)
    with pytest.raises(MedsafeError, match=r"^cache folder '.*' cannot be written \(No space left on device\): "):
        store.get_or_create(KEY, make)
    assert not store.has(identity(KEY))
    assert disk.temporary_files() == []
    assert store.find(identity(KEY | {"block": 4})).metadata == other.metadata
    disk.free()
    assert not store.get_or_create(KEY, make).reused
    assert (store.find(identity(KEY)) / "weights").read_bytes() == WEIGHTS


def test_what_lies_on_a_read_only_disk_is_still_read(disk):
    records, store, record = RecordStore(disk.folder), ArtifactStore(disk.folder / "cache"), make_record()
    records.write(record)
    store.get_or_create(KEY, make)
    with disk.read_only():
        assert list(records) == [record]
        assert (store.find(identity(KEY)) / "weights").read_bytes() == WEIGHTS
        assert store.get_or_create(KEY, make).reused
        assert ArtifactStore(store.root).has(identity(KEY))


def test_a_read_only_disk_is_said_in_one_line_before_anything_is_computed(disk):
    records, store = RecordStore(disk.folder), ArtifactStore(disk.folder / "cache")
    with disk.read_only():
        for ask in (records.check_writable, lambda: records.write(make_record())):
            with pytest.raises(MedsafeError, match=r"^re.* cannot be written \(Read-only file system\)"):
                ask()
        with pytest.raises(MedsafeError, match=r"^cache folder '.*' cannot be written \(Read-only file system\)"):
            store.get_or_create(KEY, lambda folder: pytest.fail("computed for nothing"))
    assert list(records) == []
