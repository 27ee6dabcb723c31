"""The cache of trained models, predictions and reference scores, each addressed by everything that went into it.

An artifact is a folder `<hash of its key>/` with data files and `manifest.json`: key, metadata, the files' sha256, and
one of its own.
It is built under another name and renamed when complete, so the manifest's presence is the done marker, and a process
killed at any moment leaves only a temporary folder, which the next one removes.
"""

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock, Timeout

from benchmark.config import canonical_json, identity
from benchmark.errors import MedsafeError
from benchmark.store.files import sha256_of, sync

MANIFEST = "manifest.json"
LEFTOVER = ".tmp"
"""Ends the name of a folder that is being filled, or was when its process was killed."""


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
    """A folder of artifacts that any number of processes may share."""

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            (root / "locks").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MedsafeError(
                f"cache folder '{root}' cannot be written ({error.strerror}): set MEDSAFE_CACHE to one that can"
            ) from error

    def get_or_create(self, key: Mapping[str, Any], create: Callable[[Path], Mapping[str, Any]]) -> Artifact:
        """The artifact of this key, found or made.

        `create(folder)` fills an empty folder and returns metadata; one process at a time does so for a key, the others
        wait and find it. What was stored but no longer has its sha256 is made again.
        """
        name = identity(key)
        with FileLock(self.root / "locks" / f"{name}.lock"):
            found = self._read(name)
            if found is not None:
                return found
            self._remove_leftovers(name)
            temporary = self.root / f"{name}.{uuid.uuid4().hex}{LEFTOVER}"
            try:
                temporary.mkdir()
                metadata = dict(create(temporary))
                _seal(temporary, key, metadata)
                temporary.replace(self.root / name)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
            sync(self.root)
            return Artifact(self.root / name, metadata, reused=False)

    def find(self, name: str) -> Artifact | None:
        """The artifact of this name (the hash of its key), if it is there and whole."""
        return self._read(name)

    def find_all(self, names: Sequence[str]) -> list[Artifact] | None:
        """The artifacts of these names; None unless all of them are there and whole."""
        found = [self._read(name) for name in names]
        return None if None in found else found  # type: ignore[return-value]

    def listing(self) -> list[tuple[dict[str, Any], int]]:
        """Key and size in bytes of every complete artifact."""
        folders = [folder for folder in sorted(self.root.iterdir()) if folder.suffix != LEFTOVER]
        found = [(_manifest(folder), folder) for folder in folders]
        return [
            (manifest["key"], sum(file.stat().st_size for file in folder.iterdir()))
            for manifest, folder in found
            if manifest is not None
        ]

    def leftovers(self) -> list[Path]:
        """What killed processes left half-filled: the folders of no process that is at work."""
        return [folder for folder in sorted(self.root.glob(f"*{LEFTOVER}")) if self._is_idle(folder)]

    def clear(self) -> None:
        """Remove every artifact and leftover but those that are being written; a run that uses them will miss them."""
        for folder in self.root.iterdir():
            if folder.name != "locks":
                with contextlib.suppress(Timeout), self._lock(folder).acquire(timeout=0):
                    shutil.rmtree(folder, ignore_errors=True)

    def _is_idle(self, folder: Path) -> bool:
        try:
            with self._lock(folder).acquire(timeout=0):
                return True
        except Timeout:
            return False

    def _lock(self, folder: Path) -> FileLock:
        return FileLock(self.root / "locks" / f"{folder.name.partition('.')[0]}.lock")

    def _read(self, name: str) -> Artifact | None:
        folder = self.root / name
        manifest = _manifest(folder)
        try:
            if manifest is None or any(sha256_of(folder / file) != own for file, own in manifest["files"].items()):
                return None
        except OSError:
            return None
        return Artifact(folder, manifest["metadata"], reused=True)

    def _remove_leftovers(self, name: str) -> None:
        """Under the lock: what carries this name is a killed process's, or damaged."""
        for folder in self.root.glob(f"{name}*"):
            shutil.rmtree(folder)


def _seal(folder: Path, key: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    """Bring every file to the disk, and last the manifest that vouches for them."""
    files = sorted(folder.iterdir())
    for file in files:
        sync(file)
    manifest = {"key": key, "metadata": metadata, "files": {file.name: sha256_of(file) for file in files}}
    (folder / MANIFEST).write_text(canonical_json(manifest | {"sha256": identity(manifest)}))
    sync(folder / MANIFEST)
    sync(folder)


def _manifest(folder: Path) -> dict[str, Any] | None:
    """A folder's manifest; None where there is none, or one that was damaged: scores lie in it and nowhere else."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        whole = manifest.pop("sha256", None) == identity(manifest)
        return {name: manifest[name] for name in ("key", "metadata", "files")} if whole else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def default_cache() -> Path:
    """`MEDSAFE_CACHE`, else the platform's user cache folder."""
    return Path(os.environ.get("MEDSAFE_CACHE") or platformdirs.user_cache_dir("medsafe-bench"))
