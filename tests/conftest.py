"""What every test shares: one CPU thread (bits depend on their number), and caches of its own."""

import numpy as np
import pytest
import torch

from benchmark.data.datasets import load_dataset

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def one_thread():
    """Whatever a test sets: the next one, and the models that a module trains for it, start from one thread again."""
    yield
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """No test reads or fills the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("MEDSAFE_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def tiny_npz(tmp_path_factory):
    """400 / 80 / 100 real blood-cell images in MedMNIST's format."""
    dataset = load_dataset("bloodmini")
    images = dataset.images.permute(0, 2, 3, 1).numpy()
    labels = dataset.labels.numpy()[:, None].astype(np.uint8)
    parts = {"train": dataset.train[:400], "val": dataset.validation[:80], "test": dataset.test[:100]}
    arrays = {f"{part}_images": images[rows] for part, rows in parts.items()}
    arrays |= {f"{part}_labels": labels[rows] for part, rows in parts.items()}
    path = tmp_path_factory.mktemp("data") / "tiny_blood.npz"
    np.savez(path, **arrays)
    return path
