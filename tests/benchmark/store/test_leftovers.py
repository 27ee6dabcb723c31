"""What killed processes leave behind is removed, and what others are writing is not, whatever their locks are worth."""

import errno
import fcntl
import multiprocessing
import os
import shutil
import time
from pathlib import Path
from unittest.mock import Mock

import pytest

from benchmark.errors import MedsafeError
from benchmark.store.artifacts import ArtifactStore
from benchmark.store.files import ATTEMPTS, remove_leftovers, write_atomically
from benchmark.store.records import RecordStore
from tests.benchmark.leaderboard.factory import make_record
from tests.benchmark.store.stories import KEY, NAME, Factory, FirstArtifact, RetriedRecord, is_whole, moments_in
from tests.benchmark.store.traps import Trap, in_a_child, killed, moments_of

CONTENT = b"all of it"
WRITING = moments_in(RetriedRecord)
MAKING = moments_in(FirstArtifact)


@pytest.fixture
def store(tmp_path):
    """Its folder is there."""
    store = RecordStore(tmp_path / "results")
    store.write(make_record("finetune"))
    return store


@pytest.fixture
def leftover(store):
    """What a writer leaves behind that is killed when half is written."""

    def write():
        with Trap(WRITING.index("halfway through writing"), killed).set():
            RecordStore(store.root.parent).write(make_record("salun"))

    assert in_a_child(write) == -9
    (path,) = hidden(store.root)
    assert path.stat().st_size > 0
    return path


@pytest.fixture
def cache(tmp_path):
    return ArtifactStore(tmp_path / "cache")


def hidden(folder):
    return [path for path in folder.rglob(".*") if path.is_file()]


def aged(path, hours):
    changed = time.time() - hours * 3600
    os.utime(path, (changed, changed))


@pytest.fixture
def no_locks(monkeypatch):
    """A file system that has none."""
    monkeypatch.setattr(fcntl, "flock", Mock(side_effect=OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))))


def test_what_a_killed_writer_left_is_gone_when_the_next_one_starts(store, leftover):
    store.check_writable()
    assert hidden(store.root) == []
    assert len(list(store)) == 1


@pytest.mark.parametrize("moment", range(len(WRITING)))
def test_what_is_being_written_is_left_alone(tmp_path, moment):
    path, trap = tmp_path / "a", Trap(moment, lambda: remove_leftovers(tmp_path))
    with trap.set():
        write_atomically(path, CONTENT)
    assert trap.sprung
    assert path.read_bytes() == CONTENT
    assert hidden(tmp_path) == []
    unlocked = range(WRITING.index("after opening"), WRITING.index("after flock"))
    assert trap.moments.count("before flock") == (2 if moment in unlocked else 1)


@pytest.mark.parametrize("moment", range(len(WRITING)))
def test_what_is_removed_in_spite_of_its_lock_is_written_again(tmp_path, moment):
    """By another machine, where locks end at one's own."""
    path = tmp_path / "a"
    with Trap(moment, lambda: [each.unlink() for each in hidden(tmp_path)]).set():
        write_atomically(path, CONTENT)
    assert path.read_bytes() == CONTENT
    assert hidden(tmp_path) == []


def test_what_is_always_removed_is_an_error_in_the_end(store):
    trap = Trap(WRITING.index("after fsync"), lambda: [each.unlink() for each in hidden(store.root)], lasting=True)
    with trap.set(), pytest.raises(MedsafeError, match=r"^record '.*' cannot be written \(No such file or directory\)"):
        store.write(make_record("salun"))
    assert trap.moments.count("before replace") == ATTEMPTS
    assert hidden(store.root) == []
    assert len(list(store)) == 1


@pytest.mark.parametrize(("hours", "left"), [(0, True), (23, True), (-25, True), (25, False)])
def test_without_locks_it_is_gone_a_day_later(store, leftover, no_locks, hours, left):
    aged(leftover, hours)
    store.check_writable()
    assert hidden(store.root) == [leftover] * left
    assert fcntl.flock.called


def test_two_may_clean_up_at_once(store, leftover, tmp_path):
    kept = shutil.copytree(store.root, tmp_path / "kept")
    for moment in range(len(moments_of(lambda: remove_leftovers(store.root)))):
        shutil.copytree(kept, store.root, dirs_exist_ok=True)
        with Trap(moment, lambda: remove_leftovers(store.root)).set() as trap:
            remove_leftovers(store.root)
        assert trap.sprung
        assert hidden(store.root) == []
        assert len(list(store)) == 1


def test_what_gets_its_name_while_somebody_cleans_up_stays(store, leftover):
    final = leftover.with_name("final")
    with Trap(0, lambda: leftover.replace(final)).set() as trap:
        remove_leftovers(store.root)
    assert trap.moments[0] == "before opening"
    leftover.write_bytes(CONTENT)
    with Trap(trap.moments.index("before opening") + 2, lambda: leftover.replace(final)).set() as trap:
        remove_leftovers(store.root)
    assert trap.moments[2:4] == ["before flock", "after flock"]
    assert final.read_bytes() == CONTENT


@pytest.mark.parametrize("name", [".notes.tmp", "salun-0.json", ".salun-0.json.tmp", f"x.json.{'a' * 32}.tmp", ".git"])
def test_files_of_other_kinds_are_not_ours_to_remove(store, name):
    path = store.root / "unlearning" / name
    path.write_text("kept")
    aged(path, 1000)
    store.check_writable()
    assert path.read_text() == "kept"


