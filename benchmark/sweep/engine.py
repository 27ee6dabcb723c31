"""The engine that a sweep's user asks for: what its options mean together, and the executor that they stand for."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property

from benchmark.errors import MedsafeError, unknown
from benchmark.sweep.devices import Share, worker_devices
from benchmark.sweep.executors import Executor, LocalExecutor
from benchmark.sweep.work import Place
from benchmark.training import resolve_device

LOCAL, RAY = "local", "ray"


@dataclass(frozen=True)
class Engine:
    """Who does a sweep's jobs, and with what; mistakes are found out when it is made."""

    executor: str = LOCAL
    """`local`: processes of this machine; `ray`: actors of a cluster."""
    address: str | None = None
    """Of a running cluster; None starts one on this machine."""
    device: str = "auto"
    """`auto` is the GPUs where this machine has one: a cluster's others are taken to be like it."""
    workers: int | None = None
    """At most; None is as many as there is room for."""
    per_gpu: int | None = None
    """Workers that share a GPU."""
    threads: int = 1

    def __post_init__(self) -> None:
        """Raise MedsafeError where an option is wrong, or would have no effect."""
        if self.executor not in (LOCAL, RAY):
            raise unknown("executor", self.executor, [LOCAL, RAY])
        if self.address and self.executor == LOCAL:
            raise MedsafeError(
                f"address {self.address}: only a Ray cluster has one; add --executor ray, or leave it out"
            )
        if self.per_gpu is not None:
            self._check_per_gpu(self.per_gpu)
        if self.executor == RAY and ":" in self.device:
            raise MedsafeError(f"device {self.device}: Ray assigns the GPUs; write --device cuda")
        self.devices  # noqa: B018

    def _check_per_gpu(self, per_gpu: int) -> None:
        if per_gpu < 1:
            raise MedsafeError(f"per-gpu {per_gpu}: at least 1 is needed")
        if resolve_device(self.device).type == "cpu":
            raise MedsafeError(f"per-gpu {per_gpu}: there is no GPU to share; use --workers")
        if self.workers is not None and self.executor == LOCAL:
            raise MedsafeError(
                f"per-gpu {per_gpu} and workers {self.workers}: one follows from the other; leave one out"
            )

    @cached_property
    def devices(self) -> list[str]:
        """One for each worker; a cluster's are taken to be as many as this machine's, and of the same kind."""
        devices = worker_devices(self.device, self.workers, self.threads, self.per_gpu)
        return devices if self.executor == LOCAL else [device.partition(":")[0] for device in devices]

    @property
    def sharing(self) -> int:
        """Workers on the same GPU; on the CPU each has cores of its own."""
        if self.devices[0] == "cpu":
            return 1
        return self.per_gpu or -(-len(self.devices) // len(set(self.devices)))

    def open(self, place: Place) -> AbstractContextManager[Executor]:
        """Start the workers; they end with the context."""
        if self.executor == LOCAL:
            return LocalExecutor(place, self.devices)
        from benchmark.sweep.cluster import RayExecutor

        share = Share(self.devices[0], self.threads, self.per_gpu or 1, self.workers)
        return RayExecutor(place, share, self.address)
