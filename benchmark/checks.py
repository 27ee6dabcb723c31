"""What a method must hand back before it is scored (PROTOCOL 8)."""

import torch
from torch import Tensor, nn

from benchmark.api import Diverged
from benchmark.contracts.insertion import insertions_of, rebuild
from benchmark.training import predict

TOLERANCE = 1e-3
"""Largest difference of a logit between batch sizes, relative to the largest logit; rounding is well below it."""


class BrokenMethod(Exception):
    """The method broke its contract; the run is recorded with status `error`."""


def check_model(model: object, reference: nn.Module, images: Tensor) -> nn.Module:
    """The model as it will be scored and stored: `reference` with the weights that the method returned.

    Args:
        model: what the method returned.
        reference: a fresh model of the same architecture; with the layers that the method has inserted, the state
            dicts must agree in names and shapes.
        images: uint8 (n, channels, height, width), a few hundred to compare batch sizes on.

    Raises:
        BrokenMethod: no module, another structure, logits that depend on the rest of the batch (PROTOCOL 8.1), or on
            something that is not among its weights, such as a hook.
        Diverged: non-finite weights or logits (PROTOCOL 8.2).
    """
    if not isinstance(model, nn.Module):
        raise BrokenMethod(f"returned {type(model).__name__}, not a model")
    reference = _with_insertions(reference, model)
    expected = {name: tensor.shape for name, tensor in reference.state_dict().items()}
    found = {name: tensor.shape for name, tensor in model.state_dict().items()}
    if found != expected:
        changed = sorted(set(found.items()) ^ set(expected.items()), key=str)
        raise BrokenMethod(f"returned a model of another structure: {changed[0][0]} differs")
    if not all(torch.isfinite(tensor).all() for tensor in model.state_dict().values() if tensor.is_floating_point()):
        raise Diverged("the method's model has weights that are not finite")
    logits = _check_batches(model, images)
    reference.load_state_dict(model.state_dict())
    if _differ(predict(reference, images, batch_size=256), logits):
        raise BrokenMethod(
            "returned a model whose weights alone give other logits: something is left in a hook or a layer"
        )
    return reference


def _with_insertions(reference: nn.Module, model: nn.Module) -> nn.Module:
    try:
        return rebuild(reference, insertions_of(model))
    except AttributeError as error:
        raise BrokenMethod("returned a model with a layer inserted where its architecture has no module") from error


def _check_batches(model: nn.Module, images: Tensor) -> Tensor:
    logits = predict(model, images, batch_size=256)
    if not torch.isfinite(logits).all():
        raise Diverged("the method's model has logits that are not finite")
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    mixed = predict(model, images[order.to(images.device)], batch_size=256)
    single = predict(model, images[:16], batch_size=1)
    if _differ(mixed, logits[order]) or _differ(single, logits[:16]):
        raise BrokenMethod(
            "returned a model that reads its batch: logits differ between batches of 1, 256 and a mixture"
        )
    return logits


def _differ(first: Tensor, second: Tensor) -> bool:
    return not float((first - second).abs().max()) <= TOLERANCE * max(1.0, float(second.abs().max()))  # NaN differs
