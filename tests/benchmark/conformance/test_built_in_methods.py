"""Every unlearning method and every defence that comes with the suite keeps the contract, as published."""

import pytest

from benchmark.conformance import check_method
from benchmark.registry import built_in, find

METHODS = [(kind, name) for kind in ("unlearning", "defenses") for name in built_in(kind)]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), METHODS)
def test_a_built_in_method_keeps_the_contract(kind, name):
    findings = list(check_method(find(kind, name)))
    assert [finding for finding in findings if finding.outcome in ("fail", "warning")] == []
    assert sum(finding.outcome == "pass" for finding in findings) >= 18
