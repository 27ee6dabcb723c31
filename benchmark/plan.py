"""What a command asks for -> the runs it means, checked as far as possible before anything is computed."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmark.api import Progress
from benchmark.config import DataSpec, MethodSpec, RunSpec, get_profile, parse_blocks
from benchmark.data.augment import make_augmentation
from benchmark.data.datasets import Dataset, load_dataset
from benchmark.data.scenarios import Scenario, check_scenario, draw_forget, parse_scenario
from benchmark.data.splits import Splits, make_splits, read_groups
from benchmark.errors import MedsafeError
from benchmark.models import check_architecture, load_checkpoint
from benchmark.registry import Plugin, find
from benchmark.store.artifacts import ArtifactStore
from benchmark.store.files import sha256_of
from benchmark.tracks.models import Workbench, checkpoint_sha256, for_device
from benchmark.training import VERSION, get_recipe, resolve_device, silent


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


def make_plan(request: Request, store: ArtifactStore, progress: Progress = silent) -> Plan:
    """Resolve every name of a request and fix the identity of its runs."""
    profile = get_profile(request.profile)
    plugin = find("unlearning", request.method, request.plugin)
    plugin.configure(request.preset, request.parameters or {})  # a typo is found out before anything is downloaded
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
    if len(splits.validation) < 2:
        raise MedsafeError(
            f"data set '{dataset.name}' has {len(splits.validation)} validation images left: at least 2 are needed"
        )
    rows = draw_forget(scenario, dataset, splits, seed=0)  # an empty or total forget set is an error before training
    method = plugin.configure(request.preset, request.parameters or {}, (len(rows.forget), len(rows.retain)))
    bench = Workbench(
        data, dataset, dataset.images.to(device), splits, architecture, recipe, store, progress, request.original
    )
    if request.original is not None:
        load_checkpoint(bench.fresh_model("check"), request.original)
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


def _data(request: Request, scenario_text: str) -> tuple[Dataset, DataSpec, Scenario, Splits]:
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
