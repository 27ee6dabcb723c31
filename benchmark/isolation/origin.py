"""Where a stranger's plugin comes from, and how its process is asked: an exchange folder, an order, an answer."""

import hashlib
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import torch

from benchmark.checks import BrokenMethod
from benchmark.describe import Description
from benchmark.errors import MedsafeError
from benchmark.isolation.messages import ORDER, Answer, Order, read_answer
from benchmark.isolation.process import Limits, TimedOut, supervise
from benchmark.isolation.sandbox import check_sandbox, code_root, walled
from benchmark.registry import distribution_of

OUTPUT = logging.getLogger("benchmark.isolation.output")
"""What plugins print, line by line."""
KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES",
        "CUBLAS_WORKSPACE_CONFIG")  # fmt: skip
"""Of the suite's environment variables, all that a plugin sees: no key, no token, no path of a cache."""


@dataclass(frozen=True)
class Isolation:
    """How far a plugin is kept away from the suite."""

    limits: Limits = field(default_factory=Limits)
    sandbox: bool = False
    in_process: bool = False
    """Not at all: for a debugger."""
    hidden: tuple[Path, ...] = ()
    """Data, caches and results: what the sandbox covers where they lie among what it shows."""

    @property
    def name(self) -> str:
        """For the record."""
        return "none" if self.in_process else "sandbox" if self.sandbox else "process"

    def check(self) -> None:
        """Raise MedsafeError where it cannot be had."""
        if self.sandbox and self.in_process:
            raise MedsafeError("--sandbox and --in-process exclude each other: leave one of them out")
        if self.limits.seconds <= 0 or self.limits.memory_bytes <= 0:
            raise MedsafeError("a plugin's limits of time and memory must be greater than 0")
        if self.sandbox:
            check_sandbox()


@dataclass(frozen=True)
class Origin:
    """Where a plugin comes from: a file's bytes, or the entry point of an installed package."""

    isolation: Isolation = field(compare=False)  # what it says of itself does not depend on it
    path: Path | None = None
    content: bytes = b""
    point: EntryPoint | None = None

    @classmethod
    def of_file(cls, path: Path, isolation: Isolation) -> "Origin":
        """A file, read once: what is hashed is what is run.

        Raises:
            MedsafeError: there is none.
        """
        if not path.is_file():
            raise MedsafeError(f"plugin file '{path}' does not exist")
        return cls(isolation, path, path.read_bytes())

    @property
    def source(self) -> str:
        """What a record's version says of it."""
        if self.point is not None:
            return distribution_of(self.point)
        return hashlib.sha256(self.content).hexdigest()[:12]

    @cached_property
    def _modules(self) -> list[str]:
        return [self.point.module.partition(".")[0]] if self.point else []

    def descriptions(self, kind: str = "", name: str = "") -> list[Description]:
        """What it says of its plugins.

        Raises:
            MedsafeError: it cannot be loaded.
        """
        return _descriptions(self, kind, name)

    def ask(self, order: Mapping[str, Any]) -> Answer:
        """Have an order carried out that no model goes with."""
        with self.exchange() as folder:
            try:
                return self.send(folder, order)
            except (BrokenMethod, TimedOut) as error:
                raise MedsafeError(f"plugin '{self._shown}' is unavailable: {error}") from error

    @contextmanager
    def exchange(self) -> Iterator[Path]:
        """A folder of its own, with the file in it."""
        folder = Path(tempfile.mkdtemp(prefix="medsafe-")).resolve()
        try:
            (folder / "home").mkdir()
            if self.path is not None:
                self._copy(folder).parent.mkdir()
                self._copy(folder).write_bytes(self.content)
            yield folder
        finally:  # a stranger's folders may be too deep for Python, and its links lead elsewhere
            subprocess.run(["rm", "-rf", "--", str(folder)], check=False, stderr=subprocess.DEVNULL)  # noqa: S603, S607

    def send(self, folder: Path, order: Mapping[str, Any]) -> Answer:
        """Run the plugin's process on what lies in the folder.

        Raises:
            TimedOut: it ran too long.
            BrokenMethod: it died, or its answer cannot be read.
            MedsafeError: it cannot be loaded, or refuses its hyper-parameters.
        """
        limits = self.isolation.limits
        whole = Order(
            **order, file=str(self._copy(folder)) if self.path else None,
            entry=self.point.value if self.point else None, threads=torch.get_num_threads(),
            file_bytes=limits.file_bytes, memory_bytes=limits.memory_bytes,
        )  # fmt: skip
        (folder / ORDER).write_text(whole.model_dump_json())
        command = [sys.executable, "-P", "-m", "benchmark.isolation.worker", str(folder)]
        if self.isolation.sandbox:
            hidden = self.isolation.hidden
            command = walled(command, folder, self._modules, hidden, gpu=whole.device != "cpu")
        supervise(command, folder, _environment(folder), limits, _printer(self._shown))
        answer = read_answer(folder)
        if answer.outcome == "refused":
            reason = answer.reason.replace(str(self._copy(folder)), str(self.path)) if self.path else answer.reason
            raise MedsafeError(" ".join(reason.split()))
        return answer

    def _copy(self, folder: Path) -> Path:
        return folder / "plugin" / (self.path.name if self.path else "")

    @property
    def _shown(self) -> str:
        return str(self.path) if self.path else str(self.point and self.point.value)


@cache
def _descriptions(origin: Origin, kind: str, name: str) -> list[Description]:
    """Asked once in a command, however often it is needed."""
    return origin.ask({"operation": "describe", "kind": kind, "name": name}).descriptions


def _environment(folder: Path) -> dict[str, str]:
    """The variables of a plugin's process."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    places = [str(code_root()), *(path for path in sys.path if path and Path(path).is_dir())]
    home = str(folder / "home")
    return kept | {
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(places)), "PYTHONDONTWRITEBYTECODE": "1", "HOME": home,
        "TMPDIR": home, "USER": "medsafe",
    }  # fmt: skip


def _printer(name: str) -> Callable[[str], None]:
    def on_line(text: str) -> None:
        OUTPUT.info("%s: %s", Path(name).name, text)

    return on_line
