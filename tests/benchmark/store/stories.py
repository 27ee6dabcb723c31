"""What the stores do to a disk, each as a story: what was there, what happens, and what may be there afterwards."""

import shutil
import tempfile
from pathlib import Path

from benchmark.config import identity
from benchmark.store.artifacts import ArtifactStore
from benchmark.store.files import remove_leftovers
from benchmark.store.records import RecordStore
from tests.benchmark.leaderboard.factory import make_record
from tests.benchmark.store.traps import moments_of

KEY = {"kind": "model", "block": 3, "recipe": {"lr": 0.1}}
NAME = identity(KEY)
WEIGHTS = bytes(range(256))
METADATA = {"flops": 1.5e9, "ua": 0.1}


class Factory:
    """Makes the artifact, and counts how often it had to."""

    def __init__(self):
        self.calls = 0

    def __call__(self, folder):
        self.calls += 1
        (folder / "weights").write_bytes(WEIGHTS)
        (folder / "logits").write_bytes(b"logits")
        return METADATA


def is_whole(artifact):
    return (
        (artifact / "weights").read_bytes() == WEIGHTS
        and (artifact / "logits").read_bytes() == b"logits"
        and artifact.metadata == METADATA
    )


def files(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


class FirstRecord:
    """A run is recorded in a folder that is not there yet."""

    before = None

    def __init__(self, folder: Path):
        self.store, self.after = RecordStore(folder / "results"), make_record()
        if self.before:
            self.store.write(self.before)

    def act(self):
        self.store.write(self.after)

    def check(self):
        found = self.store.read(self.after["spec"], self.after["id"])
        assert found in (self.before, self.after)
        assert list(self.store) == ([found] if found else [])

    def finish(self):
        path = self.store.write(self.after)
        remove_leftovers(self.store.root)
        assert list(self.store) == [self.after]
        assert files(self.store.root) == [path.name]


class RetriedRecord(FirstRecord):
    """The run was recorded as an error."""

    before = make_record(status="error", reason="out of memory")


class FirstLook(FirstRecord):
    """Before anything is computed, it is tried whether it can be recorded, and a killed writer's file is removed."""

    before = make_record()

    def __init__(self, folder: Path):
        super().__init__(folder)
        (self.store.root / "unlearning" / f".salun.json.{'a' * 32}.tmp").write_text("half")

    def act(self):
        self.store.check_writable()

    def finish(self):
        self.store.check_writable()
        super().finish()


class FirstArtifact:
    """An artifact is made in a cache that is not there yet."""

    damaged: frozenset[str] = frozenset()

    def __init__(self, folder: Path):
        self.root = folder / "cache"

    @property
    def store(self):
        return ArtifactStore(self.root)

    def act(self):
        self.store.get_or_create(KEY, Factory())

    def check(self):
        self.check_one(NAME)

    def check_one(self, name):
        found = self.store.find(name)
        assert found is None or is_whole(found)
        assert self.store.has(name) == (found is not None)
        if name not in self.damaged:
            assert (self.root / name).exists() == (found is not None)

    def finish(self):
        found, make = self.store.find(NAME), Factory()
        assert is_whole(self.store.get_or_create(KEY, make))
        assert make.calls == (found is None)
        self.store.remove_leftovers()
        assert sorted(path.name for path in self.root.iterdir()) == sorted([NAME, "locks"])


class DamagedArtifact(FirstArtifact):
    """The artifact is there, but not whole, and a killed process left another half of it."""

    damaged = frozenset({NAME})

    def __init__(self, folder: Path):
        super().__init__(folder)
        artifact = self.store.get_or_create(KEY, Factory())
        shutil.copytree(artifact.folder, self.root / f"{NAME}.{'a' * 32}.tmp")
        (artifact / "weights").write_bytes(WEIGHTS[:9])


class ClearedCache(FirstArtifact):
    """Two artifacts, a damaged one and the leftover of a third are removed."""

    damaged = frozenset({NAME})

    def __init__(self, folder: Path):
        super().__init__(folder)
        DamagedArtifact(folder)
        for block in range(2):
            self.store.get_or_create(KEY | {"block": block}, Factory())

    def act(self):
        self.store.clear()

    def check(self):
        for block in range(2):
            self.check_one(identity(KEY | {"block": block}))
        super().check()

    def finish(self):
        self.store.clear()
        assert [path.name for path in self.root.iterdir()] == ["locks"]


class RemovedLeftovers(DamagedArtifact):
    """What a killed process left is removed at the end of the day."""

    def act(self):
        self.store.remove_leftovers()


def moments_in(story) -> list[str]:
    """Those of a story that is not disturbed."""
    with tempfile.TemporaryDirectory() as folder:
        return moments_of(story(Path(folder)).act)


STORIES = (
    FirstRecord, RetriedRecord, FirstLook, FirstArtifact, DamagedArtifact, ClearedCache, RemovedLeftovers,
)  # fmt: skip
