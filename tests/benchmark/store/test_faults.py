"""An error, or the end of the process, before and after every step that the stores take on the disk.

Afterwards there is what was there before or what was to be there, never half of it; the next call finishes the work;
and nothing temporary remains. The steps are not listed here: they are those that an undisturbed call takes.
"""

import contextlib
import sys
import tempfile
from pathlib import Path

import pytest

from benchmark.errors import MedsafeError
from tests.benchmark.store.stories import STORIES, FirstArtifact, FirstRecord, moments_in
from tests.benchmark.store.traps import Trap, bad_disk, full_disk, in_a_child, killed

ERRORS = {"bad disk": (bad_disk, False), "full disk from then on": (full_disk, True)}
MEMORY = Path("/dev/shm")
"""Where fsync takes no time."""


MOMENTS = [
    pytest.param(story, number, id=f"{story.__name__}-{number:02}-{moment}".replace(" ", "_"))
    for story in STORIES
    for number, moment in enumerate(moments_in(story))
]


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as path:
        yield Path(path)


@pytest.mark.parametrize(("story", "moment"), MOMENTS)
def test_a_kill_leaves_the_old_or_the_new_and_the_next_call_finishes(story, moment, folder):
    told = story(folder)

    def act():
        with Trap(moment, killed).set():
            told.act()

    assert in_a_child(act) == -9
    told.check()
    told.finish()


@pytest.mark.parametrize(("spring", "lasting"), ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize(("story", "moment"), MOMENTS)
def test_an_error_leaves_the_old_or_the_new_and_the_next_call_finishes(story, moment, spring, lasting, folder):
    told, trap = story(folder), Trap(moment, spring, lasting=lasting)
    with contextlib.suppress(OSError, MedsafeError), trap.set():
        told.act()
    assert trap.sprung
    told.check()
    told.finish()


@pytest.mark.parametrize(("story", "moment"), MOMENTS)
def test_a_reader_finds_the_old_or_the_new_at_any_moment(story, moment, folder):
    told = story(folder)
    with Trap(moment, told.check).set() as trap:
        told.act()
    assert trap.sprung
    told.finish()


@pytest.mark.parametrize("story", STORIES)
def test_nothing_changes_the_disk_but_at_a_step(story, folder):
    """Python tells of what it does to the disk: whatever a store may do in future, it is disturbed above."""

    def act():
        told, trap = story(folder), Trap()
        with trap.set():
            sys.addaudithook(trap.watch)  # cannot be taken back: therefore in a child
            told.act()
            trap.inside = True
        assert trap.moments
        sys.exit("\n".join(trap.missed) or 0)

    assert in_a_child(act) == 0


def test_the_steps_are_seen():
    record, artifact = moments_in(FirstRecord), moments_in(FirstArtifact)
    for seen in (record, artifact):
        for step in ("mkdir", "opening", "flock", "writing", "fsync", "replace"):
            assert f"before {step}" in seen
            assert f"after {step}" in seen
    assert record.count("before fsync") == 2  # the file, and the folder that has its new name
    assert artifact.count("before fsync") == 5  # two files, the manifest, the folder and the one around it
    assert record.index("after fsync") < record.index("before replace")
    assert artifact.index("before replace") > [n for n, each in enumerate(artifact) if each == "after fsync"][3]
