"""Finding an official MedMNIST file on this machine, or downloading it through the medmnist package."""

import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError

from benchmark.data.catalogue import Entry, medmnist_information
from benchmark.errors import MedsafeError

PATIENCE = 30.0
"""Seconds without an answer after which a server counts as out of reach."""

_ONE_AT_A_TIME = threading.Lock()  # within a process, for the time limit below is the process's own


def find_or_download(entry: Entry, data_root: Path | None) -> Path:
    """The path of an official data set's file; its checksum is for the caller to verify.

    Looked for in `data_root` alone if it is given; else in the folder MEDSAFE_DATA, then in MedMNIST's own folder, into
    which it is downloaded if it is not there.

    Raises:
        MedsafeError: the file is nowhere, and cannot be downloaded.
    """
    found = find(entry, data_root)
    if found is not None:
        return found
    filename = f"{entry.name}.npz"
    if data_root is not None:
        raise MedsafeError(f"{data_root / filename}: no such file; {_put_it_there(entry, data_root)}")
    root = medmnist_root()
    with _ONE_AT_A_TIME:
        if not (root / filename).is_file():
            _download(entry, root)
    return root / filename


def find(entry: Entry, data_root: Path | None) -> Path | None:
    """The same without a download: None where the file is nowhere."""
    shared = os.environ.get("MEDSAFE_DATA")
    folders = [data_root] if data_root else [*([Path(shared)] if shared else []), medmnist_root()]
    files = (folder / f"{entry.name}.npz" for folder in folders)
    return next((file for file in files if file.is_file()), None)


def medmnist_root() -> Path:
    """MedMNIST's own folder."""
    from medmnist.info import DEFAULT_ROOT

    return Path(DEFAULT_ROOT or "~/.medmnist").expanduser()


def _download(entry: Entry, root: Path) -> None:
    """Download into a folder of its own beside the target, and move the file only when its checksum is verified.

    Whatever interrupts this leaves nothing under the file's name; two processes that download at once each
    move the same file there.
    """
    import medmnist

    python_class = getattr(medmnist, medmnist_information()[entry.name]["python_class"])
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".download-") as folder, _time_limit():
            python_class(split="val", download=True, root=folder)  # verifies the md5
            Path(folder, f"{entry.name}.npz").replace(root / f"{entry.name}.npz")
    except Exception as error:
        # The package replaces whatever stopped it, an interruption by the user included, by several lines of advice.
        cause = (isinstance(error, RuntimeError) and error.__context__) or error
        if not isinstance(cause, Exception):
            raise cause from None
        if isinstance(cause, HTTPError):
            cause.close()  # it is the server's open answer as well
        raise MedsafeError(
            f"data set '{entry.name}' is not on this machine and cannot be downloaded ({_reason(cause)}): "
            f"connect once, so that it downloads into {root}, or {_put_it_there(entry, Path('FOLDER'))}"
        ) from None


@contextmanager
def _time_limit() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _put_it_there(entry: Entry, folder: Path) -> str:
    """How to provide the file by hand."""
    url = medmnist_information()[entry.name]["url"]
    return f"put {entry.name}.npz (md5 {entry.md5}, from {url}) into {folder} and give --data-root {folder}"


def _reason(error: BaseException) -> str:
    return " ".join(str(getattr(error, "reason", None) or error).split()) or type(error).__name__
