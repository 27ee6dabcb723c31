"""Global random generators: seeded for code that uses them, and given back as they were."""

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed every global generator inside, and leave none of them changed outside."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    # Named, lest torch warns on a machine with many GPUs; where CUDA has not started, its generators are untouched.
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(gpus):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002
