"""Where workers of several machines meet: each has to find the driver's own folders, under the same names."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import MedsafeError
from benchmark.store.files import held_file, remove_leftovers
from benchmark.sweep.work import Place

OWN = "MEDSAFE_"
"""Begins the names of the suite's environment variables."""


@dataclass(frozen=True)
class Meeting:
    """What a worker has to find where it is; plain data."""

    folder: Path
    """The driver's current one: relative paths of a suite start there."""
    marks: tuple[Path, ...]
    """Files that nobody else has, one in each of the shared folders."""
    environment: dict[str, str]

    def renew(self) -> None:
        """Make the marks again: where no lock says whose they are, somebody else's cleaning takes them."""
        for mark in self.marks:
            with contextlib.suppress(OSError):  # whoever joins says what is wrong
                mark.touch()

    def join(self) -> None:
        """Make this process one of the sweep's.

        Raises:
            MedsafeError: a folder is not here, or is another of that name.
        """
        for mark in self.marks:
            if not mark.is_file():
                raise _elsewhere(mark.parent)
        try:
            os.chdir(self.folder)
        except OSError as error:
            raise _elsewhere(self.folder) from error
        os.environ.update(self.environment)


@contextlib.contextmanager
def called(place: Place) -> Iterator[Meeting]:
    """A meeting at this place; its marks are removed in the end, those of a killed driver by the next one."""
    with contextlib.ExitStack() as stack:
        marks = []
        for folder in (place.cache / "locks", place.results / "records"):
            folder.mkdir(parents=True, exist_ok=True)
            marks.append(stack.enter_context(held_file(folder.resolve() / "sweep")))
            remove_leftovers(folder)
        environment = {name: value for name, value in os.environ.items() if name.startswith(OWN)}
        yield Meeting(Path.cwd(), tuple(marks), environment)


def _elsewhere(folder: Path) -> MedsafeError:
    return MedsafeError(
        f"'{folder}' is not the driver's folder there: all nodes must share code, cache (MEDSAFE_CACHE) and --results"
    )
