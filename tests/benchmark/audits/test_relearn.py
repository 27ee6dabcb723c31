"""Models of an audit learn the forget set again."""

from dataclasses import replace

import numpy as np
import pytest

from benchmark import training
from benchmark.audits import relearn
from benchmark.audits.relearn import relearnings
from benchmark.rescoring import rescore
from benchmark.store.artifacts import ArtifactStore
from benchmark.store.records import RecordStore
from benchmark.tracks.stored import predictions_of
from metrics.relearn import LIMIT


@pytest.fixture
def audit_run(bench, monkeypatch):
    """An audit of a method on a target that knows its images better than a Retrain does; returns the record."""
    monkeypatch.setitem(training.RECIPES, "cpu", replace(training.RECIPES["cpu"], epochs=8))

    def go(method="retrain", **changes):
        (record,) = bench(method, shadows=4, retrains=1, scenario="random:0.3", **changes)
        return record

    return go


def test_the_original_needs_no_step_and_whoever_gets_there_stops(audit_run, cache):
    record = audit_run()
    own, before, retrain = relearnings(record, ArtifactStore(cache))
    assert (len(before.correct), before.goal) == (1, own.goal)
    assert record["references"]["original"]["relearn_steps"] == 0
    for course, scores in ((own, record["metrics"]), (retrain, record["references"]["retrain"][0])):
        assert all(correct < course.goal for correct in course.correct[:-1])
        assert scores["relearn_steps"] == len(course.correct) - 1 <= LIMIT
    assert len(own.correct) > 1, "it never saw these images"


def test_goal_and_start_are_what_is_right_in_the_stored_predictions(audit_run, cache):
    record, store = audit_run(), ArtifactStore(cache)
    stored, before = (predictions_of(store.find(record["artifacts"][name])) for name in ("model", "original"))
    forget, labels = stored["rows.forget"], stored["labels"]
    own, *_ = relearnings(record, store)
    assert own.goal == np.sum(before["logits"][forget].argmax(axis=1) == labels[forget])
    assert own.correct[0] == np.sum(stored["logits"][forget].argmax(axis=1) == labels[forget])


def test_the_same_model_has_the_same_course_in_another_process(audit_run, tmp_path, cache):
    first = audit_run()
    second = audit_run(results=tmp_path / "others", cache_folder=tmp_path / "another cache")
    courses = relearnings(first, ArtifactStore(cache)), relearnings(second, ArtifactStore(tmp_path / "another cache"))
    assert courses[0] == courses[1]


def test_rescoring_takes_no_step(audit_run, tmp_path, cache, monkeypatch):
    record, records = audit_run(), RecordStore(tmp_path / "results")
    declared = {name: info for name, info in record["declarations"].items() if name != "relearn_steps"}
    records.write(record | {"declarations": declared, "metrics": {}})
    monkeypatch.setattr(relearn, "_course", lambda *_: pytest.fail("trained again"))
    assert [said for _, said in rescore(records, ArtifactStore(cache))] == ["rescored"]
    assert next(iter(records))["metrics"] == record["metrics"]
