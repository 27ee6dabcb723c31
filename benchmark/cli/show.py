"""Commands that show what there is."""

from pathlib import Path
from typing import Annotated

from benchmark.cli.app import Text, app, console, option, path_option, progress, say, set_threads
from benchmark.errors import MedsafeError


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
