"""Why audits exist: a method that only changes outputs has a good Avg. Gap, and an audit finds what it kept."""

from pathlib import Path

import numpy as np
import pytest

from benchmark.data.datasets import load_dataset
from benchmark.isolation.origin import Isolation
from benchmark.leaderboard.groups import Group
from benchmark.plan import Request
from benchmark.runner import run
from benchmark.store.artifacts import ArtifactStore
from benchmark.store.records import RecordStore
from metrics.exposure import removed

FAKES = Path(__file__).with_name("fakes.py")


@pytest.fixture
def thousand(tmp_path):
    """1,000 of the training images, which a model learns by heart in seconds."""
    dataset = load_dataset("bloodmini")
    arrays = {}
    for part, rows in (("train", dataset.train[:1000]), ("val", dataset.validation), ("test", dataset.test[:400])):
        arrays[f"{part}_images"] = dataset.images[rows].permute(0, 2, 3, 1).numpy()
        arrays[f"{part}_labels"] = dataset.labels[rows].numpy()[:, None].astype(np.uint8)
    np.savez(tmp_path / "thousand.npz", **arrays)
    return str(tmp_path / "thousand.npz")


@pytest.fixture
def audit(thousand, cache, tmp_path):
    """Audits a method on the first target of one pool; returns the record."""

    def go(method, plugin=None):
        request = Request(
            method, dataset=thousand, scenario="random:0.2", blocks="1", retrains=2, shadows=8, plugin=plugin,
            isolation=Isolation(in_process=True), device="cpu",
        )  # fmt: skip
        (outcome,) = run(request, ArtifactStore(cache), RecordStore(tmp_path / "results"))
        assert outcome.record["status"] == "ok", outcome.record["reason"]
        return outcome.record

    return go


@pytest.mark.slow
def test_an_audit_catches_what_avg_gap_calls_good(audit):
    original, honest, fake = audit("original"), audit("finetune"), audit("masquerade", FAKES)
    gap, honest_gap, null = Group([fake]).average_gap, Group([honest]).average_gap, Group([fake]).null_average_gap
    assert gap < honest_gap - null, "by the ordinary metrics it is better than fine-tuning, and not by chance"
    for attack in ("lira_auc", "rmia_auc"):
        retrains = [scores[attack] for scores in fake["references"]["retrain"]]
        assert np.mean(retrains) == pytest.approx(0.5, abs=0.08), "the null: Retrain never saw the forget set"
        assert fake["metrics"][attack] > max(retrains) + 0.08, "and the fake did"
    retrains = [scores["lira_auc"] for scores in fake["references"]["retrain"]]
    assert removed(fake["metrics"]["lira_auc"], original["metrics"]["lira_auc"], retrains) < 0.5
    assert fake["metrics"]["lira_auc"] > honest["metrics"]["lira_auc"] - 0.05, "it hides, and forgot no more than that"
