"""The schema follows the record, and the tolerance follows the images."""

import math

import pytest

from benchmark.store.records import Record
from benchmark.submission.compare import elsewhere, first_difference, tolerance
from benchmark.submission.schema import model_of
from benchmark.tracks.scoring import SOURCES, declarations


def test_every_part_of_a_record_is_laid_down():
    fields = {
        field.alias or name
        for track in SOURCES
        for ok in (True, False)
        for name, field in model_of(track, ok).model_fields.items()
    }
    assert fields == set(Record.__annotations__)


SIZES = {"forget": 400, "retain": 10_000_000, "non_members": 100, "test": 2500, "test_deduplicated": 1600}


@pytest.mark.parametrize(
    ("key", "allowed"),
    [
        (("metrics", "ua"), 2 / 20),
        (("metrics", "ra"), 0.02),
        (("metrics", "ta"), 2 / 50),
        (("metrics", "ta_deduplicated"), 2 / 40),
        (("metrics", "mia_loss_auc"), 2 / 10),
        (("references", "retrain", 1, "mia_svc"), 4 / 10),
        (("references", "original", "macro_auc"), 2 / 50),
        (("references", "retrain", 0, "sensitivity", 3), 1),
        (("metrics", "kl_forget"), math.inf),
        (("references", "original", "zrf_forget"), math.inf),
        (("sizes", "test"), None),
        (("setting", "target"), None),
        (("setting", "unchanged"), 2 / 50),
    ],
)
def test_a_rate_may_be_off_by_what_its_images_allow(key, allowed):
    record = {"sizes": SIZES, "declarations": declarations("unlearning")}
    assert tolerance(key, record) == (None if allowed is None else pytest.approx(allowed))


@pytest.mark.parametrize(("name", "images"), [("lira_auc", 100), ("rmia_tpr_1", 100), ("probe_forget", 400)])
def test_an_audits_rates_count_in_the_images_that_it_judges(name, images):
    record = {"sizes": SIZES, "declarations": declarations("audit")}
    assert tolerance(("metrics", name), record) == pytest.approx(2 / math.sqrt(images))
    assert tolerance(("metrics", "relearn_steps"), record) == math.inf


@pytest.mark.parametrize(("name", "allowed"), [("asr", 0.04), ("asr_gap", 0.08), ("der", 0.08), ("cured", 1)])
def test_a_difference_of_two_rates_may_be_off_by_twice_that(name, allowed):
    record = {"sizes": SIZES, "declarations": declarations("backdoor")}
    assert tolerance(("metrics", name), record) == pytest.approx(allowed)


HERE = {"torch": "2", "numpy": "2", "scikit-learn": "1", "system": "L", "cpu": "AVX2", "device": "cpu", "threads": 1}


@pytest.mark.parametrize("name", HERE)
def test_an_environment_is_the_same_only_if_all_that_bits_depend_on_is(name):
    assert elsewhere(HERE, HERE | {"python": "3.99"}) == []
    assert elsewhere(HERE | {name: "other"}, HERE) == [f"{name} other there, {HERE[name]} here"]


@pytest.mark.parametrize("name", sorted(HERE.keys() - {"device"}))
def test_one_that_does_not_say_it_all_may_have_been_another(name):
    old = {part: value for part, value in HERE.items() if part != name}
    assert elsewhere(old, HERE) == [f"{name} unknown there, {HERE[name]} here"]


def test_equal_gpus_do_not_promise_equal_bits():
    assert elsewhere(HERE | {"device": "a GPU"}, HERE | {"device": "a GPU"}) != []


def test_bits_are_equal_only_if_their_types_are():
    assert first_difference({"a": [1, 0.5]}, {"a": [1, 0.5]}) is None
    for first, second, key in [
        (1, 1.0, ""),
        (1, True, ""),
        ({"a": 1}, {}, "a"),
        ([{"b": [1]}], [{"b": [2]}], "[0].b[0]"),
    ]:
        found = first_difference(first, second)
        assert found is not None
        assert found.key == key
