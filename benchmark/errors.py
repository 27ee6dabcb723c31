"""The errors that reach a user, and nothing else: free of torch, so that leaderboards need none."""

import difflib
from collections.abc import Iterable


class MedsafeError(Exception):
    """Something the user can mend: one line that names the thing, the reason and the way out (exit code 2)."""


def unknown(kind: str, name: str, known: Iterable[str]) -> MedsafeError:
    """The error for a name that does not exist, with the nearest one that does."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(names)}"
    return MedsafeError(f"unknown {kind} '{name}': {hint}")
