"""The report of an audit run: every image's exposure, what is most exposed, and how methods compare on the target."""

import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from benchmark import training
from benchmark.audits.comparison import compare
from benchmark.audits.exposure import SPLITS
from benchmark.audits.report import SHOWN, write_report
from benchmark.cli import app
from benchmark.data.datasets import load_dataset
from benchmark.errors import MedsafeError
from benchmark.plan import Request
from benchmark.runner import run
from benchmark.store.artifacts import ArtifactStore
from benchmark.store.records import RecordStore

REPORT = ("index.html", "exposure.csv")


@pytest.fixture(scope="module")
def audited(tiny_npz, tmp_path_factory):
    """A folder with `cache` and `results`: audits of three methods on one target."""
    folder = tmp_path_factory.mktemp("audited")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(training.RECIPES, "cpu", replace(training.RECIPES["cpu"], epochs=2))
        for method in ("original", "finetune", "retrain"):
            request = Request(method, dataset=str(tiny_npz), blocks="1", retrains=2, shadows=4)
            list(run(request, ArtifactStore(folder / "cache"), RecordStore(folder / "results")))
    return folder


@pytest.fixture
def cache(audited, monkeypatch):
    """The commands' cache is the one with these models."""
    monkeypatch.setenv("MEDSAFE_CACHE", str(audited / "cache"))
    return audited / "cache"


@pytest.fixture
def finetuned(audited):
    """One of the records."""
    return next(record for record in RecordStore(audited / "results") if record["spec"]["method"]["name"] == "finetune")


@pytest.fixture(scope="module")
def written(audited, tiny_npz):
    """The folder of its report."""
    records, folder = RecordStore(audited / "results"), audited / "report"
    record = next(each for each in records if each["spec"]["method"]["name"] == "finetune")
    write_report(record, records, load_dataset(str(tiny_npz)), ArtifactStore(audited / "cache"), folder)
    return folder


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def all(self, name):
        return [attributes for tag, attributes in self.found if tag == name]


def test_the_csv_has_every_training_image_once(written, finetuned, tiny_npz):
    frame, dataset = pd.read_csv(written / "exposure.csv"), load_dataset(str(tiny_npz))
    np.testing.assert_array_equal(frame["image"], dataset.train)
    assert dict(frame["split"].value_counts()) == {name: finetuned["sizes"][name] for name in SPLITS}
    assert (frame["class"].astype(str) == [dataset.class_names[label] for label in dataset.labels[dataset.train]]).all()


def test_mean_exposures_of_the_csv_are_the_scores_of_the_record(written, finetuned):
    means = pd.read_csv(written / "exposure.csv").groupby("split").mean(numeric_only=True)
    for attack in ("lira", "rmia"):
        for split, name in (("forget", f"{attack}_auc"), ("retain", f"{attack}_retain_auc")):
            assert means.loc[split, f"{attack}_before"] == pytest.approx(
                finetuned["references"]["original"][name], abs=1e-5
            )
            assert means.loc[split, f"{attack}_after"] == pytest.approx(finetuned["metrics"][name], abs=1e-5)
            retrains = [scores[name] for scores in finetuned["references"]["retrain"]]
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


def test_the_same_run_gives_the_same_bytes(written, finetuned, audited, tmp_path, cache, tiny_npz):
    records = RecordStore(audited / "results")
    write_report(finetuned, records, load_dataset(str(tiny_npz)), ArtifactStore(cache), tmp_path / "again")
    for name in REPORT:
        assert (tmp_path / "again" / name).read_bytes() == (written / name).read_bytes()


def test_hostile_names_are_text(finetuned, tmp_path, cache, tiny_npz):
    evil = "<script>alert(1)</script>"
    named = finetuned | {
        "spec": finetuned["spec"] | {"architecture": evil, "method": finetuned["spec"]["method"] | {"name": evil}}
    }
    records = [named]
    write_report(named, records, load_dataset(str(tiny_npz)), ArtifactStore(cache), tmp_path / "report")
    text = (tmp_path / "report" / "index.html").read_text()
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_a_class_that_is_a_formula_is_no_cell_of_a_spreadsheet(finetuned, tmp_path, cache, tiny_npz):
    dataset = load_dataset(str(tiny_npz))
    dataset = replace(dataset, class_names=("=1+1", *dataset.class_names[1:]))
    write_report(finetuned, [finetuned], dataset, ArtifactStore(cache), tmp_path / "report")
    assert "'=1+1" in set(pd.read_csv(tmp_path / "report" / "exposure.csv")["class"])


def test_where_images_belong_to_patients_there_are_no_intervals(finetuned, written, tmp_path, cache, tiny_npz):
    data = finetuned["spec"]["data"] | {"groups_sha256": "a" * 64}
    grouped = finetuned | {"spec": finetuned["spec"] | {"data": data}}
    write_report(grouped, [grouped], load_dataset(str(tiny_npz)), ArtifactStore(cache), tmp_path / "report")
    of_patients, of_images = ((folder / "index.html").read_text() for folder in (tmp_path / "report", written))
    assert 'class="interval"' in of_images
    assert 'class="interval"' not in of_patients
    assert "no intervals are given" in of_patients


def test_methods_of_the_target_are_compared_and_others_left_out(finetuned, audited, tmp_path, bench):
    (elsewhere,) = bench("l1_sparse", shadows=4, blocks="1-1", results=tmp_path / "elsewhere")
    (plain,) = bench("l1_sparse", results=tmp_path / "elsewhere")
    rows = compare(finetuned, [*RecordStore(audited / "results"), elsewhere, plain])
    assert [row.method for row in rows] == ["original", "retrain", "finetune"]
    assert rows[2].lira == finetuned["metrics"]["lira_auc"]


def test_the_command_writes_both_files(finetuned, audited, cache, tmp_path, tiny_npz):
    results = shutil.copytree(audited / "results", tmp_path / "results")
    result = CliRunner().invoke(
        app, ["audit", finetuned["id"][:8], "--results", str(results), "--dataset", str(tiny_npz)]
    )
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (results / "audits" / finetuned["id"]).iterdir()) == sorted(REPORT)


def test_what_cannot_be_reported_says_why(finetuned, bench, tmp_path, cache, tiny_npz):
    store, dataset = ArtifactStore(cache), load_dataset(str(tiny_npz))
    (plain,) = bench(results=tmp_path / "plain")
    with pytest.raises(MedsafeError, match="is no audit: run its method again with --shadows"):
        write_report(plain, [], dataset, store, tmp_path / "report")
    with pytest.raises(MedsafeError, match="other data than 'bloodmini'"):
        write_report(finetuned, [], load_dataset("bloodmini"), store, tmp_path / "report")
    with pytest.raises(MedsafeError, match="status is diverged"):
        write_report(finetuned | {"status": "diverged", "reason": "nan"}, [], dataset, store, tmp_path / "report")
    with pytest.raises(MedsafeError, match="not in the cache"):
        write_report(finetuned, [], dataset, ArtifactStore(tmp_path / "empty"), tmp_path / "report")
    assert not (tmp_path / "report").exists()
