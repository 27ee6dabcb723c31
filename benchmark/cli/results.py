"""Commands on what is recorded already: leaderboards, rescoring, publishing."""

from typing import Annotated

import typer

from benchmark.cli.app import OWN, PUBLISHED, Published, Results, app, say
from benchmark.cli.tables import is_custom, name_of, rebuild, show, write_page_of


@app.command()
def leaderboard(results: Results = OWN, published: Published = PUBLISHED) -> None:
    """Rebuild a folder's leaderboards and page from its records alone, and show the tables."""
    write_page_of(results, show(results, published, None))


@app.command()
def rescore(results: Results = OWN) -> None:
    """Compute new or changed metrics from stored predictions, without training."""
    from benchmark.rescoring import rescore
    from benchmark.store.artifacts import ArtifactStore, default_cache
    from benchmark.store.records import RecordStore

    records = RecordStore(results)
    records.check_writable()
    for record, outcome in rescore(records, ArtifactStore(default_cache())):
        say(f"{name_of(record)}: {outcome}")
    rebuild(results)


@app.command()
def publish(
    results: Results = OWN,
    published: Published = PUBLISHED,
    verified: Annotated[
        bool, typer.Option("--verified", help="Keep the marks of `medsafe verify`: you have just run it yourself.")
    ] = False,
) -> None:
    """Copy the records of this checkout's runs into the published results, and rebuild their leaderboards and page."""
    from benchmark.store.records import RecordStore
    from benchmark.submission.verification import unmarked

    source, target = RecordStore(results), RecordStore(published)
    target.check_writable()
    records = (record if verified else unmarked(record) for record in source)
    copied = [target.write(record) for record in records if not is_custom(record["spec"])]
    rebuild(published)
    say(f"{len(copied)} records published to {published}, failed runs among them; custom rows stay behind")
