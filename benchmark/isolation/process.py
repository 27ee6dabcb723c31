"""A process under watch: wall time, memory and output have limits, and nothing that it started outlives it."""

import contextlib
import ctypes
import os
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from benchmark.checks import BrokenMethod

GIGABYTE = 10**9
POLL = 0.05
"""Seconds between two looks at a process: memory can be taken at some gigabytes a second."""
MOST_LINE = 2000
MOST_ENTRIES = 1000
MOST_ROUNDS = 100
"""Times that strays are killed: they may start new ones meanwhile."""
PR_SET_CHILD_SUBREAPER = 36
"""Of prctl(2)."""
MARK = "MEDSAFE_WORKER"
"""Environment variable by which every descendant is found again, whatever group or session it moved to."""


class TimedOut(Exception):
    """The process ran longer than it may."""


@dataclass(frozen=True)
class Limits:
    """What a plugin's process may take."""

    seconds: float = 3600.0
    """Wall time of one call."""
    memory_bytes: int = 16 * GIGABYTE
    """Resident memory, of all its processes together."""
    output_bytes: int = 10_000_000
    """What it may print."""
    file_bytes: int = 4 * GIGABYTE
    """The largest file that it may write."""


def supervise(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], limits: Limits, on_line: Callable[[str], None]
) -> None:
    """Run a command to its end.

    Args:
        command: program and arguments.
        folder: that it works in: what it writes without saying where goes with it.
        environment: its variables; nothing of the suite's own is added but a mark.
        limits: what it may take.
        on_line: is given every line that it prints, without control characters.

    Raises:
        TimedOut: it ran too long, and was killed.
        BrokenMethod: it took too much memory, printed too much, or ended with a code or a signal.
    """
    mark, before = uuid.uuid4().hex, _adopt()
    process = subprocess.Popen(  # noqa: S603 - the command is the suite's own
        command, env={**environment, MARK: mark}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True, cwd=folder,
    )  # fmt: skip
    printed = _Printed(process.stdout, limits.output_bytes, on_line)
    try:
        _watch(process, before, folder, limits, printed)
    finally:
        _kill(process, before, mark)
        printed.close()
    if printed.too_much:
        raise BrokenMethod(f"printed more than {limits.output_bytes / 1e6:g} MB")
    if process.returncode:
        raise BrokenMethod(_ending(process.returncode))


def _watch(
    process: "subprocess.Popen[bytes]", before: set[int], folder: Path, limits: Limits, printed: "_Printed"
) -> None:
    """Return when the process has ended, or printed too much."""
    deadline = time.monotonic() + limits.seconds
    while process.poll() is None and not printed.too_much:
        if time.monotonic() > deadline:
            raise TimedOut(f"ran longer than {limits.seconds:g} s")
        if _memory(before) > limits.memory_bytes:
            raise BrokenMethod(f"used more than {limits.memory_bytes / GIGABYTE:.3g} GB of memory")
        if _size(folder) > limits.file_bytes:
            raise BrokenMethod(f"wrote more than {limits.file_bytes / GIGABYTE:.3g} GB of files")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(POLL)


def _adopt() -> set[int]:
    """Have orphaned descendants become this process's children (on Linux); returns the children that it has already."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    return {child.pid for child in psutil.Process().children()}


def _family(before: set[int]) -> Iterator[psutil.Process]:
    """The process, its descendants, and those of them that had left it: all that came after `before`."""
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process().children():
            if child.pid not in before:
                yield child
                with contextlib.suppress(psutil.Error):
                    yield from child.children(recursive=True)


def _memory(before: set[int]) -> int:
    """Resident bytes of the whole family."""
    total = 0
    for each in _family(before):
        with contextlib.suppress(psutil.Error):
            total += each.memory_info().rss
    return total


def _size(folder: Path) -> int:
    """Bytes of the files in a folder; of the first thousand entries, which take no time."""
    total, waiting, left = 0, [folder], MOST_ENTRIES
    while waiting and left > 0:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                left -= 1
                with contextlib.suppress(OSError):
                    total += entry.stat(follow_symlinks=False).st_size
                    waiting += [Path(entry.path)] if entry.is_dir(follow_symlinks=False) else []
    return total


def _kill(process: "subprocess.Popen[bytes]", before: set[int], mark: str) -> None:
    """End the process group, and whoever left it, until nobody is left."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for _ in range(MOST_ROUNDS):
        strays = list(_family(before))
        if not strays:
            break
        for each in strays:
            with contextlib.suppress(psutil.Error):
                each.kill()
        psutil.wait_procs(strays, timeout=1)
    for each in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if each.environ().get(MARK) == mark:
                each.kill()


def _ending(code: int) -> str:
    if code > 0:
        return f"ended with exit code {code}"
    with contextlib.suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name}"
    return f"was ended by signal {-code}"


class _Printed:
    """Reads what a process prints, so that it never waits for a reader, and counts it."""

    def __init__(self, stream: IO[bytes] | None, most: int, on_line: Callable[[str], None]) -> None:
        assert stream is not None  # noqa: S101 - for the type checker
        self.too_much = False
        self._stream, self._most, self._on_line = stream, most, on_line
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Wait for the last lines; the writers are dead by now."""
        self._thread.join(timeout=5)

    def _read(self) -> None:
        total = 0
        with self._stream:
            while line := self._stream.readline(MOST_LINE):
                total += len(line)
                if total > self._most:
                    self.too_much = True
                    return
                text = line.decode(errors="replace").rstrip()
                self._on_line("".join(each if each.isprintable() else " " for each in text))
