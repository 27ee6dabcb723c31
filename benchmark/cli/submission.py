"""Commands on what is handed in: `medsafe submit` and `medsafe verify`."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.app import OWN, Results, Text, app, home, option, path_option, progress, say
from benchmark.cli.tables import name_of
from benchmark.errors import MedsafeError


@app.command()
def submit(
    method: Annotated[str, option("The method whose records are handed in.")],
    claim: Annotated[str, option("What you say of these results, in a sentence or two.")],
    link: Annotated[Text, option("Address of a paper or page about the method.")] = None,
    kind: Annotated[Text, option("unlearning or defenses, where a name means both.")] = None,
    preset: Annotated[Text, option("Only records of this preset; by default all that can be ranked.")] = None,
    plugin: Annotated[Path | None, path_option("The .py file that holds the method.")] = None,
    results: Results = OWN,
    output: Annotated[Path | None, path_option("The new folder; by default submissions/METHOD.")] = None,
) -> None:
    """Pack a method's records, a claim and the method's code into a folder, ready for a pull request."""
    from benchmark.submission.pack import Claim, pack

    packed = pack(Claim(method, claim, link, kind, preset, plugin), results, output or Path("submissions") / method)
    folder, records = packed.submission.folder, packed.submission.records
    for reason, count in packed.left_out.items():
        say(f"left out: {_plural(count, 'record')} ({reason})")
    rows = {str(record["spec"] | {"block": None}) for record in records}
    failed = sum(record["status"] != "ok" for record in records)
    what = f"{_plural(len(records), 'record')} in {_plural(len(rows), 'row')}"
    say(f"wrote {folder}: {what}; runs that are not ok: {failed}")
    brought = f" --plugin {packed.submission.plugin}" if packed.submission.plugin else ""
    say(
        f"next: open a pull request that adds {folder}; the maintainers will read it and run "
        f"`medsafe verify {folder}{brought}`, and so can you"
    )


@app.command()
def verify(
    submission: Annotated[Path, typer.Argument(help="Folder that `medsafe submit` wrote.", callback=home)],
    runs: Annotated[int, option("How many records are computed again, from as many rows as possible.")] = 2,
    every: Annotated[bool, typer.Option("--all", help="Compute all of them again.")] = False,
    seed: Annotated[int | None, option("Of the draw of these records; by default a new one, which is said.")] = None,
    dataset: Annotated[
        list[Path] | None, option("An .npz file that records were computed on; may be repeated.")
    ] = None,
    data_root: Annotated[Path | None, path_option("Folder with MedMNIST's files; else they are downloaded.")] = None,
    plugin: Annotated[Path | None, path_option("The code that the submission brings, once you have read it.")] = None,
    sandbox: Annotated[
        bool,
        typer.Option("--sandbox/--no-sandbox", help="Whether that code is kept from data files, caches and network."),
    ] = True,
    time_limit: Annotated[float, option("Seconds that one call of that code may take.")] = 3600,
    memory_limit: Annotated[float, option("Gigabytes of memory that it may take.")] = 16,
    device: Annotated[str, option("auto: the kind of device that is recorded; cpu, cuda or cuda:1.")] = "auto",
    threads: Annotated[int | None, option("CPU threads, in place of the recorded number.")] = None,
    reuse_cache: Annotated[bool, typer.Option("--reuse-cache", help="Trust what this machine has computed.")] = False,
) -> None:
    """Check a submission, compute a part of it again, and mark what agrees, or name the first difference.

    Exit code 0: it agrees; 1: it does not; 2: it cannot be verified here.
    """
    import secrets

    from benchmark.isolation.origin import Isolation
    from benchmark.isolation.process import GIGABYTE, Limits
    from benchmark.isolation.sandbox import private_paths
    from benchmark.plan import Request
    from benchmark.store.artifacts import default_cache
    from benchmark.submission.contents import read_submission
    from benchmark.submission.schema import Refused
    from benchmark.submission.verify import verify

    if runs < 1 or (threads is not None and threads < 1):
        raise MedsafeError("--runs and --threads take at least 1")
    drawn = secrets.randbelow(10**6) if seed is None else seed
    limits = Limits(time_limit, round(memory_limit * GIGABYTE))
    isolation = Isolation(limits, sandbox and plugin is not None, hidden=private_paths(data_root, submission))
    base = Request("", data_root=data_root, plugin=plugin, device=device, isolation=isolation)
    files, cache = [path.expanduser() for path in dataset or []], default_cache() if reuse_cache else None
    done = 0
    try:
        found = read_submission(submission)
        for each in verify(
            found, base, runs=None if every else runs, seed=drawn, files=files, threads=threads, cache=cache,
            progress=progress,
        ):  # fmt: skip
            done += 1
            where = f" ({'; '.join(each.elsewhere)})" if each.elsewhere else ""
            say(f"{name_of(each.record)}: agrees, {each.agreement}{where}")
    except Refused as error:
        say(f"NOT verified: {error}")
        raise typer.Exit(1) from None
    say(f"verified: {done} of {len(found.records)} records computed again (seed {drawn}) and marked, tables rebuilt")


def _plural(count: int, thing: str) -> str:
    """`1 record`, `2 records`."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
