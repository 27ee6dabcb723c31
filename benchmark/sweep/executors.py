"""What the driver needs of an engine, and the engine of this machine: worker processes."""

import contextlib
import os
import signal
import threading
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from typing import Protocol, Self

import psutil

from benchmark.sweep.jobs import Job
from benchmark.sweep.work import Place, Result, Worker

PATIENCE = 5.0
"""Seconds that an idle worker gets to end."""


class Executor(Protocol):
    """Has jobs done by workers, each of which has at most one at a time."""

    @property
    def free(self) -> int:
        """How many more jobs would begin at once."""
        ...

    def submit(self, job: Job) -> None:
        """Hand a job to a free worker."""
        ...

    def wait(self) -> list[tuple[Job, Result | None]]:
        """Return when a job has ended, with its result; None where its worker died, which is replaced."""
        ...

    def close(self) -> None:
        """End the workers, whatever they do."""
        ...


@dataclass(eq=False)
class _Hand:
    """A worker process as its driver sees it."""

    process: BaseProcess
    connection: Connection
    device: str
    job: Job | None = None


class LocalExecutor:
    """Worker processes on this machine; they end with the driver, however it ends."""

    def __init__(self, place: Place, devices: list[str]) -> None:
        """One worker for each of the devices, among which the same may be several times."""
        self._place, self._context = place, get_context("spawn")
        self._hands = [self._start(device) for device in devices]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def free(self) -> int:
        """Workers without a job."""
        return sum(hand.job is None for hand in self._hands)

    @property
    def processes(self) -> list[int]:
        """Ids of the workers."""
        return [hand.process.pid for hand in self._hands if hand.process.pid is not None]

    def submit(self, job: Job) -> None:
        """Hand a job to a free worker, on its device."""
        hand = next(hand for hand in self._hands if hand.job is None)
        hand.job = job
        with contextlib.suppress(OSError):  # it is dead, as `wait` will find out
            hand.connection.send(replace(job, request=replace(job.request, device=hand.device)))

    def wait(self) -> list[tuple[Job, Result | None]]:
        """Return when a job has ended or its worker has died."""
        ended: list[tuple[Job, Result | None]] = []
        for connection in wait([hand.connection for hand in self._hands if hand.job is not None]):
            hand = next(hand for hand in self._hands if hand.connection is connection)
            job, result = hand.job, None
            try:
                result = hand.connection.recv()
                hand.job = None
            except (EOFError, OSError):
                self._stop(hand)
                self._hands[self._hands.index(hand)] = self._start(hand.device)
            if job is not None:
                ended.append((job, result))
        return ended

    def close(self) -> None:
        """Idle workers are told to go; those at work are killed."""
        for hand in self._hands:
            if hand.job is None:
                with contextlib.suppress(OSError):
                    hand.connection.send(None)
        for hand in self._hands:
            if hand.job is None:
                hand.process.join(PATIENCE)
            self._stop(hand)
        self._hands = []

    def _start(self, device: str) -> _Hand:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs, self._place))
        process.start()
        theirs.close()  # so that the worker's end of the pipe ends with it
        return _Hand(process, ours, device)

    def _stop(self, hand: _Hand) -> None:
        if hand.process.is_alive():
            hand.process.kill()
        hand.process.join()
        hand.connection.close()


def _serve(connection: Connection, place: Place) -> None:
    """A worker's life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interruption is the driver's to handle
    jobs: SimpleQueue[Job | None] = SimpleQueue()
    threading.Thread(target=_listen, args=(connection, jobs), daemon=True).start()
    worker = Worker(place)
    while (job := jobs.get()) is not None:
        connection.send(worker.carry_out(job))


def _listen(connection: Connection, jobs: "SimpleQueue[Job | None]") -> None:
    """Take jobs; when the driver is gone nobody waits for the work, and others may do it anew."""
    while True:
        try:
            jobs.put(connection.recv())
        except (EOFError, OSError):
            for child in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    child.kill()
            os._exit(1)
