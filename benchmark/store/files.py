"""Writing so that a reader, or a machine that lost power, sees the old file or the new one, never half of one."""

import contextlib
import hashlib
import os
import re
import uuid
from pathlib import Path

LEFTOVER = re.compile(r"\..+\.[0-9a-f]{32}\.tmp", flags=re.DOTALL)
"""Name of a temporary file of `write_atomically`."""
DAY = 24 * 60 * 60


def write_atomically(path: Path, content: bytes) -> None:
    """Write to a temporary file in the same folder, fsync, rename, fsync the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_bytes(content)
        sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files under a folder that writers left behind when they were killed, a day ago or more.

    Writing takes far less, so what is younger may still be at work, perhaps on another machine. For the same reason the
    day ends when the folder itself was last changed, by whichever clock dates its files: call this after a write to it.
    What cannot be removed stays: it may be another user's.
    """
    yesterday = folder.stat().st_mtime - DAY
    for parent, _, names in os.walk(folder):
        for leftover in (Path(parent, name) for name in names if LEFTOVER.fullmatch(name)):
            with contextlib.suppress(OSError):
                if leftover.lstat().st_mtime < yesterday:
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
