"""Do the headline defences work where their papers' conditions hold? A test of the implementation, on a pilot seed.

Some 12,000 images, 5 % of the training images in clean form in the defender's hands, the published learning rates, and
the 1,000 updates that they were published with.
"""

import os
from pathlib import Path

import pytest

from benchmark.plan import Request
from benchmark.runner import run
from benchmark.store.artifacts import ArtifactStore
from benchmark.store.records import RecordStore

PILOT_BLOCK = "900-900"
"""Never scored: results are of blocks from 0 on."""


@pytest.fixture(scope="module")
def defended(tmp_path_factory):
    """Runs a defence on the rebuilt BloodMNIST, poisoned by BadNets; (ACC, ASR) before and after."""
    file = Path(os.environ.get("MEDSAFE_DATA", "")) / "bloodmnist_rebuilt.npz"
    if not file.is_file():
        pytest.skip("MEDSAFE_DATA does not name a folder with bloodmnist_rebuilt.npz")
    store, records = (kind(tmp_path_factory.mktemp("mechanism")) for kind in (ArtifactStore, RecordStore))

    def go(method, **parameters):
        request = Request(
            method, dataset=str(file), attack="badnets", pool="seen:538", blocks=PILOT_BLOCK, parameters=parameters
        )
        (outcome,) = run(request, store, records)
        before, after = outcome.record["references"]["backdoored"], outcome.record["metrics"]
        return (before["acc"], before["asr"]), (after["acc"], after["asr"])

    return go


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_sau_removes_the_backdoor_at_a_small_price(defended):
    before, after = defended("sau", rounds="334")
    assert before[1] > 0.9
    assert after[1] < 0.1
    assert after[0] > before[0] - 0.04
