"""Does a method keep the contract? A list of small checks, for its author and for the suite's own methods."""

from benchmark.conformance.checks import CHECKS
from benchmark.conformance.examination import check_method
from benchmark.conformance.findings import Finding
from benchmark.conformance.trials import Budget

__all__ = ["CHECKS", "Budget", "Finding", "check_method"]
