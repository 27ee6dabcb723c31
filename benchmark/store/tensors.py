"""Files of tensors."""

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save
from torch import Tensor


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """A safetensors file of contiguous tensors, by Python: `save_file` hides a full disk in an error of its own.

    Raises:
        OSError: as any file.
    """
    path.write_bytes(save(dict(tensors)))
