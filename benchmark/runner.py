"""One command's runs: plan -> prepare -> apply the method -> predict -> score -> record."""

import importlib.metadata
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmark.api import Diverged, Progress
from benchmark.checks import BrokenMethod
from benchmark.config import DataSpec, MethodSpec, RunSpec, get_profile, parse_blocks
from benchmark.data.augment import make_augmentation
from benchmark.data.datasets import Dataset, load_dataset
from benchmark.data.scenarios import Scenario, check_scenario, draw_forget, parse_scenario
from benchmark.data.splits import make_splits, read_groups
from benchmark.errors import MedsafeError
from benchmark.models import check_architecture
from benchmark.registry import Plugin, find
from benchmark.store.artifacts import Artifact, ArtifactStore
from benchmark.store.files import sha256_of
from benchmark.store.records import FINAL, Record, RecordStore
from benchmark.tracks import unlearning
from benchmark.tracks.models import Workbench, checkpoint_sha256, for_device
from benchmark.training import VERSION, get_recipe, resolve_device, silent

SCHEMA = 1


@dataclass(frozen=True)
class Request:
    """What a user asks for, as he wrote it; None is the profile's value."""

    method: str
    profile: str = "quick"
    dataset: str | None = None
    data_root: Path | None = None
    architecture: str | None = None
    recipe: str | None = None
    scenario: str | None = None
    blocks: str | None = None
    retrains: int | None = None
    preset: str = "published"
    parameters: dict[str, str] | None = None
    plugin: Path | None = None
    groups: Path | None = None
    original: Path | None = None
    allow: tuple[str, ...] | None = None
    non_member_share: float = 0.1
    device: str = "auto"


@dataclass(frozen=True, eq=False)
class Plan:
    """The runs of a request, checked as far as that is possible without computing anything."""

    bench: Workbench
    scenario: Scenario
    method: Any
    specs: list[RunSpec]


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
        if known is not None and known["status"] in FINAL:
            yield Outcome(known, reused=True)
            continue
        record = execute(plan, spec)
        records.write(record)
        yield Outcome(record, reused=False)


def make_plan(request: Request, store: ArtifactStore, progress: Progress = silent) -> Plan:
    """Resolve every name of a request and fix the identity of its runs."""
    profile = get_profile(request.profile)
    plugin = find("unlearning", request.method, request.plugin)
    method = plugin.configure(request.preset, request.parameters or {})
    device = resolve_device(request.device)
    recipe = for_device(get_recipe(request.recipe or profile.recipe), device)
    architecture = request.architecture or profile.architecture
    check_architecture(architecture)
    blocks = parse_blocks(request.blocks or str(profile.blocks))
    retrains = profile.retrains if request.retrains is None else request.retrains
    if retrains < 1:
        raise MedsafeError(
            f"{retrains} Retrains: at least 1 is needed to compare with, and 2 for a null (--retrains 2)"
        )
    original_sha256 = checkpoint_sha256(request.original) if request.original else None
    dataset, data, scenario, splits = _data(request, request.scenario or profile.scenario)
    make_augmentation(recipe.augmentation, dataset.allowed)
    draw_forget(
        scenario, dataset, splits, seed=0
    )  # an empty or total forget set is found out before anything is trained
    bench = Workbench(
        data, dataset, dataset.images.to(device), splits, architecture, recipe, store, progress, request.original
    )
    spec = method_spec(plugin, request, method)
    specs = [
        RunSpec(
            "unlearning", data, architecture, recipe, scenario.name, spec, block, retrains, original_sha256,
            training_version=VERSION,
        )
        for block in blocks
    ]  # fmt: skip
    return Plan(bench, scenario, method, specs)


def method_spec(plugin: Plugin, request: Request, method: Any) -> MethodSpec:
    """The method's part of a run's identity; hyper-parameters of the user's own make it `custom` (PROTOCOL 4.1)."""
    preset = "custom" if request.parameters else request.preset
    return MethodSpec("unlearning", plugin.info.name, plugin.version, preset, asdict(method))


def _data(request: Request, scenario_text: str) -> tuple[Dataset, DataSpec, Scenario, Any]:
    if not 0 <= request.non_member_share < 1:
        raise MedsafeError(f"share of non-members {request.non_member_share}: must lie in [0, 1)")
    allow = None if request.allow is None else frozenset(request.allow)
    dataset = load_dataset(request.dataset or get_profile(request.profile).dataset, request.data_root, allow)
    scenario = parse_scenario(scenario_text)
    check_scenario(scenario, dataset)
    groups = read_groups(request.groups, dataset) if request.groups else None
    data = DataSpec(
        dataset.name, dataset.sha256, non_member_share=request.non_member_share,
        groups_sha256=sha256_of(request.groups) if request.groups else None,
        allowed_augmentations=tuple(sorted(dataset.allowed)),
    )  # fmt: skip
    splits = make_splits(
        dataset, seed=data.split_seed, non_member_share=data.non_member_share, groups=groups, keep_in_pool=scenario.ids
    )
    return dataset, data, scenario, splits


def execute(plan: Plan, spec: RunSpec) -> Record:
    """Compute one run. What goes wrong in training or in the method is a record with its status and reason."""
    record = _blank(plan, spec)
    try:
        block = unlearning.prepare(plan.bench, plan.scenario, spec.block, spec.retrains)
        model = unlearning.unlearn(plan.bench, spec.method, plan.method, block)
        record |= _scored(plan, block, model)
    except Diverged as error:
        record |= {"status": "diverged", "reason": str(error)}
    except (MedsafeError, OSError):
        raise
    except BrokenMethod as error:
        record |= {"status": "error", "reason": f"{spec.method.name} {error}"}
    except Exception as error:
        record |= {"status": "error", "reason": f"{type(error).__name__}: {error}".splitlines()[0]}
    return record


def _blank(plan: Plan, spec: RunSpec) -> Record:
    dataset, splits = plan.bench.dataset, plan.bench.splits
    notes = []
    if dataset.num_classes == 2 and "label_pool" in spec.method.hyperparameters:
        notes.append("two classes: a wrong random label is the other label, a deterministic flip")
    if len(splits.excluded):
        notes.append(f"{len(splits.excluded)} validation images left out: exact copies of training images")
    return Record(
        schema=SCHEMA,
        id=spec.id,
        spec=asdict(spec),
        status="ok",
        reason=None,
        declarations=unlearning.declarations(),
        classes=list(dataset.class_names),
        notes=notes,
        environment=environment(plan.bench),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _scored(plan: Plan, block: unlearning.Block, model: Artifact) -> Record:
    original, retrains = block.original, block.retrains
    return Record(
        cost=_cost(model.metadata, original.metadata, [artifact.metadata for artifact in retrains]),
        notes=list(block.rows.notes),
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
