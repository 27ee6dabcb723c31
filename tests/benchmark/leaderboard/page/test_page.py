"""The page as a file: one, complete, the same for the same records, and escaped whatever the records say."""

import base64
import hashlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import pandas as pd
import pytest

from benchmark.describe import Description, Parameter
from benchmark.leaderboard.figures import figures
from benchmark.leaderboard.page.build import KINDS, write_page
from benchmark.leaderboard.page.columns import facts
from benchmark.leaderboard.page.views import VIEWS
from benchmark.leaderboard.table import described, write_leaderboard
from benchmark.registry import BUILT_IN
from benchmark.store.records import RecordStore
from metrics import nearness
from tests.benchmark.leaderboard.backdoor_factory import make_runs
from tests.benchmark.leaderboard.factory import make_row
from tests.benchmark.leaderboard.page.conftest import TRIGGERS, build, drawn

EVIL = "<img src=x onerror=alert(1)></script>"


class Parsed(HTMLParser):
    """Tags with their attributes, and the text of each script."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.inside = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.inside = tag == "script"
        if self.inside:
            self.scripts.append("")

    def handle_data(self, data):
        if self.inside:
            self.scripts[-1] += data

    def handle_endtag(self, _):
        self.inside = False

    def json(self, kind):
        """The data of each table."""
        places = [attributes for tag, attributes in self.tags if tag == "script"]
        return [json.loads(s) for s, a in zip(self.scripts, places, strict=True) if a.get("class") == kind]


def page_of(results):
    return (results / "index.html").read_text(encoding="utf-8")


def test_each_csv_is_in_the_page_once_as_it_lies_on_the_disk(published):
    texts = Parsed(page_of(published)).json("csv")
    files = [(published / "leaderboards" / view.file).read_bytes().decode() for view in VIEWS]
    assert texts == files


def test_the_same_records_give_the_same_bytes(published, cards):
    first = (published / "index.html").read_bytes()
    build(published, cards, figures(list(RecordStore(published))))
    assert (published / "index.html").read_bytes() == first


def test_the_page_needs_nothing_but_itself(published):
    parsed = Parsed(page_of(published))
    loaded = [a.get("src") or a.get("href") for tag, a in parsed.tags if tag in ("img", "script", "link", "use")]
    assert all(address is None or address.startswith(("data:", "#")) for address in loaded)
    style = page_of(published).split("<style>")[1].split("</style>")[0]
    assert not re.search(r"url\(|@import", style)


def test_its_policy_allows_its_own_script_alone_and_no_connection(published):
    parsed = Parsed(page_of(published))
    (policy,) = (a["content"] for _, a in parsed.tags if a.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.split(maxsplit=1) for rule in policy.split(";"))
    digest = base64.b64encode(hashlib.sha256(parsed.scripts[-1].encode()).digest()).decode()
    assert rules["script-src"] == f"'sha256-{digest}'"
    assert rules["default-src"] == "'none'"
    assert not any(name.startswith("connect") for name in rules)


def test_no_id_is_given_twice_and_every_reference_leads_somewhere(published):
    tags = Parsed(page_of(published)).tags
    ids = [a["id"] for _, a in tags if "id" in a]
    assert len(ids) == len(set(ids))
    wanted = [a[name] for _, a in tags for name in ("aria-labelledby", "aria-controls") if name in a]
    wanted += [a["href"][1:] for _, a in tags if a.get("href", "").startswith("#")]
    assert set(wanted) <= set(ids)


def test_a_track_without_rows_has_no_tab(results):
    page = page_of(results(make_row("salun")))
    assert 'id="tab-unlearning"' in page
    assert "tab-backdoor" not in page
    assert "tab-attacks" not in page


def test_a_folder_without_runs_says_so(tmp_path):
    page = page_of(build(tmp_path))
    assert "There are no runs in this folder yet" in page
    assert 'id="tab-methods"' in page


def test_the_header_names_the_protocol_of_the_records(results):
    folder = results([*make_row("salun"), *make_row("salun", protocol_version=2)])
    assert "<dt>Protocol</dt><dd>version 1, 2</dd>" in page_of(folder)
    assert "<dt>Unlearning</dt><dd>2 rows in 2 groups</dd>" in page_of(folder)


def test_the_picture_of_the_triggers_is_shown_where_there_is_one(published, results):
    embedded = base64.b64encode(TRIGGERS.read_bytes()).decode()
    assert f'<img src="data:image/png;base64,{embedded}"' in page_of(published)
    assert "<img" not in page_of(results(make_row("salun")))


def test_figures_stand_below_their_track_by_setting(results):
    drawings = [drawn("First", setting="a"), drawn("Second", setting="b"), drawn("Third", setting="a")]
    page = page_of(results([*make_row("salun"), *make_runs("sau")], drawings))
    unlearning = page.split('id="unlearning"')[1].split('id="backdoor"')[0]
    places = [unlearning.index(part) for part in ("<summary>a<", "First.", "Third.", "<summary>b<", "Second.")]
    assert places == sorted(places)
    assert page.count("<svg") == 3


def test_a_reader_is_told_of_settings_without_figures(results):
    folder = results(make_row("salun"))
    write_page(folder, figures=[drawn()], left_out={"unlearning": 7, "backdoor": 0})
    assert "7 more settings have no figures" in page_of(folder)
    write_page(folder, figures=[drawn()], left_out={"unlearning": 0})
    assert "have no figures" not in page_of(folder)


def test_every_method_of_the_suite_has_a_card(published, cards):
    page = page_of(published)
    assert KINDS.keys() == BUILT_IN.keys()
    for card in cards:
        assert f'id="card-{card.kind}-{card.name}"' in page
        assert all(f"<code>{parameter.name}</code>" in page for parameter in card.parameters)


def test_what_a_plugin_says_of_itself_is_text(tmp_path):
    described_so = Description(
        kind="unlearning", name="mine", version=1, text=EVIL, presets={EVIL: {EVIL: EVIL}},
        parameters=(Parameter(name=EVIL, type=EVIL, default=EVIL, meaning=EVIL),),
    )  # fmt: skip
    RecordStore(tmp_path).write(make_row("mine", 1, notes=[EVIL])[0])
    page = page_of(build(tmp_path, [described_so], [drawn(EVIL, EVIL, EVIL)]))
    assert "<img" not in page
    assert len(Parsed(page).scripts) == page.count("</script>") == 3
    assert page.count("&lt;img src=x onerror=alert(1)&gt;") >= 8


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.key)
def test_a_view_names_columns_that_its_file_has(published, view):
    names = set(pd.read_csv(published / "leaderboards" / view.file, nrows=0).columns)
    wanted = {view.name, "preset", "version", "hyperparameters", "statuses", "standing", "reasons", *view.group}
    wanted |= {*view.heading, *(name for _, name in view.details), *(n for f in view.filters for n in f.columns)}
    wanted |= {name for one in view.shown for name in (one.column, one.high, one.verdict, one.gap) if name is not None}
    wanted |= {name for one in view.shown for _, name in one.below}
    wanted |= {f"{prefix}_{one.column}" for _, prefix in view.references for one in view.shown if one.gap}
    assert wanted <= names


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.key)
def test_every_column_is_explained(published, view):
    names = pd.read_csv(published / "leaderboards" / view.file, nrows=0).columns
    assert [fact.name for fact in facts(view.file, names, dict(described()[view.file])) if not fact.meaning] == []


def columns_of(metrics):
    """Those that follow from metrics which are no fractions."""
    endings = ("", "_low", "_high", "_null")
    starts = ("original_", "retrain_")
    return {f"{name}{end}" for name in metrics for end in endings} | {f"{s}{name}" for name in metrics for s in starts}


UNLEARNING = columns_of(nearness.METRICS) | {
    "version", "blocks", "verified", "retrains", "tow", "tow_null", "flops", "seconds", "retrain_seconds",
    "protocol_version",
}  # fmt: skip
COUNTS = {
    "unlearning.csv": UNLEARNING | {"rank", "p_vs_finetune"},
    "audits.csv": UNLEARNING | columns_of(("relearn_steps", "cka_forget", "cka_test")) | {
        "shadows", "relearn_steps_capped", "relearn_ratio",
    },
    "backdoor.csv": {
        "rank", "version", "blocks", "verified", "core_cured", "attacks_run", "attacks_passed", "attacks_cured",
        "seconds", "protocol_version",
    },
    "backdoor_long.csv": {
        "rank", "version", "attack_version", "clean_images", "blocks", "verified", "cured_blocks", "flops", "seconds",
        "retrain_seconds", "protocol_version",
    },
}  # fmt: skip


@pytest.mark.parametrize("file", COUNTS)
def test_fractions_are_told_from_other_numbers(published, file):
    frame = pd.read_csv(published / "leaderboards" / file)
    numbers = frame.select_dtypes("number").dropna(axis="columns", how="all").columns
    known = {fact.name: fact for fact in facts(file, frame.columns, dict(described()[file]))}
    assert {name for name in numbers if not known[name].rate} == COUNTS[file] & set(numbers)
    rates = [name for name in numbers if known[name].rate and not name.endswith(("_low", "_high", "flops_share"))]
    assert frame[rates].drop(columns="lira_removed", errors="ignore").abs().max().max() <= 1


def test_which_way_is_good_comes_from_the_metrics():
    names = ("ua", "avg_gap", "tow", "retrain_ua", "dataset")
    aims = [fact.aim for fact in facts("unlearning.csv", names, dict(described()["unlearning.csv"]))]
    assert aims == ["retrain", "lower", "higher", "", ""]
    meanings = dict(described()["backdoor.csv"])
    aims = [fact.aim for fact in facts("backdoor.csv", ("badnets_asr", "wanet_acc", "asr_gap"), meanings)]
    assert aims == ["lower", "higher", "lower"]


def test_a_page_needs_neither_torch_nor_the_runner(results):
    folder = results(make_row("salun", 3))
    code = (
        "import sys; from pathlib import Path\n"
        "from benchmark.leaderboard.page.build import write_page\n"
        "write_page(Path(sys.argv[1]))\n"
        "print(*sorted({'torch', 'timm', 'benchmark.api', 'benchmark.runner'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_an_old_page_stays_whole_where_the_new_one_cannot_be_made(results):
    folder = results(make_row("salun", 3))
    before = page_of(folder)
    (folder / "leaderboards" / "unlearning.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(UnicodeDecodeError):
        write_page(folder)
    assert page_of(folder) == before
    assert [path.name for path in folder.iterdir() if path.name.endswith(".tmp")] == []
    write_leaderboard(folder)
    write_page(folder)
