"""Records: strict JSON, whole or absent, whatever happens while they are written."""

import copy
import itertools
import json
import math
import os
import time
from pathlib import Path
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.errors import MedsafeError
from benchmark.store.files import remove_leftovers
from benchmark.store.records import RecordStore
from tests.benchmark.leaderboard.factory import make_record
from tests.benchmark.store.traps import Trap, full_disk, in_a_child, killed


@pytest.fixture
def store(tmp_path):
    return RecordStore(tmp_path / "results")


def stored(store, record):
    return store.read(record["spec"], record["id"])


def files(store):
    return [path for path in store.root.rglob("*") if path.is_file()]


def test_a_record_comes_back_as_it_was_written(store):
    record = make_record("salun", 3, notes=["µ, 中, '[bold]' and \n"])
    path = store.write(record)
    assert stored(store, record) == record
    assert list(store) == [record]
    assert path == store.root / "unlearning" / "bloodmini" / f"salun-{record['id']}.json"


@given(values=st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False) | st.none() | st.text()))
def test_scores_come_back_to_the_last_bit(tmp_path_factory, values):
    store, record = RecordStore(tmp_path_factory.mktemp("results")), make_record(metrics=values)
    store.write(record)
    assert stored(store, record)["metrics"] == values


def test_records_come_in_the_same_order_however_they_were_written(store, tmp_path):
    records = [make_record(method, block) for method in ("salun", "finetune") for block in range(3)]
    other = RecordStore(tmp_path / "other")
    for record in records:
        store.write(record)
    for record in reversed(records):
        other.write(record)
    assert list(store) == list(other)
    assert len(list(store)) == 6


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_does_not_have_is_refused_and_the_old_record_stays(store, value):
    record = make_record()
    store.write(record)
    worse = copy.deepcopy(record)
    worse["metrics"]["ua"] = value
    with pytest.raises(ValueError, match="JSON"):
        store.write(worse)
    assert stored(store, record) == record
    assert len(files(store)) == 1


def versions():
    """The same run twice: recorded as an error, and as the retry wrote it."""
    return make_record(status="error", reason="out of memory"), make_record()


def test_a_full_disk_at_any_step_leaves_the_old_record_or_the_new_one(tmp_path):
    old, new = versions()
    for step in itertools.count(1):
        store, trap = RecordStore(tmp_path / str(step)), Trap(step, full_disk)
        store.write(old)
        try:
            with trap.set():
                store.write(new)
        except OSError:
            assert trap.sprung
        assert stored(store, new) in (old, new), step
        assert len(files(store)) == 1, step
        store.write(new)
        assert list(store) == [new], step
        if not trap.sprung:
            break
    assert step > 6


@pytest.mark.parametrize("first", [True, False], ids=["the first record", "a retry"])
def test_a_kill_at_any_step_leaves_the_old_record_or_the_new_one(tmp_path, first):
    old, new = versions()
    for step in itertools.count(1):
        store, trap = RecordStore(tmp_path / str(step)), Trap(step, killed)
        if not first:
            store.write(old)

        def write(store=store, trap=trap):
            with trap.set():
                store.write(new)

        exit_code = in_a_child(write)
        assert stored(store, new) in ((None, new) if first else (old, new)), step
        store.write(new)
        assert list(store) == [new], step
        if exit_code == 0:
            break
        assert exit_code == -9
    assert step > 6


def test_a_record_cut_anywhere_counts_as_missing(store):
    record = make_record()
    path = store.write(record)
    content = path.read_bytes().rstrip()
    for length in range(0, len(content), 97):
        path.write_bytes(content[:length])
        assert stored(store, record) is None
        assert list(store) == []
    store.write(record)
    assert list(store) == [record]


NO_RECORDS = [b"[]", b"3", b"{}", b'{"status": "ok"}', b"\xff\xfe{}", b"", b"[" * 100_000]
NO_RECORDS += [b'{"status": "ok", "spec": {}, "metrics": {"ua": %s}}' % number for number in (b"NaN", b"-Infinity")]