def test_a_leftover_that_cannot_be_removed_stops_no_run(store, leftover, monkeypatch):
    """It may be another user's."""
    monkeypatch.setattr(Path, "unlink", Mock(side_effect=PermissionError))
    remove_leftovers(store.root)
    assert Path.unlink.called
    assert hidden(store.root) == [leftover]


def test_many_writers_and_cleaners_do_not_disturb_each_other(tmp_path):
    fork = multiprocessing.get_context("fork")
    write_atomically(tmp_path / "0", CONTENT)
    done = fork.Event()

    def write():
        for number in range(100):
            write_atomically(tmp_path / str(number % 3), CONTENT)

    def clean():
        while not done.is_set():
            remove_leftovers(tmp_path)

    writers, cleaners = ([fork.Process(target=each) for _ in range(2)] for each in (write, clean))
    for process in writers + cleaners:
        process.start()
    for process in writers:
        process.join(60)
    done.set()
    for process in cleaners:
        process.join(60)
    assert [process.exitcode for process in writers + cleaners] == [0] * 4
    assert hidden(tmp_path) == []
    assert all((tmp_path / str(number)).read_bytes() == CONTENT for number in range(3))


# The same of artifacts


@pytest.mark.parametrize("clean", [ArtifactStore.remove_leftovers, ArtifactStore.clear])
@pytest.mark.parametrize("moment", range(len(MAKING)))
def test_an_artifact_that_is_being_made_is_left_alone(tmp_path, clean, moment):
    root, make = tmp_path / "cache", Factory()
    with Trap(moment, lambda: clean(ArtifactStore(root))).set():
        made = ArtifactStore(root).get_or_create(KEY, make)
    assert make.calls == 1
    if clean is ArtifactStore.remove_leftovers or moment < MAKING.index("after replace"):
        assert is_whole(made)
    assert {path.name for path in root.iterdir()} <= {NAME, "locks"}


def test_a_folder_of_the_users_own_is_not_ours_to_remove(cache):
    for name in ("thesis", "a" * 63, NAME.upper()):
        (cache.root / name).mkdir()
    cache.clear()
    assert len(list(cache.root.iterdir())) == 4


def test_an_artifact_folder_that_is_removed_meanwhile_is_made_again(cache):
    make = Factory()

    def disturbed(folder):
        metadata = make(folder)
        if make.calls == 1:
            shutil.rmtree(cache.root)
            raise RuntimeError("what a library says of a folder that is not there")
        return metadata

    assert is_whole(cache.get_or_create(KEY, disturbed))
    assert make.calls == 2


def test_one_that_is_always_removed_is_an_error_in_the_end(cache):
    make = Factory()
    with pytest.raises(MedsafeError, match=r"^cache folder '.*': '[0-9a-f]{64}' is removed whenever it is made"):
        cache.get_or_create(KEY, lambda folder: (make(folder), shutil.rmtree(folder)))
    assert make.calls == ATTEMPTS


def test_two_that_no_lock_keeps_apart_make_one_artifact_between_them(cache):
    """Somebody removes the lock's file, or the other is on a machine that does not see it."""
    make = Factory()

    def overtaken(folder):
        (cache.root / "locks" / f"{NAME}.lock").unlink()
        assert in_a_child(lambda: cache.get_or_create(KEY, Factory())) == 0
        return make(folder)

    artifact = cache.get_or_create(KEY, overtaken)
    assert is_whole(artifact)
    assert (make.calls, artifact.reused) == (1, True)
    assert sorted(path.name for path in cache.root.iterdir()) == sorted([NAME, "locks"])


def test_the_slower_of_two_waits_for_the_quicker_whose_folder_is_not_its_own(cache):
    fork = multiprocessing.get_context("fork")
    at_work = fork.Event()

    def slowly(folder):
        at_work.set()
        time.sleep(0.3)
        return Factory()(folder)

    other = fork.Process(target=lambda: cache.get_or_create(KEY, slowly))

    def overtaken(folder):
        (cache.root / "locks" / f"{NAME}.lock").unlink()
        other.start()
        assert at_work.wait(60)
        return Factory()(folder)

    artifact = cache.get_or_create(KEY, overtaken)
    other.join(60)
    assert other.exitcode == 0
    assert artifact.reused
    assert is_whole(artifact)


def test_one_that_is_there_in_spite_of_the_lock_is_taken(cache, tmp_path):
    twin = ArtifactStore(tmp_path / "twin").get_or_create(KEY, Factory())

    def overtaken(folder):
        shutil.copytree(twin.folder, cache.root / NAME)
        return Factory()(folder)

    artifact = cache.get_or_create(KEY, overtaken)
    assert artifact.reused
    assert is_whole(artifact)


def test_a_cache_that_cannot_be_locked_says_so_unless_all_is_there(cache, no_locks, monkeypatch):
    with pytest.raises(MedsafeError, match=r"^cache folder '.*' cannot be written \(No locks available\): set MEDSAFE"):
        cache.get_or_create(KEY, Factory())
    (cache.root / f"{NAME}.0.tmp").mkdir()
    cache.remove_leftovers()
    with pytest.raises(MedsafeError, match="No locks available"):
        cache.clear()
    assert (cache.root / f"{NAME}.0.tmp").is_dir()
    monkeypatch.undo()
    cache.get_or_create(KEY, Factory())
    monkeypatch.setattr(fcntl, "flock", Mock(side_effect=OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))))
    assert is_whole(cache.get_or_create(KEY, Factory()))
