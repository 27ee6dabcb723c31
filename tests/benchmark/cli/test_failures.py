"""Methods that fail become records, and the run goes on."""

import pandas as pd
import pytest

from tests.benchmark.cli.said import NAN
from tests.helpers import records

FAILURES = {
    "raises": ("raise RuntimeError('no idea')", "error", "mine raised RuntimeError: no idea"),
    "raises in two lines": ("raise RuntimeError('one' + chr(10) + 'two')", "error", "RuntimeError: one two"),
    "raises the suite's own error": ("raise MedsafeError('mine')", "error", "mine raised MedsafeError: mine"),
    "raises an error of the disk": ("raise OSError('disk')", "error", "OSError"),
    "returns nothing": ("pass", "error", "returned NoneType, not a model"),
    "returns a number": ("return 3", "error", "returned int, not a model"),
    "returns another net": ("return torch.nn.Linear(2, 2)", "error", "another structure"),
    "sets weights to NaN": (NAN, "diverged", "weights that are not finite"),
    "says that it diverged": ("raise Diverged('loss is inf')", "diverged", "loss is inf"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "status", "reason"), FAILURES.values(), ids=FAILURES)
def test_a_method_that_fails_becomes_a_record_with_a_reason_and_the_next_block_goes_on(
    run, plugin, body, status, reason
):
    said = run("mine", "--plugin", plugin(body), "--blocks", 2, "--in-process")
    assert said.code == (1 if status == "error" else 0)
    found = records()
    assert [record["status"] for record in found] == [status] * 2
    assert sorted(record["spec"]["block"] for record in found) == [0, 1]
    for record in found:
        assert reason in record["reason"]
        assert "\n" not in record["reason"]
        assert "metrics" not in record
        assert f"block {record['spec']['block']} ({record['id']}): {status}: " in said.out
    table = pd.read_csv("results/local/leaderboards/unlearning.csv")
    assert table[["standing", "statuses"]].to_numpy().tolist() == [["incomplete", f"{status}:2"]]
    assert reason in table["reasons"].item()


def test_an_error_is_tried_again_and_a_divergence_is_not(run, plugin, tmp_path):
    flag = tmp_path / "broken"
    flag.write_text("")
    failing = plugin(f"if Path({str(flag)!r}).exists(): raise RuntimeError('no')\n        return model", "failing")
    nan = plugin(f"if Path({str(flag)!r}).exists(): {NAN}\n        return model", "diverging")
    assert run("failing", "--plugin", failing, "--in-process").code == 1
    assert run("diverging", "--plugin", nan, "--in-process").code == 0
    flag.unlink()
    again = run("failing", "--plugin", failing, "--in-process")
    assert again.code == 0
    assert "): ok" in again.out
    assert "): already recorded" in run("diverging", "--plugin", nan, "--in-process").out
    assert {record["spec"]["method"]["name"]: record["status"] for record in records()} == {
        "failing": "ok",
        "diverging": "diverged",
    }
