"""CUDA graphs: a training step of one shape recorded once and replayed, where launching kernels takes longer than they.

Forward, loss and backward of a batch's shape are one recording; the optimiser, whose rate changes, stays outside. Every
other shape takes the ordinary way. Recorded is a shell around the model, so that the model stays as it is.
"""

import contextlib
import gc
import logging
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _get_current_dispatch_mode

Loss = Callable[[Tensor, Tensor], Tensor]
"""Images and labels on the device -> the loss, a scalar to call `backward` on."""

REHEARSALS = 3
"""Passes before recording, in which the libraries choose their algorithms and reserve memory."""

LOG = logging.getLogger(__name__)


class ReplayedLoss:
    """A loss that comes from a CUDA graph from the second full batch on; the first goes the ordinary way, to be billed.

    Args:
        model: on a GPU, in training mode whenever this is called.
        loss: calls the model; under autocast it must not cache casts.
        batch_size: of a full batch; batches of other sizes always take the ordinary way.
    """

    def __init__(self, model: nn.Module, loss: Loss, batch_size: int) -> None:
        self.model, self.loss, self.batch_size = model, loss, batch_size
        self.full_batches = 0
        self.replayed: Loss | None = None

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """The loss of a batch."""
        if len(images) != self.batch_size:
            return self.loss(images, labels)
        self.full_batches += 1
        if self.full_batches == 2:
            self.replayed = recorded(self.model, self.loss, images, labels)
        return (self.replayed or self.loss)(images, labels)


class Shell(nn.Module):
    """Holds a model's parameters and buffers, and computes its loss; what torch replaces `forward` of."""

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """The loss of a batch."""
        return self.loss(images, labels)


def recorded(model: nn.Module, loss: Loss, images: Tensor, labels: Tensor) -> Loss | None:
    """The loss of batches of this shape as a CUDA graph, with the model in its present mode.

    Parameters, buffers, gradients and random streams are left as they were. A step has to drop gradients before
    (`zero_grad(set_to_none=True)`), since every replay writes them to the same memory.

    Args:
        model: on a GPU; its parameters and buffers must stay the tensors that they are.
        loss: calls the model; under autocast it must not cache casts.
        images: an example, float (b, channels, height, width) in the memory format of all later ones.
        labels: an example, int64 (b,).

    Returns:
        None where the model cannot be recorded; a warning says why.
    """
    reason = obstacle(model)
    if reason is None:
        try:
            with undone(model, images.device), torch.cuda.device(images.device):
                return _record(Shell(model, loss), images.clone(), labels.clone())
        except Exception as error:  # whatever a foreign model does that a stream cannot record
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
    LOG.warning("no CUDA graph, training goes on step by step: %s", reason)
    return None


def obstacle(model: nn.Module) -> str | None:
    """What of a model a replay would leave out: Python code that runs beside its layers."""
    for name, module in model.named_modules():
        hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
        if any(hooks):
            return f"hooks on {name or 'the model'}"
    if any(parameter._backward_hooks for parameter in model.parameters()):
        return "hooks on parameters"
    if not any(parameter.requires_grad for parameter in model.parameters()):
        return "no parameter is trained"
    if _get_current_dispatch_mode() is not None:
        return "a dispatch mode that watches every operation"
    return None


@contextlib.contextmanager
def undone(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Put back what passes inside do to buffers, such as batch-norm statistics, and to the device's random stream."""
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    stream = torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()
    try:
        yield
    finally:
        for buffer, before in buffers:
            buffer.copy_(before)
        torch.cuda.set_rng_state(stream, device) if device.type == "cuda" else torch.set_rng_state(stream)


@contextlib.contextmanager
def fastest_convolutions(enabled: bool) -> Iterator[None]:
    """Have cuDNN try its algorithms once for each new shape inside and keep the quickest; if not enabled, no change."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = before or enabled
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def _record(shell: Shell, images: Tensor, labels: Tensor) -> Loss:
    _rehearse(shell, images, labels)
    gc.collect()  # an older graph that is freed during a recording breaks it
    graphed: Any = torch.cuda.make_graphed_callables(
        shell, (images, labels), num_warmup_iters=REHEARSALS, allow_unused_input=True
    )
    return cast("Loss", graphed)


def _rehearse(shell: Shell, images: Tensor, labels: Tensor) -> None:
    """A pass in which waiting for the GPU is an error: found out while recording, it would leave the process broken."""
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        trained = [parameter for parameter in shell.parameters() if parameter.requires_grad]
        torch.autograd.grad(shell(images, labels), trained, allow_unused=True)
    finally:
        torch.cuda.set_sync_debug_mode(before)
