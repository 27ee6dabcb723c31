"""What a computation cost: FLOPs of every pass, whoever runs it, and wall seconds."""

import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode
from torch.utils.flop_counter import flop_registry

Count = Callable[[Hashable], AbstractContextManager[None]]
"""Counts what is done inside; what has the same key costs the same."""


def uncounted(key: Hashable) -> AbstractContextManager[None]:
    """For a computation that nobody bills."""
    return nullcontext()


class CostCounter(TorchDispatchMode):
    """Counts convolution and matrix-product FLOPs (2 per multiply-add) of forward, backward and input-gradient passes.

    As a context it sees every tensor operation of the code inside, of models it knows nothing of (PROTOCOL 4.3).
    torch's own `FlopCounterMode` gives the same total, but also follows modules, which slows small nets down.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.device = device
        self.flops = 0
        self.seconds = 0.0
        self._known: dict[Any, int] = {}
        self._repeated: dict[Hashable, int] = {}

    def __enter__(self) -> Self:
        """Start both clocks."""
        self._start = self._now()
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop both clocks."""
        super().__exit__(*exception)  # type: ignore[no-untyped-call]
        self.seconds = self._now() - self._start

    @contextmanager
    def repeated(self, key: Hashable) -> Iterator[None]:
        """Count what is inside the first time; when its key comes again, let it run unwatched and add what is known.

        Watching takes a small net a sixth of its speed, and sees nothing of a replayed CUDA graph.
        """
        if _get_current_dispatch_mode() is not self:  # in another thread, or under another mode: as without a key
            yield
        elif key in self._repeated:
            super().__exit__(None, None, None)  # type: ignore[no-untyped-call]
            try:
                yield
            finally:
                super().__enter__()  # type: ignore[no-untyped-call]
            self.flops += self._repeated[key]
        else:
            before = self.flops
            yield
            self._repeated[key] = self.flops - before

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Spare every operation a wrapper that matters to torch.compile alone, and costs a small net its speed."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation and add its FLOPs."""
        result = func(*args, **kwargs) if kwargs else func(*args)
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            shapes = (func, *[arg.shape if isinstance(arg, Tensor) else str(arg) for arg in args])
            if shapes not in self._known:
                self._known[shapes] = formula(*args, **(kwargs or {}), out_val=result)
            self.flops += self._known[shapes]
        return result

    def as_dict(self) -> dict[str, float]:
        """FLOPs and seconds, for a record."""
        return {"flops": self.flops, "seconds": round(self.seconds, 3)}

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()
