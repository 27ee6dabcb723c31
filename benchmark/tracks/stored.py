"""What is stored of a model, and under which names: weights, predictions, and what a later reader has to know."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmark.store.artifacts import Artifact

MODEL = "model.safetensors"
PREDICTIONS = "predictions.safetensors"
INSERTIONS = "insertions"
"""In an artifact's metadata: the layers that its model has beside those of its architecture."""
LOSSES = "losses"
"""In an artifact's metadata: the mean loss of every epoch of its training; older caches have none."""

DIVERGED = "diverged"
"""In the metadata of an artifact without a model: why there is none."""


@dataclass(frozen=True, eq=False)
class Made:
    """A model that was just computed, on its way into the cache."""

    model: nn.Module
    metadata: dict[str, Any]
    files: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    """Further safetensors files, by name."""


def cost_of(artifact: Artifact) -> dict[str, Any]:
    """What is recorded of an artifact's making."""
    return {name: value for name, value in artifact.metadata.items() if name not in (INSERTIONS, LOSSES)}


def tensors_of(arrays: Mapping[str, np.ndarray] | None) -> dict[str, Tensor]:
    """Arrays as tensors, for a file; none where there are none."""
    return {name: torch.from_numpy(array) for name, array in (arrays or {}).items()}


def predictions_of(artifact: Artifact) -> dict[str, np.ndarray]:
    """Logits by name, float32 (n, classes), and what was stored beside them."""
    return {name: tensor.numpy() for name, tensor in load_file(artifact / PREDICTIONS).items()}


def hash_rows(rows: np.ndarray) -> str:
    """A name for a set of rows."""
    return hashlib.sha256(np.sort(rows).astype("<i8").tobytes()).hexdigest()[:32]
