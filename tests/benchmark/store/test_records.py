"""Records: strict JSON, whole or absent, whatever happens while they are written."""

import copy
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.errors import MedsafeError
from benchmark.store.records import RecordStore
from tests.benchmark.leaderboard.factory import make_record


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
