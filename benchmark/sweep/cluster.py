"""The engine of many machines: workers as Ray's actors, as many on each node as it has room for.

A node is any machine of the cluster. Workers run the driver's code, from the same path, and meet only in the cache and
in the results: all nodes share these folders. Nodes may come and go; a driver that is killed takes its workers along.
"""

import contextlib
import importlib
import logging
import os
import secrets
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

from benchmark.errors import MedsafeError
from benchmark.runner import one_line
from benchmark.sweep.devices import Share
from benchmark.sweep.jobs import Job
from benchmark.sweep.meeting import Meeting, called
from benchmark.sweep.work import Place, Result, Worker

LOG = logging.getLogger(__name__)
MOST_STARTS = 3
"""Workers in a row that a node may lose while they start."""
TICK = 1.0
"""Seconds after which the cluster is asked again who belongs to it."""
ANSWER = 10.0
"""Seconds in which a cluster's head has to be reached."""
PATIENCE = 120.0
"""Seconds in which some worker has to start: it loads torch from a shared folder, and others may use the cluster."""
TAKEN = f"no worker of the Ray cluster started within {PATIENCE:.0f} s: others may have taken its room"
OBJECTS = 80 * 2**20
"""Bytes that Ray keeps for objects, of which there are next to none; it takes no fewer."""
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


@dataclass(eq=False)
class _Node:
    """A machine of the cluster."""

    id: str
    name: str
    room: int
    """Workers."""
    alive: bool = True
    lost: int = 0
    """Workers in a row that died while they started."""
    refused: str | None = None
    """Why no worker can work there."""


@dataclass(eq=False)
class _Hand:
    """A worker as its driver sees it."""

    node: _Node
    actor: Any
    pending: Any
    """What it was asked and has not answered; None is nothing: it is free."""
    job: Job | None = None


class RayExecutor:
    """Workers on a Ray cluster: a running one, or one that is started on this machine and ends with the sweep."""

    def __init__(self, place: Place, share: Share, address: str | None = None) -> None:
        """Connect, and start workers on every node.

        Args:
            place: on folders that all nodes share.
            share: of a node, for each worker.
            address: host and port of the cluster's head, or `auto` on one of its nodes; None starts one here.

        Raises:
            MedsafeError: no Ray, no such cluster, no room in it, or a node that does not share the folders.
        """
        self._ray, self._share = _library(), share
        self._place = replace(place, cache=place.cache.resolve(), results=place.results.resolve())
        self._hands: list[_Hand] = []
        self._nodes: dict[str, _Node] = {}
        with contextlib.ExitStack() as stack:
            self._meeting = stack.enter_context(called(self._place))
            stack.enter_context(_connected(self._ray, share, address))
            self._assemble()
            self._open = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def free(self) -> int:
        """Workers that have started and have no job."""
        return sum(hand.pending is None for hand in self._hands)

    def submit(self, job: Job) -> None:
        """Hand a job to a free worker, on its device."""
        hand = next(hand for hand in self._hands if hand.pending is None)
        hand.job = job
        hand.pending = hand.actor.carry_out.remote(
            replace(job, request=replace(job.request, device=self._share.device))
        )

    def wait(self) -> list[tuple[Job, Result | None]]:
        """Return when a job has ended, or its worker or node has died, or a worker that was started is free.

        Raises:
            MedsafeError: no node is left that has room for a worker.
        """
        deadline = time.monotonic() + PATIENCE
        while not (heard := self._hear()):
            if time.monotonic() > deadline and not any(hand.job for hand in self._hands):
                raise MedsafeError(TAKEN)
        hand, answer = heard
        if hand.job is None:
            self._started(hand, answer)
            if hand.node.refused:
                LOG.warning("%s", hand.node.refused)
            return []
        job, hand.job = hand.job, None
        if not isinstance(answer, Result):
            LOG.warning("Ray node %s: a worker was lost at %s: %s", hand.node.name, job.title, one_line(answer))
            return [(job, None)]
        return [(job, answer)]

    def close(self) -> None:
        """End the workers, whatever they do, and a cluster that was started here."""
        with self._open:
            for hand in self._hands:
                self._ray.kill(hand.actor)
            self._hands = []

    def _assemble(self) -> None:
        """Every node says whether it shares the folders; one whose room is taken by others need not."""
        deadline = time.monotonic() + PATIENCE
        self._fill()
        while self._silent() and time.monotonic() < deadline:
            if heard := self._hear():
                self._started(*heard)
        if self._refused or not self.free:
            raise MedsafeError(self._refused or TAKEN)

    @property
    def _refused(self) -> str | None:
        """What the first of the nodes says that cannot take part."""
        return next((node.refused for node in self._nodes.values() if node.refused), None)

    def _silent(self) -> set[_Node]:
        """Nodes of which no worker has started."""
        return {hand.node for hand in self._hands} - {hand.node for hand in self._hands if hand.pending is None}

    def _hear(self) -> tuple[_Hand, Any] | None:
        """The next worker that answers within a tick; an answer that is an error says that it died."""
        self._fill()
        asked = {hand.pending: hand for hand in self._hands if hand.pending is not None}
        answered, _ = self._ray.wait([*asked], timeout=TICK)
        if not answered:
            return None
        hand = asked[answered[0]]
        hand.pending = None
        try:
            return hand, self._ray.get(answered[0])
        except self._ray.exceptions.RayError as error:
            self._hands.remove(hand)
            return hand, error

    def _started(self, hand: _Hand, answer: Any) -> None:
        """Take note of how a worker's start ended; a node where none can work is left alone from now on."""
        node = hand.node
        self._look()
        if isinstance(answer, Exception) and not node.alive:
            return  # it took its workers along
        node.lost = node.lost + 1 if isinstance(answer, Exception) else 0
        if isinstance(answer, str) or node.lost == MOST_STARTS:
            reason = answer if isinstance(answer, str) else f"no worker can start: {one_line(answer)}"
            node.refused = f"Ray node {node.name}: {reason}"
            self._hands = [other for other in self._hands if other.node is not node or other.job]

    def _fill(self) -> None:
        """Start workers wherever there is room, in place of those that died too; forget free ones of lost nodes."""
        self._look()
        self._hands = [hand for hand in self._hands if hand.pending is not None or hand.node.alive]
        while (self._share.most is None or len(self._hands) < self._share.most) and (node := self._emptiest()):
            self._hands.append(self._start(node))
        if not self._hands:
            raise MedsafeError(self._refused or f"no node of the Ray cluster offers {self._share.needs}")

    def _emptiest(self) -> _Node | None:
        """Of the nodes with room the one with the fewest workers: others may need theirs."""
        at_work = Counter(hand.node.id for hand in self._hands)
        usable = [node for node in self._nodes.values() if node.alive and not node.refused]
        with_room = [node for node in usable if at_work[node.id] < node.room]
        return min(with_room, key=lambda node: at_work[node.id], default=None)

    def _look(self) -> None:
        """Which nodes there are."""
        for node in self._ray.nodes():
            name, alive = node["NodeID"], node["Alive"]
            if alive and name not in self._nodes:
                room = self._share.room(node["Resources"])
                self._nodes[name] = _Node(name, node["NodeManagerHostname"], room)
            elif name in self._nodes:
                self._nodes[name].alive = alive

    def _start(self, node: _Node) -> _Hand:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self._meeting.renew()
        strategy = NodeAffinitySchedulingStrategy(node.id, soft=False)
        actor = self._ray.remote(_Seat).options(scheduling_strategy=strategy, **self._share.resources).remote()
        return _Hand(node, actor, actor.begin.remote(self._place, self._meeting))


