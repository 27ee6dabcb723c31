"""How a method is found by its name, wherever it lives, and how its hyper-parameters are read."""

import subprocess
import sys
from dataclasses import asdict

import pytest

from benchmark.errors import MedsafeError
from benchmark.registry import find, names

BUILT_IN = ["finetune", "gradient_ascent", "l1_sparse", "neggrad_plus", "original", "random_label", "retrain", "salun"]

PLUGIN = """
from dataclasses import dataclass
from typing import Literal
from benchmark.api import unlearning_method

@unlearning_method("{name}", version=4, presets={{"gentle": {{"lr": 0.001}}}})
@dataclass(frozen=True)
class Mine:
    epochs: int = 10
    lr: float = 0.5
    freeze: bool = False
    pool: Literal["wrong", "all"] = "wrong"
    stage: Literal[1, 2] = 1
    note: str = ""
    layers: tuple[int, ...] = (1, 2)

    def __post_init__(self):
        if self.lr < 0:
            raise ValueError(f"lr must not be negative, got {{self.lr}}")

    def unlearn(self, model, task):
        return model
"""


@pytest.fixture
def plugin_file(tmp_path):
    def write(text=None, name="mine"):
        path = tmp_path / f"{name}.py"
        path.write_text(PLUGIN.format(name=name) if text is None else text)
        return path

    return write


@pytest.fixture
def install(tmp_path, monkeypatch):
    """A distribution with an entry point, installed in a folder of its own on the path."""

    def go(entry, module="", name="their-package"):
        site = tmp_path / name
        folder = site / f"{name.replace('-', '_')}-2.1.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.1\n")
        (folder / "entry_points.txt").write_text(f"[medsafe.unlearning]\n{entry}\n")
        (site / f"{name.replace('-', '_')}.py").write_text(module)
        monkeypatch.syspath_prepend(str(site))

    yield go
    for module in [name for name in sys.modules if name.startswith("their_")]:
        del sys.modules[module]


def one_line(error):
    assert "\n" not in str(error.value).strip()
    return str(error.value)


def test_every_built_in_method_is_found_under_its_files_name():
    assert names("unlearning") == BUILT_IN
    for name in BUILT_IN:
        plugin = find("unlearning", name)
        assert (plugin.info.kind, plugin.info.name, plugin.source) == ("unlearning", name, "built-in")
        assert plugin.version == str(plugin.info.version)
        assert plugin.configure("published", {}) == plugin.cls()


