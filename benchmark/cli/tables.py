"""What several commands show of records."""

from pathlib import Path
from typing import Any

from benchmark.cli.app import console, say


def is_custom(spec: Any) -> bool:
    """Whether the hyper-parameters of method or attack are the user's own."""
    return "custom" in (spec["method"]["preset"], spec.get("attack", {}).get("preset"))


def name_of(record: Any) -> str:
    """A run in one line."""
    spec = record["spec"]
    wanted = spec["scenario"] if spec["track"] == "unlearning" else f"{spec['attack']['name']}, {spec['pool']}"
    setting = f"{spec['data']['name']}, {wanted}, block {spec['block']}"
    return f"{spec['method']['name']} on {setting} ({record['id']})"


def rebuild(results: Path) -> None:
    """Write the folder's leaderboards anew, and say where."""
    from benchmark.leaderboard.table import write_leaderboard

    for path in write_leaderboard(results):
        say(f"leaderboard: {path}")


def show(results: Path, published: Path, records: list[Any] | None) -> None:
    """Rebuild the folder's leaderboards and print the tables of these records' settings, or all."""
    from benchmark.leaderboard.report import report
    from benchmark.store.records import RecordStore

    others = list(RecordStore(published)) if published.resolve() != results.resolve() else []
    for piece in report(list(RecordStore(results)), others, records):
        console.print(piece, "")
    rebuild(results)
