"""Data sets load from where they should, under the name they deserve, and bad files are refused in one line."""

import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.api import MedsafeError
from benchmark.data import catalogue, cut_bloodmini
from benchmark.data.catalogue import ALLOWED, EMBEDDED_MD5
from benchmark.data.datasets import dataset_names, load_dataset
from benchmark.data.duplicates import duplicate_groups

OFFICIAL = {
    "breastmnist": ((546, 78, 156), 1, 2),
    "pneumoniamnist": ((4708, 524, 624), 1, 2),
    "retinamnist": ((1080, 120, 400), 3, 5),
}


def arrays(channels: int | None = 3, **changes) -> dict[str, np.ndarray]:
    """A small, correct MedMNIST-style file; a change of None leaves an array out."""
    rng = np.random.default_rng(0)
    content = {}
    for split, size in (("train", 6), ("val", 3), ("test", 3)):
        shape = (size, 5, 4) if channels is None else (size, 5, 4, channels)
        content[f"{split}_images"] = rng.integers(0, 256, shape, np.uint8)
        content[f"{split}_labels"] = (np.arange(size) % 3).astype(np.uint8)[:, None]
    return {name: array for name, array in (content | changes).items() if array is not None}


def write(path: Path, content: dict[str, np.ndarray]) -> Path:
    np.savez(path, **content)
    return path


def refusal(name: str | Path, *arguments, **options) -> str:
    """The one line with which a data set is refused."""
    with pytest.raises(MedsafeError) as caught:
        load_dataset(str(name), *arguments, **options)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_bloodmini_is_embedded_complete_and_small(bloodmini):
    file = Path(catalogue.__file__).with_name("bloodmini.npz")
    assert file.stat().st_size <= 8_000_000
    assert bloodmini.name == "bloodmini"
    assert bloodmini.sizes == (2400, 400, 800)
    assert bloodmini.num_classes == 8
    assert bloodmini.images.shape == (3600, 3, 28, 28)
    assert bloodmini.images.dtype == torch.uint8
    assert bloodmini.images.is_contiguous(memory_format=torch.channels_last)
    assert bloodmini.labels.dtype == torch.int64
    assert bloodmini.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert EMBEDDED_MD5 in file.with_suffix(".md").read_text()


def test_bloodmini_is_stratified_and_holds_no_image_twice(bloodmini):
    assert len(np.unique(duplicate_groups(bloodmini.images))) == 3600
    shares = [np.bincount(bloodmini.labels[rows]) / len(rows) for rows in (bloodmini.train, bloodmini.validation)]
    np.testing.assert_allclose(*shares, atol=1 / 400)


def test_bloodmini_is_what_the_script_cuts(real_files, tmp_path, monkeypatch):
    source = real_files / "bloodmnist_rebuilt.npz"
    if not source.is_file():
        pytest.skip("the file that bloodmini is cut from is not in MEDSAFE_DATA")
    monkeypatch.setattr(sys, "argv", ["cut_bloodmini", str(source), str(tmp_path / "again.npz")])
    cut_bloodmini.main()
    shipped = Path(catalogue.__file__).with_name("bloodmini.npz")
    with np.load(tmp_path / "again.npz") as again, np.load(shipped) as before, np.load(source) as whole:
        assert again.files == before.files
        for name in again.files:
            np.testing.assert_array_equal(again[name], before[name])
        groups = duplicate_groups(np.concatenate([whole[f"{split}_images"] for split in ("train", "val", "test")]))
        names, cut = (np.concatenate([file[f"{s}_names"] for s in ("train", "val", "test")]) for file in (whole, again))
        copied = names[np.bincount(groups)[groups] > 1]
        assert len(copied) == 34
        assert not np.isin(copied, cut).any()


def test_every_2d_single_label_set_of_medmnist_is_known():
    usable = {
        name
        for name, facts in catalogue.medmnist_information().items()
        if "3d" not in name and not facts["task"].startswith("multi-label")
    }
    assert set(dataset_names()) == usable | {"bloodmini"} == set(ALLOWED)


def test_loading_bloodmini_imports_neither_medmnist_nor_torchvision():
    code = (
        "import sys; from benchmark.data.datasets import load_dataset; load_dataset('bloodmini');"
        "import benchmark.data.augment, benchmark.data.scenarios;"
        "assert not {'medmnist', 'torchvision', 'timm'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", OFFICIAL)
