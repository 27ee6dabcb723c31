"""`medsafe sweep`: a whole grid of runs."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import psutil
import typer
from rich.live import Live
from rich.table import Table

from benchmark.cli.app import OWN, PUBLISHED, Published, Results, app, console, option, path_option, say
from benchmark.cli.tables import rebuild

if TYPE_CHECKING:
    from benchmark.sweep.drive import Progress
    from benchmark.sweep.jobs import Job, Todo

SHOWN = 8
"""Failures that are named at the end; the records have all."""


@app.command()
def sweep(
    suite: Annotated[Path, typer.Argument(help="The suite's file, e.g. suites/smoke.toml.")],
    plan: Annotated[bool, option("Say what there is to do, and do nothing.")] = False,
    executor: Annotated[str, option("local (processes of this machine), or ray (a cluster).")] = "local",
    address: Annotated[str | None, option("HOST:PORT of a running Ray cluster, or auto; else one starts here.")] = None,
    workers: Annotated[int | None, option("Processes; by default cores over threads, or one for each GPU.")] = None,
    per_gpu: Annotated[int | None, option("Workers that share a GPU; several small trainings fill it better.")] = None,
    threads: Annotated[int, option("CPU threads of a worker; results are bitwise equal at one number only.")] = 1,
    device: Annotated[str, option("auto (all GPUs, else the CPU), cpu, cuda or cuda:1.")] = "auto",
    extend_published: Annotated[bool, option("Leave out what is published already.")] = False,
    data_root: Annotated[Path | None, path_option("Folder with MedMNIST's files; else they are downloaded.")] = None,
    results: Results = OWN,
    published: Published = PUBLISHED,
) -> None:
    """Run all that a suite asks for and is not recorded yet; killed, it goes on where it was."""
    from benchmark.cli.app import set_threads
    from benchmark.plan import Request
    from benchmark.store.artifacts import ArtifactStore, default_cache
    from benchmark.store.files import remove_leftovers
    from benchmark.store.records import RecordStore
    from benchmark.sweep.drive import drive
    from benchmark.sweep.engine import Engine
    from benchmark.sweep.estimate import Estimator
    from benchmark.sweep.jobs import todo
    from benchmark.sweep.queue import wall_seconds
    from benchmark.sweep.suite import read_suite
    from benchmark.sweep.work import Place

    start_up = time.time() - psutil.Process().create_time()
    set_threads(threads)
    engine = Engine(executor, address, device, workers, per_gpu, threads)
    read = read_suite(suite.expanduser(), Request("", data_root=data_root, device=engine.devices[0]))
    store, records = ArtifactStore(default_cache()), RecordStore(results)
    known = [records, *([RecordStore(published)] if extend_published else [])]
    left = todo(read.requests, store, known, Estimator(RecordStore(published), engine.sharing))
    _say_plan(read.name, left, each_model=plan)
    if left.jobs:
        at_once = len(engine.devices)
        _say_estimate(left, at_once, start_up + wall_seconds(left.jobs, at_once))
    if plan:
        return
    records.check_writable()
    if left.jobs:
        try:
            with engine.open(Place(store.root, results, threads)) as hands:
                progress = _watched(lambda on_change: drive(left.jobs, hands, on_change))
        finally:  # also where the last worker is gone, or somebody has had enough
            store.remove_leftovers()  # of workers that died
            remove_leftovers(records.root)
            rebuild(results)
        _say_end(progress)


def _say_plan(name: str, left: "Todo", *, each_model: bool) -> None:
    runs, models = len(left.runs), left.models
    say(f"{name}: {runs + len(left.recorded)} runs, {len(left.recorded)} recorded, {runs} to do")
    say(f"models that runs share: {len(models) + len(left.cached)}, {len(left.cached)} in the cache, "
        f"{len(models)} to train ({_images(models)})")  # fmt: skip
    for job in models if each_model else ():  # else hundreds of lines before the first training
        say(f"  {job.title}: {_images([job])}, for {left.uses[job.id]} runs")


def _say_estimate(left: "Todo", workers: int, seconds: float) -> None:
    say(f"estimated: {_time(seconds)} here with {workers} workers, {_images(left.jobs.values())} in all, "
        f"{sum(job.expected.bytes for job in left.jobs.values()) / 1e6:,.0f} MB of disk")  # fmt: skip
    guessed = sorted({job.request.method for job in left.runs if job.expected.guessed})
    if guessed:
        say(f"  no run like it is published, so only roughly: {', '.join(guessed)}")
    for reason in sorted({job.expected.untimed for job in left.jobs.values() if job.expected.untimed}):
        say(f"  not in the time, for a trial of it failed: {reason}")


def _images(jobs: "Iterable[Job]") -> str:
    return f"{sum(job.expected.images for job in jobs):,} gradient-equivalents"


def _watched(work: Callable[[Callable[["Progress"], None]], "Progress"]) -> "Progress":
    """A table that renews itself on a terminal, elsewhere a line for each job."""
    start, told = time.monotonic(), Counter[str]()
    live = Live(console=console, transient=True) if console.is_terminal else None

    def on_change(progress: "Progress") -> None:
        if live is not None:
            live.update(_table(progress, time.monotonic() - start))
        for job, result in progress.ended[told["jobs"] :]:
            told["jobs"] += 1
            reason = f": {result.reason}" if result.reason else ""
            line = f"{job.title}: {result.status}{reason} ({result.seconds:.1f} s)"
            if live is None:
                say(f"{told['jobs']}/{progress.total} {line}, {_remaining(progress, time.monotonic() - start)} left")
            elif result.reason:
                console.print(line, markup=False, soft_wrap=True)

    with live or nullcontext():
        return work(on_change)


def _table(progress: "Progress", elapsed: float) -> Table:
    table = Table.grid(padding=(0, 2))
    done = len(progress.ended) - len(progress.failed)
    table.add_row(
        f"done {done} of {progress.total}", f"running {len(progress.running)}", f"failed {len(progress.failed)}",
        f"{_time(elapsed)} gone, {_remaining(progress, elapsed)} left",
    )  # fmt: skip
    for job in progress.running:
        table.add_row("", "", "", job.title.replace("[", "\\["))
    return table


def _remaining(progress: "Progress", elapsed: float) -> str:
    left = progress.left(elapsed)
    return "?" if left is None else _time(left)


def _time(seconds: float) -> str:
    return f"{int(seconds) // 3600}:{int(seconds) // 60 % 60:02}:{int(seconds) % 60:02}"


def _say_end(progress: "Progress") -> None:
    """What became of it; exit code 1 where something failed."""
    failed: list[Any] = progress.failed
    say(f"{len(progress.ended) - len(failed)} jobs done, {len(failed)} failed")
    for job, result in failed[:SHOWN]:
        say(f"  {job.title}: {result.status}: {result.reason}")
    if failed[SHOWN:]:
        say(f"  and {len(failed) - SHOWN} more")
    if failed:
        say("the same command tries them again")
        raise typer.Exit(1)
