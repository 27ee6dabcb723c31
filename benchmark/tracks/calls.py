"""Calling a method: whatever it raises is its own fault, and becomes the reason of its record."""

import logging
from collections.abc import Callable

import torch

from benchmark.api import Diverged, Unsupported
from benchmark.checks import BrokenMethod, check_model
from benchmark.cost import CostCounter
from benchmark.seeding import seeded
from benchmark.tracks.models import Made, Workbench

LOG = logging.getLogger(__name__)


def made_by(bench: Workbench, call: Callable[[], object], seed: int) -> Made:
    """The checked model that a method returns, with its cost.

    Raises:
        BrokenMethod: it raised, or returned what cannot be scored.
        Diverged: it left the finite numbers.
        Unsupported: it says that it cannot work here.
    """
    with seeded(seed), CostCounter(bench.device) as cost:
        result = _called(call)
    sample = bench.images[torch.from_numpy(bench.splits.validation[:300]).to(bench.device)]
    return Made(check_model(result, bench.fresh_model("check"), sample), cost.as_dict())


def _called(call: Callable[[], object]) -> object:
    try:
        return call()
    except (Diverged, Unsupported):
        raise
    except (Exception, SystemExit) as error:
        LOG.debug("the method raised", exc_info=True)
        raise BrokenMethod(f"raised {type(error).__name__}: {error}") from error
