"""What was damaged on the disk, or made by other code, is never believed: the next run makes it again, bit for bit."""

import json
import logging
from pathlib import Path

from benchmark import plan
from benchmark.tracks import models
from benchmark.training import VERSION
from tests.benchmark.test_kill import comparable

RECORDS = Path("results/local/records")


def only_record():
    (path,) = RECORDS.rglob("*.json")
    return path


def contents(cache):
    """The files that models and predictions lie in."""
    return {path: path.read_bytes() for path in sorted(cache.glob("*/*.safetensors"))}


def folders(cache):
    return {path.parent.name for path in cache.glob("*/manifest.json")}


def test_a_flipped_bit_in_any_cached_file_is_noticed_and_the_file_made_again_with_the_same_bits(run, cache):
    assert run().code == 0
    record, whole = comparable(only_record().read_bytes()), contents(cache)
    assert len(whole) >= 4
    for number, (path, content) in enumerate(whole.items(), 1):
        position = len(content) * number // (len(whole) + 1)
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
    only_record().unlink()
    assert run().code == 0
    assert contents(cache) == whole
    assert comparable(only_record().read_bytes()) == record


def test_a_truncated_record_is_left_out_with_a_warning_and_computed_again_by_the_next_run(run, medsafe, caplog):
    assert run().code == 0
    path = only_record()
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with caplog.at_level(logging.WARNING):
        medsafe("leaderboard")
    assert f"{path} is no whole record and is left out" in caplog.text
    said = run()
    assert said.code == 0
    assert "1 of 1 runs computed, 0 already recorded" in said.out
    assert comparable(path.read_bytes()) == comparable(content)


def test_two_versions_of_the_code_share_a_cache_and_neither_believes_the_others(run, cache, monkeypatch):
    assert run().code == 0
    old, record = folders(cache), comparable(only_record().read_bytes())
    files = contents(cache)
    only_record().unlink()
    with monkeypatch.context() as changed:
        for module in (plan, models):
            changed.setattr(module, "VERSION", VERSION + 1)
        assert run().code == 0
    new = folders(cache) - old
    assert len(new) == len(old), "each version has models of its own"
    assert versions(cache, old) == {VERSION}
    assert versions(cache, new) == {VERSION + 1}
    assert comparable(only_record().read_bytes())["id"] != record["id"]

    only_record().unlink()
    assert run().code == 0
    assert folders(cache) == old | new, "nothing is made twice"
    assert contents(cache).items() >= files.items()
    assert comparable(only_record().read_bytes()) == record


def versions(cache, names):
    """The versions of the training loop that made these artifacts."""
    keys = [json.loads((cache / name / "manifest.json").read_text())["key"] for name in names]
    return {key["training_version"] for key in keys if "training_version" in key}
