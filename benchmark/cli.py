"""`medsafe`: a thin layer over runner, store and leaderboard."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmark.errors import MedsafeError

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None,
    help="Did a medical image classifier really forget, was a poisoned one really cleaned? Benchmarks on MedMNIST.",
)  # fmt: skip
console = Console(highlight=False, emoji=False)


def home(path: Path | None) -> Path | None:
    """A path with `~` resolved: it may come from a Makefile, which does not."""
    return path and path.expanduser()


def option(text: str) -> Any:
    """An option with its line of `--help`."""
    return typer.Option(help=text)


def path_option(text: str) -> Any:
    """The same for a file or folder."""
    return typer.Option(help=text, callback=home)


Text = str | None
Results = Annotated[Path, path_option("Folder for this checkout's own records and leaderboards.")]
Published = Annotated[Path, path_option("Folder with the published results.")]
OWN, PUBLISHED = Path("results/local"), Path("results")


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
    scenario: Annotated[Text, option("random:0.1, random-iid:0.1, class:3 or ids:FILE (of official train).")] = None,
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
    results: Results = OWN,
    published: Published = PUBLISHED,
) -> None:
    """Run one method on one setting, record every block, and show the leaderboard."""
    from benchmark.config import parse_parameters
    from benchmark.plan import Request
    from benchmark.runner import run
    from benchmark.store.artifacts import ArtifactStore, default_cache
    from benchmark.store.records import RecordStore

    _set_threads(threads)
    request = Request(
        method, profile, dataset, data_root, arch, recipe, scenario, blocks, retrains, preset, parse_parameters(params),
        plugin, groups, original, tuple(allow.replace(",", " ").split()) if allow else None, non_members, device,
        attack, attack_preset, parse_parameters(attack_params), attack_plugin, pool,
    )  # fmt: skip
    outcomes = []
    for outcome in run(request, ArtifactStore(default_cache()), RecordStore(results), progress=progress):
        outcomes.append(outcome)
        _say_outcome(outcome)
    reused = sum(outcome.reused for outcome in outcomes)
    computed = f"{len(outcomes) - reused} of {len(outcomes)} runs computed"
    say(f"{computed}, {reused} already recorded in {results}")
    _show(results, published, [outcome.record for outcome in outcomes])
    if any(outcome.record["status"] in ("error", "timeout") for outcome in outcomes):
        raise typer.Exit(1)


@app.command("list")
def list_() -> None:
    """Show what can be run."""
    from benchmark.config import PROFILES
    from benchmark.data.datasets import dataset_names
    from benchmark.models import ARCHITECTURES
    from benchmark.registry import names
    from benchmark.training import RECIPES

    rows = {
        "unlearning methods": names("unlearning"),
        "backdoor defences": names("defenses"),
        "backdoor attacks": names("attacks"),
        "data sets": dataset_names(),
        "architectures": [*ARCHITECTURES, "timm:<name>"],
        "recipes": list(RECIPES),
        "scenarios": ["random:0.1", "random-iid:0.1", "class:3", "ids:FILE"],
        "pools": ["reserved", "reserved:50", "seen"],
        "profiles": list(PROFILES),
    }
    for title, entries in rows.items():
        console.print(f"[bold]{title}[/bold]: {', '.join(entries)}", soft_wrap=True)


@app.command()
def leaderboard(results: Results = OWN, published: Published = PUBLISHED) -> None:
    """Rebuild a folder's leaderboards from its records alone, and show them."""
    _show(results, published, None)


@app.command()
def rescore(results: Results = OWN) -> None:
    """Compute new or changed metrics from stored predictions, without training."""
    from benchmark.rescoring import rescore
    from benchmark.store.artifacts import ArtifactStore, default_cache
    from benchmark.store.records import RecordStore

    records = RecordStore(results)
    records.check_writable()
    for record, outcome in rescore(records, ArtifactStore(default_cache())):
        say(f"{_name(record)}: {outcome}")
    _rebuild(results)


@app.command()
def publish(results: Results = OWN, published: Published = PUBLISHED) -> None:
    """Copy the records of this checkout's runs into the published results, and rebuild their leaderboards."""
    from benchmark.store.records import RecordStore

    source, target = RecordStore(results), RecordStore(published)
    target.check_writable()
    copied = [target.write(record) for record in source if not _is_custom(record["spec"])]
    _rebuild(published)
    say(f"{len(copied)} records published to {published}, failed runs among them; custom rows stay behind")


