"""The cache: computed once, found again, and never believed where it is damaged."""

import itertools
import json
import multiprocessing
import time
from pathlib import Path

import pytest

from benchmark.config import identity
from benchmark.errors import MedsafeError
from benchmark.store.artifacts import MANIFEST, ArtifactStore, default_cache
from tests.benchmark.store.traps import Trap, full_disk, in_a_child, killed

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


@pytest.fixture
def store(tmp_path):
    return ArtifactStore(tmp_path / "artifacts")


@pytest.fixture
def make():
    return Factory()


def test_an_artifact_is_made_once_and_found_afterwards(store, make):
    first, second = store.get_or_create(KEY, make), store.get_or_create(KEY, make)
    assert make.calls == 1
    assert (first.reused, second.reused) == (False, True)
    assert is_whole(first)
    assert is_whole(second)
    assert first.folder == second.folder == store.root / NAME


def test_another_store_on_the_same_folder_finds_it_under_its_name(store, make):
    store.get_or_create(KEY, make)
    assert is_whole(ArtifactStore(store.root).find(NAME))
    assert store.find(identity(KEY | {"block": 4})) is None


def test_any_change_of_the_key_is_another_artifact(store, make):
    for key in (KEY, KEY | {"block": 4}, KEY | {"recipe": {"lr": 0.2}}, KEY | {"more": None}):
        assert not store.get_or_create(key, make).reused
    assert make.calls == 4


@pytest.mark.parametrize("file", ["weights", "logits", MANIFEST])
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: content + b" x",
        lambda content: bytes([content[0] ^ 1, *content[1:]]),
        lambda content: None,
    ],
    ids=["cut in half", "emptied", "lengthened", "one bit flipped", "removed"],
)
def test_a_damaged_artifact_is_made_again(store, make, file, damage):
    path = store.get_or_create(KEY, make) / file
    content = damage(path.read_bytes())
    path.unlink() if content is None else path.write_bytes(content)
    assert store.find(NAME) is None
    again = store.get_or_create(KEY, make)
    assert (make.calls, again.reused) == (2, False)
    assert is_whole(store.find(NAME))


def test_no_flipped_bit_of_a_manifest_changes_what_is_read(store, make):
    # scores are kept in the manifest alone, so that it needs a checksum of its own
    path = store.get_or_create(KEY, make) / MANIFEST
    content = path.read_bytes()
    for position, byte in enumerate(content):
        path.write_bytes(content[:position] + bytes([byte ^ 1 << position % 7]) + content[position + 1 :])
        found = store.find(NAME)
        assert found is None or is_whole(found), position


@pytest.mark.parametrize(
    "content", ["[]", "{}", "null", '{"files": []}', '{"key": 1, "metadata": 2, "files": {"x": 3}}']
)
def test_a_manifest_that_is_none_counts_as_absent(store, make, content):
    (store.get_or_create(KEY, make) / MANIFEST).write_text(content)
    assert store.find(NAME) is None
    assert is_whole(store.get_or_create(KEY, make))


