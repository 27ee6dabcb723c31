"""Where workers of several machines meet: they find the driver's folders, or say which one they do not."""

import os
from pathlib import Path

import pytest

from benchmark.errors import MedsafeError
from benchmark.sweep.meeting import called
from benchmark.sweep.work import Place


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path / "cache", tmp_path / "results", threads=1)


def test_who_joins_is_where_the_driver_is(place, tmp_path, monkeypatch):
    monkeypatch.setenv("MEDSAFE_DATA", "the driver's")
    monkeypatch.chdir(tmp_path)
    with called(place) as meeting:
        monkeypatch.setenv("MEDSAFE_DATA", "the node's")
        monkeypatch.chdir("/")
        meeting.join()
        assert os.environ["MEDSAFE_DATA"] == "the driver's"
        assert Path.cwd() == tmp_path


@pytest.mark.parametrize("folder", ["cache/locks", "results/records"])
def test_a_folder_of_the_same_name_is_not_the_same_folder(place, tmp_path, folder):
    with called(place) as meeting:
        (tmp_path / folder).rename(tmp_path / "the driver's")
        (tmp_path / folder).mkdir()
        with pytest.raises(MedsafeError, match=f"{folder}' is not the driver's"):
            meeting.join()


def test_a_node_without_the_drivers_folder_is_none_of_the_sweeps(place, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with called(place) as meeting:
        monkeypatch.chdir("/")
        (tmp_path / "here").rmdir()
        with pytest.raises(MedsafeError, match="here' is not the driver's"):
            meeting.join()


def test_a_meeting_leaves_nothing_even_where_its_driver_was_killed(place, tmp_path):
    killed = called(place)
    meeting = killed.__enter__()
    with called(place):
        assert all(mark.is_file() for mark in meeting.marks), "that sweep goes on"
    copies = [mark.with_name(f".sweep.{'0' * 32}.tmp") for mark in meeting.marks]
    for copy in copies:
        copy.touch()
    with called(place):
        assert not any(copy.exists() for copy in copies)
    killed.__exit__(None, None, None)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
