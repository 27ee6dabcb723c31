"""A disk that fails, or a process that dies, at a chosen step of writing."""

import contextlib
import errno
import io
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from unittest.mock import patch


def full_disk() -> None:
    """What the kernel says when nothing more can be written."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def killed() -> None:
    """The end of this process, without a chance to tidy up."""
    os.kill(os.getpid(), signal.SIGKILL)


class Trap:
    """Counts the steps that change the disk, and springs at the n-th.

    Steps are: a folder made; a file opened, still empty; a file half written; before and after an fsync; before and
    after a rename.
    """

    def __init__(self, at: int, spring: Callable[[], None]) -> None:
        self.at, self.spring, self.steps = at, spring, 0

    @property
    def sprung(self) -> bool:
        return self.steps >= self.at

    @contextlib.contextmanager
    def set(self) -> Iterator[None]:
        with (
            patch("os.mkdir", self._around(os.mkdir)),
            patch("os.fsync", self._around(os.fsync)),
            patch("os.replace", self._around(os.replace)),
            patch("io.open", self._open(io.open)),
        ):
            yield

    def _step(self) -> None:
        self.steps += 1
        if self.steps == self.at:
            self.spring()

    def _around(self, function):
        def call(*args, **kwargs):
            self._step()
            result = function(*args, **kwargs)
            self._step()
            return result

        return call

    def _open(self, function):
        def call(file, mode="r", *args, **kwargs):
            stream = function(file, mode, *args, **kwargs)
            if not set(mode) & set("wxa"):
                return stream
            write = stream.write

            def in_two_parts(data):
                write(data[: len(data) // 2])
                stream.flush()
                self._step()
                return write(data[len(data) // 2 :])

            stream.write = in_two_parts
            try:
                self._step()
            except OSError:
                stream.close()
                raise
            return stream

        return call


def in_a_child(function: Callable[[], object]) -> int:
    """Run a function in a process of its own; its exit code, negative where a signal ended it."""
    child = multiprocessing.get_context("fork").Process(target=function)
    child.start()
    child.join(60)
    assert child.exitcode is not None
    return child.exitcode
