"""`medsafe`: a thin layer over runner, store and leaderboard; one file for each kind of command."""

from benchmark.cli import run, sweep, audit, show, plugins, results, submission, models, data, doctor  # noqa: F401, I001 - in the order in which `--help` lists their commands
from benchmark.cli.app import app, main

__all__ = ["app", "main"]
