"""Figures as the page gets them: SVGs that may stand side by side in any page, the same bytes every time."""

import gc
import random
import re
import subprocess
import sys
from collections import Counter
from xml.etree import ElementTree

import matplotlib
import pytest

from benchmark.leaderboard.figures import figures
from tests.benchmark.leaderboard.backdoor_factory import make_runs
from tests.benchmark.leaderboard.figures.figure_factory import whole_setting, with_curves

XLINK = "{http://www.w3.org/1999/xlink}href"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def page(published_figures):
    """All figures of a page, parsed."""
    return [ElementTree.fromstring(figure.svg) for figure in published_figures]


def attributes(page):
    return [(name, value) for svg in page for element in svg.iter() for name, value in element.attrib.items()]


def test_the_published_records_get_figures_of_both_tracks(published_figures):
    assert Counter(figure.track for figure in published_figures)["unlearning"] >= 18
    assert [figure.title for figure in published_figures if figure.track == "backdoor"] == [
        "Defences against the attacks that rank",
        "Defences against further attacks",
    ]


def test_no_id_occurs_twice_in_a_page(page):
    ids = Counter(value for name, value in attributes(page) if name == "id")
    assert len(ids) > 100
    assert max(ids.values()) == 1


def test_every_reference_leads_to_an_id_of_the_same_figure(page):
    for svg in page:
        ids = {f"#{element.get('id')}" for element in svg.iter() if element.get("id")}
        used = [value for name, value in attributes([svg]) if name == XLINK]
        used += [found for _, value in attributes([svg]) for found in re.findall(r"url\((#[^)]*)\)", value)]
        assert used
        assert set(used) <= ids


def test_a_figure_brings_no_style_script_metadata_or_size_into_the_page(published_figures, page):
    tags = {element.tag.removeprefix(SVG) for svg in page for element in svg.iter()}
    assert tags <= {"svg", "g", "defs", "path", "use", "text", "clipPath", "rect", "pattern"}
    for figure, svg in zip(published_figures, page, strict=True):
        assert figure.svg.startswith("<svg ")
        assert svg.get("viewBox")
        assert svg.get("width") is None
        assert svg.get("height") is None
        assert (svg.get("role"), svg.get("aria-label")) == ("img", figure.title)


def test_ink_and_fonts_are_those_of_the_page(published_figures):
    for figure in published_figures:
        assert "currentColor" in figure.svg
        assert not re.search("#010203|#000000|black|font-family", figure.svg)


def test_no_text_is_smaller_than_nine_points_in_a_figure_five_inches_wide(page):
    sizes = [float(size) for _, value in attributes(page) for size in re.findall(r"font-size: ([\d.]+)px", value)]
    assert min(sizes) == 9
    assert {float(svg.get("viewBox").split()[2]) for svg in page} == {360}


def test_no_text_of_a_published_figure_leaves_it(page):
    for svg in page:
        width, height = map(float, svg.get("viewBox").split()[2:])
        for text in svg.iter(f"{SVG}text"):
            x, y = map(float, position(text))
            assert 0 <= x <= width
            assert 0 <= y <= height


def position(text):
    if text.get("x"):
        return text.get("x"), text.get("y")
    return re.search(r"translate\(([-\d.]+) ([-\d.]+)\)", text.get("transform")).groups()


@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_records_give_the_same_bytes_in_whatever_order(seed):
    records = with_curves(whole_setting()) + make_runs("sau") + make_runs("none")
    first = figures(records)
    random.Random(seed).shuffle(records)
    assert figures(records) == first


def test_drawing_needs_no_torch_no_window_and_leaves_matplotlib_as_it_was():
    code = (
        "import sys, matplotlib\n"
        "matplotlib.rcParams['font.size'] = 33\n"
        "from benchmark.leaderboard.figures import figures\n"
        "from tests.benchmark.leaderboard.figures.figure_factory import whole_setting, with_curves\n"
        "print(len(figures(with_curves(whole_setting()))))\n"
        "print([matplotlib.rcParams[name] for name in ('font.size', 'svg.fonttype', 'text.parse_math')])\n"
        "print({'torch', 'matplotlib.pyplot', 'benchmark.runner', 'benchmark.tracks'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["4", "[33.0, 'path', True]", "set()"]


def test_a_users_own_settings_of_matplotlib_change_nothing():
    records = with_curves(whole_setting())
    expected = figures(records)
    with matplotlib.rc_context({"font.size": 30, "axes.grid": True, "svg.fonttype": "path", "lines.marker": "x"}):
        assert figures(records) == expected


def test_what_waited_while_figures_were_drawn_is_collected_again_afterwards():
    assert gc.isenabled()
    figures(whole_setting())
    assert gc.isenabled()
