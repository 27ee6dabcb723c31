"""Records: strict JSON, whole or absent, whatever happens while they are written."""

import copy
import itertools
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.errors import MedsafeError
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


@pytest.mark.parametrize("content", [b"[]", b"3", b"{}", b'{"status": "ok"}', b"\xff\xfe{}", b""])
def test_a_file_that_is_no_record_is_passed_over(store, content):
    record = make_record()
    path = store.write(record)
    path.write_bytes(content)
    (path.parent / "also.json").mkdir()
    assert stored(store, record) is None
    assert list(store) == []


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
