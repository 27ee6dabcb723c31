"""`medsafe data audit`: a summary, a CSV and a page with pictures."""

import inspect

import numpy as np
import pytest

from benchmark.cli.data import audit
from benchmark.data.near import NEAR


@pytest.fixture
def copied_npz(tiny_npz, tmp_path):
    """The tiny data set with a train image once more in test, under another label, and a brighter one in val."""
    with np.load(tiny_npz) as file:
        arrays = dict(file)
    arrays["test_images"][5], arrays["test_labels"][5] = arrays["train_images"][3], 1 - arrays["train_labels"][3] % 2
    arrays["val_images"][7] = np.minimum(arrays["train_images"][4], 245) + 10
    path = tmp_path / "copied.npz"
    np.savez(path, **arrays)
    return path


def test_an_audit_counts_lists_and_shows(medsafe, copied_npz, tmp_path):
    said = medsafe("data", "audit", copied_npz, "--output", tmp_path / "found")
    assert (said.code, said.err) == (0, "")
    numbers = {line.strip().rsplit(maxsplit=2)[0]: line.split()[-2:] for line in said.out.splitlines()[3:12]}
    assert numbers["groups"] == ["1", "1"]
    assert numbers["train-test"] == ["1", "0"]
    assert numbers["train-val"] == ["0", "1"]
    assert numbers["more than one label"][0] == "1"
    assert "pictures of 2 of 2 groups" in said.out
    lines = (tmp_path / "found" / "copied.csv").read_text().splitlines()
    assert lines[0] == "group,kind,split,index,label,distance"
    assert lines[1].startswith("1,exact,train,3,")
    assert lines[2].startswith("1,exact,test,5,")
    assert lines[3].startswith("2,near,train,4,")
    assert lines[4].startswith("2,near,val,7,")
    assert (tmp_path / "found" / "copied.html").read_text().count("<img") == 4


def test_a_stricter_similarity_finds_fewer(medsafe, copied_npz, tmp_path):
    medsafe("data", "audit", copied_npz, "--output", tmp_path, "--near", 0.999999)
    assert "near" not in (tmp_path / "copied.csv").read_text()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["bloodminy"], "unknown data set 'bloodminy'"),
        (["no/such.npz"], "no/such.npz: no such file"),
        (["bloodmini", "--near", "1.5"], "similarity 1.5 is not between 0 and 1"),
        (["bloodmini", "--threads", "0"], "threads 0: at least 1 is needed"),
    ],
)
def test_a_users_error_is_one_line(medsafe, words, line):
    said = medsafe("data", "audit", *words)
    assert (said.code, said.out) == (2, "")
    assert len(said.err.splitlines()) == 1
    assert line in said.err


def test_the_default_is_the_documented_one():
    assert inspect.signature(audit).parameters["near"].default == NEAR
