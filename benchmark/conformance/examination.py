"""One check after the other, on one method, in this process."""

from collections.abc import Iterator

from benchmark.api import Diverged
from benchmark.checks import BrokenMethod
from benchmark.conformance.checks import CHECKS, Check
from benchmark.conformance.findings import Doubtful, Failed, Finding, Outcome, Skipped, one_line
from benchmark.conformance.trials import Budget, Trials
from benchmark.errors import MedsafeError
from benchmark.registry import WORDS, Plugin

SAID: dict[type[Exception], Outcome] = {Skipped: "skipped", Doubtful: "warning"}
TELLING = (Failed, Skipped, Doubtful, BrokenMethod, Diverged, MedsafeError)
"""Errors whose text says enough."""


def check_method(plugin: Plugin, *, architecture: str = "cnn-small", budget: Budget | None = None) -> Iterator[Finding]:
    """Examine a method with its published hyper-parameters; yields each finding as soon as there is one.

    Args:
        plugin: an unlearning method or a defence; it is called in this process.
        architecture: the network that it has to work on.
        budget: of one call, where the usual one does not fit.

    Raises:
        MedsafeError: an attack, for which there are no checks.
    """
    if plugin.info.kind == "attacks":
        raise MedsafeError(f"{WORDS['attacks']} '{plugin.info.name}': there are checks for methods and defences alone")
    trials, passed = Trials(plugin, architecture, budget or Budget()), set[str]()
    for check in CHECKS:
        finding = _examined(check, trials, passed)
        if finding.outcome in ("pass", "warning"):
            passed.add(finding.name)
        yield finding


def _examined(check: Check, trials: Trials, passed: set[str]) -> Finding:
    missing = [needed.__name__ for needed in check.needs if needed.__name__ not in passed]
    if missing:
        return Finding(check.name, "skipped", f"says nothing before {missing[0]} passes")
    try:
        return Finding(check.name, "pass", check.examine(trials) or "")
    except Exception as error:  # whatever it is, the method or its model has raised it
        said = "" if isinstance(error, TELLING) else f"{type(error).__name__}: "
        return Finding(check.name, SAID.get(type(error), "fail"), said + one_line(error))
