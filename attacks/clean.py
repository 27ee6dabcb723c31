"""No attack at all: the control, under which a defence can only do harm.

What a defence does to a model that needs none (PROTOCOL 7.6): no image is poisoned, no label changed, the stamp is x.
"""

from dataclasses import dataclass

from torch import Tensor

from benchmark.api import AttackTask, Trigger, backdoor_attack


@backdoor_attack("clean", version=1, goal="none")
@dataclass(frozen=True)
class Clean:
    ratio: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a share that would have to be poisoned."""
        if self.ratio != 0:
            raise ValueError(f"ratio must be 0 where nothing is poisoned, not {self.ratio}")

    def trigger(self, task: AttackTask) -> Trigger:
        """A stamp that does nothing."""
        return Trigger(self.stamp)

    def stamp(self, images: Tensor) -> Tensor:
        """The images themselves."""
        return images
