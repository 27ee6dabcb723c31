"""SAU the plain way: each loss term makes its own passes, and every backward pass computes weight gradients."""

import copy

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmark.api import DefenseTask
from methods.defenses.sau import SAU, clamped_risk, jensen_shannon


def plain_sau(method: SAU, model: nn.Module, task: DefenseTask) -> nn.Module:
    """The same steps as `SAU.defend` takes with its defaults, at 48 forward passes a sample and round."""
    reference = copy.deepcopy(model)
    model.eval(), reference.eval()
    optimizer = torch.optim.Adam(model.parameters(), method.lr, amsgrad=True)
    for images, labels in task.clean.batches(method.batch_size, epochs=method.rounds, augment=False):
        perturbed = images + _perturbation(method, model, reference, images, labels)
        attacked, own = reference(perturbed).argmax(1), reference(images).argmax(1)
        logits, perturbed_logits = model(torch.cat([images, perturbed])).chunk(2)
        counted = (attacked != labels) & (attacked != own)
        shared_risk = (counted * clamped_risk(perturbed_logits, attacked)).sum() / len(labels)
        optimizer.zero_grad()
        (method.clean_weight * cross_entropy(logits, labels) + method.shared_risk_weight * shared_risk).backward()
        optimizer.step()
    return model


def _perturbation(method: SAU, model: nn.Module, reference: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    delta = torch.full_like(images, method.epsilon)
    for _ in range(method.steps):
        delta.requires_grad_(True)
        outputs = model(images + delta), reference(images + delta)
        fooled = [
            logits.argmax(1) != net(images).argmax(1) for logits, net in zip(outputs, (model, reference), strict=True)
        ]
        shared = fooled[0] & fooled[1] & (outputs[0].argmax(1) == outputs[1].argmax(1))
        if bool(shared.all()):
            break
        losses = [cross_entropy(logits, labels, reduction="none") for logits in outputs]
        attack = (~fooled[0] * losses[0]).sum() + (~fooled[1] * losses[1]).sum()
        divergence = (~shared * jensen_shannon(*outputs)).sum() / len(labels)
        (method.share_weight * divergence - method.adversarial_weight * attack / (2 * len(labels))).backward()
        assert delta.grad is not None  # noqa: S101 - for the type checker
        moved = delta.detach() - method.step_size * delta.grad.sign()
        delta = moved.clamp(-method.epsilon, method.epsilon)
    return delta.detach()
