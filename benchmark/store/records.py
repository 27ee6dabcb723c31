"""Immutable JSON records, one file a run: the only source of leaderboards. Needs no torch."""

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypedDict, cast

from benchmark.errors import MedsafeError
from benchmark.store.files import remove_leftovers, write_atomically

LOG = logging.getLogger(__name__)
FINAL = ("ok", "diverged", "skipped")
"""Statuses that are never computed again; `error` and `timeout` are retried on the next call."""
REPEATED = ("declarations", "classes", "environment", "references")
"""Parts of a record that many others repeat: half of what thousands of records take to hold."""


class Record(TypedDict, total=False):
    """One run, with all that a leaderboard needs."""

    schema: int
    id: str
    """The spec's identity: 16 hexadecimal digits."""
    spec: dict[str, Any]
    """`benchmark.config.RunSpec` as JSON."""
    status: str
    """ok, diverged, skipped, error or timeout."""
    reason: str | None
    """One line, where the status is not ok."""
    metrics: dict[str, Any]
    """Value of each metric on the method's model; fractions. None where it is unresolved."""
    unresolved: dict[str, str]
    """Metric -> why the sample cannot resolve it."""
    references: dict[str, Any]
    """The same metrics of the models beside it. Unlearning: `original`, and `retrain`, a list; backdoor: `clean`,
    `backdoored`, `oracle`."""
    curves: dict[str, Any]
    """Unlearning: `roc`, the loss attack's false-positive rates `fpr` and its true-positive rates on `model`,
    `original` and each `retrain`; empty where the sample resolves none. For figures alone: old records may lack it."""
    declarations: dict[str, Any]
    """Metric -> title, direction, range, unit, version, target."""
    cost: dict[str, Any]
    """FLOPs, share of the Original's training, wall seconds."""
    sizes: dict[str, int]
    """Number of images in each scored split."""
    setting: dict[str, Any]
    """Backdoor: the attack's goal, victims and target, whether it controls training, and the defender's power."""
    gate: dict[str, Any]
    """Backdoor: whether the attack `passed` (PROTOCOL 7.2), and the `reason` if not."""
    classes: list[str]
    notes: list[str]
    artifacts: dict[str, str]
    """Keys of the stored models and predictions in the cache that computed them."""
    environment: dict[str, Any]
    seconds: dict[str, float]
    """Where the wall time of computing this went (`benchmark.clock`), and the `total`; `training` is 0 where all shared
    models were found. Never compared; old records lack it."""
    created: str
    verification: dict[str, Any]
    """The mark of `medsafe verify` (`benchmark.submission.verification`); counts while its digest matches."""


class RecordStore:
    """A folder `records/<track>/<data set>/<method>-<id>.json`."""

    def __init__(self, results: Path) -> None:
        self.root = results / "records"

    def path(self, spec: dict[str, Any], run_id: str) -> Path:
        """Where the record of a spec lies."""
        track, dataset = str(spec["track"]), str(spec["data"]["name"])
        return self.root / track / dataset / f"{spec['method']['name']}-{run_id}.json"

    def check_writable(self) -> None:
        """Raise MedsafeError where a record could not be written, before hours are spent on computing it.

        Removes what killed writers left behind.
        """
        probe = self.root / ".writable"
        try:
            write_atomically(probe, b"")
            probe.unlink(missing_ok=True)  # another run may have been quicker
            remove_leftovers(self.root)
        except OSError as error:
            folder = f"results folder '{self.root.parent}'"
            raise MedsafeError(
                f"{folder} cannot be written ({error.strerror}): choose another with --results"
            ) from error

    def read(self, spec: dict[str, Any], run_id: str) -> Record | None:
        """The record of a spec; None where there is none, or none that can be read whole."""
        return _load(self.path(spec, run_id))

    def write(self, record: Record) -> Path:
        """Write atomically, replacing a record of the same run that was not final or is being rescored.

        Raises:
            MedsafeError: the disk is full, or the folder cannot be written; an old record is still there.
        """
        path, content = self.path(record["spec"], record["id"]), as_json(record)
        try:
            write_atomically(path, content)
        except OSError as error:
            raise MedsafeError(
                f"record '{path}' cannot be written ({error.strerror}): mend that, and the same command goes on"
            ) from error
        return path

    def find(self, run_id: str) -> Record:
        """The record whose id begins like this.

        Raises:
            MedsafeError: none does, or several do.
        """
        found = [record for record in self if record["id"].startswith(run_id)]
        if not found:
            raise MedsafeError(
                f"run '{run_id}' is not in {self.root}: ids are the last part of the record files' names"
            )
        if len(found) > 1:
            raise MedsafeError(f"run '{run_id}' may be any of {len(found)} in {self.root}: give more of its id")
        return found[0]

    def __iter__(self) -> Iterator[Record]:
        """All whole records, in a stable order; a file that is none is left out with a warning.

        Equal parts of several records are one object: they are to be read, not changed.
        """
        known: dict[str, Any] = {}
        for path in self.files():
            record = _load(path)
            if record is None:
                LOG.warning("%s is no whole record and is left out: delete it, and run again what it stood for", path)
            else:
                yield _sharing(record, known)

    def damaged(self) -> list[Path]:
        """The files that are no whole record."""
        return [path for path in self.files() if _load(path) is None]

    def files(self) -> list[Path]:
        """Those of all records, whole or not, in a stable order."""
        return sorted(self.root.rglob("*.json")) if self.root.is_dir() else []


def _sharing(record: Record, known: dict[str, Any]) -> Record:
    """The record with its repeated parts as they are known: by their text, for to Python 1, 1.0 and True are equal."""
    shared = {name: known.setdefault(json.dumps(part), part) for name, part in record.items() if name in REPEATED}
    return record | cast("Record", shared)


def as_json(content: Mapping[str, Any]) -> bytes:
    """The text of a record's file: one for one content, so that it can be hashed.

    Raises:
        ValueError: a number is not finite.
    """
    return (json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def _load(path: Path) -> Record | None:
    try:
        text = path.read_text()
        if r"\ud" in text.lower():  # perhaps half a character, which JSON can hold, but no other file and no terminal
            text = json.dumps(json.loads(text), ensure_ascii=False).encode(errors="replace").decode()
        record: Record = json.loads(text, parse_constant=_refuse)
    except (OSError, ValueError, RecursionError):  # the last of brackets in brackets in brackets
        return None
    return record if isinstance(record, dict) and "status" in record and "spec" in record else None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
