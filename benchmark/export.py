"""An unlearned or repaired model to take away: its weights, and a card that says where they come from."""

import json
import shutil
import uuid
from pathlib import Path
from typing import Any

from benchmark.contracts.insertion import Insertion
from benchmark.errors import MedsafeError
from benchmark.store.artifacts import ArtifactStore
from benchmark.store.files import write_atomically
from benchmark.store.records import Record, RecordStore
from benchmark.tracks.stored import INSERTIONS

CARD = """# {method} on {dataset}

A model of MedSafe-Bench {medsafe}: run `{id}`, {track}, block {block}.

- Architecture: `{architecture}`, {classes} classes: {class_names}
- Input: float images in [0, 1]; normalisation is the model's first layer
- {story}; trained on before: data `{sha256}`
- Method: `{method}` version {version}, preset `{preset}`: `{hyperparameters}`
{layers}
| metric | this model | {references} |
|---|---|{rules}|
{table}

One block of one split: the leaderboard has the intervals. Not a medical device. The data set's licence applies.
"""


def export_model(run_id: str, records: RecordStore, store: ArtifactStore, output: Path) -> Path:
    """Write `model.safetensors`, `README.md` (the card) and `record.json` into a new folder.

    Raises:
        MedsafeError: no such run or several, a run without a model, a model that is no longer cached, or an output that
            exists.
    """
    record = records.find(run_id)
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
    write_atomically(aside / "README.md", _card(record, artifact.metadata.get(INSERTIONS, [])).encode())
    aside.replace(output)
    return output / "model.safetensors"


def _card(record: Record, insertions: list[Insertion]) -> str:
    spec, method = record["spec"], record["spec"]["method"]
    columns = _references(record)
    rows = [
        " | ".join(
            [declared["title"], *(_number(scores.get(name)) for scores in (record["metrics"], *columns.values()))]
        )
        for name, declared in record["declarations"].items()
        if not isinstance(record["metrics"][name], list)
    ]
    return CARD.format(
        id=record["id"], medsafe=record["environment"]["medsafe"], track=spec["track"], block=spec["block"],
        dataset=spec["data"]["name"], sha256=spec["data"]["sha256"], architecture=spec["architecture"],
        classes=len(record["classes"]), class_names=", ".join(record["classes"]), story=_story(record),
        method=method["name"], version=method["version"], preset=method["preset"],
        hyperparameters=json.dumps(method["hyperparameters"]), layers=_layers(insertions),
        references=" | ".join(columns), rules="|".join("---" for _ in columns),
        table="\n".join(f"| {row} |" for row in rows),
    )  # fmt: skip


def _references(record: Record) -> dict[str, dict[str, Any]]:
    """The models beside this one, by the title of their column."""
    if record["spec"]["track"] == "backdoor":
        return {f"{name} model": scores for name, scores in record["references"].items()}
    retrains = {f"Retrain {number}": scores for number, scores in enumerate(record["references"]["retrain"])}
    return {"Original": record["references"]["original"]} | retrains


def _story(record: Record) -> str:
    spec = record["spec"]
    if "scenario" in spec:
        return f"Forgotten: `{spec['scenario']}` ({record['sizes']['forget']} images)"
    attack, setting = spec["attack"], record["setting"]
    if setting["goal"] == "none":
        return "The control: trained on clean data"
    target = record["classes"][setting["target"]] if setting["goal"] == "all-to-one" else "the next class"
    return f"Attack: `{attack['name']}`, {record['sizes']['poisoned']} poisoned images, target '{target}'"


def _layers(insertions: list[Insertion]) -> str:
    """Which layers the weights hold beside the architecture's; `benchmark.contracts.insertion.rebuild` puts them in."""
    return "".join(f"- Added in front of `{each['before']}`: `{json.dumps(each['layers'])}`\n" for each in insertions)


def _number(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float | int) else "-"
