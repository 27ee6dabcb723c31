"""SalUn the plain way: the mask from a full sort, gradients multiplied by it, loaders for both sets."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmark.perf.plain import Batches


def masks_by_sorting(gradients: dict[str, Tensor], keep_ratio: float) -> dict[str, Tensor]:
    """1.0 where a weight may move: at the largest gradients of the concatenated vector, which is sorted whole."""
    everything = torch.cat([gradient.abs().flatten() for gradient in gradients.values()])
    order = torch.argsort(everything, descending=True)
    kept = torch.zeros_like(everything)
    kept[order[: int(keep_ratio * len(everything))]] = 1.0
    masks, start = {}, 0
    for name, gradient in gradients.items():
        masks[name] = kept[start : start + gradient.numel()].reshape(gradient.shape)
        start += gradient.numel()
    return masks


def forget_gradients(model: nn.Module, forget: Batches) -> dict[str, Tensor]:
    """The loss gradient on the forget set, summed over batches, by parameter."""
    model.eval()
    gradients = {name: torch.zeros_like(parameter) for name, parameter in model.named_parameters()}
    for images, labels in forget:
        model.zero_grad()
        cross_entropy(model(images), labels).backward()
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                gradients[name] += parameter.grad
    return gradients


def salun_epoch(
    model: nn.Module,
    forget: Batches,
    retain: Batches,
    optimizer: torch.optim.Optimizer,
    masks: dict[str, Tensor],
    classes: int,
) -> None:
    """One pass over the forget set under wrong random labels, then one over the retain set."""
    model.train()
    start = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for images, labels in forget:
        wrong = (labels + torch.randint(1, classes, labels.shape)) % classes
        _masked_step(model, images, wrong, optimizer, masks, start)
    for images, labels in retain:
        _masked_step(model, images, labels, optimizer, masks, start)


def _masked_step(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    optimizer: torch.optim.Optimizer,
    masks: dict[str, Tensor],
    start: dict[str, Tensor],
) -> None:
    optimizer.zero_grad()
    cross_entropy(model(images), labels).backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            parameter.grad *= masks[name]
    optimizer.step()
    with torch.no_grad():  # weight decay must not move what is frozen
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.where(masks[name] > 0, parameter, start[name]))
