"""The mark that `medsafe verify` leaves on a record which it computed again. Needs no torch."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Literal, cast

from benchmark.store.records import Record, as_json

Agreement = Literal["bitwise", "within tolerance"]
VERIFIED = "how many of its runs `medsafe verify` computed again, and came to the same"
"""What the column `verified` of every table says."""


def unmarked(record: Record) -> Record:
    """The record without its mark."""
    return cast("Record", {name: part for name, part in record.items() if name != "verification"})


def digest_of(record: Record) -> str:
    """What a mark and a manifest vouch for: the sha256 of the record's file, without the mark.

    Raises:
        ValueError: a number is not finite.
    """
    return hashlib.sha256(as_json(unmarked(record))).hexdigest()


def marked(record: Record, agreement: Agreement, environment: Mapping[str, Any]) -> Record:
    """The record with a mark that says how a second computation agreed with it, and where that was made."""
    mark = {"digest": digest_of(record), "agreement": agreement, "environment": dict(environment)}
    return unmarked(record) | Record(verification=mark)


def verified(record: Record) -> bool:
    """Whether the record carries a mark, and has not been changed since."""
    mark = record.get("verification")
    if not isinstance(mark, dict):
        return False
    try:
        return bool(mark.get("digest") == digest_of(record))
    except ValueError:  # NaN, which no writer of records lets through
        return False


def count_verified(records: Iterable[Record]) -> int:
    """How many of the records are."""
    return sum(map(verified, records))
