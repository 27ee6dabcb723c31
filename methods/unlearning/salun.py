"""SalUn: random labelling confined to the weights that the forgotten data's loss depends on most.

    m      = 1 on the floor(r * P) largest of |sum_batches grad CE_batch(theta_o; D_f)|, ranked over all P parameters
    theta  = theta_o + m * delta,   delta minimising random labelling's objective (`random_label`)

Source: Fan et al., SalUn: Empowering Machine Unlearning via Gradient-based Weight Saliency, ICLR 2024; learning rate
0.013, 10 epochs, r = 0.5 from the README. The saliency pass runs in eval mode on augmented forget batches of 256 with
their true labels; gradients are summed over batches first and made absolute last; batch-norm scales and biases are
ranked with the rest. Batch-norm statistics are no parameters: they follow the data.

Paper and authors' code differ, beside `label_pool` and `schedule` (see `random_label`):
  - `frozen`: in the paper unselected weights do not move (`exact`, and the code since February 2026). Before, only
    their gradient was masked, so that weight decay shrank them at every step (`leaky`). All published tables are
    older than the correction: preset `authors-code-2024`.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmark.api import Split, UnlearningTask, unlearning_method
from methods.unlearning.random_label import RandomLabel

AUTHORS_CODE = {"label_pool": "all"}


@unlearning_method(
    "salun",
    version=1,
    source_sizes=(4_500, 40_500),
    presets={"authors-code": AUTHORS_CODE, "authors-code-2024": AUTHORS_CODE | {"frozen": "leaky"}},
)
@dataclass(frozen=True)
class SalUn(RandomLabel):
    """Contradict what was learned of the forget set, where it was learned."""

    keep_ratio: float = 0.5
    """Share of the parameters that may move, in [0, 1]; 1 is random labelling."""
    frozen: Literal["exact", "leaky"] = "exact"

    def __post_init__(self) -> None:
        """Refuse a ratio outside [0, 1]."""
        if not 0 <= self.keep_ratio <= 1:
            raise ValueError(f"keep_ratio must lie in [0, 1], not {self.keep_ratio}")

    def unlearn(self, model: nn.Module, task: UnlearningTask) -> nn.Module:
        """Train on random labels, moving salient weights alone."""
        masks = saliency_masks(model, task.forget.fork("saliency"), self.batch_size, self.keep_ratio)
        optimizer = self.optimizer(model)
        confine(optimizer, list(model.parameters()), masks, exact=self.frozen == "exact")
        return self.fit(model, task, optimizer)


def saliency_masks(model: nn.Module, forget: Split, batch_size: int, keep_ratio: float) -> list[Tensor]:
    """Which weights may move: a boolean tensor for each parameter, together floor(keep_ratio * P) ones."""
    model.eval()
    model.zero_grad(set_to_none=True)
    for images, labels in forget.batches(batch_size, epochs=1):
        cross_entropy(model(images), labels).backward()  # accumulates: the sum over batches of batch means
    parameters = list(model.parameters())
    saliency = torch.cat([_gradient(parameter).abs().flatten() for parameter in parameters])
    model.zero_grad(set_to_none=True)
    kept = torch.zeros_like(saliency, dtype=torch.bool)
    kept[saliency.topk(int(keep_ratio * len(saliency)), sorted=False).indices] = True
    parts = kept.split([parameter.numel() for parameter in parameters])
    return [part.view(parameter.shape) for part, parameter in zip(parts, parameters, strict=True)]


def confine(
    optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], masks: list[Tensor], *, exact: bool
) -> None:
    """Mask every gradient before a step; if `exact`, also undo what weight decay did to unselected weights after it."""
    start = [parameter.detach().clone() for parameter in parameters]

    def mask_gradients(*_: object) -> None:
        for parameter, mask in zip(parameters, masks, strict=True):
            if parameter.grad is not None:
                parameter.grad.mul_(mask)

    @torch.no_grad()
    def restore(*_: object) -> None:
        for parameter, mask, origin in zip(parameters, masks, start, strict=True):
            parameter.copy_(torch.where(mask, parameter, origin))

    optimizer.register_step_pre_hook(mask_gradients)
    if exact:
        optimizer.register_step_post_hook(restore)


def _gradient(parameter: nn.Parameter) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
