"""Comparisons that many tests make."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor


def same_bits(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    """Whether two state dicts are equal to the last bit."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def records(folder: str = "results/local") -> list[dict[str, object]]:
    """Every record below a folder."""
    return [json.loads(path.read_text()) for path in sorted(Path(folder).rglob("*.json"))]