class _Seat:
    """A worker's life, on its node."""

    def begin(self, place: Place, meeting: Meeting) -> str | None:
        """Get ready; the answer is why that cannot be."""
        try:
            meeting.join()
            self._worker = Worker(place)
        except Exception as error:
            return one_line(error)
        return None

    def carry_out(self, job: Job) -> Result:
        """As a worker does."""
        return self._worker.carry_out(job)


def _library() -> Any:
    """Ray, told to keep quiet, and to send nothing about itself to anybody."""
    os.environ.update(QUIET)
    try:
        ray = importlib.import_module("ray")
    except ImportError as error:
        raise MedsafeError(f"ray cannot be imported ({error}): pip install 'medsafe-bench[ray]'") from error
    logging.getLogger("ray").setLevel(logging.ERROR)
    return ray


def _check(address: str) -> None:
    """Whether anybody listens there: Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise MedsafeError(
            f"address '{address}' not understood: write HOST:PORT, or auto on one of the cluster's nodes"
        )
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER).close()
    except OSError as error:
        raise MedsafeError(f"no Ray cluster answers at '{address}': {error}") from error


@contextlib.contextmanager
def _connected(ray: Any, share: Share, address: str | None) -> Iterator[None]:
    """Belong to a cluster; one that is started here keeps its logs and sockets in a folder that goes with it."""
    if address and address != "auto":
        _check(address)
    chosen = os.environ.get("RAY_TMPDIR")
    with tempfile.TemporaryDirectory(prefix="medsafe-", dir=chosen, ignore_cleanup_errors=True) as folder:
        if address is None:
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex())  # else Ray leaves one in the home folder
        own = {**share.offer, "object_store_memory": OBJECTS, "_temp_dir": folder, "_node_ip_address": "127.0.0.1"}
        try:
            ray.init(
                address or "local", include_dashboard=False, log_to_driver=False, configure_logging=False,
                **({} if address else own),
            )  # fmt: skip
        except (ImportError, OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            where = f"no Ray cluster can be joined at '{address}'" if address else "Ray does not start here"
            raise MedsafeError(f"{where}: {one_line(error)}") from error
        try:
            yield
        finally:
            ray.shutdown()
