"""What a method must hand back before it is scored (PROTOCOL 8)."""

from collections.abc import Mapping

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
    module = check_module(model)
    reference = check_structure(module, reference)
    logits = check_finite(module, images)
    check_batches(module, images, logits)
    return check_weights_alone(module.state_dict(), reference, images, logits)


def check_module(model: object) -> nn.Module:
    """What the method returned, if it is a module; else BrokenMethod."""
    if not isinstance(model, nn.Module):
        raise BrokenMethod(f"returned {type(model).__name__}, not a model")
    return model


def check_structure(model: nn.Module, reference: nn.Module) -> nn.Module:
    """The reference with the layers that the method has inserted, in weights of its own.

    Raises:
        BrokenMethod: the state dicts differ in names or shapes.
    """
    reference = _with_insertions(reference, model)
    expected = {name: tensor.shape for name, tensor in reference.state_dict().items()}
    found = {name: tensor.shape for name, tensor in model.state_dict().items()}
    if found != expected:
        changed = sorted(set(found.items()) ^ set(expected.items()), key=str)
        raise BrokenMethod(f"returned a model of another structure: {changed[0][0]} differs")
    return reference


def check_finite(model: nn.Module, images: Tensor) -> Tensor:
    """The images' logits in batches of 256: float32 (n, classes), on the CPU.

    Raises:
        Diverged: these, or weights, are not finite.
    """
    if not all(torch.isfinite(tensor).all() for tensor in model.state_dict().values() if tensor.is_floating_point()):
        raise Diverged("the method's model has weights that are not finite")
    logits = predict(model, images, batch_size=256)
    if not torch.isfinite(logits).all():
        raise Diverged("the method's model has logits that are not finite")
    return logits


def check_batches(model: nn.Module, images: Tensor, logits: Tensor) -> None:
    """Raise BrokenMethod where batches of 1, or a mixture, give other logits than those of `check_finite`."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    mixed = predict(model, images[order.to(images.device)], batch_size=256)
    single = predict(model, images[:16], batch_size=1)
    if _differ(mixed, logits[order]) or _differ(single, logits[:16]):
        raise BrokenMethod(
            "returned a model that reads its batch: logits differ between batches of 1, 256 and a mixture"
        )


def check_weights_alone(
    weights: Mapping[str, Tensor], reference: nn.Module, images: Tensor, logits: Tensor
) -> nn.Module:
    """The reference with these weights; BrokenMethod where they do not give it the logits."""
    reference.load_state_dict(weights)
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


def _differ(first: Tensor, second: Tensor) -> bool:
    return not float((first - second).abs().max()) <= TOLERANCE * max(1.0, float(second.abs().max()))  # NaN differs
