"""An unlearned model to take away: its weights, and a card that says where they come from."""

import json
import shutil
import uuid
from pathlib import Path

from benchmark.errors import MedsafeError
from benchmark.store.artifacts import ArtifactStore
from benchmark.store.files import write_atomically
from benchmark.store.records import Record, RecordStore

CARD = """# {method} on {dataset}

An unlearned model of MedSafe-Bench {medsafe}: run `{id}`, block {block}.

- Architecture: `{architecture}`, {classes} classes: {class_names}
- Input: float images in [0, 1]; normalisation is the model's first layer
- Forgotten: `{scenario}` ({forget} images); trained on before: data `{sha256}`
- Method: `{method}` version {version}, preset `{preset}`: `{hyperparameters}`

| metric | this model | Original | Retrains |
|---|---|---|---|
{table}

One block of one split: the leaderboard has the intervals. Not a medical device. The data set's licence applies.
"""


def export_model(run_id: str, records: RecordStore, store: ArtifactStore, output: Path) -> Path:
    """Write `model.safetensors`, `README.md` (the card) and `record.json` into a new folder.

    Raises:
        MedsafeError: no such run or several, a run without a model, a model that is no longer cached, or an output that
            exists.
    """
    found = [record for record in records if record["id"].startswith(run_id)]
    if not found:
        raise MedsafeError(f"run '{run_id}' is not in {records.root}: ids are the last part of the record files' names")
    if len(found) > 1:
        raise MedsafeError(f"run '{run_id}' may be any of {len(found)} in {records.root}: give more of its id")
    record = found[0]
    if record["status"] != "ok":
        raise MedsafeError(f"run '{run_id}' has no model: its status is {record['status']} ({record['reason']})")
    artifact = store.find(record["artifacts"]["model"])
    if artifact is None:
        raise MedsafeError(
            f"the model of run '{run_id}' is not in the cache {store.root}: delete its record and run it again"
        )
    if output.exists():
        raise MedsafeError(f"output folder '{output}' exists: choose another with --output")
    aside = output.with_name(f".{output.name}.{uuid.uuid4().hex}.tmp")
    aside.mkdir(parents=True)
    shutil.copyfile(artifact / "model.safetensors", aside / "model.safetensors")
    write_atomically(aside / "record.json", json.dumps(record, indent=1, sort_keys=True).encode())
    write_atomically(aside / "README.md", _card(record).encode())
    aside.replace(output)
    return output / "model.safetensors"


def _card(record: Record) -> str:
    spec, method = record["spec"], record["spec"]["method"]
    references = record["references"]
    rows = [
        f"| {record['declarations'][name]['title']} | {_number(value)} | {_number(references['original'][name])} | "
        f"{', '.join(_number(scores[name]) for scores in references['retrain'])} |"
        for name, value in record["metrics"].items()
        if not isinstance(value, list)
    ]
    return CARD.format(
        id=record["id"], medsafe=record["environment"]["medsafe"], block=spec["block"], dataset=spec["data"]["name"],
        sha256=spec["data"]["sha256"], architecture=spec["architecture"], classes=len(record["classes"]),
        class_names=", ".join(record["classes"]), scenario=spec["scenario"], forget=record["sizes"]["forget"],
        method=method["name"], version=method["version"], preset=method["preset"],
        hyperparameters=json.dumps(method["hyperparameters"]), table="\n".join(rows),
    )  # fmt: skip


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
