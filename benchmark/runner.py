"""One command's runs: plan -> prepare -> apply the method -> predict -> score -> record."""

import importlib.metadata
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch

from benchmark.api import Diverged, Progress
from benchmark.checks import BrokenMethod
from benchmark.config import RunSpec
from benchmark.errors import MedsafeError
from benchmark.plan import Plan, Request, make_plan
from benchmark.store.artifacts import Artifact, ArtifactStore
from benchmark.store.records import FINAL, Record, RecordStore
from benchmark.tracks import unlearning
from benchmark.tracks.models import Workbench
from benchmark.training import silent

SCHEMA = 1


@dataclass(frozen=True)
class Outcome:
    """What became of one run."""

    record: Record
    reused: bool


def run(
    request: Request, store: ArtifactStore, records: RecordStore, *, progress: Progress = silent
) -> Iterator[Outcome]:
    """Have every run of the request recorded, and yield each as it ends; what is final is not computed again.

    Raises:
        MedsafeError: the request cannot be run as it stands; nothing has been written.
    """
    plan = make_plan(request, store, progress)
    records.check_writable()
    for spec in plan.specs:
        known = records.read(asdict(spec), spec.id)
        if known is not None and known["status"] in FINAL and unlearning.has_present_metrics(known):
            yield Outcome(known, reused=True)
            continue
        record = execute(plan, spec)
        records.write(record)
        yield Outcome(record, reused=False)


def execute(plan: Plan, spec: RunSpec) -> Record:
    """Compute one run. What goes wrong in training or in the method is a record with its status and reason."""
    record = _blank(plan, spec)
    try:
        block = unlearning.prepare(plan.bench, plan.scenario, spec.block, spec.retrains)
        record["notes"] += block.rows.notes
        model = unlearning.unlearn(plan.bench, spec.method, plan.method, block)
        record |= _scored(plan, block, model)
    except (MedsafeError, OSError):
        raise
    except Diverged as error:
        record |= {"status": "diverged", "reason": _one_line(error)}
    except BrokenMethod as error:
        record |= {"status": "error", "reason": f"{spec.method.name} {_one_line(error)}"}
    except Exception as error:
        record |= {"status": "error", "reason": f"{type(error).__name__}: {_one_line(error)}"}
    return record


def _blank(plan: Plan, spec: RunSpec) -> Record:
    return Record(
        schema=SCHEMA,
        id=spec.id,
        spec=asdict(spec),
        status="ok",
        reason=None,
        declarations=unlearning.declarations(),
        classes=list(plan.bench.dataset.class_names),
        notes=[*_notes(plan, spec)],
        environment=environment(plan.bench),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _notes(plan: Plan, spec: RunSpec) -> Iterator[str]:
    """What a reader of the row must know."""
    bench = plan.bench
    if bench.dataset.num_classes == 2 and "label_pool" in spec.method.hyperparameters:
        yield "two classes: a wrong random label is the other label, a deterministic flip"
    if len(bench.splits.excluded):
        yield f"{len(bench.splits.excluded)} validation images left out: exact copies of training images"
    if bench.checkpoint is not None:
        yield "Original is the user's checkpoint, one for all blocks: whether it never saw the non-members is his word"
    if spec.recipe.augmentation == "standard" and not bench.dataset.allowed:
        yield "this data set allows no augmentation: 'standard' is none"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


def _scored(plan: Plan, block: unlearning.Block, model: Artifact) -> Record:
    original, retrains = block.original, block.retrains
    return Record(
        cost=_cost(model.metadata, original.metadata, [artifact.metadata for artifact in retrains]),
        artifacts={"model": model.folder.name, "original": original.folder.name}
        | {f"retrain {index}": artifact.folder.name for index, artifact in enumerate(retrains)},
    ) | unlearning.score(plan.bench.store, block.number, model, original, retrains)


def _cost(own: dict[str, Any], original: dict[str, Any], retrains: list[dict[str, Any]]) -> dict[str, Any]:
    """The method's cost beside the Original's and the mean Retrain's (PROTOCOL 4.3)."""
    base = original["flops"]
    return {
        **own,
        "flops_share": own["flops"] / base if base else None,
        "original": original,
        "retrain_seconds": float(np.mean([cost["seconds"] for cost in retrains])),
    }


def environment(bench: Workbench) -> dict[str, Any]:
    """Where a run was computed: recorded beside its identity."""
    on_gpu = bench.device.type == "cuda"
    return {
        "medsafe": importlib.metadata.version("medsafe-bench"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(bench.device) if on_gpu else bench.device.type,
        "threads": torch.get_num_threads(),
    }
