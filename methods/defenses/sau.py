"""SAU: unlearn the adversarial examples that the model shares with its backdoored self, among them the trigger.

f is the model under repair, g the backdoored model as it came, p their softmax outputs, B the size of a batch.

    inner   delta_i = argmin_{|delta|_inf <= epsilon}  -beta_1 * A + beta_2 * J
            A = 1/(2B) * (sum_{f not fooled} CE(f(x + delta), y)  +  sum_{g not fooled} CE(g(x + delta), y))
            J = 1/B * sum_{not shared} JS(p_f(x + delta), p_g(x + delta)),   Jensen-Shannon in nats, 0 <= JS <= ln 2
            by sign steps from delta = +epsilon, until `steps` are done or every sample of the batch is shared
    outer   min_theta  CE(f(x), y) + w * CE(f(x + delta), y) + 1/B * sum_{k != y, k != argmax g(x)} R
            R = -1/2 * (log(1e-6 + min(q, 0.999)) + log(1 + 1e-6 - max(r, 0.001))),
            k = argmax g(x + delta),   r = p_f(k | x + delta),   q = the other classes' probability: R is -log(1 - r)

A model is fooled where its prediction leaves its own on the clean image; a sample is shared where both are fooled into
the same class. Fooled and shared samples drop out of the inner sums. The outer sum looks at g alone.

Source: Wei et al., Shared Adversarial Unlearning: Backdoor Mitigation by Unlearning Shared Adversarial Examples,
NeurIPS 2023. Published on 2,500 clean CIFAR-10 images: 100 rounds (one pass, one Adam step a batch, constant learning
rate), no augmentation. The paper's lambda_1 and lambda_4 are `clean_weight` and `shared_risk_weight`, its lambda_2 and
lambda_3 are beta_2 and beta_1. The defaults are the authors' code's; what may be chosen otherwise:
  - `exact_risk`: R = -log(1 - r). The code's clamped form has no gradient left where r is within 1e-7 of 1, as with an
    overconfident model: perturbations are then found, but not unlearned.
  - `adversarial_training_weight`, w above: 0, and absent from the paper.
  - `clip`: x + delta may leave [0, 1].
  - `train_statistics`: batch norm keeps its statistics, only scale and shift are trained; or else the outer pass, over
    clean and perturbed images together, uses and follows batch statistics.
Ours is cheaper with the same results: clean predictions are made once a batch, not in every step, and the inner loop
computes no weight gradients. At most 29 forward passes a sample and round, a backward pass being two, instead of 48.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmark.api import DefenseTask, backdoor_defense, steps_per_epoch

PROBABILITY_FLOOR = 1e-8
"""Of the probabilities in the Jensen-Shannon divergence."""


@backdoor_defense("sau", version=1, source_sizes=(2_500,))
@dataclass(frozen=True)
class SAU:
    rounds: int = 100
    lr: float = 1e-4
    batch_size: int = 256
    steps: int = 5
    """Most sign steps of the inner problem."""
    epsilon: float = 0.2
    """Bound on every pixel of the perturbation, images being in [0, 1]."""
    step_size: float = 0.2
    adversarial_weight: float = 0.01
    """beta_1: how much the perturbation is to fool both models."""
    share_weight: float = 1.0
    """beta_2: how much it is to make their outputs alike."""
    clean_weight: float = 1.0
    shared_risk_weight: float = 1.0
    adversarial_training_weight: float = 0.0
    exact_risk: bool = False
    clip: bool = False
    """Whether perturbed images are kept in [0, 1]."""
    train_statistics: bool = False

    def __post_init__(self) -> None:
        """Refuse an inner problem without room or steps."""
        if self.steps < 1 or self.epsilon <= 0:
            raise ValueError(f"steps and epsilon must be positive, not {self.steps} and {self.epsilon}")

    def defend(self, model: nn.Module, task: DefenseTask) -> nn.Module:
        """Alternate between finding shared adversarial examples and one step of unlearning them."""
        reference = copy.deepcopy(model).eval().requires_grad_(False)
        optimizer = torch.optim.Adam(model.parameters(), self.lr, amsgrad=True)
        for _ in task.progress(range(self.rounds), "sau"):
            for images, labels in task.clean.batches(self.batch_size, epochs=1, augment=False):
                model.eval()
                with torch.no_grad():
                    clean = model(images).argmax(1), reference(images).argmax(1)
                perturbed = images + self.perturbation(model, reference, images, labels, clean)
                with torch.no_grad():
                    attacked = reference(perturbed).argmax(1)
                model.train(self.train_statistics)
                logits, perturbed_logits = model(torch.cat([images, perturbed])).chunk(2)
                loss = self.outer_loss(logits, perturbed_logits, labels, attacked, clean[1])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
        return model

    def perturbation(
        self, model: nn.Module, reference: nn.Module, images: Tensor, labels: Tensor, clean: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Solve the inner problem; `clean` holds both models' predictions on the images. Eval mode."""
        delta = self._projected(torch.full_like(images, self.epsilon), images)
        for _ in range(self.steps):
            delta.requires_grad_(True)
            outputs = model(images + delta), reference(images + delta)
            loss, shared = self.inner_loss(outputs, labels, clean)
            if bool(shared.all()):
                break
            (gradient,) = torch.autograd.grad(loss, delta)  # of the perturbation alone: no weight gradients
            delta = self._projected(delta.detach() - self.step_size * gradient.sign(), images)
        return delta.detach()

    def inner_loss(
        self, outputs: tuple[Tensor, Tensor], labels: Tensor, clean: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """-beta_1 * A + beta_2 * J, and which samples are shared: bool (n,)."""
        predictions = [logits.argmax(1) for logits in outputs]
        fooled = [prediction != before for prediction, before in zip(predictions, clean, strict=True)]
        shared = fooled[0] & fooled[1] & (predictions[0] == predictions[1])
        losses = [cross_entropy(logits, labels, reduction="none") for logits in outputs]
        adversarial = sum((~out * loss).sum() for out, loss in zip(fooled, losses, strict=True)) / (2 * len(labels))
        share = (~shared * jensen_shannon(*outputs)).sum() / len(labels)
        return self.share_weight * share - self.adversarial_weight * adversarial, shared

    def outer_loss(
        self, logits: Tensor, perturbed_logits: Tensor, labels: Tensor, attacked: Tensor, own: Tensor
    ) -> Tensor:
        """What a step minimises; the reference predicts `attacked` on perturbed images, `own` on clean."""
        counted = (attacked != labels) & (attacked != own)
        risk = exact_risk if self.exact_risk else clamped_risk
        shared_risk = (counted * risk(perturbed_logits, attacked)).sum() / len(labels)
        loss = self.clean_weight * cross_entropy(logits, labels) + self.shared_risk_weight * shared_risk
        if self.adversarial_training_weight:
            loss = loss + self.adversarial_training_weight * cross_entropy(perturbed_logits, labels)
        return loss

    def _projected(self, delta: Tensor, images: Tensor) -> Tensor:
        delta = delta.clamp(-self.epsilon, self.epsilon)
        return (images + delta).clamp(0, 1) - images if self.clip else delta

    def updates(self, clean: int) -> int:
        """Optimiser steps on so many images."""
        return self.rounds * steps_per_epoch(clean, self.batch_size)


def jensen_shannon(first: Tensor, second: Tensor) -> Tensor:
    """Divergence between the softmax outputs of two batches of logits, in nats: (n,)."""
    first, second = (logits.softmax(1).clamp(min=PROBABILITY_FLOOR) for logits in (first, second))
    middle = ((first + second) / 2).log()
    return ((first * (first.log() - middle)).sum(1) + (second * (second.log() - middle)).sum(1)) / 2


def clamped_risk(logits: Tensor, attacked: Tensor) -> Tensor:
    """-log(1 - p(attacked class)) averaged over two clamped forms: (n,), flat below p = 0.001."""
    probabilities = logits.softmax(1)
    risk = probabilities.gather(1, attacked[:, None]).squeeze(1)
    rest = probabilities.scatter(1, attacked[:, None], 0).sum(1)
    return -((1e-6 + rest.clamp(max=0.999)).log() + (1 + 1e-6 - risk.clamp(min=0.001)).log()) / 2


def exact_risk(logits: Tensor, attacked: Tensor) -> Tensor:
    """-log(1 - p(attacked class)) from the logits: (n,)."""
    return -logits.log_softmax(1).scatter(1, attacked[:, None], -torch.inf).logsumexp(1)
