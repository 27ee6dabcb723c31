"""Writing so that a reader, or a machine that lost power, sees the old file or the new one, never half of one."""

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

LEFTOVER = re.compile(r"\..+\.[0-9a-f]{32}\.tmp", flags=re.DOTALL)
"""Name of a temporary file of `write_atomically`."""
DAY = 24 * 60 * 60
ATTEMPTS = 5
"""How often something is written that others take for a leftover and remove."""
HELD = (errno.EAGAIN, errno.EACCES)
"""What file systems answer when another process has the lock."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write to a temporary file in the same folder, fsync, rename, fsync the folder.

    The temporary file is locked meanwhile, so that `remove_leftovers` leaves it alone. It may be taken away all the
    same: before it is locked, or by another machine where locks end at one's own. Then it is written again.
    """
    for _ in range(ATTEMPTS - 1):
        with contextlib.suppress(FileNotFoundError):
            _write(path, content)
            return
    _write(path, content)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    try:
        with temporary.open("xb") as file:
            _try_lock(file.fileno())  # whoever else has it is about to remove the file: renaming it will tell
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync(path.parent)


@contextlib.contextmanager
def held_file(path: Path) -> Iterator[Path]:
    """An empty file beside this path, of a name that nobody else has; what a killed process held is a leftover."""
    temporary = _temporary(path)
    with temporary.open("xb") as file:
        _try_lock(file.fileno())
        try:
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")


def _try_lock(descriptor: int) -> bool | None:
    """Lock an open file without waiting: whether that worked, None where the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in HELD else None
    return True


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files under a folder that writers left behind when they were killed.

    A writer at work holds a lock. Where the file system has none, what is younger than a day may still be written: that
    day ends when the folder itself was last changed, by whichever clock dates its files; call this after a write to it.
    What cannot be removed stays: it may be another user's.
    """
    yesterday = folder.stat().st_mtime - DAY
    for parent, _, names in os.walk(folder):
        for leftover in (Path(parent, name) for name in names if LEFTOVER.fullmatch(name)):
            with contextlib.suppress(OSError):
                _remove_idle(leftover, yesterday)


def _remove_idle(leftover: Path, yesterday: float) -> None:
    """The name is removed, never the content: what was renamed in the meantime is a file of another name."""
    with leftover.open("r+b") as file:
        locked = _try_lock(file.fileno())
        if locked or (locked is None and os.fstat(file.fileno()).st_mtime < yesterday):
            leftover.unlink()


def sync(path: Path) -> None:
    """Have a file or folder reach the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """Hexadecimal digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
