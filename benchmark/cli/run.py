"""`medsafe run`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from benchmark.cli.app import (
    OWN,
    PUBLISHED,
    Published,
    Results,
    Text,
    app,
    option,
    path_option,
    progress,
    say,
    set_threads,
)
from benchmark.cli.tables import name_of, show


@app.command()
def run(
    method: Annotated[str, option("Unlearning method or backdoor defence; `medsafe list` shows them.")],
    params: Annotated[str, option("Hyper-parameters of your own, 'lr=0.01 epochs=5'; the row becomes `custom`.")] = "",
    preset: Annotated[str, option("Named set of hyper-parameters of the method.")] = "published",
    plugin: Annotated[Path | None, path_option("A .py file that holds the method.")] = None,
    dataset: Annotated[Text, option("bloodmini, a MedMNIST name, or the path of an .npz file.")] = None,
    data_root: Annotated[Path | None, path_option("Folder with MedMNIST's files; else they are downloaded.")] = None,
    arch: Annotated[Text, option("cnn-small, resnet18-quarter, resnet18 or timm:<name>.")] = None,
    recipe: Annotated[Text, option("cpu, medmnist or salun, and +none, +standard or +trivialaugment.")] = None,
    scenario: Annotated[Text, option("random:0.1, random-iid:0.1, fixed:0.1, part:0/10, class:3 or ids:FILE.")] = None,
    blocks: Annotated[Text, option("5 (0 to 4), 3-5 or 0,2,7: seeded repetitions that all methods share.")] = None,
    retrains: Annotated[int | None, option("References retrained without the forget set, for each block.")] = None,
    profile: Annotated[str, option("quick (two CPU cores) or full (a GPU): the defaults of the rest.")] = "quick",
    device: Annotated[str, option("auto, cpu or cuda.")] = "auto",
    threads: Annotated[int | None, option("CPU threads; results are bitwise equal at one number only.")] = None,
    groups: Annotated[Path | None, path_option("CSV split,index,group: a patient's images stay together.")] = None,
    original: Annotated[Path | None, path_option("Your own trained model (.safetensors) as Original.")] = None,
    allow: Annotated[Text, option("For an unknown .npz: crop,horizontal,vertical,trivialaugment keep labels.")] = None,
    non_members: Annotated[float, option("Share of official train no model sees; 0: accuracy control.")] = 0.1,
    attack: Annotated[Text, option("Backdoor attack that a defence is run against; `clean` is the control.")] = None,
    attack_params: Annotated[str, option("The attack's hyper-parameters, 'ratio=0.05'.")] = "",
    attack_preset: Annotated[Text, option("Named set of hyper-parameters of the attack.")] = None,
    attack_plugin: Annotated[Path | None, path_option("A .py file that holds the attack.")] = None,
    pool: Annotated[Text, option("The defender's clean images: reserved, reserved:50, seen or seen:50.")] = None,
    shadows: Annotated[
        int | None, option("Audit with so many half-split models; each block unlearns from another such model.")
    ] = None,
    sandbox: Annotated[
        bool, option("A plugin sees neither data files, caches, results nor network (bubblewrap).")
    ] = False,
    in_process: Annotated[bool, option("A plugin in the suite's own process, for a debugger: no protection.")] = False,
    time_limit: Annotated[float, option("Seconds that one call of a plugin may take.")] = 3600,
    memory_limit: Annotated[float, option("Gigabytes of memory that a plugin may take.")] = 16,
    wandb: Annotated[str, option("Also log to Weights & Biases: off, offline (no network) or online.")] = "off",
    results: Results = OWN,
    published: Published = PUBLISHED,
) -> None:
    """Run one method on one setting, record every block, and show the leaderboard."""
    from benchmark.config import parse_parameters
    from benchmark.isolation.origin import Isolation
    from benchmark.isolation.process import GIGABYTE, Limits
    from benchmark.isolation.sandbox import private_paths
    from benchmark.plan import Request
    from benchmark.runner import run
    from benchmark.store.artifacts import default_cache
    from benchmark.store.records import RecordStore
    from benchmark.tracking import TrackedStore, open_tracker

    set_threads(threads)
    request = Request(
        method, profile, dataset, data_root, arch, recipe, scenario, blocks, retrains, preset, parse_parameters(params),
        plugin, groups, original, tuple(allow.replace(",", " ").split()) if allow else None, non_members, device,
        attack, attack_preset, parse_parameters(attack_params), attack_plugin, pool,
        Isolation(
            Limits(time_limit, round(memory_limit * GIGABYTE)), sandbox, in_process,
            hidden=private_paths(results, published, data_root, dataset),
        ),
        shadows,
    )  # fmt: skip
    outcomes = []
    with open_tracker(wandb, results) as tracker:
        store = TrackedStore(default_cache(), tracker)
        for outcome in run(request, store, RecordStore(results), progress=progress, on_plan=tracker.start):
            outcomes.append(outcome)
            _say_outcome(outcome)
            tracker.record(outcome)
        reused = sum(outcome.reused for outcome in outcomes)
        computed = f"{len(outcomes) - reused} of {len(outcomes)} runs computed"
        say(f"{computed}, {reused} already recorded in {results}")
        show(results, published, [outcome.record for outcome in outcomes])
        if tracked := tracker.finish():
            say(tracked)
    if any(outcome.record["status"] in ("error", "timeout") for outcome in outcomes):
        raise typer.Exit(1)


def _say_outcome(outcome: Any) -> None:
    record = outcome.record
    state = (
        "already recorded"
        if outcome.reused
        else f"{record['status']}" + (f": {record['reason']}" if record["reason"] else "")
    )
    say(f"{name_of(record)}: {state}")
