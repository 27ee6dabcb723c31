"""Original: the trained model as it is. The row that every method must move away from."""

from dataclasses import dataclass

from torch import nn

from benchmark.api import UnlearningTask, unlearning_method


@unlearning_method("original", version=1)
@dataclass(frozen=True)
class Original:
    """Forget nothing."""

    def unlearn(self, model: nn.Module, task: UnlearningTask) -> nn.Module:
        """Return the model unchanged."""
        return model
