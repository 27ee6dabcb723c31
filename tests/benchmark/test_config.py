"""What a run is called: its identity, and the small languages a user writes requests in."""

import hashlib
import json
import math
from dataclasses import asdict, fields, is_dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.api import Recipe
from benchmark.config import (
    PROFILES,
    DataSpec,
    MethodSpec,
    UnlearningSpec,
    canonical_json,
    get_profile,
    identity,
    parse_blocks,
    parse_parameters,
)
from benchmark.errors import MedsafeError
from benchmark.models import ARCHITECTURES
from benchmark.training import RECIPES

SPEC = UnlearningSpec(
    track="unlearning",
    data=DataSpec("bloodmini", "ab" * 32, allowed_augmentations=("crop", "horizontal")),
    architecture="cnn-small",
    recipe=Recipe("cpu", "sgd", 0.1, epochs=30, batch_size=64, schedule="onecycle", weight_decay=5e-4),
    scenario="random:0.1",
    method=MethodSpec("unlearning", "salun", "1", "published", {"lr": 0.013, "keep_ratio": 0.5}),
    block=3,
    retrains=2,
)
AS_JSON = (
    '{"architecture":"cnn-small","block":3,"data":{"allowed_augmentations":["crop","horizontal"],"groups_sha256":null,'
    '"name":"bloodmini","non_member_share":0.1,"sha256":"' + "ab" * 32 + '","split_seed":0},"method":{'
    '"hyperparameters":{"keep_ratio":0.5,"lr":0.013},"kind":"unlearning","name":"salun","preset":"published",'
    '"version":"1"},"original_sha256":null,"protocol_version":1,"recipe":{"augmentation":"none","batch_size":64,'
    '"epochs":30,"lr":0.1,"milestones":[],"momentum":0.9,"name":"cpu","optimizer":"sgd","precision":"fp32",'
    '"schedule":"onecycle","weight_decay":0.0005},"retrains":2,"scenario":"random:0.1","track":"unlearning",'
    '"training_version":1}'
)


def test_a_run_is_named_by_the_sha256_of_its_canonical_json():
    # written out, so that a changed field or default cannot quietly rename every record there is
    assert canonical_json(asdict(SPEC)) == AS_JSON
    assert SPEC.id == hashlib.sha256(AS_JSON.encode()).hexdigest()[:16] == "2dd567a1dbf034ab"


def changed(value):
    """Another value of the same type."""
    if isinstance(value, str) or value is None:
        return f"{value}x"
    if isinstance(value, tuple):
        return (*value, 7)
    return {**value, "more": 1} if isinstance(value, dict) else value + 1


def single_changes(value):
    """Every copy of a nested dataclass that differs from it in exactly one field, with that field's name."""
    for field in fields(value):
        part = getattr(value, field.name)
        if is_dataclass(part):
            yield from (
                (f"{field.name}.{name}", replace(value, **{field.name: other})) for name, other in single_changes(part)
            )
        else:
            yield field.name, replace(value, **{field.name: changed(part)})


CHANGES = dict(single_changes(SPEC))


@pytest.mark.parametrize("other", CHANGES.values(), ids=CHANGES)
def test_every_field_of_a_spec_is_part_of_its_identity(other):
    assert other.id != SPEC.id


def test_no_two_changes_share_an_identity():
    assert len({other.id for other in CHANGES.values()}) == len(CHANGES) > 25


def test_a_spec_keeps_its_identity_through_a_file():
    assert identity(json.loads(json.dumps(asdict(SPEC))))[:16] == SPEC.id


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(value=VALUES)
def test_canonical_json_says_the_value_and_nothing_else(value):
    text = canonical_json(value)
    assert json.loads(text) == value
    assert canonical_json(json.loads(text)) == text
    assert text.isascii()


@given(value=st.dictionaries(st.text(), st.integers(), min_size=2), order=st.randoms())
def test_the_order_in_which_a_value_was_built_does_not_matter(value, order):
    items = list(value.items())
    order.shuffle(items)
    assert identity(dict(items)) == identity(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_json_has_no_identity(value):
    with pytest.raises(ValueError, match="JSON"):
        identity({"lr": value})


@given(count=st.integers(1, 1000))
def test_a_number_of_blocks_is_the_first_so_many(count):
    assert parse_blocks(str(count)) == list(range(count))


@given(first=st.integers(0, 10_000), length=st.integers(1, 1000))
def test_a_range_of_blocks_includes_both_ends(first, length):
    assert parse_blocks(f"{first}-{first + length - 1}") == list(range(first, first + length))


@given(blocks=st.lists(st.integers(0, 10_000), min_size=2, max_size=20, unique=True))
def test_a_list_of_blocks_is_taken_as_it_is(blocks):
    assert parse_blocks(",".join(map(str, blocks))) == blocks


@pytest.mark.parametrize(
    "text",
    ["", "0", "-1", "x", "1.5", "5-3", "3-", "-3", "1-2-3", "0,0", "1,,2", "1,-2", "0-2,5", "1e3", "all", "1001",
     "9" * 40, f"0-{'9' * 40}"],
)  # fmt: skip
def test_blocks_that_mean_nothing_are_refused_in_one_line(text):
    with pytest.raises(MedsafeError, match=r"^blocks '") as error:
        parse_blocks(text)
    assert text in str(error.value)
    assert "\n" not in str(error.value)


WORD = st.text(st.characters(codec="ascii", categories=("L", "N"), include_characters="_.-+"), min_size=1)


@given(parameters=st.dictionaries(WORD, WORD), separator=st.sampled_from([" ", ",", ", ", "  "]))
def test_hyper_parameters_are_read_as_they_are_written(parameters, separator):
    assert parse_parameters(separator.join(f"{name}={value}" for name, value in parameters.items())) == parameters


@pytest.mark.parametrize("text", ["lr", "lr=", "=0.1", "lr 0.1", "lr = 0.1"])
def test_hyper_parameters_without_name_or_value_are_refused(text):
    with pytest.raises(MedsafeError, match="name=value"):
        parse_parameters(text)


def test_a_hyper_parameter_given_twice_is_refused_instead_of_guessed():
    with pytest.raises(MedsafeError, match="'lr' is given twice"):
        parse_parameters("lr=0.1 epochs=3 lr=0.2")


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_names_things_that_exist(name):
    profile = get_profile(name)
    assert profile.architecture in ARCHITECTURES
    assert profile.recipe in RECIPES
    assert profile.retrains >= 2  # without two of them there is no null


def test_an_unknown_profile_is_answered_with_the_nearest_one():
    with pytest.raises(MedsafeError, match="unknown profile 'quik': did you mean 'quick'"):
        get_profile("quik")
