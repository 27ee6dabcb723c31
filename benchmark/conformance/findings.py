"""What a check comes to."""

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["pass", "warning", "fail", "skipped"]

MOST_WORDS = 500
"""Characters of a reason: it may come from a method."""


class Failed(Exception):
    """The method does not keep this part of the contract; the text says how it shows."""


class Skipped(Exception):
    """The check has nothing to look at here."""


class Doubtful(Exception):
    """Nothing forbids it, but somebody will miss something."""


@dataclass(frozen=True)
class Finding:
    """The outcome of one check; plain text alone, so that it crosses to another process as JSON."""

    name: str
    outcome: Outcome
    why: str
    """In one line; of a passed check what is worth knowing, and mostly nothing."""


def one_line(error: BaseException) -> str:
    """The text of an error, without line breaks and what does not print."""
    words = " ".join(str(error).split())
    return "".join(letter for letter in words if letter.isprintable())[:MOST_WORDS]