@pytest.mark.parametrize("content", NO_RECORDS, ids=range(len(NO_RECORDS)))
def test_a_file_that_is_no_record_is_passed_over(store, content):
    record = make_record()
    path = store.write(record)
    path.write_bytes(content)
    (path.parent / "also.json").mkdir()
    assert stored(store, record) is None
    assert list(store) == []


def test_thousands_of_records_hold_what_they_repeat_once(store):
    for block in range(3):
        store.write(make_record("salun", block))
    store.write(make_record("finetune"))
    first, *others = store
    assert all(record["declarations"] is first["declarations"] for record in others)
    assert all(record["environment"] is first["environment"] for record in others)
    assert len({id(record["references"]) for record in [first, *others]}) == 3  # both methods have one in block 0


def test_what_looks_equal_only_to_python_stays_apart(store):
    """1, 1.0 and True are equal, but no JSON file says the same with them."""
    records = [make_record(block=block) for block in range(3)]
    for record, version in zip(records, (1, 1.0, True), strict=True):
        record["declarations"] = {"ua": {"version": version}}
        store.write(record)
    assert sorted(repr(record["declarations"]["ua"]["version"]) for record in store) == ["1", "1.0", "True"]


def test_a_folder_without_records_has_none(store):
    assert list(store) == []
    assert stored(store, make_record()) is None


def test_results_that_cannot_be_written_are_found_out_beforehand(tmp_path):
    (tmp_path / "file").write_text("kept")
    store = RecordStore(tmp_path / "file" / "results")
    with pytest.raises(MedsafeError, match=r"^results folder '.*file/results' cannot be written \(.*\): .*--results"):
        store.check_writable()
    assert (tmp_path / "file").read_text() == "kept"


def test_finding_out_whether_results_can_be_written_leaves_no_file(store):
    for _ in range(2):
        store.check_writable()
    assert files(store) == []


def hidden(store):
    return [path for path in files(store) if path.name.startswith(".")]


@pytest.fixture
def leftover(store):
    """What a writer leaves behind that is killed when half is written."""
    store.write(make_record("finetune"))  # so that there is a folder

    def write():
        with Trap(3, killed).set():
            store.write(make_record("salun"))

    assert in_a_child(write) == -9
    (path,) = hidden(store)
    assert path.stat().st_size > 0
    return path


def aged(path, hours):
    changed = time.time() - hours * 3600
    os.utime(path, (changed, changed))


def test_what_a_killed_writer_left_is_gone_a_day_later(store, leftover):
    aged(leftover, 25)
    store.check_writable()
    assert hidden(store) == []


def test_what_may_still_be_at_work_is_left_alone(store, leftover):
    for hours in (0, 23, -25):
        aged(leftover, hours)
        store.check_writable()
        assert hidden(store) == [leftover]


@pytest.mark.parametrize("name", [".notes.tmp", "salun-0.json", ".salun-0.json.tmp", f"x.json.{'a' * 32}.tmp", ".git"])
def test_files_of_other_kinds_are_not_ours_to_remove(store, name):
    path = store.root / "unlearning" / name
    path.parent.mkdir(parents=True)
    path.write_text("kept")
    aged(path, 1000)
    store.check_writable()
    assert path.read_text() == "kept"


def test_a_leftover_that_cannot_be_removed_stops_no_run(store, leftover, monkeypatch):
    """It may be another user's."""
    store.check_writable()
    aged(leftover, 25)
    monkeypatch.setattr(Path, "unlink", Mock(side_effect=PermissionError))
    remove_leftovers(store.root)
    assert Path.unlink.called
    assert hidden(store) == [leftover]


def test_two_runs_may_find_out_at_once(store, monkeypatch):
    """The other run has removed its probe, which is ours as well, a moment before."""
    from benchmark.store import records

    write = records.write_atomically
    monkeypatch.setattr(records, "write_atomically", lambda path, content: (write(path, content), path.unlink()))
    store.check_writable()


def test_a_record_is_plain_text_that_others_can_read(store):
    text = store.write(make_record()).read_text()
    assert json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert text.endswith("}\n")
