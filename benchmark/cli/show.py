"""Commands that show what there is."""

from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from benchmark.cli.app import PUBLISHED, Published, Text, app, console, option, path_option, progress, say, set_threads
from benchmark.errors import MedsafeError

WORDS = {"unlearning": "unlearning method", "defenses": "backdoor defence", "attacks": "backdoor attack"}
PRESETS = {"scaled": "learning rates times the updates of the published experiment over those of the run"}


@app.command("list")
def list_() -> None:
    """Show what can be run."""
    from benchmark.config import PROFILES
    from benchmark.data.datasets import dataset_names
    from benchmark.isolation.client import offered
    from benchmark.models import ARCHITECTURES
    from benchmark.registry import built_in
    from benchmark.training import RECIPES

    titles = {"unlearning": "unlearning methods", "defenses": "backdoor defences", "attacks": "backdoor attacks"}
    theirs = {kind: dict(offered(kind)) for kind in titles}
    plugins = {
        title: sorted([*built_in(kind), *(name for name, problem in theirs[kind].items() if problem is None)])
        for kind, title in titles.items()
    }
    rows = plugins | {
        "data sets": dataset_names(),
        "architectures": [*ARCHITECTURES, "timm:<name>"],
        "recipes": list(RECIPES),
        "scenarios": ["random:0.1", "random-iid:0.1", "fixed:0.1", "part:0/10", "class:3", "ids:FILE"],
        "pools": ["reserved", "reserved:50", "seen"],
        "profiles": list(PROFILES),
    }
    for title, entries in rows.items():
        console.print(f"[bold]{title}[/bold]: {', '.join(entries)}", soft_wrap=True)
    for kind, title in titles.items():
        for name, problem in theirs[kind].items():
            if problem is not None:
                say(f"{title}: {name} is unavailable: {problem}")


@app.command("describe")
def describe_(
    name: Annotated[str, typer.Argument(help="Method, defence or attack; `medsafe list` shows them.")],
    kind: Annotated[Text, option("unlearning, defenses or attacks, where two kinds share the name.")] = None,
    plugin: Annotated[Path | None, path_option("A .py file that holds it.")] = None,
    published: Published = PUBLISHED,
) -> None:
    """Show a method's paper, formula, hyper-parameters, what it may see, and what it cost."""
    from benchmark.describe import published_costs, steps_of
    from benchmark.isolation.client import description_of
    from benchmark.isolation.origin import Isolation
    from benchmark.store.records import RecordStore

    found = description_of(name, kind, plugin, Isolation())
    say(f"{found.name} ({WORDS[found.kind]}, version {found.version})\n\n{found.text}\n\nMay see: {found.access}.\n")
    table = Table("hyper-parameter", "type", "default", "meaning", box=SIMPLE_HEAD, padding=0)
    for parameter in found.parameters:
        cells = (parameter.name, parameter.type, str(parameter.default), parameter.meaning)
        table.add_row(*map(escape, cells))
    console.print(table)
    for preset, changes in found.presets.items():
        values = " ".join(f"{key}={value}" for key, value in changes.items())
        say(f"Preset {preset}: {values or PRESETS.get(preset, 'the defaults')}")
    for line in (steps_of(found), *published_costs(RecordStore(published), found)):
        if line:
            say(f"Cost: {line}")


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
    set_threads(threads)
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