def test_methods_are_listed_without_importing_any_of_them():
    code = (
        "import sys; from benchmark.registry import find, names; listed = names('unlearning');"
        "loaded = lambda: sorted(m.split('.')[-1] for m in sys.modules if m.startswith('methods.unlearning.'));"
        "print(*loaded()); find('unlearning', 'finetune'); print(*loaded()); print(*listed)"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout.split("\n")[:3] == ["", "finetune", " ".join(BUILT_IN)]


@pytest.mark.parametrize(
    ("asked", "answer"),
    [("salum", "did you mean 'salun'"), ("neggrad", "did you mean 'neggrad_plus'"), ("xyz", "known: finetune, ")],
)
def test_an_unknown_name_is_answered_with_the_nearest_or_all(asked, answer):
    with pytest.raises(MedsafeError, match=f"^unknown unlearning method '{asked}': {answer}") as error:
        find("unlearning", asked)
    one_line(error)


def test_an_unknown_kind_is_refused():
    with pytest.raises(MedsafeError, match="unknown kind of plugin 'unlearnin': did you mean 'unlearning'"):
        names("unlearnin")


def test_a_method_in_a_file_is_found_and_its_version_holds_the_files_hash(plugin_file):
    path = plugin_file()
    first = find("unlearning", "mine", path)
    assert first.configure("published", {}).lr == 0.5
    assert first.configure("gentle", {}).lr == 0.001
    assert first.version.startswith("4+")
    assert find("unlearning", "mine", path).version == first.version
    path.write_text(path.read_text() + "\n# another way\n")
    assert find("unlearning", "mine", path).version != first.version


def test_a_file_leaves_the_built_in_methods_where_they_are(plugin_file):
    assert find("unlearning", "salun", plugin_file()).source == "built-in"
    with pytest.raises(MedsafeError, match="unknown unlearning method 'mine'"):
        find("unlearning", "mine")


def test_a_built_in_class_that_a_file_imports_is_not_its_own(plugin_file):
    path = plugin_file("from methods.unlearning.salun import SalUn\n" + PLUGIN.format(name="mine"))
    assert find("unlearning", "salun", path).source == "built-in"


BROKEN = {
    "no Python": ("this is no python", "SyntaxError"),
    "raises": ("raise RuntimeError('two\\nlines')", "RuntimeError"),
    "missing import": ("import a_package_that_does_not_exist", "a_package_that_does_not_exist"),
    "no method": ("x = 1", "marks no unlearning method"),
    "no dataclass": (
        "from benchmark.api import unlearning_method\n@unlearning_method('mine', version=1)\nclass Mine: pass",
        "is no dataclass",
    ),
    "a name that is a path": (PLUGIN.format(name="../mine"), "'../mine': use lower-case letters"),
    "two of one name": (
        PLUGIN.format(name="mine") + PLUGIN.format(name="mine").replace("Mine", "Other"),
        "taken by two",
    ),
}


@pytest.mark.parametrize(("text", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_refused_with_its_reason(plugin_file, text, reason):
    with pytest.raises(MedsafeError) as error:
        find("unlearning", "mine", plugin_file(text, name="broken"))
    assert reason in str(error.value)


def test_a_file_that_is_not_there_or_no_python_file_is_refused(tmp_path):
    with pytest.raises(MedsafeError, match=r"plugin file '.*nothing.py' does not exist"):
        find("unlearning", "salun", tmp_path / "nothing.py")
    (tmp_path / "method.txt").write_text(PLUGIN.format(name="mine"))
    with pytest.raises(MedsafeError, match=r"'.*method.txt' is no Python file"):
        find("unlearning", "mine", tmp_path / "method.txt")


def test_a_name_that_is_taken_is_refused_whoever_is_asked_for(plugin_file):
    path = plugin_file(PLUGIN.format(name="salun"))
    for asked in ("salun", "finetune"):
        with pytest.raises(MedsafeError, match=r"the name 'salun' of '.*' is taken"):
            find("unlearning", asked, path)


def test_an_installed_distribution_offers_a_method_and_its_version_is_recorded(install):
    install("theirs = their_package:Mine", PLUGIN.format(name="theirs"))
    assert "theirs" in names("unlearning")
    plugin = find("unlearning", "theirs")
    assert plugin.version == "4+their-package-2.1"
    assert plugin.configure("published", {"lr": "2"}).lr == 2.0


@pytest.mark.parametrize(
    ("entry", "module", "reason"),
    [
        ("theirs = their_package:Mine", "import a_package_that_does_not_exist", "is unavailable: ModuleNotFoundError"),
        ("theirs = their_package:Other", "", "is unavailable: AttributeError"),
        ("theirs = their_package:Mine", "class Mine: pass", "is no unlearning method of that name"),
        ("theirs = their_package:Mine", PLUGIN.format(name="other"), "is no unlearning method of that name"),
    ],
    ids=["import fails", "no such class", "not marked", "another name"],
)
def test_a_broken_entry_point_says_why_and_breaks_no_other_method(install, entry, module, reason):
    install(entry, module)
    assert "theirs" in names("unlearning")
    assert find("unlearning", "salun").source == "built-in"
    with pytest.raises(MedsafeError, match=reason) as error:
        find("unlearning", "theirs")
    one_line(error)


def test_an_entry_point_may_not_take_a_built_in_name(install):
    install("salun = their_package:Mine", PLUGIN.format(name="salun"))
    assert find("unlearning", "finetune").source == "built-in"  # nobody else suffers
    with pytest.raises(MedsafeError, match="the name 'salun' of entry point 'their_package:Mine' is taken"):
        find("unlearning", "salun")


@pytest.fixture
def mine(plugin_file):
    return find("unlearning", "mine", plugin_file())


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("epochs", "3", 3), ("lr", "1", 1.0), ("lr", "1e-3", 0.001), ("lr", "0", 0.0), ("freeze", "true", True),
        ("freeze", "False", False), ("pool", "all", "all"), ("stage", "2", 2), ("note", "any text", "any text"),
    ],
)  # fmt: skip
def test_text_becomes_the_type_that_the_field_declares(mine, name, text, value):
    found = getattr(mine.configure("published", {name: text}), name)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("epochs", "1.5", "type int; not '1.5'"), ("epochs", "many", "type int"), ("epochs", "", "type int"),
        ("lr", "small", "type float; not 'small'"), ("lr", "nan", "a finite number; not 'nan'"),
        ("lr", "inf", "a finite number"), ("lr", "-1e999", "a finite number"),
        ("freeze", "1", "true or false; not '1'"), ("freeze", "yes", "true or false"),
        ("pool", "some", "one of wrong, all; not 'some'"), ("stage", "3", "one of 1, 2; not '3'"),
        ("layers", "1", "cannot be given as text"), ("lr", "-1", "is at least 0, not -1"),
    ],
)  # fmt: skip
def test_a_value_of_the_wrong_type_is_refused_by_name(mine, name, text, reason):
    with pytest.raises(MedsafeError) as error:
        mine.configure("published", {name: text})
    assert name in str(error.value)
    assert "mine" in str(error.value)
    assert reason in one_line(error)


