"""One command's runs: plan -> prepare -> apply the method -> predict -> score -> record."""

import importlib.metadata
import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch

from benchmark.api import Diverged, Progress, Unsupported
from benchmark.checks import BrokenMethod
from benchmark.config import RunSpec
from benchmark.errors import MedsafeError
from benchmark.isolation.process import TimedOut
from benchmark.plan import Plan, Request, make_plan
from benchmark.store.artifacts import ArtifactStore
from benchmark.store.records import FINAL, Record, RecordStore
from benchmark.tracks.models import Workbench
from benchmark.tracks.scoring import declarations, has_present_metrics
from benchmark.training import silent

SCHEMA = 1


@dataclass(frozen=True)
class Outcome:
    """What became of one run."""

    record: Record
    reused: bool


def run(
    request: Request,
    store: ArtifactStore,
    records: RecordStore,
    *,
    progress: Progress = silent,
    on_plan: Callable[[Plan], None] | None = None,
) -> Iterator[Outcome]:
    """Have every run of the request recorded, and yield each as it ends; what is final is not computed again.

    `on_plan` is told the plan before anything is computed.

    Raises:
        MedsafeError: the request cannot be run as it stands; nothing has been written.
    """
    plan = make_plan(request, store, progress)
    records.check_writable()
    if on_plan is not None:
        on_plan(plan)
    for spec in plan.specs:
        known = records.read(asdict(spec), spec.id)
        if known is not None and is_final(known):
            yield Outcome(known, reused=True)
            continue
        record = execute(plan, spec)
        records.write(record)
        yield Outcome(record, reused=False)


def is_final(record: Record) -> bool:
    """Whether a record stands as it is: no retry, no new metrics."""
    return record["status"] in FINAL and has_present_metrics(record)


def not_run(plan: Plan, spec: RunSpec, reason: str) -> Record:
    """The record of a run that could not even begin."""
    return _blank(plan, spec) | Record(status="error", reason=reason, notes=list(_notes(plan.bench, spec)))


def execute(plan: Plan, spec: RunSpec) -> Record:
    """Compute one run. What goes wrong in training or in the method is a record with its status and reason."""
    record, clock = _blank(plan, spec), plan.bench.clock
    started = clock.seconds()
    try:
        for part in plan.track.run(spec):
            record |= part
    except (MedsafeError, OSError):
        raise
    except Unsupported as error:
        record |= {"status": "skipped", "reason": one_line(error)}
    except Diverged as error:
        record |= {"status": "diverged", "reason": one_line(error)}
    except TimedOut as error:
        record |= {"status": "timeout", "reason": f"{spec.method.name} {error}"}
    except BrokenMethod as error:
        record |= {"status": "error", "reason": f"{spec.method.name} {one_line(error)}"}
    except Exception as error:
        record |= {"status": "error", "reason": f"{type(error).__name__}: {one_line(error)}"}
    record["notes"] = [*_notes(plan.bench, spec), *record["notes"]]
    record["seconds"] = clock.since(started)
    return record


def _blank(plan: Plan, spec: RunSpec) -> Record:
    where = environment(plan.bench)
    return Record(
        schema=SCHEMA,
        id=spec.id,
        spec=asdict(spec),
        status="ok",
        reason=None,
        declarations=declarations(spec.track),
        classes=list(plan.bench.dataset.class_names),
        notes=[],
        environment=where | ({"isolation": plan.isolation} if plan.isolation else {}),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _notes(bench: Workbench, spec: RunSpec) -> Iterator[str]:
    """What a reader of any row must know."""
    if len(bench.splits.excluded):
        yield f"{len(bench.splits.excluded)} validation images left out: exact copies of training images"
    if spec.recipe.augmentation == "standard" and not bench.dataset.allowed:
        yield "this data set allows no augmentation: 'standard' is none"


def one_line(error: BaseException) -> str:
    """An error's words, for a record."""
    return " ".join(str(error).split())[:300]


def environment(bench: Workbench) -> dict[str, Any]:
    """Where a run was computed: recorded beside its identity."""
    on_gpu = bench.device.type == "cuda"
    return {
        "medsafe": importlib.metadata.version("medsafe-bench"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "scikit-learn": importlib.metadata.version("scikit-learn"),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "device": torch.cuda.get_device_name(bench.device) if on_gpu else bench.device.type,
        "threads": torch.get_num_threads(),
    }
