"""What bad input is answered with: one line, exit code 2, nothing written."""

import os
from pathlib import Path

import numpy as np
import pytest

from benchmark.models import build_model
from benchmark.store.artifacts import ArtifactStore


@pytest.fixture
def refused(medsafe, tiny_npz, cache, tmp_path):
    """Has a request refused as every bad one must be; returns the one line."""

    def call(*words: object) -> str:
        given = {"--method": "salun", "--dataset": tiny_npz} | dict(zip(words[::2], words[1::2], strict=True))
        said = medsafe("run", *[word for pair in given.items() for word in pair])
        assert said.code == 2
        assert said.out == ""
        assert said.err.startswith("medsafe: ")
        assert said.err.count("\n") == 1
        assert said.err.endswith("\n")
        assert not [path for path in (tmp_path / "results").rglob("*") if path.is_file()]
        assert ArtifactStore(cache).listing() == []
        return said.err

    return call


NAMES = [
    (("--method", "salum"), "unknown method 'salum': did you mean 'salun'?"),
    (("--dataset", "bloodmin"), "unknown data set 'bloodmin': did you mean 'bloodmini'?"),
    (("--arch", "cnn-smal"), "unknown architecture 'cnn-smal': did you mean 'cnn-small'?"),
    (("--arch", "timm:resnet81"), "unknown timm architecture 'resnet81': did you mean"),
    (("--recipe", "cpuu"), "unknown recipe 'cpuu': did you mean 'cpu'?"),
    (("--recipe", "cpu+standart"), "'standart': did you mean 'standard'?"),
    (("--profile", "quik"), "unknown profile 'quik': did you mean 'quick'?"),
    (("--preset", "publishd"), "unknown preset of salun 'publishd': did you mean 'published'?"),
    (("--device", "cudaa"), "unknown device 'cudaa': did you mean 'cuda'?"),
    (("--scenario", "randm:0.1"), "unknown scenario 'randm': did you mean 'random'?"),
    (("--params", "keep_ration=1"), "unknown hyper-parameter of salun 'keep_ration': did you mean 'keep_ratio'?"),
    (("--allow", "horizontl"), "unknown augmentation 'horizontl': did you mean 'horizontal'?"),
]


@pytest.mark.parametrize(("words", "answer"), NAMES, ids=[" ".join(words) for words, _ in NAMES])
def test_an_unknown_name_is_answered_with_the_nearest(refused, words, answer):
    assert answer in refused(*words)


VALUES = [
    (("--params", "epochs=many"), "'epochs' of salun takes a value of type int; not 'many'"),
    (("--params", "epochs=1.5"), "'epochs' of salun takes a value of type int; not '1.5'"),
    (("--params", "lr=nan"), "'lr' of salun takes a finite number; not 'nan'"),
    (("--params", "schedule=mixd"), "'schedule' of salun takes one of forget_then_retain, mixed; not 'mixd'"),
    (("--params", "keep_ratio=2"), "salun: keep_ratio must lie in [0, 1], not 2.0"),
    (("--params", "keep_ratio"), "parameter 'keep_ratio' not understood"),
    (("--params", "lr=1 lr=2"), "parameter 'lr' is given twice"),
    (("--scenario", "random:0"), "'random:0'"),
    (("--scenario", "random:1"), "'random:1'"),
    (("--scenario", "random:0.0001"), "'random:0.0001' forgets no image of the 360"),
    (("--scenario", "random:0.9999"), "'random:0.9999' forgets every image of the 360"),
    (("--scenario", "random"), "'random' lacks its value"),
    (("--scenario", "class:8"), "'class:8': no such class; those of tiny-blood are 0 to 7"),
    (("--scenario", "class:basophil"), "'class:basophil': give the number"),
    (("--scenario", "ids:nowhere.txt"), "nowhere.txt: cannot be read"),
    (("--blocks", "0"), "blocks '0' not understood"),
    (("--blocks", "3-1"), "blocks '3-1' not understood"),
    (("--retrains", "0"), "0 Retrains: at least 1 is needed"),
    (("--threads", "0"), "threads 0: at least 1 is needed"),
    (("--threads", "-2"), "threads -2: at least 1 is needed"),
    (("--non-members", "1"), "share of non-members 1.0"),
    (("--attack", "badnets"), "attack 'badnets' goes with a backdoor defence, and 'salun' is an unlearning method"),
    (("--dataset", "nowhere.npz"), "nowhere.npz"),
    (("--dataset", "octmnist", "--data-root", "nowhere"), "nowhere"),
    (("--original", "nowhere.safetensors"), "checkpoint 'nowhere.safetensors' does not exist"),
    (("--plugin", "nowhere.py"), "plugin file 'nowhere.py' does not exist"),
    (("--groups", "nowhere.csv"), "nowhere.csv: cannot be read"),
]


