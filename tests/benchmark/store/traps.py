"""A disk that fails, or a process that dies, before or after a chosen step of what changes the disk."""

import builtins
import contextlib
import errno
import fcntl
import io
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from unittest.mock import patch

STEPS = {
    os: [
        "mkdir", "open", "write", "fsync", "fdatasync", "replace", "rename", "link", "symlink", "unlink", "remove",
        "rmdir", "truncate", "ftruncate", "chmod", "utime",
    ],
    fcntl: ["flock", "lockf"],
}  # fmt: skip
"""Whatever Python offers to change the disk or take a lock; files that are opened and written are steps as well."""
AUDITED = {
    "os.mkdir", "os.rename", "os.link", "os.symlink", "os.remove", "os.rmdir", "os.truncate", "os.chmod", "os.utime",
    "fcntl.flock", "fcntl.lockf",
}  # fmt: skip
"""Of these Python itself tells; beside them of every file that is opened."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def full_disk() -> None:
    """What the kernel says when nothing more can be written."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def bad_disk() -> None:
    """What the kernel says when the disk does not do as it is told."""
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def killed() -> None:
    """The end of this process, without a chance to tidy up."""
    os.kill(os.getpid(), signal.SIGKILL)


class Trap:
    """Lists the moments before and after every step that changes the disk, and springs at the n-th.

    A write has a third moment, when half of it has reached the file.

    Args:
        at: number of the moment, from 0; without one the trap only looks.
        spring: what happens then.
        lasting: whether it happens at every later moment, too, but for those of locks, which need no disk.
    """

    def __init__(self, at: int | None = None, spring: Callable[[], object] = killed, *, lasting: bool = False) -> None:
        self.at, self.spring, self.lasting = at, spring, lasting
        self.moments: list[str] = []
        self.missed: list[str] = []
        """Changes of the disk that are no step: there should be none."""
        self.inside = False
        """Whether a step is being taken, or the trap springs: what happens meanwhile is no step of its own."""

    @property
    def sprung(self) -> bool:
        return self.at is not None and len(self.moments) > self.at

    @contextlib.contextmanager
    def set(self) -> Iterator["Trap"]:
        with contextlib.ExitStack() as patches:
            for module, names in STEPS.items():
                for name in names:
                    step = self._around(name, getattr(module, name))
                    patches.enter_context(patch.object(module, name, step))
            for module in (io, builtins):
                patches.enter_context(patch.object(module, "open", self._open(io.open)))
            yield self

    def watch(self, event: str, arguments: tuple) -> None:
        """An audit hook that notices what the trap does not."""
        opened = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING
        if (opened or event in AUDITED) and not self.inside:
            self.missed.append(f"{event}{arguments}")

    def _moment(self, name: str) -> None:
        if self.inside:
            return
        self.moments.append(name)
        number = len(self.moments) - 1
        again = self.lasting and not name.endswith("lock")
        if self.at is not None and (number == self.at or (again and number > self.at)):
            self._within(self.spring)

    def _around(self, name, function):
        def call(*args, **kwargs):
            self._moment(f"before {name}")
            with contextlib.ExitStack() as failing:
                result = self._within(function, *args, **kwargs)
                if name == "open":
                    failing.callback(os.close, result)
                self._moment(f"after {name}")
                failing.pop_all()
            return result

        return call

    def _within(self, function, *args, **kwargs):
        before, self.inside = self.inside, True
        try:
            return function(*args, **kwargs)
        finally:
            self.inside = before

    def _open(self, function):
        def call(file, mode="r", *args, **kwargs):
            if not set(mode) & set("wxa+"):
                return function(file, mode, *args, **kwargs)
            self._moment("before opening")
            stream = self._within(function, file, mode, *args, **kwargs)
            stream.write = self._in_two_parts(stream)
            with contextlib.ExitStack() as failing:
                failing.callback(stream.close)
                self._moment("after opening")
                failing.pop_all()
            return stream

        return call

    def _in_two_parts(self, stream):
        write = stream.write

        def call(data):
            self._moment("before writing")
            middle = len(data) // 2
            for part, moment in ((data[:middle], "halfway through writing"), (data[middle:], "after writing")):
                write(part)
                stream.flush()
                self._moment(moment)
            return len(data)

        return call


def moments_of(function: Callable[[], object]) -> list[str]:
    """Those of an undisturbed call."""
    with Trap().set() as trap:
        function()
    return trap.moments


def in_a_child(function: Callable[[], object]) -> int:
    """Run a function in a process of its own; its exit code, negative where a signal ended it."""
    child = multiprocessing.get_context("fork").Process(target=function)
    child.start()
    child.join(60)
    assert child.exitcode is not None
    return child.exitcode