def test_official_files_load_by_name(real_files, name):
    sizes, channels, classes = OFFICIAL[name]
    dataset = load_dataset(name, real_files)
    assert (dataset.name, dataset.sizes, dataset.channels, dataset.num_classes) == (name, sizes, channels, classes)
    with np.load(real_files / f"{name}.npz") as file:
        for split, rows in (("train", dataset.train), ("val", dataset.validation), ("test", dataset.test)):
            images = file[f"{split}_images"].reshape(len(rows), 28, 28, channels)
            np.testing.assert_array_equal(dataset.images[rows].permute(0, 2, 3, 1), images)
            np.testing.assert_array_equal(dataset.labels[rows], file[f"{split}_labels"][:, 0])


def test_the_environment_names_a_folder_too(real_files, monkeypatch):
    monkeypatch.setenv("MEDSAFE_DATA", str(real_files))
    assert load_dataset("BreastMNIST").name == "breastmnist"


def test_an_official_file_keeps_its_name_wherever_it_lies(real_files, tmp_path):
    copy = tmp_path / "my_scans.npz"
    copy.write_bytes((real_files / "breastmnist.npz").read_bytes())
    by_path, by_name = load_dataset(str(copy)), load_dataset("breastmnist", real_files)
    assert (by_path.name, by_path.allowed, by_path.class_names) == (
        by_name.name,
        by_name.allowed,
        ("malignant", "normal, benign"),
    )
    assert by_path.sha256 == by_name.sha256


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("bloodmnist_rebuilt.npz", "bloodmnist-rebuilt"),
        ("bloodmnist.npz", "unofficial-bloodmnist"),
        ("bloodmini.npz", "unofficial-bloodmini"),
        ("PathMNIST_64.npz", "unofficial-pathmnist-64"),
        ("=cmd|' C calc'.npz", "cmd-c-calc"),
        ("Ünser Scan (2).npz", "nser-scan-2"),
        ("___.npz", "unnamed"),
    ],
)
def test_a_file_is_named_after_what_it_is(tmp_path, file, name):
    dataset = load_dataset(str(write(tmp_path / file, arrays())))
    assert dataset.name == name
    assert dataset.allowed == frozenset()
    assert dataset.class_names == ("0", "1", "2")


@pytest.mark.parametrize(("channels", "planes"), [(None, 1), (1, 1), (3, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
@pytest.mark.parametrize("compressed", [False, True])
def test_grey_and_rgb_files_load_alike(tmp_path, channels, planes, dtype, compressed):
    content = arrays(channels)
    content |= {name: array[:, 0].astype(dtype) for name, array in content.items() if name.endswith("labels")}
    (np.savez_compressed if compressed else np.savez)(tmp_path / "scans.npz", **content)
    dataset = load_dataset(str(tmp_path / "scans.npz"))
    assert dataset.images.shape == (12, planes, 5, 4)
    assert dataset.images.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_array_equal(
        dataset.images[dataset.test].permute(0, 2, 3, 1), content["test_images"].reshape(3, 5, 4, planes)
    )
    assert dataset.labels.tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2]


def test_a_relative_path_is_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(write(tmp_path / "scans.npz", arrays()).parent)
    assert load_dataset("scans.npz").name == "scans"


def test_what_the_user_vouches_for_is_allowed_beside_what_is_known(tmp_path):
    path = write(tmp_path / "scans.npz", arrays())
    assert load_dataset(str(path), allow=frozenset({"crop", "horizontal"})).allowed == {"crop", "horizontal"}
    assert load_dataset("bloodmini", allow=frozenset({"crop"})).allowed == ALLOWED["bloodmini"]
    assert "did you mean 'horizontal'" in refusal("bloodmini", allow=frozenset({"horisontal"}))


def test_no_mirror_image_where_the_side_is_the_label():
    for name in ("organamnist", "organcmnist", "organsmnist"):
        assert ALLOWED[name] == {"crop"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pathminst", "did you mean 'pathmnist'"),
        ("nothing-like-it", "known: bloodmini"),
        ("chestmnist", "one label per image"),
        ("organmnist3d", "volumes"),
        ("missing.npz", "no such file"),
        ("folder/missing", "no such file"),
        (f".{os.sep}", "cannot be read"),
    ],
)
def test_unknown_and_unusable_names_are_refused(name, words):
    line = refusal(name)
    assert words in line
    assert name.strip("./") in line


def labels(*values: int, dtype: type = np.int64) -> np.ndarray:
    return np.array(values, dtype)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"val_images": None}, "array val_images is missing"),
        ({"test_labels": None}, "array test_labels is missing"),
        ({"train_images": np.zeros((6, 5, 4, 3), np.float32)}, "train_images has dtype float32"),
        ({"train_images": np.zeros((6, 3, 5, 4), np.uint8)}, "train_images has shape (6, 3, 5, 4)"),
        ({"train_images": np.zeros((6, 20), np.uint8)}, "train_images has shape (6, 20)"),
        ({"val_images": np.zeros((3, 5, 5, 3), np.uint8)}, "val_images are (5, 5, 3), those of train (5, 4, 3)"),
        ({"test_images": np.zeros((4, 5, 4, 3), np.uint8)}, "test has 4 images but 3 labels"),
        ({"val_labels": labels(0.0, 1.0, 2.0, dtype=np.float64)}, "val_labels has dtype float64"),
        ({"val_labels": np.zeros((3, 14), np.int64)}, "val_labels has shape (3, 14)"),
        ({"val_labels": np.array([None, 1, 2])}, "val_labels cannot be read"),
        ({"val_labels": labels(), "val_images": np.zeros((0, 5, 4, 3), np.uint8)}, "val holds no image"),
        ({"val_labels": labels(0, -1, 2)}, "val_labels holds -1"),
        ({"train_labels": labels(0, 1, 2, 0, 1, -7)}, "train_labels holds -7"),
        ({"test_labels": labels(0, 1, 3)}, "test_labels holds 3, but the classes of train are 0 to 2"),
        ({"test_labels": labels(0, 1, 2**63 - 1)}, f"test_labels holds {2**63 - 1}"),
        ({"train_labels": labels(0, 0, 2, 0, 2, 2)}, "class 1 has no image in train"),
        ({f"{s}_labels": labels(*[0] * n) for s, n in (("train", 6), ("val", 3), ("test", 3))}, "fewer than two"),
    ],
)
def test_a_file_of_another_kind_is_refused_in_one_line(tmp_path, changes, words):
    path = write(tmp_path / "scans.npz", arrays(**changes))
    line = refusal(path)
    assert line.startswith(f"{path}: ")
    assert words in line


