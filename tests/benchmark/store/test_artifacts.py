"""The cache: computed once, found again, and never believed where it is damaged."""

import json
import multiprocessing
import time
from pathlib import Path

import pytest

from benchmark.config import canonical_json, identity
from benchmark.errors import MedsafeError
from benchmark.store.artifacts import MANIFEST, ArtifactStore, default_cache
from tests.benchmark.store.stories import KEY, NAME, WEIGHTS, Factory, is_whole


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


def rewritten(path, change):
    """Replace a manifest by another that is as sound as it."""
    manifest = change(json.loads(path.read_text()))
    manifest.pop("sha256", None)
    path.write_text(canonical_json(manifest | {"sha256": identity(manifest)}))


def test_what_is_there_is_known_without_reading_it(store, make):
    assert not store.has(NAME)
    weights = store.get_or_create(KEY, make) / "weights"
    assert store.has(NAME)
    weights.write_bytes(WEIGHTS[::-1])
    assert store.has(NAME)
    assert store.find(NAME) is None
    for damage in (lambda: weights.write_bytes(WEIGHTS[1:]), weights.unlink):
        damage()
        assert not store.has(NAME)
    store.get_or_create(KEY, make)
    (weights.parent / MANIFEST).write_text("{}")
    assert not store.has(NAME)


def test_an_artifact_of_the_time_when_sizes_were_not_noted_is_found(store, make):
    artifact = store.get_or_create(KEY, make)
    rewritten(artifact / MANIFEST, lambda manifest: {part: manifest[part] for part in ("key", "metadata", "files")})
    assert store.has(NAME)
    assert is_whole(store.get_or_create(KEY, make))
    assert make.calls == 1
    (artifact / "weights").unlink()
    assert not store.has(NAME)


@pytest.mark.parametrize("part", ["key", "metadata", "files", "sha256"])
def test_an_artifact_of_an_older_format_counts_as_absent_and_is_made_again(store, make, part):
    path = store.get_or_create(KEY, make) / MANIFEST
    if part == "sha256":
        manifest = json.loads(path.read_text())
        path.write_text(canonical_json({name: manifest[name] for name in manifest if name != part}))
    else:
        rewritten(path, lambda manifest: {name: manifest[name] for name in manifest if name != part})
    assert not store.has(NAME)
    assert store.find(NAME) is None
    assert store.listing() == []
    assert not store.get_or_create(KEY, make).reused
    assert is_whole(store.find(NAME))


def test_two_versions_of_the_code_live_side_by_side_and_neither_believes_the_others(store):
    versions = {"old": KEY | {"compute": "cpu-1 torch-2.11"}, "new": KEY | {"compute": "cpu-1 torch-2.13"}}

    def made_by(version):
        def make(folder):
            (folder / "weights").write_text(version)
            return {"version": version}

        return store.get_or_create(versions[version], make)

    for reused in (False, True):
        for version in versions:
            artifact = made_by(version)
            assert (artifact.reused, artifact.metadata) == (reused, {"version": version})
            assert (artifact / "weights").read_text() == version
    assert len(store.listing()) == 2


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
