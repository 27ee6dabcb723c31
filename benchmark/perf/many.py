"""As many records as a busy year brings: the published ones, and copies with other data, methods, settings, scores."""

import hashlib
import json
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.config import identity
from benchmark.errors import MedsafeError
from benchmark.store.records import Record, RecordStore

PUBLISHED = Path(__file__).parents[2] / "results"
ERROR_SHARE = 0.003
"""Of the records; one in ten of their rows is then incomplete, or fewer."""
KEPT_OF_ERRORS = ("schema", "spec", "declarations", "classes", "notes", "environment", "created", "setting", "gate")
Json = Any


def write_many_records(results: Path, wanted: int = 10_000, seed: int = 0) -> None:
    """Write records of both tracks, half each, as `RecordStore.write` does but without waiting for the disk."""
    store = RecordStore(results)
    for record in many_records(wanted, seed):
        path = store.path(record["spec"], record["id"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=1, sort_keys=True, allow_nan=False) + "\n")


def many_records(wanted: int, seed: int = 0) -> Iterator[Record]:
    """Records of both tracks, half each, all different: the published ones, then varied copies of them.

    Raises:
        MedsafeError: nothing is published that could be copied.
    """
    rng, published = np.random.default_rng(seed), list(RecordStore(PUBLISHED))
    for track, share in (("unlearning", wanted // 2), ("backdoor", wanted - wanted // 2)):
        models = [record for record in published if record["spec"]["track"] == track]
        if not models:
            raise MedsafeError(f"{PUBLISHED} holds no record of the {track} track to copy; measure in a checkout")
        copies = (record for number in count() for record in _copies(models, number, rng))
        yield from (record for record, _ in zip(copies, range(share), strict=False))


def _copies(models: list[Record], number: int, rng: np.random.Generator) -> Iterator[Record]:
    """One copy of each record. Equal scores stay equal: the models that they compare to are those of all methods."""
    data, variation = divmod(number, len(VARIATIONS))
    scores: dict[float, float] = {}
    for model in models:
        record: Json = json.loads(json.dumps(model))
        if data:
            _on_other_data(record["spec"]["data"], data)
        VARIATIONS[variation](record["spec"])
        if number:
            for part in ("metrics", "references", "cost"):
                record[part] = _moved(record.get(part, {}), scores, rng)
        record["id"] = identity(record["spec"])[:16]
        yield _failed(record) if number and rng.random() < ERROR_SHARE else record


def _on_other_data(data: Json, number: int) -> None:
    data["name"] = f"{data['name']}{number}"
    data["sha256"] = hashlib.sha256(data["name"].encode()).hexdigest()


def _plugin(spec: Json) -> None:
    """The method of somebody else."""
    method = spec["method"]
    method |= {"name": f"{method['name']}_again", "version": f"1+{identity(method)[:12]}"}


def _preset(spec: Json) -> None:
    """Other hyper-parameters."""
    given = spec["method"]["hyperparameters"].items()
    halved = {name: value / 2 if isinstance(value, float) else value for name, value in given}
    spec["method"] |= {"preset": "custom", "hyperparameters": halved}


def _further_blocks(spec: Json) -> None:
    """The same rows, twice as long."""
    spec["block"] += 50  # beyond the blocks of all published rows


def _other_task(spec: Json) -> None:
    """Another forget set, or another strength of the attack."""
    if spec["track"] == "unlearning":
        spec["scenario"] = spec["scenario"].replace(":0.", ":0.0").replace("class:6", "class:2")
    else:
        given = spec["attack"]["hyperparameters"]
        spec["attack"] |= {"preset": "stronger", "hyperparameters": {**given, "ratio": given.get("ratio", 0) + 0.05}}


def _as_it_is(spec: Json) -> None:
    """Of other data alone."""


VARIATIONS: tuple[Callable[[Json], None], ...] = (_as_it_is, _plugin, _preset, _further_blocks, _other_task)


def _moved(value: Json, scores: dict[float, float], rng: np.random.Generator) -> Json:
    """The same structure with every rate moved by about two points; 0 and 1, counts and times stay."""
    if isinstance(value, dict):
        return {name: _moved(part, scores, rng) for name, part in value.items()}
    if isinstance(value, list):
        return [_moved(part, scores, rng) for part in value]
    if not isinstance(value, float) or not 0 < abs(value) < 1:
        return value
    if value not in scores:
        scores[value] = float(np.clip(value + rng.normal(0, 0.02), min(0, np.sign(value)), 1))
    return scores[value]


def _failed(record: Json) -> Json:
    kept = {name: record[name] for name in KEPT_OF_ERRORS if name in record}
    return kept | {"id": record["id"], "status": "error", "reason": "OutOfMemoryError: 3 GiB wanted"}
