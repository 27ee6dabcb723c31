"""The cache of trained models, predictions and reference scores, each addressed by everything that went into it.

An artifact is a folder `<hash of its key>/` with data files and `manifest.json`: key, metadata, the files' sha256, and
one of its own.
It is built under another name and renamed when complete, and renamed before it is removed: whoever reads it finds all
of it or nothing. A process killed at any moment leaves only a temporary folder, which the next one removes.
"""

import contextlib
import errno
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from benchmark.clock import Clock
from benchmark.config import canonical_json, identity
from benchmark.errors import MedsafeError
from benchmark.store.files import ATTEMPTS, sha256_of, sync

MANIFEST = "manifest.json"
NAME = re.compile(r"[0-9a-f]{64}")
"""Name of an artifact's folder."""
LEFTOVER = ".tmp"
"""Ends the name of a folder that is being filled or removed, or was when its process was killed."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""What the user can mend when nothing can be written."""


@dataclass(frozen=True)
class Artifact:
    """A complete, verified artifact."""

    folder: Path
    metadata: dict[str, Any]
    reused: bool
    """True when it was found, False when this call computed it."""

    def __truediv__(self, name: str) -> Path:
        """The path of one of its files."""
        return self.folder / name


class ArtifactStore:
    """A folder of artifacts that any number of processes may share. Its `clock` says where their making takes time."""

    def __init__(self, root: Path) -> None:
        self.root, self.clock = root, Clock()
        try:
            (root / "locks").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error

    def get_or_create(self, key: Mapping[str, Any], create: Callable[[Path], Mapping[str, Any]]) -> Artifact:
        """The artifact of this key, found or made.

        `create(folder)` fills an empty folder and returns metadata; one process at a time does so for a key, the others
        wait and find it. What was stored but no longer has its sha256 is made again.

        Locks may not reach all: somebody removed their files, or they end at one's own machine. Then the work is done
        twice, and an artifact is still one of the two.

        Raises:
            MedsafeError: the disk is full, or the cache cannot be written or locked.
        """
        name = identity(key)
        if found := self._read(name):
            return found
        for _ in range(ATTEMPTS):
            with self._said_when_full(), self._locked(name):
                if found := self._read(name) or self._make(name, key, create):
                    return found
        raise MedsafeError(
            f"cache folder '{self.root}': '{name}' is removed whenever it is made; clear no cache in use"
        )

    def _make(self, name: str, key: Mapping[str, Any], create: Callable[[Path], Mapping[str, Any]]) -> Artifact | None:
        """A new artifact; None where another process removed its folder, or was quicker, in spite of the lock."""
        for folder in list(self.root.glob(f"{name}*")):
            self._discard(folder)
        temporary = self._temporary(name)
        temporary.mkdir()
        try:
            metadata = dict(create(temporary))
            _seal(temporary, key, metadata)
            temporary.replace(self.root / name)
        except Exception:
            if temporary.is_dir() and self._read(name) is None:
                raise
            return None
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        sync(self.root)
        return Artifact(self.root / name, metadata, reused=False)

    def has(self, name: str) -> bool:
        """Whether this artifact is there, and each of its files as long as it was.

        For plans over thousands of them: a flipped bit in a file is noticed by those alone that read it.
        """
        folder = self.root / name
        manifest = _manifest(folder)
        try:
            return manifest is not None and all(
                size in (None, (folder / file).stat().st_size) for file, size in manifest["bytes"].items()
            )
        except OSError:
            return False

    def find(self, name: str) -> Artifact | None:
        """The artifact of this name (the hash of its key), if it is there and whole."""
        return self._read(name)

    def find_all(self, names: Sequence[str]) -> list[Artifact] | None:
        """The artifacts of these names; None unless all of them are there and whole."""
        found = [self._read(name) for name in names]
        return None if None in found else found  # type: ignore[return-value]

    def listing(self) -> list[tuple[dict[str, Any], int]]:
        """Key and size in bytes of every complete artifact."""
        return [entry for folder in sorted(self._folders()) if (entry := _entry(folder))]

    def leftovers(self) -> list[Path]:
        """What killed processes left half-filled: the folders of no process that is at work."""
        return [folder for folder in sorted(self.root.glob(f"*{LEFTOVER}")) if self._is_idle(folder)]

    def remove_leftovers(self) -> None:
        """Remove what killed processes left half-filled. What cannot be removed stays: it may be another user's."""
        for folder in self.root.glob(f"*{LEFTOVER}"):
            with contextlib.suppress(OSError, MedsafeError):
                self._remove_idle(folder)

    def clear(self) -> None:
        """Remove every artifact and leftover but those that are being written; a run that uses them will miss them."""
        for folder in [*self._folders(), *self.root.glob(f"*{LEFTOVER}")]:
            self._remove_idle(folder)

    def _folders(self) -> list[Path]:
        """Those of artifacts, whole or not."""
        return [folder for folder in self.root.iterdir() if NAME.fullmatch(folder.name)]

    def _remove_idle(self, folder: Path) -> None:
        with contextlib.suppress(Timeout), self._locked(folder.name, timeout=0):
            self._discard(folder)

    def _discard(self, folder: Path) -> None:
        """Under its lock: remove a folder. An artifact is renamed first, so that all of it is gone at once."""
        with contextlib.suppress(FileNotFoundError):
            if folder.suffix != LEFTOVER:
                folder = folder.replace(self._temporary(folder.name))
            shutil.rmtree(folder, ignore_errors=True)

    def _is_idle(self, folder: Path) -> bool:
        try:
            with self._locked(folder.name, timeout=0):
                return True
        except Timeout:
            return False

    @contextlib.contextmanager
    def _locked(self, name: str, timeout: float = -1) -> Iterator[None]:
        """Hold the lock of an artifact, of which its own or a temporary folder is named; by default wait for it.

        Raises:
            Timeout: another process has held it for so many seconds.
            MedsafeError: there can be no locks here.
        """
        lock = FileLock(self.root / "locks" / f"{name.partition('.')[0]}.lock")
        try:
            with self.clock.span("waiting"):
                lock.acquire(timeout)
        except Timeout:
            raise
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def _said_when_full(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in FULL:
                raise self._unwritable(error) from error
            raise

    def _temporary(self, name: str) -> Path:
        return self.root / f"{name}.{uuid.uuid4().hex}{LEFTOVER}"

    def _unwritable(self, error: OSError) -> MedsafeError:
        return MedsafeError(
            f"cache folder '{self.root}' cannot be written ({error.strerror}): set MEDSAFE_CACHE to one that can"
        )

    def _read(self, name: str) -> Artifact | None:
        folder = self.root / name
        manifest = _manifest(folder)
        try:
            if manifest is None or any(sha256_of(folder / file) != own for file, own in manifest["files"].items()):
                return None
        except OSError:
            return None
        return Artifact(folder, manifest["metadata"], reused=True)


def _seal(folder: Path, key: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    """Bring every file to the disk, and last the manifest that vouches for them."""
    files = sorted(folder.iterdir())
    for file in files:
        sync(file)
    manifest = {
        "key": key,
        "metadata": metadata,
        "files": {file.name: sha256_of(file) for file in files},
        "bytes": {file.name: file.stat().st_size for file in files},
    }
    (folder / MANIFEST).write_text(canonical_json(manifest | {"sha256": identity(manifest)}))
    sync(folder / MANIFEST)
    sync(folder)


def _manifest(folder: Path) -> dict[str, Any] | None:
    """A folder's manifest; None where there is none, or one that was damaged: scores lie in it and nowhere else."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        whole = manifest.pop("sha256", None) == identity(manifest)
        parts = {"bytes": dict.fromkeys(manifest["files"])} | manifest  # the first caches knew no sizes
        return {name: parts[name] for name in ("key", "metadata", "files", "bytes")} if whole else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _entry(folder: Path) -> tuple[dict[str, Any], int] | None:
    """Key and size of an artifact; None where it is not whole, or removed at this moment."""
    manifest = _manifest(folder)
    if manifest is None:
        return None
    try:
        return manifest["key"], sum(file.stat().st_size for file in folder.iterdir())
    except OSError:
        return None


def default_cache() -> Path:
    """`MEDSAFE_CACHE`, else the platform's user cache folder."""
    import platformdirs  # a store in a folder of its own needs none

    return Path(os.environ.get("MEDSAFE_CACHE") or platformdirs.user_cache_dir("medsafe-bench"))
