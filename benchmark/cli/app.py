"""What every command shares: the application, its options' words, what is said, and how an error ends."""

import logging
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmark.errors import MedsafeError

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None,
    help="Did a medical image classifier really forget, was a poisoned one really cleaned? Benchmarks on MedMNIST.",
)  # fmt: skip
console = Console(highlight=False, emoji=False)


def home(path: Path | None) -> Path | None:
    """A path with `~` resolved: it may come from a Makefile, which does not."""
    return path and path.expanduser()


def option(text: str) -> Any:
    """An option with its line of `--help`."""
    return typer.Option(help=text)


def path_option(text: str) -> Any:
    """The same for a file or folder."""
    return typer.Option(help=text, callback=home)


Text = str | None
Results = Annotated[Path, path_option("Folder for this checkout's own records and leaderboards.")]
Published = Annotated[Path, path_option("Folder with the published results.")]
OWN, PUBLISHED = Path("results/local"), Path("results")


def main() -> None:
    """Run the command; a user's error is one line on standard error and exit code 2."""
    _show_output()
    try:
        app()
    except MedsafeError as error:
        sys.exit(_fail(str(error)))
    except OSError as error:
        sys.exit(_fail(f"{error.filename or 'file system'}: {error.strerror or error}"))


def _show_output() -> None:
    """What a plugin prints goes to standard error, line by line, under its file's name."""
    logger = logging.getLogger("benchmark.isolation.output")
    logger.handlers = [logging.StreamHandler()]
    logger.setLevel(logging.INFO)
    logger.propagate = False


def progress(iterable: Iterable[Any], description: str) -> Iterable[Any]:
    """A bar on a terminal, nothing elsewhere."""
    from tqdm import tqdm

    return tqdm(iterable, description, leave=False, disable=None, file=sys.stderr)


def say(text: str) -> None:
    """One line, as it is: neither wrapped nor read as markup."""
    console.print(text, soft_wrap=True, markup=False)


def _fail(message: str) -> int:
    Console(stderr=True, highlight=False, emoji=False, soft_wrap=True).print(
        f"medsafe: {' '.join(message.split())}", markup=False
    )
    return 2


def set_threads(threads: int | None) -> None:
    """CPU threads of this process; all there are, where the user names no number."""
    import torch

    if threads is not None and threads < 1:
        raise MedsafeError(f"threads {threads}: at least 1 is needed")
    torch.set_num_threads(threads or min(os.cpu_count() or 1, torch.get_num_threads()))
