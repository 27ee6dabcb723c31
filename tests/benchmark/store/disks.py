"""Real small disks: file systems in memory that a test mounts, fills and makes read-only."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

BLOCK = 4096


class Disk:
    """A file system of its own below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._filler = folder, folder / "filler"

    def fill(self, but: int = 0) -> None:
        """Leave no byte free, or about so many."""
        self.free()
        with self._filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(BLOCK)):
                """The disk says when it is full."""
        with self._filler.open("r+b") as file:
            file.truncate(self._filler.stat().st_size - but)

    def free(self) -> None:
        """Undo `fill`."""
        self._filler.unlink(missing_ok=True)

    @contextlib.contextmanager
    def read_only(self) -> Iterator[None]:
        """Nobody can write here meanwhile, not even root."""
        _call("mount", "-o", "remount,ro", str(self.folder))
        try:
            yield
        finally:
            _call("mount", "-o", "remount,rw", str(self.folder))

    def temporary_files(self) -> list[Path]:
        """What a writer has not yet renamed, or has left behind."""
        return sorted(self.folder.rglob("*.tmp"))


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Disk]:
    """Mount an empty disk of so many bytes; the test is skipped where that is not allowed."""
    folder.mkdir()
    try:
        _call("mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder))
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no disk can be mounted here: {getattr(error, 'stderr', None) or error}")
    try:
        yield Disk(folder)
    finally:
        _call("umount", "--lazy", str(folder))


def _call(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, text=True)
