"""The page of an audit: complete or honest about what it leaves out, escaped, and without any network."""

import base64
import dataclasses
import re
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from benchmark.data import audit_page
from benchmark.data.audit import audit

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture
def audited(make_dataset):
    dataset = make_dataset([0, 1, 0, 1], [0, 1], [0, 0], [9000, 2, 2, 9000, 9000, 70, 2, 500000])
    return dataset, [group for group in audit(dataset) if group.kind == "exact"]


def pictures(page):
    sources = re.findall(r'<img src="data:image/png;base64,([^"]+)"', page)
    return [np.asarray(Image.open(BytesIO(base64.b64decode(source)))) for source in sources]


def test_every_image_of_every_group_is_shown_pixel_by_pixel(audited):
    dataset, groups = audited
    page = audit_page.audit_page(dataset, groups, 0.9)
    shown = pictures(page)
    rows = [row for group in groups for row in group.rows]
    assert len(shown) == len(rows) == 6
    assert all(np.array_equal(picture, dataset.images[row, 0]) for picture, row in zip(shown, rows, strict=True))
    assert "All 2 groups are shown" in page
    assert page.count('class="conflict"') == 2


def test_what_is_left_out_is_counted(audited, monkeypatch):
    monkeypatch.setattr(audit_page, "GROUPS", 1)
    monkeypatch.setattr(audit_page, "IMAGES", 2)
    page = audit_page.audit_page(*audited, 0.9)
    assert len(pictures(page)) == 2
    assert "1 of 2 groups are shown, 1 are left out" in page
    assert "1 more images of this group are left out" in page


def test_a_data_set_without_duplicates_has_a_page_too(audited):
    assert "There are none" in audit_page.audit_page(audited[0], [], 0.9)


def test_names_are_escaped_and_nothing_is_fetched_or_run(audited):
    dataset = dataclasses.replace(audited[0], name=EVIL, class_names=(EVIL, EVIL))
    page = audit_page.audit_page(dataset, audited[1], 0.9)
    assert EVIL not in page
    assert "&lt;img src=x" in page
    assert "default-src 'none'" in page
    assert "http:" not in page
    assert "https:" not in page
    assert "<script" not in page


def test_light_and_dark_are_both_offered(audited):
    page = audit_page.audit_page(*audited, 0.9)
    assert '<meta name="color-scheme" content="light dark">' in page
    assert "light-dark(" in page