def test_an_unknown_hyper_parameter_or_preset_is_answered_with_the_nearest(mine):
    with pytest.raises(MedsafeError, match="unknown hyper-parameter of mine 'epoch': did you mean 'epochs'"):
        mine.configure("published", {"epoch": "3"})
    with pytest.raises(MedsafeError, match="unknown preset of mine 'gentel': did you mean 'gentle'"):
        mine.configure("gentel", {})


def test_the_users_own_values_stand_above_the_presets(mine):
    assert mine.configure("gentle", {}).lr == 0.001
    assert mine.configure("gentle", {"lr": "7"}).lr == 7.0
    assert mine.configure("gentle", {"epochs": "7"}).lr == 0.001


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("    lr: float\n", "missing 1 required positional argument"),
        ("    lr: object = frozenset()\n", "not JSON serializable"),
        ("    lr: float = float('nan')\n", "not JSON compliant"),
    ],
    ids=["no default", "a default that no record can hold", "a default that is no number"],
)
def test_a_method_whose_own_values_cannot_be_recorded_is_refused_in_one_line(plugin_file, line, reason):
    head = "from dataclasses import dataclass\nfrom benchmark.api import unlearning_method\n"
    marked = "@unlearning_method('mine', version=1)\n@dataclass(frozen=True)\nclass Mine:\n"
    plugin = find("unlearning", "mine", plugin_file(head + marked + line))
    with pytest.raises(MedsafeError, match=f"^mine: .*{reason}") as error:
        plugin.configure("published", {})
    one_line(error)


def test_a_preset_with_a_field_that_does_not_exist_is_refused_in_one_line(plugin_file):
    plugin = find("unlearning", "mine", plugin_file(PLUGIN.format(name="mine").replace('{"lr"', '{"speed"')))
    with pytest.raises(MedsafeError, match=r"^mine: .*'speed'") as error:
        plugin.configure("gentle", {})
    one_line(error)


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_preset_of_a_built_in_method_can_be_run_and_differs_from_the_others(name):
    plugin = find("unlearning", name)
    made = {preset: plugin.configure(preset, {}) for preset in plugin.info.presets if preset != "scaled"}
    assert "published" in made
    assert len({str(asdict(method)) for method in made.values()}) == len(made)
