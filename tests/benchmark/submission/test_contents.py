"""A folder from a stranger: whatever is wrong with it is one line that names file and key; nothing in it is trusted."""

import copy
import json
import os
import shutil

import pytest

from benchmark.config import identity
from benchmark.errors import MedsafeError
from benchmark.leaderboard.table import write_leaderboard
from benchmark.store.records import as_json
from benchmark.submission.consistency import check_record
from benchmark.submission.contents import LAYOUT, describe, read_submission
from benchmark.submission.schema import Refused
from tests.benchmark.submission.conftest import forge, paths_of


def refusal(folder) -> str:
    with pytest.raises(Refused) as error:
        read_submission(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def edit(path, change):
    """Change a record, and nothing else."""
    record = json.loads(path.read_text())
    change(record)
    path.write_bytes(as_json(record))


def test_a_submission_is_whole(submission):
    found = read_submission(submission)
    assert len(found.records) == 4
    assert found.plugin is None


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_a_folder_without_a_manifest_is_none(tmp_path, name):
    with pytest.raises(MedsafeError, match=r"is no submission: it has no submission\.json"):
        read_submission(tmp_path / name)


STRAY = [
    "run.sh", "records/unlearning/x.json", "records/unlearning/a/b/c.json", ".git/config", "leaderboards/index.html",
    "records/unlearning/..data/finetune-0123456789abcdef.json", "leaderboards/\x1b[2J.csv",
]  # fmt: skip


@pytest.mark.parametrize("name", STRAY)
def test_a_file_that_does_not_belong_there_is_refused(submission, name):
    path = submission / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    said = refusal(submission)
    assert "does not belong into a submission" in said
    assert said.isprintable()


def test_links_are_refused_whatever_they_lead_to(submission, tmp_path):
    path = paths_of(submission)[0]
    path.rename(tmp_path / "record.json")
    path.symlink_to(tmp_path / "record.json")
    assert refusal(submission).startswith(path.relative_to(submission).as_posix())


def test_so_are_linked_folders(submission, tmp_path):
    (submission / "records").rename(tmp_path / "elsewhere")
    (submission / "records").symlink_to(tmp_path / "elsewhere")
    assert refusal(submission).startswith("records: does not belong")


def test_a_pipe_is_refused_and_never_read(submission):
    path = paths_of(submission)[0]
    path.unlink()
    os.mkfifo(path)
    assert "does not belong" in refusal(submission)


@pytest.mark.parametrize("name", ["submission.json", "record", "leaderboards/unlearning.csv"])
def test_a_huge_file_is_refused_and_never_read(submission, name):
    path = paths_of(submission)[0] if name == "record" else submission / name
    os.truncate(path, max(LAYOUT.values()) + 1)  # a hole: it takes no room on the disk
    assert "bytes, and may have" in refusal(submission)


CONTENT = {
    "truncated": (lambda text: text[: len(text) // 2], "is no whole, strict JSON file"),
    "empty": (lambda text: "", "is no whole, strict JSON file"),
    "no text": (lambda text: b"\xff\xfe\x00".decode("latin-1"), "is no whole, strict JSON file"),
    "not a number": (lambda text: text.replace('"reason": null', '"reason": NaN'), "is no whole, strict JSON file"),
    "too large": (lambda text: text.replace('"reason": null', '"reason": 1e999'), "is no whole, strict JSON file"),
    "deep": (lambda text: "[" * 100_000, "is no whole, strict JSON file"),
    "a list": (lambda text: "[]\n", "is not as the suite writes its files"),
    "a key twice": (lambda text: text.replace('"reason": null', '"reason": 1,\n "reason": null'), "a key stands in it"),
    "other layout": (lambda text: json.dumps(json.loads(text)), "is not as the suite writes its files"),
    "control": (lambda text: text.replace('"notes": [', '"notes": [\n  "\\u001b[2J"'), "cannot be printed"),
    "surrogate": (lambda text: text.replace('"notes": [', '"notes": [\n  "\\ud800"'), "cannot be printed"),
    "long": (lambda text: text.replace('"notes": [', f'"notes": [\n  "{"x" * 3000}"'), "too long"),
}  # fmt: skip


@pytest.mark.parametrize("fault", CONTENT)
def test_a_record_that_is_not_as_the_suite_writes_it_is_named(submission, fault):
    path = paths_of(submission)[0]
    change, expected = CONTENT[fault]
    path.write_bytes(change(path.read_text()).encode("latin-1"))
    said = refusal(submission)
    assert said.startswith(path.relative_to(submission).as_posix())
    assert expected in said
    assert said.isprintable()


RECORDS = {
    "id: is not that of its spec": lambda r: r["spec"].update(block=7),
    "spec.block: ": lambda r: r["spec"].update(block="0"),
    "spec.recipe.lr: ": lambda r: r["spec"]["recipe"].update(lr=None),
    "spec.recipe.secret: ": lambda r: r["spec"]["recipe"].update(secret=1),
    "spec.track: ": lambda r: r["spec"].update(track="../.."),
    "metrics.ua: input should be less": lambda r: r["metrics"].update(ua=2),
    "metrics.ua: field required": lambda r: r["metrics"].pop("ua"),
    "metrics.better: ": lambda r: r["metrics"].update(better=1),
    "metrics.sensitivity: ": lambda r: r["metrics"].update(sensitivity=0.5),
    "sensitivity: has 1 values": lambda r: r["references"]["original"].update(sensitivity=[0.5]),
    "unresolved: does not name": lambda r: r["metrics"].update(ua=None),
    "references.retrain: has 2 entries": lambda r: r["references"]["retrain"].append(r["references"]["original"]),
    "references.retrain[0].ta: ": lambda r: r["references"]["retrain"][0].update(ta="1"),
    "status: ": lambda r: r.update(status="best"),
    "metrics.activation_distance_forget: extra": lambda r: r.update(status="diverged"),
    "schema: ": lambda r: r.update(schema=2),
    "extra: ": lambda r: r.update(extra=1),
    "environment.threads: ": lambda r: r["environment"].update(threads=0),
    "environment.device: field required": lambda r: r["environment"].pop("device"),
    "declarations.ua.version: ": lambda r: r["declarations"]["ua"].update(version=2),
    "declarations.ua.direction: ": lambda r: r["declarations"]["ua"].update(direction="higher"),
    "artifacts.model: ": lambda r: r["artifacts"].update(model="../../etc/passwd"),
    "curves.roc: has curves": lambda r: r["curves"]["roc"]["fpr"].append(1.0),
    "cost.flops: ": lambda r: r["cost"].update(flops=-1),
    "cost: field required": lambda r: r.pop("cost"),
}


@pytest.mark.parametrize("expected", RECORDS)
def test_a_record_that_breaks_the_schema_is_named_by_file_and_key(submission, expected):
    path = paths_of(submission, "random:0.1")[0]
    edit(path, RECORDS[expected])
    said = refusal(submission)
    assert said.startswith(f"{path.relative_to(submission).as_posix()}: ")
    assert expected in said


PLACES = {
    "spec: its place is records/unlearning/other/": lambda spec: spec["data"].update(name="other"),
    "spec: its place is records/unlearning/../../../tmp/": lambda spec: spec["data"].update(name="../../../tmp"),
    "spec: its place is records/unlearning/tiny-blood/../../x-": lambda spec: spec["method"].update(name="../../x"),
}


@pytest.mark.parametrize("expected", PLACES)
def test_a_record_lies_where_its_spec_says_and_nowhere_else(submission, expected):

    def become(record):
        PLACES[expected](record["spec"])
        record["id"] = identity(record["spec"])[:16]

    edit(paths_of(submission)[0], become)
    assert expected in refusal(submission)


OBSTACLES = {
    "custom hyper-parameters": lambda spec: spec["method"].update(preset="custom"),
    "an Original from a checkpoint": lambda spec: spec.update(original_sha256="a" * 64),
    "groups from a file": lambda spec: spec["data"].update(groups_sha256="a" * 64),
    "a forget set from a file": lambda spec: spec.update(scenario="ids:patients-01234567"),
}


@pytest.mark.parametrize("why", OBSTACLES)
def test_what_nobody_else_could_compute_or_is_never_ranked_is_no_part_of_it(submission, why):
    forge(paths_of(submission)[0], lambda record: OBSTACLES[why](record["spec"]), new_id=True)
    assert why in refusal(submission)


def test_a_missing_record_is_named(submission):
    path = paths_of(submission)[0]
    path.unlink()
    run = path.stem.removeprefix("finetune-")
    assert refusal(submission).startswith(f"submission.json: records.{run}: ")
    assert refusal(submission).endswith("and in the folder nothing")


def test_an_added_record_is_named(submission, computed, tmp_path):
    more = computed(blocks="3-3", retrains=1, results="more", scenario="random:0.1")
    (path,) = paths_of(more)
    shutil.copyfile(path, paths_of(submission)[0].with_name(path.name))
    assert refusal(submission).startswith(f"submission.json: records.{path.stem.removeprefix('finetune-')}: nothing")


def test_a_record_of_another_method_is_named(submission, computed):
    (path,) = paths_of(computed("original", blocks="1", retrains=1, results="others"))
    shutil.copyfile(path, paths_of(submission)[0].with_name(path.name))
    assert f'{path.name}: spec.method.name: "original", and in submission.json "finetune"' in refusal(submission)


def test_a_record_that_was_changed_since_is_named_by_its_hash(submission):
    path = paths_of(submission)[0]
    edit(path, lambda record: record["metrics"].update(ta=0.123))
    assert refusal(submission).startswith(f"submission.json: records.{path.stem.removeprefix('finetune-')}: ")


MANIFESTS = {
    "claim: ": {"claim": ["<script>"]},
    "claim: string should have": {"claim": ""},
    "cannot be printed": {"claim": "bold \u202e eno"},
    "link: ": {"link": "javascript:alert(1)"},
    "method.name: ": {"method": {"kind": "unlearning", "name": "../x", "version": "1"}},
    "method.kind: ": {"method": {"kind": "attacks", "name": "x", "version": "1"}},
    "schema: ": {"schema": "1"},
    "code: ": {"code": {"file": "../../plugin.py", "sha256": "a" * 64}},
    "environments: ": {"environments": []},
    "environments[0].threads: ": {"environments": [{"device": "cpu", "threads": -1}]},
    "verified: ": {"verified": True},
    "records: ": {"records": {}},
    "records.../../etc/passwd": {"records": {"../../etc/passwd": "a" * 64}},
    "records./etc/passwd": {"records": {"/etc/passwd": "a" * 64}},
    "records: input should": {"records": 1},
}


@pytest.mark.parametrize("expected", MANIFESTS)
def test_a_hostile_manifest_is_refused_with_its_key(submission, expected):
    path = submission / "submission.json"
    path.write_bytes(as_json(json.loads(path.read_text()) | MANIFESTS[expected]))
    said = refusal(submission)
    assert said.startswith("submission.json: ")
    assert expected in said


def test_a_plugin_that_was_edited_after_the_run_is_named(brought):
    (brought / "plugin.py").write_text((brought / "plugin.py").read_text() + "\n# better\n")
    assert "plugin.py: its sha256 begins with" in refusal(brought)


def test_so_is_one_that_is_missing(brought):
    (brought / "plugin.py").unlink()
    assert refusal(brought).startswith("plugin.py: is missing")


def test_and_one_that_belongs_to_no_record(submission):
    (submission / "plugin.py").write_text("import os")
    assert refusal(submission).startswith("plugin.py: does not belong to a method of version 1")


WRONG = [None, True, -1, 2, 1e300, "", "x", "=1+1", [], [1], {}, {"x": 1}]


def places(data, path=()):
    """The path of everything in a record, one entry of each list standing for all."""
    if path:
        yield path
    items = data.items() if isinstance(data, dict) else enumerate(data[:1]) if isinstance(data, list) else ()
    for key, value in items:
        yield from places(value, (*path, key))


@pytest.mark.slow
@pytest.mark.parametrize("attack", [None, "clean"])
def test_whatever_is_put_anywhere_into_a_record_is_refused_or_does_no_harm(computed, tmp_path, attack):
    """What is not refused has to make leaderboards all the same."""
    wanted = {"attack": attack, "results": "clean"} if attack else {"retrains": 1, "results": "one"}
    path = paths_of(computed("finetune", blocks="1", **wanted))[0]
    record, file = json.loads(path.read_text()), path.relative_to(path.parents[3]).as_posix()
    check_record(file, as_json(record))
    accepted = 0
    for place in places(record):
        for value in WRONG:
            changed = copy.deepcopy(record)
            part = changed
            for key in place[:-1]:
                part = part[key]
            part[place[-1]] = value
            try:
                check_record(file, as_json(changed))
            except Refused:
                continue
            accepted += 1
            target = tmp_path / "results" / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(as_json(changed))
            write_leaderboard(tmp_path / "results")
    assert accepted


def test_the_manifest_says_which_installed_package_a_method_comes_from(submission):
    records = read_submission(submission).records
    method = {"kind": "unlearning", "name": "mine", "version": "2+my-methods-0.3.1"}
    assert describe(records, method, "x", None, None)["code"] == {"distribution": "my-methods", "version": "0.3.1"}
