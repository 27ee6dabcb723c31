"""All that a person is shown of the leaderboards, track after track."""

from collections.abc import Iterator, Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from benchmark.leaderboard import table, terminal
from benchmark.leaderboard.backdoor import table as backdoor_table
from benchmark.leaderboard.backdoor import terminal as backdoor_terminal
from benchmark.leaderboard.table import Leaderboards
from benchmark.store.records import Record

Piece = Table | Group | Text


def report(own: Leaderboards, published: Leaderboards, shown: Sequence[Record] | None = None) -> Iterator[Piece]:
    """The tables, and below those of each track what its marks mean.

    Args:
        own: those of all records of this checkout.
        published: those of the published ones, to stand beside them.
        shown: the records whose settings are wanted; None: all, and of the backdoor track an overview.
    """
    for pieces, legend in (
        (_unlearning(own, published, shown), terminal.LEGEND),
        (_backdoor(own, published, shown), backdoor_terminal.LEGEND),
    ):
        if pieces:
            yield from pieces
            yield Text(legend, style="dim")


def _unlearning(own: Leaderboards, published: Leaderboards, shown: Sequence[Record] | None) -> Sequence[Piece]:
    wanted = own.unlearning if shown is None else table.leaderboard(shown)
    return terminal.tables(own.unlearning, published.unlearning, wanted)


def _backdoor(own: Leaderboards, published: Leaderboards, shown: Sequence[Record] | None) -> Sequence[Piece]:
    local, others = own.backdoor_long, published.backdoor_long
    if shown is None:
        return backdoor_terminal.overviews(local, others)
    wanted = backdoor_table.long_leaderboard(own.records, runs={record["id"] for record in shown})
    return backdoor_terminal.tables(local, others, wanted)
