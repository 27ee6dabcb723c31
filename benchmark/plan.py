"""What a command asks for -> the runs it means, checked as far as possible before anything is computed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast

from benchmark.api import AttackInfo, DefenseInfo, Progress
from benchmark.audits.pool import HALF, Pool
from benchmark.audits.pool import VERSION as POOL_VERSION
from benchmark.audits.track import AuditTrack
from benchmark.config import (
    AuditSpec,
    BackdoorSpec,
    MethodSpec,
    Profile,
    RunSpec,
    UnlearningSpec,
    get_profile,
    parse_blocks,
)
from benchmark.data.poison import VERSION as POISONING_VERSION
from benchmark.data.poison import canonical_pool, defender_rows
from benchmark.data.scenarios import Scenario, check_scenario, draw_forget, parse_scenario
from benchmark.errors import MedsafeError
from benchmark.isolation.client import AnyPlugin, kind_of, look_up
from benchmark.isolation.origin import Isolation
from benchmark.models import check_architecture, load_checkpoint
from benchmark.registry import Plugin, find
from benchmark.store.artifacts import ArtifactStore
from benchmark.store.records import Record
from benchmark.tracks.backdoor import BackdoorTrack
from benchmark.tracks.models import Workbench, checkpoint_sha256, for_device
from benchmark.tracks.poisoning import Attack
from benchmark.tracks.shared import SharedModel
from benchmark.tracks.unlearning import UnlearningTrack
from benchmark.training import VERSION, get_recipe, resolve_device, silent
from benchmark.workbenches import Setup, Workbenches

FEWEST_SHADOWS = 4
"""One pair to attack with, and one to tune on."""


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
    attack: str | None = None
    attack_preset: str | None = None
    attack_parameters: dict[str, str] | None = None
    attack_plugin: Path | None = None
    pool: str | None = None
    isolation: Isolation = field(default_factory=Isolation)
    shadows: int | None = None
    """An audit with so many half-split models; the blocks are its targets."""


class Track(Protocol):
    """How a run of one kind goes."""

    def run(self, spec: Any) -> Iterator[Record]:
        """Compute a run; yields the parts of its record as they become known."""
        ...

    def models(self, spec: Any) -> Sequence[SharedModel]:
        """The models that a run shares with others, none before what it needs."""
        ...


@dataclass(frozen=True, eq=False)
class Plan:
    """The runs of a request, checked as far as that is possible without computing anything."""

    bench: Workbench
    track: Track
    specs: Sequence[RunSpec]
    isolation: str | None = None
    """How a method that did not come with the suite is kept away from it."""


def make_plan(request: Request, store: ArtifactStore, progress: Progress = silent) -> Plan:
    """Resolve every name of a request and fix the identity of its runs."""
    return plan_on(request, Workbenches(store, progress))


def plan_on(request: Request, workbenches: Workbenches) -> Plan:
    """The same, on workbenches that other requests share."""
    request.isolation.check()
    kind = "defenses" if request.attack else kind_of(request.method, request.plugin, request.isolation)
    make = _unlearning if kind == "unlearning" else _backdoor
    return make(request, get_profile(request.profile), workbenches)


def _isolation(plugin: AnyPlugin, request: Request) -> str | None:
    return None if isinstance(plugin, Plugin) and plugin.source == "built-in" else request.isolation.name


def _unlearning(request: Request, profile: Profile, workbenches: Workbenches) -> Plan:
    plugin = look_up("unlearning", request.method, request.plugin, request.isolation)
    plugin.configure(request.preset, request.parameters or {})  # a typo is found out before anything is downloaded
    retrains = profile.retrains if request.retrains is None else request.retrains
    if retrains < 1:
        raise MedsafeError(
            f"{retrains} Retrains: at least 1 is needed to compare with, and 2 for a null (--retrains 2)"
        )
    attacks = ("pool", "attack_parameters", "attack_preset", "attack_plugin")
    _refuse(request, attacks, "belongs to a backdoor defence", "an unlearning method")
    original_sha256 = checkpoint_sha256(request.original) if request.original else None
    _check_names(request, profile)
    dataset = workbenches.dataset(*_setup(request, profile).data)
    scenario = parse_scenario(request.scenario or profile.scenario)
    check_scenario(scenario, dataset)
    if request.shadows is not None:
        request = _audit(request, request.shadows, scenario)
    bench = workbenches.open(_setup(request, profile, scenario))
    rows = draw_forget(scenario, dataset, bench.splits, seed=0)  # an empty or total forget set is an error beforehand
    if request.original is not None:
        load_checkpoint(bench.fresh_model("check"), request.original)
    method = plugin.configure(request.preset, request.parameters or {}, (len(rows.forget), len(rows.retain)))
    spec = method_spec(plugin, request.preset, request.parameters, method)
    pool = Pool(bench, request.shadows) if request.shadows else None
    make = partial(AuditSpec, shadows=pool.shadows, pool_version=POOL_VERSION) if pool else UnlearningSpec
    specs = [
        make(
            data=bench.data, architecture=bench.architecture, recipe=bench.recipe, scenario=scenario.name, method=spec,
            block=block, retrains=retrains, original_sha256=original_sha256, training_version=VERSION,
        )
        for block in parse_blocks(request.blocks or str(profile.blocks))
    ]  # fmt: skip
    track = AuditTrack(pool, scenario, method) if pool else UnlearningTrack(bench, scenario, method)
    return Plan(bench, track, specs, _isolation(plugin, request))


def _audit(request: Request, shadows: int, scenario: Scenario) -> Request:
    """An audit's request: its models have seen half of official train, and it forgets at random (PROTOCOL 6.1)."""
    if shadows < FEWEST_SHADOWS or shadows % 2:
        raise MedsafeError(f"{shadows} shadows: they come in pairs, and at least {FEWEST_SHADOWS} are needed")
    if scenario.share is None or scenario.kind == "fixed":  # targets have no images that all of them have seen
        raise MedsafeError(
            f"scenario '{scenario.name}' cannot be audited: shadows and target are trained on random halves, and what "
            f"is forgotten is drawn from the target's; use random:0.1"
        )
    if request.non_member_share != Request.non_member_share:
        raise MedsafeError("--non-members does not go with --shadows: a target's non-members are its other half")
    _refuse(request, ("original",), "does not go with --shadows", "audited on targets of its pool")
    return replace(request, non_member_share=HALF)


