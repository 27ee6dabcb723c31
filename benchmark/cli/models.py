"""Commands on trained models: the cache, and export."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.app import OWN, Results, app, path_option, say


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