def test_damaged_files_are_refused_in_one_line(tmp_path):
    path = write(tmp_path / "scans.npz", arrays())
    whole = path.read_bytes()
    middle = whole.index(b"NUMPY") + 200
    single = io.BytesIO()
    np.save(single, np.zeros(3))
    damaged = [b"", b"PK", b"no archive", whole[:-30], whole[: len(whole) // 2], single.getvalue()]
    damaged.append(whole[:middle] + b"\x00\xff" * 20 + whole[middle + 40 :])
    for content in damaged:
        path.write_bytes(content)
        line = refusal(path)
        assert line.startswith(f"{path}: ")
        assert "fetch" in line


def test_an_altered_file_under_an_official_name_is_refused(real_files, tmp_path):
    with np.load(real_files / "breastmnist.npz") as file:
        content = dict(file)
    content["train_labels"] = 1 - content["train_labels"]
    path = write(tmp_path / "breastmnist.npz", content)
    line = refusal("breastmnist", tmp_path)
    assert str(path) in line
    assert "750601b1f35ba3300ea97c75c52ff8f6" in line
    assert hashlib.md5(path.read_bytes()).hexdigest() in line
    assert load_dataset(str(path)).name == "unofficial-breastmnist"


def test_a_truncated_file_under_an_official_name_is_refused(real_files, tmp_path):
    (tmp_path / "breastmnist.npz").write_bytes((real_files / "breastmnist.npz").read_bytes()[:-1000])
    assert "damaged or altered" in refusal("breastmnist", tmp_path)


def test_a_data_root_without_the_file_is_refused(tmp_path):
    line = refusal("pathmnist", tmp_path)
    assert str(tmp_path / "pathmnist.npz") in line
    assert "a8b06965200029087d5bd730944a56c1" in line


@pytest.mark.slow
def test_a_set_as_large_as_pathmnist_loads_well_below_a_gigabyte(tmp_path):
    rng = np.random.default_rng(0)
    content = {}
    for split, size in (("train", 89_996), ("val", 10_004), ("test", 7_180)):
        content[f"{split}_images"] = rng.integers(0, 256, (size, 28, 28, 3), np.uint8)
        content[f"{split}_labels"] = (np.arange(size) % 9).astype(np.uint8)[:, None]
    path = write(tmp_path / "large.npz", content)
    del content
    code = (
        "import resource, sys, medmnist, scipy.sparse.csgraph\n"
        "from benchmark.data.datasets import load_dataset\n"
        "from benchmark.data.splits import make_splits\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\n"
        "make_splits(load_dataset(sys.argv[1]), seed=0)\n"
        "print((peak() - before) // 1024)"
    )
    result = subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True)
    assert int(result.stdout) < 800  # MiB, of which the file's bytes and the images themselves are 240 each