def test_an_exception_while_making_leaves_nothing_behind(store, make):
    def interrupted(folder):
        make(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.get_or_create(KEY, interrupted)
    assert [path.name for path in store.root.iterdir()] == ["locks"]
    assert is_whole(store.get_or_create(KEY, make))


def test_what_json_cannot_say_is_refused_and_leaves_nothing_behind(store):
    with pytest.raises(ValueError, match="JSON"):
        store.get_or_create(KEY, lambda folder: {"ua": float("nan")})
    assert store.find(NAME) is None
    assert store.listing() == []


def test_a_full_disk_at_any_step_leaves_nothing_or_everything_and_the_next_call_succeeds(tmp_path):
    for step in itertools.count(1):
        store, make, trap = ArtifactStore(tmp_path / str(step)), Factory(), Trap(step, full_disk)
        try:
            with trap.set():
                store.get_or_create(KEY, make)
        except OSError:
            assert trap.sprung
        assert not [path for path in store.root.iterdir() if path.name not in ("locks", NAME)], step
        assert_next_call_succeeds(store, step)
        if not trap.sprung:
            break
    assert step > 15


def test_a_kill_at_any_step_leaves_nothing_or_everything_and_the_next_call_succeeds(tmp_path):
    for step in itertools.count(1):
        store, trap = ArtifactStore(tmp_path / str(step)), Trap(step, killed)

        def make_it(store=store, trap=trap):
            with trap.set():
                store.get_or_create(KEY, Factory())

        exit_code = in_a_child(make_it)
        assert_next_call_succeeds(store, step)
        assert sorted(path.name for path in store.root.iterdir()) == sorted([NAME, "locks"]), "leftovers stay"
        if exit_code == 0:
            break
        assert exit_code == -9
    assert step > 15


def assert_next_call_succeeds(store, step):
    found, make = store.find(NAME), Factory()
    assert found is None or is_whole(found), step
    assert is_whole(store.get_or_create(KEY, make)), step
    assert make.calls == (found is None), step


def test_a_kill_while_a_damaged_artifact_is_replaced_leaves_nothing_or_everything(tmp_path):
    for step in itertools.count(1):
        store, trap = ArtifactStore(tmp_path / str(step)), Trap(step, killed)
        (store.get_or_create(KEY, Factory()) / "weights").write_bytes(b"damaged")

        def make_it(store=store, trap=trap):
            with trap.set():
                store.get_or_create(KEY, Factory())

        exit_code = in_a_child(make_it)
        assert_next_call_succeeds(store, step)
        if exit_code == 0:
            break
    assert step > 15


def test_processes_that_ask_for_one_key_at_once_compute_it_once(store, tmp_path):
    fork, log = multiprocessing.get_context("fork"), tmp_path / "log"
    together, answers = fork.Barrier(4), fork.Queue()

    def slowly(folder):
        with log.open("a") as file:
            file.write("made\n")
        time.sleep(0.3)
        return Factory()(folder)

    def ask():
        together.wait()
        artifact = ArtifactStore(store.root).get_or_create(KEY, slowly)
        answers.put((artifact.reused, is_whole(artifact)))

    processes = [fork.Process(target=ask) for _ in range(4)]
    for process in processes:
        process.start()
    found = [answers.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert log.read_text() == "made\n"
    assert sorted(found) == [(False, True), (True, True), (True, True), (True, True)]


def test_the_listing_shows_whole_artifacts_with_key_and_size_and_clearing_removes_them(store, make):
    kept = store.get_or_create(KEY, make)
    damaged = store.get_or_create(KEY | {"block": 1}, make)
    (damaged / MANIFEST).write_text("{")
    (store.root / f"{NAME}.123.tmp").mkdir()
    (store.root / f"{NAME}.123.tmp" / MANIFEST).write_bytes((kept / MANIFEST).read_bytes())
    size = sum(path.stat().st_size for path in kept.folder.iterdir())
    assert store.listing() == [(KEY, size)]
    store.clear()
    assert store.listing() == []
    assert [path.name for path in store.root.iterdir()] == ["locks"]
    assert not store.get_or_create(KEY, make).reused


def test_a_manifest_names_what_it_vouches_for(store, make):
    manifest = json.loads((store.get_or_create(KEY, make) / MANIFEST).read_text())
    assert manifest["key"] == KEY
    assert set(manifest["files"]) == {"weights", "logits"}
    assert identity(manifest["key"]) == NAME


def test_the_cache_folder_is_the_environments_else_the_platforms(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDSAFE_CACHE", str(tmp_path))
    assert default_cache() == tmp_path
    monkeypatch.delenv("MEDSAFE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "platform"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache().name == "medsafe-bench"
    assert tmp_path in default_cache().parents


def test_a_cache_that_cannot_be_written_is_said_in_one_line_with_the_way_out(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MedsafeError, match=r"^cache folder '.*file/cache' cannot be written \(.*\): set MEDSAFE_CACHE"):
        ArtifactStore(Path(tmp_path / "file" / "cache"))
