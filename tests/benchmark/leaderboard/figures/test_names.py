"""Names come from plugins and from users' files: they are drawn as they are written, and nothing more."""

from xml.etree import ElementTree

import pytest

from benchmark.leaderboard.figures import figures
from tests.benchmark.leaderboard.backdoor_factory import make_runs
from tests.benchmark.leaderboard.factory import make_row
from tests.benchmark.leaderboard.figures.figure_factory import whole_setting, with_curves

HOSTILE = [
    "$x^2$", "$\\frac{", "<script>alert(1)</script>", "</svg><img src=x>", "_hidden", "_nolegend_", "a&b",
    '" onload="x', "id=\"x\" url(#p)", "#010203", "]]>", "<!--", "{{ 7 * 7 }}", "=HYPERLINK(1)", "名前", "\U0001f600",
]  # fmt: skip


def texts(svg):
    return [
        "".join(element.itertext()) for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("text")
    ]


def kinds(svg):
    """Names of all elements and attributes that there are."""
    return {name for element in ElementTree.fromstring(svg).iter() for name in (element.tag, *element.attrib)}


@pytest.fixture(scope="module")
def known():
    """What figures consist of whose names are all harmless."""
    found = figures(with_curves([*make_row("honest", error=0.4), *whole_setting()]))
    return {kind for figure in found for kind in kinds(figure.svg)}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_method_is_a_text_in_every_figure_and_nothing_else(name, known):
    drawn = figures(with_curves([*make_row(name, error=0.4), *whole_setting()]))
    assert len(drawn) == 4
    for figure in drawn:
        assert [text for text in texts(figure.svg) if text in (name, f"4. {name}")]
        assert kinds(figure.svg) <= known


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_defence_attack_or_power_is_a_text_too(name):
    (figure,) = figures([*make_runs(name, "badnets", power=name), *make_runs("sau", "badnets")])
    assert texts(figure.svg).count(name) >= 2
    (figure,) = figures(make_runs("sau", name))
    assert name in texts(figure.svg)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_data_set_is_a_plain_text_in_the_setting(name):
    found = figures(whole_setting(data__name=name))
    assert {figure.setting for figure in found} == {f"{name} · cnn-small · cpu · none · random:0.1"}
    assert not any(name in figure.svg for figure in found)


def test_a_name_without_end_is_cut():
    for figure in figures([*make_row("x" * 10_000), *make_runs("x" * 10_000, "y" * 10_000)]):
        assert max(map(len, texts(figure.svg))) < 60
        assert len(figure.description) < 1000
        assert float(figure.svg.split('viewBox="')[1].split()[3].rstrip('"')) < 1000


def test_rows_that_would_read_alike_get_names_of_their_own():
    records = [
        record
        for lr in (0.1, 0.2)
        for record in make_row("salun", method__preset="custom", method__hyperparameters={"lr": lr})
    ]
    named = {text for text in texts(figures(records)[0].svg) if text.startswith("salun (custom)")}
    assert len(named) == 2
