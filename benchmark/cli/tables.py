"""What several commands show of records."""

import atexit
import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.cli.app import console, say

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from benchmark.describe import Description
    from benchmark.leaderboard.table import Leaderboards


def is_custom(spec: Any) -> bool:
    """Whether the hyper-parameters of method or attack are the user's own."""
    return "custom" in (spec["method"]["preset"], spec.get("attack", {}).get("preset"))


def name_of(record: Any) -> str:
    """A run in one line."""
    spec = record["spec"]
    wanted = spec["scenario"] if "scenario" in spec else f"{spec['attack']['name']}, {spec['pool']}"
    setting = f"{spec['data']['name']}, {wanted}, block {spec['block']}"
    return f"{spec['method']['name']} on {setting} ({record['id']})"


def rebuild(results: Path) -> None:
    """Write the folder's leaderboards and page anew, and say where."""
    from benchmark.leaderboard.table import write_leaderboard

    tables = _read(results)
    _say_where(write_leaderboard(results, tables))
    write_page_of(results, tables)


def show(results: Path, published: Path, records: list[Any] | None) -> "Leaderboards":
    """Rebuild the folder's leaderboards and print the tables of these records' settings, or all; returns them."""
    from benchmark.leaderboard.report import report
    from benchmark.leaderboard.table import Leaderboards, write_leaderboard

    own = _read(results)
    others = _read(published) if published.resolve() != results.resolve() else Leaderboards([])
    files = write_leaderboard(results, own)  # before printing, which takes long enough for another run to write its own
    for piece in report(own, others, records):
        console.print(piece, "")
    _say_where(files)
    return own


def write_page_of(results: Path, tables: "Leaderboards") -> None:
    """Write the folder's page, with a card for each method of the suite, and say where."""
    from benchmark.leaderboard.figures import figures, left_out
    from benchmark.leaderboard.page.build import write_page

    pool = _aside()
    cards = pool.submit(_cards)
    pool.shutdown(wait=False)  # it ends with its task
    drawn = figures(tables.records, tables.unlearning)
    say(f"page: {write_page(results, cards.result(), drawn, left_out(tables.records))}")


def _aside() -> "Executor":
    """Where cards are made while figures are drawn: they need torch, which if not loaded is to fill another memory."""
    from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
    from multiprocessing import get_context

    if "torch" in sys.modules:
        return ThreadPoolExecutor(1)
    # Where torch may tidy itself up, it loads another 100 MB for that.
    return ProcessPoolExecutor(1, get_context("spawn"), initializer=atexit.register, initargs=(os._exit, 0))


def _cards() -> list["Description"]:
    """The methods of the suite, described."""
    from benchmark.describe import describe
    from benchmark.registry import BUILT_IN, built_in, find, taken

    names = ((kind, name) for kind in BUILT_IN for name in built_in(kind))
    return [describe(find(kind, name).cls) for kind, name in names if taken(kind, name) is None]


def _read(results: Path) -> "Leaderboards":
    """All records of a folder, read once, and kept from the garbage collector.

    It would search thousands of them again and again, in vain: a quarter of all the time.
    """
    from benchmark.leaderboard.table import Leaderboards
    from benchmark.store.records import RecordStore

    gc.disable()
    try:
        tables = Leaderboards(list(RecordStore(results)))
        if "torch" not in sys.modules:  # what it brings along would be called a leak at the end
            gc.freeze()
    finally:
        gc.enable()
    return tables


def _say_where(files: list[Path]) -> None:
    for path in files:
        say(f"leaderboard: {path}")
