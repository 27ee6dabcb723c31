"""A submission's folder: what may lie in it, and whether manifest, records and code agree with each other."""

import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.config import canonical_json
from benchmark.errors import MedsafeError
from benchmark.leaderboard.table import ABOUT
from benchmark.store.files import sha256_of
from benchmark.store.records import Record
from benchmark.submission.compare import first_difference
from benchmark.submission.consistency import FROM_FILE, check_record, file_of
from benchmark.submission.schema import Manifest, Refused, check, read
from benchmark.submission.verification import digest_of

MANIFEST, PLUGIN = "submission.json", "plugin.py"
LAYOUT = {
    r"submission\.json": 4_000_000,
    r"plugin\.py": 1_000_000,
    f"leaderboards/({'|'.join(map(re.escape, ('README.md', *ABOUT)))})": 64_000_000,
    r"records/(unlearning|backdoor)/[a-z0-9][a-z0-9.-]*/[a-z0-9_]+-[0-9a-f]{16}\.json": 1_000_000,
}
"""What a submission consists of, as patterns of paths, with the most bytes that such a file may have."""
FROM_PACKAGE = re.compile(r"[0-9]+\+(.+)-([^-]+)")
"""The version of a method that an installed distribution brings: the declared one, distribution, its version."""


@dataclass(frozen=True, eq=False)
class Submission:
    """A folder that keeps to the schema, and whose parts agree with each other."""

    folder: Path
    manifest: dict[str, Any]
    records: list[Record]
    plugin: Path | None
    """The code that it brings along."""


def read_submission(folder: Path) -> Submission:
    """A submission, checked as far as that is possible without computing anything.

    Raises:
        MedsafeError: there is none.
        Refused: it breaks the schema, or does not agree with itself; the line names file and key.
    """
    files = dict(_files(folder))
    if MANIFEST not in files:
        raise MedsafeError(f"'{folder}' is no submission: it has no {MANIFEST}; `medsafe submit` makes one")
    manifest = read(files[MANIFEST].read_bytes(), MANIFEST)
    check(Manifest, manifest, MANIFEST)
    records = [check_record(name, path.read_bytes()) for name, path in files.items() if name.startswith("records/")]
    for record in records:
        found = first_difference(method_of(record), manifest["method"], ("spec", "method"))
        if found is not None:
            raise Refused(f"{file_of(record)}: {found.key}: {found.first}, and in {MANIFEST} {found.second}")
    expected = describe(records, manifest["method"], manifest["claim"], manifest["link"], files.get(PLUGIN))
    found = first_difference(manifest, expected)
    if found is not None:
        raise Refused(f"{MANIFEST}: {found.key}: {found.first}, and in the folder {found.second}")
    return Submission(folder, manifest, records, files.get(PLUGIN))


def describe(
    records: Iterable[Record], method: Mapping[str, str], claim: str, link: str | None, plugin: Path | None
) -> dict[str, Any]:
    """The manifest: all but the claim follows from records and code.

    Raises:
        Refused: the plugin file is not the one that the method's version names, or there should be none.
    """
    known = {record["id"]: record for record in records}
    environments = {canonical_json(record["environment"]): record["environment"] for record in known.values()}
    return {
        "schema": 1,
        "method": dict(method),
        "claim": claim,
        "link": link,
        "code": _code(method["version"], plugin),
        "environments": [environments[text] for text in sorted(environments)],
        "records": {run: digest_of(known[run]) for run in sorted(known)},
    }


def method_of(record: Record) -> dict[str, str]:
    """Kind, name and version of a record's method."""
    return {part: record["spec"]["method"][part] for part in ("kind", "name", "version")}


def _code(version: str, plugin: Path | None) -> dict[str, str] | None:
    """Where a method of this version comes from; None for the suite's own."""
    wanted, package = FROM_FILE.fullmatch(version), FROM_PACKAGE.fullmatch(version)
    if wanted is None and plugin is not None:
        raise Refused(f"{PLUGIN}: does not belong to a method of version {version}, which is not from a plugin file")
    if plugin is not None and wanted is not None:
        digest = sha256_of(plugin)
        if not digest.startswith(wanted[1]):
            raise Refused(
                f"{PLUGIN}: its sha256 begins with {digest[:12]}, but the records were computed with a file whose "
                f"begins with {wanted[1]}: another state of it"
            )
        return {"file": PLUGIN, "sha256": digest}
    if wanted is not None:
        raise Refused(f"{PLUGIN}: is missing: the records were computed with a file whose sha256 begins {wanted[1]}")
    return {"distribution": package[1], "version": package[2]} if package else None


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Path within the submission, and path, of every file; nothing is opened, and no link is followed."""
    for root, folders, names in os.walk(folder):
        folders.sort()
        for path in (Path(root) / name for name in sorted([*folders, *names])):
            inside, status = path.relative_to(folder).as_posix(), path.lstat()
            if stat.S_ISDIR(status.st_mode):
                continue
            most = next((size for pattern, size in LAYOUT.items() if re.fullmatch(pattern, inside)), None)
            if most is None or not stat.S_ISREG(status.st_mode):
                raise Refused(f"{ascii(inside)[1:-1]}: does not belong into a submission: remove it")
            if status.st_size > most:
                raise Refused(f"{inside}: has {status.st_size:,} bytes, and may have {most:,}")
            yield inside, path
