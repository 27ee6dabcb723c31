"""Results -> a submission: one folder, complete or not there at all."""

import hashlib
import shutil
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import MedsafeError
from benchmark.isolation.client import look_up
from benchmark.isolation.origin import Isolation
from benchmark.leaderboard.table import write_leaderboard
from benchmark.store.files import sync, write_atomically
from benchmark.store.records import Record, RecordStore, as_json
from benchmark.submission.consistency import FROM_FILE, obstacle
from benchmark.submission.contents import MANIFEST, PLUGIN, Submission, describe, method_of, read_submission
from benchmark.submission.verification import unmarked


@dataclass(frozen=True)
class Claim:
    """What somebody hands in, and says of it."""

    method: str
    text: str
    link: str | None = None
    kind: str | None = None
    """`unlearning` or `defenses`; needed where a name means both."""
    preset: str | None = None
    """Only the records of this one; None takes every preset that can be ranked."""
    plugin: Path | None = None
    """The file that the method comes from."""


@dataclass(frozen=True)
class Packed:
    """A submission that was written, and which records of the method are not in it: reason -> how many."""

    submission: Submission
    left_out: Counter[str]


def pack(claim: Claim, results: Path, output: Path) -> Packed:
    """Write a submission of all of a method's records that can be ranked, failed runs among them.

    Args:
        claim: which method, and what is said of it.
        results: folder with its records.
        output: the new folder.

    Raises:
        MedsafeError: nothing to submit, a plugin file that the records were not computed with, an output folder that is
            there already, or a record that breaks the schema.
    """
    if output.exists():
        raise MedsafeError(f"output folder '{output}' exists: choose another with --output, or remove it")
    chosen, left_out = _chosen(claim, results)
    manifest = describe(chosen, method_of(chosen[0]), claim.text, claim.link, claim.plugin)
    aside = output.with_name(f".{output.name}.{uuid.uuid4().hex}.tmp")
    try:
        _fill(aside, chosen, claim.plugin)
        write_atomically(aside / MANIFEST, as_json(manifest))
        read_submission(aside)  # what others would refuse never leaves the house
        aside.replace(output)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    sync(output.parent)
    return Packed(read_submission(output), left_out)


def _fill(folder: Path, records: Iterable[Record], plugin: Path | None) -> None:
    store = RecordStore(folder)
    for record in records:
        store.write(unmarked(record))  # nobody verifies himself
    if plugin is not None:
        write_atomically(folder / PLUGIN, plugin.read_bytes())
    write_leaderboard(folder)


def _chosen(claim: Claim, results: Path) -> tuple[list[Record], Counter[str]]:
    """The records to submit, and the others of this method: reason -> how many."""
    named = [record for record in RecordStore(results) if record["spec"]["method"]["name"] == claim.method]
    found = [record for record in named if claim.kind in (None, record["spec"]["method"]["kind"])]
    if not found:
        raise MedsafeError(f"'{results}' has no record of '{claim.method}': run it first, with `medsafe run`")
    kinds = sorted({record["spec"]["method"]["kind"] for record in found})
    if kinds[1:]:
        raise MedsafeError(f"'{claim.method}' has records as {' and as '.join(kinds)}: choose one with --kind")
    version = _version(claim, kinds[0], found)
    reasons = [_why_not(record, version, claim.preset) for record in found]
    left_out = Counter(reason for reason in reasons if reason is not None)
    chosen = [record for record, reason in zip(found, reasons, strict=True) if reason is None]
    if not chosen:
        why = "; ".join(f"{count} × {reason}" for reason, count in left_out.items())
        raise MedsafeError(f"no record of '{claim.method}' in '{results}' can be submitted: {why}")
    return chosen, left_out


def _version(claim: Claim, kind: str, records: Iterable[Record]) -> str:
    """The version that is submitted: that of the code as it is now."""
    if claim.plugin is None:
        if all(FROM_FILE.fullmatch(record["spec"]["method"]["version"]) for record in records):
            raise MedsafeError(f"'{claim.method}' comes from a plugin file: name it with --plugin")
        return look_up(kind, claim.method, None, Isolation()).version
    if not claim.plugin.is_file():
        raise MedsafeError(f"plugin file '{claim.plugin}' does not exist")
    digest = hashlib.sha256(claim.plugin.read_bytes()).hexdigest()[:12]
    versions = {record["spec"]["method"]["version"] for record in records}
    return next((version for version in versions if version.endswith(f"+{digest}")), f"+{digest}")


def _why_not(record: Record, version: str, preset: str | None) -> str | None:
    """Why a record stays behind."""
    spec = record["spec"]
    if (why := obstacle(spec)) is not None:
        return why
    if spec["method"]["version"] != version:
        return f"version {spec['method']['version']}, and the code is now {version}: run it again"
    return "another preset" if preset not in (None, spec["method"]["preset"]) else None