@app.command()
def gallery(
    dataset: Annotated[str, option("As for `medsafe run`.")] = "bloodmini",
    data_root: Annotated[Path | None, path_option("Folder with MedMNIST's files.")] = None,
    arch: Annotated[Text, option("Network that learned triggers are trained on.")] = None,
    attack: Annotated[Text, option("One attack; by default all.")] = None,
    images: Annotated[int, option("How many images of different classes.")] = 3,
    output: Annotated[Path, path_option("The PNG to write.")] = Path("triggers.png"),
    threads: Annotated[int | None, option("CPU threads.")] = None,
) -> None:
    """Draw what every attack does to an image: clean, stamped, amplified difference."""
    from benchmark.gallery import draw_gallery, rows_of
    from benchmark.plan import Request, make_plan
    from benchmark.registry import names
    from benchmark.store.artifacts import ArtifactStore, default_cache

    if images < 1 or output.suffix.lower() != ".png":
        raise MedsafeError(f"a gallery shows at least 1 image, not {images}, and is a .png file, not '{output.name}'")
    _set_threads(threads)
    store = ArtifactStore(default_cache())
    wanted = [attack] if attack else [name for name in names("attacks") if name != "clean"]
    if attack == "clean":
        raise MedsafeError("attack 'clean' is the control and stamps nothing: choose another")
    requests = [Request("none", dataset=dataset, data_root=data_root, architecture=arch, attack=name, blocks="0-0")
                for name in wanted]  # fmt: skip
    plans = [make_plan(request, store, progress) for request in requests]
    try:
        draw_gallery(rows_of(plans, images), output)
    except (MedsafeError, OSError):
        raise
    except Exception as error:
        raise MedsafeError(f"the gallery cannot be drawn: {type(error).__name__}: {error}") from error
    say(f"wrote {output}")


@app.command()
def cache(clear: Annotated[bool, typer.Option("--clear", help="Remove everything.")] = False) -> None:
    """Show or clear the cache of trained models and predictions."""
    from benchmark.store.artifacts import ArtifactStore, default_cache

    store = ArtifactStore(default_cache())
    if clear:
        store.clear()
    listing = store.listing()
    kinds = sorted({key["kind"] for key, _ in listing})
    say(f"{store.root}: {len(listing)} artifacts, {sum(size for _, size in listing) / 1e6:.1f} MB")
    for kind in kinds:
        sizes = [size for key, size in listing if key["kind"] == kind]
        say(f"  {kind}: {len(sizes)}, {sum(sizes) / 1e6:.1f} MB")


@app.command()
def export(
    run_id: Annotated[str, typer.Argument(help="The run's id, as the last part of its record's file name.")],
    output: Annotated[Path, path_option("New folder for the model and its card.")] = Path("export"),
    results: Results = OWN,
) -> None:
    """Write an unlearned or repaired model as safetensors, with a card that says where it comes from."""
    from benchmark.export import export_model
    from benchmark.store.artifacts import ArtifactStore, default_cache
    from benchmark.store.records import RecordStore

    path = export_model(run_id, RecordStore(results), ArtifactStore(default_cache()), output)
    say(f"wrote {path} and its card")


def main() -> None:
    """Run the command; a user's error is one line on standard error and exit code 2."""
    try:
        app()
    except MedsafeError as error:
        sys.exit(_fail(str(error)))
    except OSError as error:
        sys.exit(_fail(f"{error.filename or 'file system'}: {error.strerror or error}"))


def progress(iterable: Iterable[Any], description: str) -> Iterable[Any]:
    """A bar on a terminal, nothing elsewhere."""
    from tqdm import tqdm

    return tqdm(iterable, description, leave=False, disable=None, file=sys.stderr)


def say(text: str) -> None:
    """One line, as it is: neither wrapped nor read as markup."""
    console.print(text, soft_wrap=True, markup=False)


def _fail(message: str) -> int:
    Console(stderr=True, highlight=False, emoji=False, soft_wrap=True).print(
        f"medsafe: {' '.join(message.split())}", markup=False
    )
    return 2


def _set_threads(threads: int | None) -> None:
    import torch

    if threads is not None and threads < 1:
        raise MedsafeError(f"threads {threads}: at least 1 is needed")
    torch.set_num_threads(threads or min(os.cpu_count() or 1, torch.get_num_threads()))


def _say_outcome(outcome: Any) -> None:
    record = outcome.record
    state = (
        "already recorded"
        if outcome.reused
        else f"{record['status']}" + (f": {record['reason']}" if record["reason"] else "")
    )
    say(f"{_name(record)}: {state}")


def _is_custom(spec: Any) -> bool:
    """Whether the hyper-parameters of method or attack are the user's own."""
    return "custom" in (spec["method"]["preset"], spec.get("attack", {}).get("preset"))


def _name(record: Any) -> str:
    spec = record["spec"]
    wanted = spec["scenario"] if spec["track"] == "unlearning" else f"{spec['attack']['name']}, {spec['pool']}"
    setting = f"{spec['data']['name']}, {wanted}, block {spec['block']}"
    return f"{spec['method']['name']} on {setting} ({record['id']})"


def _rebuild(results: Path) -> None:
    from benchmark.leaderboard.table import write_leaderboard

    for path in write_leaderboard(results):
        say(f"leaderboard: {path}")


def _show(results: Path, published: Path, records: list[Any] | None) -> None:
    """Rebuild the folder's leaderboards and print the tables of these records' settings, or all."""
    from benchmark.leaderboard.report import report
    from benchmark.store.records import RecordStore

    others = list(RecordStore(published)) if published.resolve() != results.resolve() else []
    for piece in report(list(RecordStore(results)), others, records):
        console.print(piece, "")
    _rebuild(results)


if __name__ == "__main__":
    main()
