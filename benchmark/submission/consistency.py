"""Whether a record that keeps to the schema also agrees with its path, with itself, and with the suite's metrics."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from benchmark.config import canonical_json, identity
from benchmark.store.records import Record, RecordStore
from benchmark.submission.compare import first_difference
from benchmark.submission.schema import BY_CLASS, Refused, check, model_of, read
from benchmark.tracks.scoring import declarations

FROM_FILE = re.compile(r"[0-9]+\+([0-9a-f]{12})")
"""The version of a plugin that is a file: the declared one, and the beginning of the file's sha256."""
SUBMITTED = ("unlearning", "backdoor")
"""Tracks whose runs can be submitted: who verifies an audit would have to train all of its shadows again."""


def check_record(file: str, content: bytes) -> Record:
    """The record that a file of a submission holds.

    Args:
        file: its path within the submission.
        content: its bytes.

    Raises:
        Refused: it breaks the schema, or does not agree with itself; the line names file and key.
    """
    data = read(content, file)
    spec = data.get("spec")
    track = spec.get("track") if isinstance(spec, dict) else None
    if track not in SUBMITTED:
        raise Refused(f"{file}: spec.track: is none of {', '.join(SUBMITTED)}")
    check(model_of(track, data.get("status") == "ok"), data, file)
    record = cast("Record", data)
    for key, fault in (*_faults_of_identity(record, file), *_faults_of_scores(record)):
        raise Refused(f"{file}: {key}: {fault}")
    return record


def file_of(record: Record) -> str:
    """Where a record lies in a submission, and in any folder of results."""
    return RecordStore(Path()).path(record["spec"], record["id"]).as_posix()


def obstacle(spec: Mapping[str, Any]) -> str | None:
    """Why a run can be no part of a submission: it is never ranked, or nobody else could compute it again."""
    attack = spec.get("attack", {"preset": "published", "version": "1"})
    if "custom" in (spec["method"]["preset"], attack["preset"]):
        return "custom hyper-parameters"
    if spec["track"] not in SUBMITTED:
        return f"a run of the track '{spec['track']}'"
    if spec.get("original_sha256") is not None:
        return "an Original from a checkpoint of one's own"
    if spec["data"]["groups_sha256"] is not None:
        return "groups from a file of one's own"
    if spec.get("scenario", "").startswith("ids:"):
        return "a forget set from a file of one's own"
    return "an attack from a plugin file" if FROM_FILE.fullmatch(attack["version"]) else None


def _faults_of_identity(record: Record, file: str) -> Iterator[tuple[str, str]]:
    spec = record["spec"]
    if record["id"] != identity(spec)[:16]:
        yield "id", f"is not that of its spec, which is {identity(spec)[:16]}: the spec was edited, or the id"
    if file != file_of(record):
        yield "spec", f"its place is {file_of(record)}"
    if (why := obstacle(spec)) is not None:
        yield "spec", f"{why} can be no part of a submission"
    declared, todays = (_meanings(each) for each in (record["declarations"], declarations(spec["track"])))
    found = first_difference(declared, todays, ("declarations",))
    if found is not None:
        way_out = "run `medsafe rescore`, or the runs again, and then submit"
        yield found.key, f"{found.first}, and in this suite {found.second}: {way_out}"


def _faults_of_scores(record: Record) -> Iterator[tuple[str, str]]:
    classes, references = len(record["classes"]), record.get("references") or {}
    empty = {name for name, value in (record.get("metrics") or {}).items() if value is None}
    if record["status"] == "ok" and empty != set(record["unresolved"]):
        yield "unresolved", "does not name exactly the metrics without a value"
    if "retrain" in references and len(references["retrain"]) != record["spec"]["retrains"]:
        yield "references.retrain", f"has {len(references['retrain'])} entries, not {record['spec']['retrains']}"
    for name, values in _by_class({"metrics": record.get("metrics"), "references": references}):
        if len(values) != classes:
            yield name, f"has {len(values)} values for {classes} classes"
    setting, roc = record.get("setting"), (record.get("curves") or {}).get("roc")
    if setting and setting["target"] >= classes:
        yield "setting.target", f"is {setting['target']}, and there are {classes} classes"
    if roc and len({len(rates) for rates in (roc["fpr"], roc["model"], roc["original"], *roc["retrain"])}) > 1:
        yield "curves.roc", "has curves of several lengths"


def _by_class(scores: Any) -> Iterator[tuple[str, list[Any]]]:
    """Name and values of every metric by class, of whatever model."""
    if isinstance(scores, dict):
        for name, value in scores.items():
            if name in BY_CLASS and value is not None:
                yield name, value
            else:
                yield from _by_class(value)
    elif isinstance(scores, list):
        for each in scores:
            yield from _by_class(each)


def _meanings(declared: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What decides how metrics are read: all but their titles, as JSON."""
    parts = {name: {part: value for part, value in info.items() if part != "title"} for name, info in declared.items()}
    return dict(json.loads(canonical_json(parts)))
