"""No defence: the model as it is. What every other row is measured against; a lower bound, and free."""

from dataclasses import dataclass

from torch import nn

from benchmark.api import DefenseTask, backdoor_defense


@backdoor_defense("none", version=1)
@dataclass(frozen=True)
class NoDefense:
    def defend(self, model: nn.Module, task: DefenseTask) -> nn.Module:
        """Return the model unchanged."""
        return model
