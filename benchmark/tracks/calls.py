"""Calling a method: here, or, where somebody else wrote it, in a process of its own."""

from typing import Any

import torch

from benchmark.checks import check_model
from benchmark.handout import Handout, carry_out
from benchmark.isolation.client import IsolatedMethod
from benchmark.tracks.models import Workbench
from benchmark.tracks.stored import Made


def made_by(bench: Workbench, method: Any, handout: Handout, seed: int) -> Made:
    """The checked model that a method returns, with its cost.

    Raises:
        BrokenMethod: it raised, or returned what cannot be scored.
        Diverged: it left the finite numbers.
        Unsupported: it says that it cannot work here.
        TimedOut: it ran longer than a plugin may.
    """
    result: object
    with bench.clock.span("method"):
        if isinstance(method, IsolatedMethod):
            result, cost = method.carry_out(handout, seed)
        else:
            result, cost = carry_out(method, handout, seed, bench.progress)
    sample = bench.images[torch.from_numpy(bench.splits.validation[:300]).to(bench.device)]
    return Made(check_model(result, bench.fresh_model("check"), sample), cost)


def kept_apart(method: object) -> dict[str, str]:
    """Part of the key of its model: what was computed behind fewer walls never stands in for what is asked for."""
    return {"isolation": method.origin.isolation.name} if isinstance(method, IsolatedMethod) else {}
