"""The report of an audit run: every image's exposure, what is most exposed, and how methods compare on the target."""

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from benchmark.audits.comparison import compare
from benchmark.audits.exposure import SPLITS
from benchmark.audits.report import SHOWN, write_report
from benchmark.cli import app
from benchmark.data.datasets import load_dataset
from benchmark.errors import MedsafeError
from benchmark.store.artifacts import ArtifactStore
from benchmark.store.records import RecordStore

REPORT = ("index.html", "exposure.csv")


@pytest.fixture
def run(bench, tmp_path):
    """Audits of three methods on one target; returns the record of the middle one."""
    records = [bench(method, shadows=4)[0] for method in ("original", "finetune", "retrain")]
    store = RecordStore(tmp_path / "results")
    for record in records:
        store.write(record)
    return records[1]


@pytest.fixture
def written(run, tmp_path, cache, tiny_npz):
    """The folder of its report."""
    records = RecordStore(tmp_path / "results")
    write_report(run, records, load_dataset(str(tiny_npz)), ArtifactStore(cache), tmp_path / "report")
    return tmp_path / "report"


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def all(self, name):
        return [attributes for tag, attributes in self.found if tag == name]


def test_the_csv_has_every_training_image_once(written, run, tiny_npz):
    frame, dataset = pd.read_csv(written / "exposure.csv"), load_dataset(str(tiny_npz))
    np.testing.assert_array_equal(frame["image"], dataset.train)
    assert dict(frame["split"].value_counts()) == {name: run["sizes"][name] for name in SPLITS}
    assert (frame["class"].astype(str) == [dataset.class_names[label] for label in dataset.labels[dataset.train]]).all()


def test_mean_exposures_of_the_csv_are_the_scores_of_the_record(written, run):
    means = pd.read_csv(written / "exposure.csv").groupby("split").mean(numeric_only=True)
    for attack in ("lira", "rmia"):
        for split, name in (("forget", f"{attack}_auc"), ("retain", f"{attack}_retain_auc")):
            assert means.loc[split, f"{attack}_before"] == pytest.approx(run["references"]["original"][name], abs=1e-5)
            assert means.loc[split, f"{attack}_after"] == pytest.approx(run["metrics"][name], abs=1e-5)
            retrains = [scores[name] for scores in run["references"]["retrain"]]
            assert means.loc[split, f"{attack}_retrain"] == pytest.approx(np.mean(retrains), abs=1e-5)
        assert means.loc["non_members", f"{attack}_after"] == pytest.approx(0.5)  # among themselves


def test_the_sheet_shows_the_most_exposed_forgotten_images_first(written):
    text, frame = (written / "index.html").read_text(), pd.read_csv(written / "exposure.csv")
    pictures = Tags(text).all("img")
    forget = frame[frame["split"] == "forget"].sort_values("lira_after", ascending=False, kind="stable")
    shown = [int(re.search(r"\d+", picture["alt"])[0]) for picture in pictures]
    assert shown[: min(SHOWN, len(forget))] == forget["image"].head(SHOWN).tolist()
    assert all(picture["src"].startswith("data:image/png;base64,") for picture in pictures)


def test_the_file_needs_no_network_and_runs_nothing(written):
    tags = Tags((written / "index.html").read_text())
    assert not tags.all("script")
    links = [value for _, found in tags.found for name, value in found.items() if name in ("src", "href")]
    assert all(link.startswith("data:") for link in links)
    assert "default-src 'none'" in tags.all("meta")[1]["content"]


def test_the_same_run_gives_the_same_bytes(written, run, tmp_path, cache, tiny_npz):
    records = RecordStore(tmp_path / "results")
    write_report(run, records, load_dataset(str(tiny_npz)), ArtifactStore(cache), tmp_path / "again")
    for name in REPORT:
        assert (tmp_path / "again" / name).read_bytes() == (written / name).read_bytes()


def test_hostile_names_are_text(run, tmp_path, cache, tiny_npz):
    evil = "<script>alert(1)</script>"
    named = run | {"spec": run["spec"] | {"architecture": evil, "method": run["spec"]["method"] | {"name": evil}}}
    records = [named]
    write_report(named, records, load_dataset(str(tiny_npz)), ArtifactStore(cache), tmp_path / "report")
    text = (tmp_path / "report" / "index.html").read_text()
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_methods_of_the_target_are_compared_and_others_left_out(run, tmp_path, bench):
    (elsewhere,) = bench("l1_sparse", shadows=4, blocks="1-1", results=tmp_path / "elsewhere")
    (plain,) = bench("l1_sparse", results=tmp_path / "elsewhere")
    rows = compare(run, [*RecordStore(tmp_path / "results"), elsewhere, plain])
    assert [row.method for row in rows] == ["original", "retrain", "finetune"]
    assert rows[2].lira == run["metrics"]["lira_auc"]


def test_the_command_writes_both_files(run, tmp_path, tiny_npz):
    results = tmp_path / "results"
    result = CliRunner().invoke(app, ["audit", run["id"][:8], "--results", str(results), "--dataset", str(tiny_npz)])
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (results / "audits" / run["id"]).iterdir()) == sorted(REPORT)


def test_what_cannot_be_reported_says_why(run, bench, tmp_path, cache, tiny_npz):
    store, dataset = ArtifactStore(cache), load_dataset(str(tiny_npz))
    (plain,) = bench(results=tmp_path / "plain")
    with pytest.raises(MedsafeError, match="is no audit: run its method again with --shadows"):
        write_report(plain, [], dataset, store, tmp_path / "report")
    with pytest.raises(MedsafeError, match="other data than 'bloodmini'"):
        write_report(run, [], load_dataset("bloodmini"), store, tmp_path / "report")
    with pytest.raises(MedsafeError, match="status is diverged"):
        write_report(run | {"status": "diverged", "reason": "nan"}, [], dataset, store, tmp_path / "report")
    with pytest.raises(MedsafeError, match="not in the cache"):
        write_report(run, [], dataset, ArtifactStore(tmp_path / "empty"), tmp_path / "report")
    assert not (tmp_path / "report").exists()
