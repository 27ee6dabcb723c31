"""A package that somebody else wrote, built, installed and found through its entry points."""

import os
import subprocess
import sys

import pytest

from tests.benchmark.isolation.conftest import HEAD, METHOD

PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "hospital-methods"
version = "2.1"

[project.entry-points."medsafe.unlearning"]
stranger = "hospital_methods:Stranger"
broken = "hospital_methods:Missing"
salun = "hospital_methods:Stranger"

[tool.setuptools]
py-modules = ["hospital_methods"]
"""


@pytest.fixture(scope="module")
def medsafe(tmp_path_factory, tiny_npz):
    """The command, in an environment in which the package is installed."""
    source, site = tmp_path_factory.mktemp("hospital"), tmp_path_factory.mktemp("site")
    (source / "pyproject.toml").write_text(PROJECT)
    (source / "hospital_methods.py").write_text(HEAD + METHOD.format(body="return model"))
    words = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "install", *words, "--target", site, source], check=True)
    folder = tmp_path_factory.mktemp("work")
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])

    def call(*words):
        return subprocess.run(
            [sys.executable, "-m", "benchmark.cli", *map(str, words)], cwd=folder, capture_output=True, text=True,
            env=os.environ | {"PYTHONPATH": path, "MEDSAFE_CACHE": str(folder / "cache")}, check=False,
        )  # fmt: skip

    return call


@pytest.mark.slow
def test_list_shows_what_a_package_offers_and_why_some_of_it_is_unavailable(medsafe):
    said = medsafe("list")
    assert said.returncode == 0, said.stderr
    assert said.stdout.splitlines()[0].endswith("salun, stranger")
    assert "broken is unavailable: plugin 'broken' is unavailable: AttributeError" in said.stdout
    assert "salun is unavailable: the name 'salun' of entry point 'hospital_methods:Stranger' is taken" in said.stdout


@pytest.mark.slow
@pytest.mark.parametrize("walls", [(), ("--sandbox",)], ids=["process", "sandbox"])
def test_a_packages_method_becomes_a_row_with_the_packages_version(medsafe, tiny_npz, tmp_path, walls):
    if walls and subprocess.run(["which", "bwrap"], capture_output=True, check=False).returncode:
        pytest.skip("bubblewrap (bwrap) is not installed")
    words = ("--dataset", tiny_npz, "--blocks", 1, "--retrains", 1, "--threads", 1, "--results", tmp_path, *walls)
    said = medsafe("run", "--method", "stranger", *words)
    assert said.returncode == 0, said.stderr
    assert "stranger on" in said.stdout
    assert "1+hospital-methods-2.1" in (tmp_path / "leaderboards" / "unlearning.csv").read_text()


@pytest.mark.slow
def test_a_broken_or_clashing_plugin_breaks_no_other_method(medsafe, tiny_npz, tmp_path):
    words = ("--dataset", tiny_npz, "--blocks", 1, "--retrains", 1, "--threads", 1, "--results", tmp_path)
    assert medsafe("run", "--method", "finetune", *words).returncode == 0
    for name, reason in (("broken", "is unavailable: AttributeError"), ("salun", "is taken")):
        said = medsafe("run", "--method", name, *words)
        assert said.returncode == 2
        assert reason in said.stderr
        assert len(said.stderr.splitlines()) == 1
