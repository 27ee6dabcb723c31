"""What a method finds in its process and has to leave as it was: others run after it."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import torch
from torch import nn
from torch.backends import cudnn

SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "the seed of torch's global generator": (torch.initial_seed, torch.manual_seed),
    "the number of threads": (torch.get_num_threads, torch.set_num_threads),
    "the default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "the default device": (torch.get_default_device, torch.set_default_device),
    "grad mode": (torch.is_grad_enabled, torch.set_grad_enabled),
    "deterministic algorithms": (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    "float32 matmul precision": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    "anomaly detection": (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    "cudnn.benchmark": (partial(getattr, cudnn, "benchmark"), partial(setattr, cudnn, "benchmark")),
    "cudnn.deterministic": (partial(getattr, cudnn, "deterministic"), partial(setattr, cudnn, "deterministic")),
    "the working folder": (os.getcwd, os.chdir),
}
"""What it is called -> how it is read and set."""
OWNERS = (torch, torch.Tensor, nn.Module, nn.functional, torch.optim.Optimizer)
"""Whose functions nobody may replace, beside the classes of the model's own modules."""


@dataclass(frozen=True)
class Surroundings:
    """The settings of a process, and the functions of torch and of a model's classes."""

    settings: dict[str, Any]
    functions: dict[tuple[Any, str], Any]

    @classmethod
    def of(cls, model: nn.Module) -> Self:
        """As they are now."""
        owners = [*OWNERS, *{type(module) for module in model.modules()}]
        functions = {(owner, name): value for owner in owners for name, value in vars(owner).items() if callable(value)}
        return cls({name: read() for name, (read, _) in SETTINGS.items()}, functions)

    def restore(self) -> list[str]:
        """Put back what is no longer as it was; names it."""
        changed = []
        for name, (read, write) in SETTINGS.items():
            if read() != self.settings[name]:
                changed.append(name)
                write(self.settings[name])
        for (owner, name), function in self.functions.items():
            if vars(owner).get(name) is not function:
                changed.append(f"{owner.__name__}.{name}")
                setattr(owner, name, function)
        return changed