def _backdoor(request: Request, profile: Profile, workbenches: Workbenches) -> Plan:
    plugin = _defense(request)
    attacker = _attacker(request, profile)
    attack_preset = request.attack_preset or "published"
    attack_method = attacker.configure(attack_preset, request.attack_parameters or {})
    if not isinstance(getattr(attack_method, "ratio", None), float | int):
        raise MedsafeError(f"attack '{attacker.info.name}' has no field `ratio`, the share of images that it poisons")
    plugin.configure(request.preset, request.parameters or {})
    blocks, pool = parse_blocks(request.blocks or str(profile.blocks)), request.pool or profile.pool
    _check_names(request, profile)
    bench = workbenches.open(_setup(request, profile))
    dataset = bench.dataset
    pool = canonical_pool(pool, bench.splits)
    clean_images = len(defender_rows(dataset, bench.splits, pool))
    info = cast("DefenseInfo", plugin.info)
    size = len(bench.splits.pool) if info.power == "in-training" else clean_images
    defense = plugin.configure(request.preset, request.parameters or {}, (size,))
    attack_spec = method_spec(attacker, attack_preset, request.attack_parameters, attack_method)
    attack = Attack(cast("AttackInfo", attacker.info), attack_method, attack_spec)
    for block in blocks:
        attack.rows(bench, block)  # a ratio that cannot be had is an error beforehand
    spec = method_spec(plugin, request.preset, request.parameters, defense)
    specs = [
        BackdoorSpec(
            data=bench.data, architecture=bench.architecture, recipe=bench.recipe, attack=attack_spec, pool=pool,
            method=spec, block=block, training_version=VERSION, poisoning_version=POISONING_VERSION,
        )
        for block in blocks
    ]  # fmt: skip
    return Plan(bench, BackdoorTrack(bench, attack, info, defense), specs, _isolation(plugin, request))


def _attacker(request: Request, profile: Profile) -> Plugin:
    """The attack; the suite calls it while it trains, so that it always runs in the suite's own process."""
    attacker = find("attacks", request.attack or profile.attack, request.attack_plugin)
    if request.isolation.sandbox and attacker.source != "built-in":
        raise MedsafeError(
            f"attack '{attacker.info.name}' is a plugin, which no sandbox covers: leave --sandbox out if you trust it"
        )
    return attacker


def _defense(request: Request) -> AnyPlugin:
    """The defence that is asked for; what only an unlearning run knows is refused."""
    kinds = ("defenses", "unlearning")
    if request.attack and kind_of(request.method, request.plugin, request.isolation, kinds) == "unlearning":
        raise MedsafeError(
            f"attack '{request.attack}' goes with a backdoor defence, and '{request.method}' is an unlearning method: "
            f"leave it out"
        )
    _refuse(request, ("scenario", "retrains", "original", "shadows"), "belongs to unlearning", "a backdoor defence")
    plugin = look_up("defenses", request.method, request.plugin, request.isolation)
    if cast("DefenseInfo", plugin.info).power != "post-training":
        _refuse(request, ("pool",), "belongs to a defence that is handed clean images", "none")
    return plugin


def _refuse(request: Request, names: Sequence[str], belongs: str, other: str) -> None:
    """No option without effect."""
    for name in names:
        if getattr(request, name):
            option = name.replace("parameters", "params").replace("_", "-")
            raise MedsafeError(f"--{option} {belongs}, and '{request.method}' is {other}: leave it out")


def method_spec(plugin: AnyPlugin, preset: str, parameters: dict[str, str] | None, method: Any) -> MethodSpec:
    """A plugin's part of a run's identity; hyper-parameters of the user's own make it `custom` (PROTOCOL 4.1)."""
    preset = "custom" if parameters else preset
    return MethodSpec(plugin.info.kind, plugin.info.name, plugin.version, preset, plugin.values(method))


def _check_names(request: Request, profile: Profile) -> None:
    """A typo is found out before anything is downloaded."""
    resolve_device(request.device)
    get_recipe(request.recipe or profile.recipe)
    check_architecture(request.architecture or profile.architecture)
    parse_blocks(request.blocks or str(profile.blocks))
    if not 0 <= request.non_member_share < 1:
        raise MedsafeError(f"share of non-members {request.non_member_share}: must lie in [0, 1)")


def _setup(request: Request, profile: Profile, scenario: Scenario | None = None) -> Setup:
    device = resolve_device(request.device)
    return Setup(
        request.dataset or profile.dataset, request.data_root,
        None if request.allow is None else frozenset(request.allow), request.architecture or profile.architecture,
        for_device(get_recipe(request.recipe or profile.recipe), device), device,
        non_member_share=request.non_member_share, groups=request.groups, checkpoint=request.original,
        kept=None if scenario is None or scenario.ids is None else tuple(scenario.ids.tolist()),
    )  # fmt: skip