@pytest.mark.parametrize(("words", "answer"), VALUES, ids=[" ".join(words) for words, _ in VALUES])
def test_a_value_that_cannot_be_used_is_named(refused, words, answer):
    assert answer in refused(*words)


FILES = {
    "an id beyond official train": ("--scenario", "ids:{}", "0\n400\n", "id 400 is out of range"),
    "an id that is no number": ("--scenario", "ids:{}", "0\n-1\n", "line 2: '-1' is no training index"),
    "no id at all": ("--scenario", "ids:{}", "# nothing\n", "lists no training index"),
    "every id there is": ("--scenario", "ids:{}", "\n".join(map(str, range(400))), "forgets every image"),
    "a checkpoint that is none": ("--original", "{}", "no weights", "cannot be read as safetensors"),
    "a plugin that is no Python": ("--plugin", "{}", "this is no python", "cannot be imported: SyntaxError"),
    "groups without their columns": ("--groups", "{}", "a,b\n1,2\n", "no column 'split'"),
    "a data file that is none": ("--dataset", "{}", "no archive", "file.npz"),
}


@pytest.mark.parametrize(("option", "value", "text", "answer"), FILES.values(), ids=FILES)
def test_a_file_with_the_wrong_content_is_named(refused, tmp_path, option, value, text, answer):
    ending = {"--plugin": "py", "--dataset": "npz"}.get(option, "txt")
    path = tmp_path / f"file.{ending}"
    path.write_text(text)
    line = refused(option, value.format(path))
    assert answer in line
    assert "file" in line


def rewritten(path, target, **changes):
    """A copy of an .npz file with some arrays replaced."""
    with np.load(path) as arrays:
        np.savez(target, **({name: arrays[name] for name in arrays} | changes))
    return target


def test_a_truncated_data_file_is_named(refused, tiny_npz, tmp_path):
    path = tmp_path / "cut.npz"
    path.write_bytes(tiny_npz.read_bytes()[:-5000])
    assert "cut.npz" in refused("--dataset", path)


def test_labels_out_of_range_are_named(refused, tiny_npz, tmp_path):
    labels = np.load(tiny_npz)["test_labels"].copy()
    labels[3] = 9
    path = rewritten(tiny_npz, tmp_path / "odd.npz", test_labels=labels)
    line = refused("--dataset", path)
    assert "odd.npz: test_labels holds 9, but the classes of train are 0 to 7" in line


def test_a_class_of_a_two_class_set_cannot_be_forgotten(refused, tiny_npz, tmp_path):
    with np.load(tiny_npz) as arrays:
        labels = {name: (arrays[name] > 3).astype(np.uint8) for name in arrays if name.endswith("labels")}
    path = rewritten(tiny_npz, tmp_path / "two.npz", **labels)
    assert "two has two classes" in refused("--dataset", path, "--scenario", "class:1")


def test_an_official_file_that_was_altered_is_not_taken_for_it(refused, tmp_path):
    folder = os.environ.get("MEDSAFE_DATA")
    if not folder or not (Path(folder) / "breastmnist.npz").is_file():
        pytest.skip("MEDSAFE_DATA does not name a folder with official MedMNIST files")
    content = bytearray((Path(folder) / "breastmnist.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "breastmnist.npz").write_bytes(content)
    line = refused("--dataset", "breastmnist", "--data-root", tmp_path)
    assert "md5 is" in line
    assert "that of the official breastmnist is" in line


def test_results_that_cannot_be_written_are_found_out_before_anything_is_computed(refused, tmp_path):
    (tmp_path / "file").write_text("kept")
    line = refused("--results", tmp_path / "file" / "below")
    assert "file/below' cannot be written" in line
    assert (tmp_path / "file").read_text() == "kept"


def test_a_cache_that_cannot_be_written_is_named(refused, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MEDSAFE_CACHE", str(tmp_path / "file" / "below"))
    assert "cache folder" in refused()


def test_a_checkpoint_of_another_architecture_is_found_out_before_anything_is_computed(refused, run, tmp_path):
    from safetensors.torch import save_file

    model = build_model("cnn-small", channels=1, num_classes=8, seed=0)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, tmp_path / "grey.safetensors")
    assert "does not fit this architecture" in refused("--original", tmp_path / "grey.safetensors")


def test_a_line_about_a_name_in_brackets_or_with_emoji_words_keeps_it_as_it_is(refused):
    assert "unknown method '[bold]:bug:[/x]'" in refused("--method", "[bold]:bug:[/x]")


@pytest.mark.parametrize("words", [("run",), ("run", "--method"), ("run", "--metod", "salun"), ("leaderbord",)])
def test_a_command_that_cannot_be_parsed_ends_with_code_2(medsafe, words):
    said = medsafe(*words)
    assert said.code == 2
    assert words[-1].removeprefix("--") in said.err or "--method" in said.err
