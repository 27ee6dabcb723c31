"""`python -m benchmark.perf`, with a comparison of its own that takes no time."""

import json
from contextlib import contextmanager

import pytest
import typer
from typer.testing import CliRunner

from benchmark.errors import MedsafeError
from benchmark.perf import __main__ as command
from benchmark.perf.measure import Comparison
from benchmark.perf.report import END, START


@pytest.fixture
def called(monkeypatch):
    """What each of two quick comparisons was asked to do, in order."""
    calls = []

    def quick(name, **options):
        @contextmanager
        def opened():
            ways = {"ours": lambda: calls.append(f"{name} ours"), "plain": lambda: calls.append(f"{name} plain")}
            yield Comparison(name, "nothing", ways, warm_up=False, **options)

        return opened

    monkeypatch.setattr(command, "COMPARISONS", {"first": quick("first"), "second": quick("second")})
    monkeypatch.setattr(command, "WHOLE", {"long": quick("long", most_repeats=1)})
    return calls


def invoke(*words):
    app = typer.Typer()
    app.command()(command.run)
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=True)


def figures(folder):
    (path,) = folder.glob("*.json")
    return json.loads(path.read_text())["comparisons"]


def test_all_but_the_long_one_are_measured(called, tmp_path):
    assert invoke("--output", tmp_path).exit_code == 0
    assert {name: each["repeats"] for name, each in figures(tmp_path).items()} == {"first": 5, "second": 5}
    assert called.count("first ours") == called.count("second plain") == 5


def test_whole_adds_the_long_one_once(called, tmp_path):
    assert invoke("--output", tmp_path, "--only", "first", "--whole", "--repeats", 2).exit_code == 0
    assert {name: each["repeats"] for name, each in figures(tmp_path).items()} == {"first": 2, "long": 1}


def test_the_readme_shows_what_was_measured_now_and_before(called, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"{START}\n{END}\n")
    for name in ("first", "second"):
        assert invoke("--output", tmp_path / "out", "--only", name, "--readme", readme).exit_code == 0
    assert "| first: nothing |" in readme.read_text()
    assert "| second: nothing |" in readme.read_text()


@pytest.mark.parametrize(
    ("words", "said"), [(("--only", "frist"), "did you mean 'first'"), (("--repeats", 0), "at least 1 is needed")]
)
def test_bad_input_is_found_out_before_anything_is_measured(called, tmp_path, words, said):
    result = invoke("--output", tmp_path, *words)
    assert isinstance(result.exception, MedsafeError)
    assert said in str(result.exception)
    assert not called


def test_a_readme_without_markers_is_found_out_before_anything_is_measured(called, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("no marker")
    assert isinstance(invoke("--output", tmp_path, "--readme", readme).exception, MedsafeError)
    assert not called


def test_an_error_of_the_user_is_one_line_and_exit_code_2(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["perf", "--output", "x", "--only", "nothing-like-it"])
    with pytest.raises(SystemExit) as end:
        command.main()
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("medsafe perf: unknown comparison 'nothing-like-it'")
