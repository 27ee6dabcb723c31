"""Audit runs: the unlearning track on the targets of a shadow pool, judged by attacks that have seen the shadows."""

import json

import numpy as np
import pytest

from benchmark.audits.track import audited_models
from benchmark.config import identity
from benchmark.errors import MedsafeError
from benchmark.plan import Request
from benchmark.rescoring import rescore
from benchmark.store.artifacts import ArtifactStore
from benchmark.store.records import RecordStore
from benchmark.submission.consistency import obstacle
from benchmark.sweep.estimate import Estimator
from benchmark.sweep.jobs import todo
from benchmark.tracks.stored import predictions_of
from metrics import audit, nearness, relearn, representation, unlearning


@pytest.fixture
def audit_run(bench):
    """An audit of a method on the first target, with four shadows; returns its record."""

    def go(method="finetune", **changes):
        (record,) = bench(method, **{"shadows": 4, **changes})
        return record

    return go


def test_a_record_has_the_scores_of_all_kinds_for_method_original_and_retrains(audit_run):
    record = audit_run()
    assert record["status"] == "ok"
    assert record["spec"]["track"] == "audit"
    wanted = set(unlearning.METRICS | audit.METRICS | nearness.METRICS | relearn.METRICS | representation.METRICS)
    assert set(record["declarations"]) == wanted
    for scores in (record["metrics"], record["references"]["original"], *record["references"]["retrain"]):
        assert set(scores) == wanted
    assert 0 <= record["metrics"]["lira_auc"] <= 1
    assert record["notes"][-1] == "RMIA compares with 40 reserved images only: its scores are coarse"
    assert set(record["unresolved"]) >= {name for name in audit.METRICS if name.endswith("_tpr_1")}  # 200 non-members


def test_forget_set_and_non_members_are_of_the_targets_own_halves(audit_run, pool, cache):
    for block in (0, 1):
        record = audit_run(blocks=f"{block}-{block}")
        stored = predictions_of(ArtifactStore(cache).find(record["artifacts"]["model"]))
        inside, outside = pool.half("target", block), pool.half("target", 1 - block)
        np.testing.assert_array_equal(np.union1d(stored["rows.forget"], stored["rows.retain"]), inside)
        np.testing.assert_array_equal(stored["rows.non_members"], outside)
        assert record["sizes"]["forget"] == round(0.1 * len(inside))


def test_every_judged_image_has_shadows_with_and_without_it(audit_run, cache):
    record = audit_run()
    models = audited_models(record, ArtifactStore(cache))
    members = models.model.shadows.members[models.model.rows]
    assert (members.sum(axis=1) == 2).all()


def test_all_methods_of_a_target_share_its_models(bench, monkeypatch):
    bench("finetune", shadows=4)
    monkeypatch.setattr("benchmark.tracks.models.Workbench.fit", lambda *_, **__: pytest.fail("trained again"))
    (record,) = bench("gradient_ascent", shadows=4)
    assert record["status"] == "ok"


def test_the_method_original_is_scored_as_the_original_is(audit_run):
    record = audit_run("original")
    assert record["metrics"] == record["references"]["original"]


def test_an_error_in_the_audits_scores_leaves_none_of_the_ordinary_ones(audit_run, monkeypatch):
    def broken(model):
        raise ValueError("broken")

    monkeypatch.setattr("benchmark.audits.track.score_audit", broken)
    record = audit_run()
    assert (record["status"], record["reason"]) == ("error", "ValueError: broken")
    assert not record.get("metrics")
    assert not record.get("references")
    assert "model" in record["artifacts"]


def test_an_audit_is_no_ordinary_run_and_ordinary_runs_keep_their_names(bench):
    (plain,), (audited,) = bench(), bench(shadows=4)
    assert "shadows" not in json.dumps(plain["spec"])
    assert plain["id"] == identity(plain["spec"])[:16] != audited["id"]
    assert obstacle(audited["spec"]) == "a run of the track 'audit'"
    assert plain["artifacts"]["original"] != audited["artifacts"]["original"]
    assert set(audited["spec"]) - set(plain["spec"]) == {"shadows", "pool_version"}


def test_an_audit_is_rescored_from_what_is_stored(audit_run, tmp_path, cache):
    records = RecordStore(tmp_path / "results")
    record = audit_run()
    old = {**record["declarations"], "lira_auc": {**record["declarations"]["lira_auc"], "version": 0}}
    records.write(record | {"declarations": old, "metrics": {}})
    ((renewed, said),) = rescore(records, ArtifactStore(cache))
    assert said == "rescored"
    assert renewed["id"] == record["id"]
    (now,) = records
    assert now["metrics"] == record["metrics"]


def test_a_sweep_trains_the_shadows_first_and_once(tiny_npz, cache, tmp_path, short_recipe):
    wanted = [Request(method, dataset=str(tiny_npz), blocks="2", retrains=1, device="cpu", shadows=4)
              for method in ("finetune", "original")]  # fmt: skip
    left = todo(wanted, ArtifactStore(cache), [RecordStore(tmp_path / "results")], Estimator([]))
    assert len(left.runs) == 4
    assert len(left.models) == 4 + 2 + 2  # shadows, targets, and a Retrain for each target
    shadows = [job.id for job in left.models if "shadow" in job.title]
    assert len(shadows) == 4
    assert all(run.needs >= set(shadows) for run in left.runs)
    by_title = {job.title.rpartition(" · ")[2]: job.expected.bytes for job in left.models}
    assert by_title["shadow 0"] < by_title["original on 200 images, block 0"]  # no weights are kept of it


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shadows": 5}, "come in pairs"),
        ({"shadows": 2}, "at least 4"),
        ({"shadows": 0}, "at least 4"),
        ({"shadows": 4, "scenario": "class:3"}, "cannot be audited"),
        ({"shadows": 4, "scenario": "fixed:0.1"}, "cannot be audited"),
        ({"shadows": 4, "non_member_share": 0.2}, "does not go with --shadows"),
        ({"shadows": 4, "method": "none", "attack": "badnets", "retrains": None}, "--shadows belongs to unlearning"),
    ],
)
def test_what_cannot_be_audited_is_refused_before_anything_is_computed(bench, changes, said):
    with pytest.raises(MedsafeError, match=said):
        bench(**changes)
