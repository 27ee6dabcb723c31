"""Fine-pruning: cut the units that clean images leave asleep, where a backdoor can hide, then fine-tune.

    a_j      = mean over clean images of h_j(x),   h: what goes into the last linear layer W
    W[:, j]  = 0 for the k units of smallest a_j,   k as large as held-out accuracy allows; then `finetune`, W[:, j] = 0

Source: Liu et al., Fine-Pruning: Defending Against Backdooring Attacks on Deep Neural Networks, RAID 2018. The paper
prunes channels of the last convolution: with global pooling these are the units that reach the linear layer. Values
from BackdoorBench (Wu et al., NeurIPS 2022): steps of 1 % of the units until accuracy has fallen by more than 10 % of
what it was; tuning as in `finetune`, batch norm in training mode.

Ours differs from BackdoorBench's code, which stops by the accuracy on test images, and one step too late: one part of
the clean images ranks the units, the other one says when to stop, both are tuned on. One unit is always left.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmark.api import DefenseTask, Split, Unsupported, backdoor_defense
from methods.defenses.finetune import FineTune
from methods.layers import final_linear, penultimate_features


@backdoor_defense("fine_pruning", version=1, source_sizes=(2_500,))
@dataclass(frozen=True)
class FinePruning(FineTune):
    """Fine-tuning behind a pruned layer."""

    step_share: float = 0.01
    """Share of the units that each step prunes, at least one unit."""
    accuracy_drop: float = 0.1
    """Accuracy that pruning may cost, as a share of what it was."""
    holdout_share: float = 0.5
    """Share of the clean images that decide when to stop."""

    def __post_init__(self) -> None:
        """Refuse shares outside their range."""
        if not 0 < self.holdout_share < 1:
            raise ValueError(f"holdout_share must lie between 0 and 1, not {self.holdout_share}")
        if not (0 <= self.step_share <= 1 and 0 <= self.accuracy_drop <= 1):
            raise ValueError("step_share and accuracy_drop must lie in [0, 1]")

    def defend(self, model: nn.Module, task: DefenseTask) -> nn.Module:
        """Prune, then tune."""
        layer = final_linear(model)
        if layer.out_features != task.num_classes:
            raise Unsupported("the architecture's last linear layer is not its classifier")
        kept = self.prune(model, task.clean.fork("pruning"))
        # Weights that see no input have no gradient, and decay leaves zeros at zero.
        hook = layer.register_forward_pre_hook(lambda _, inputs: (inputs[0] * kept,))
        try:
            return super().defend(model, task)
        finally:
            hook.remove()

    @torch.no_grad()
    def prune(self, model: nn.Module, clean: Split) -> Tensor:
        """Zero the weights of sleeping units; returns which units are left: boolean (units,)."""
        ranking, held_out = clean.divided(self.holdout_share)
        if not len(held_out) or not len(ranking):
            raise Unsupported("the clean images cannot be divided: no class has two of them")
        layer, features = final_linear(model), penultimate_features(model, held_out)
        order = penultimate_features(model, ranking).mean(0).argsort(stable=True)
        kept = torch.ones_like(order, dtype=torch.bool)

        def accuracy(kept: Tensor) -> float:
            return float((layer(features * kept).argmax(1) == held_out.labels).double().mean())

        lowest = (1 - self.accuracy_drop) * accuracy(kept) - 1e-9  # a drop of just that share is within the limit
        step = max(1, round(self.step_share * len(order)))
        for count in range(step, len(order), step):
            trial = kept.clone()
            trial[order[:count]] = False
            if accuracy(trial) < lowest:
                break
            kept = trial
        layer.weight[:, ~kept] = 0
        return kept
