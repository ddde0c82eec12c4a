"""The idx format: read whole or refused by name."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from torchweld import data

from .files import Pixels, pixels


def write(path: Path, array: Pixels) -> None:
    header = struct.pack(">4B", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    content = header + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def idx_set(root: Path, suffix: str = ".gz", count: int = 30) -> Path:
    for part, seed in (("train", 0), ("t10k", 1)):
        labels = np.arange(count, dtype=np.uint8) % 3
        write(root / f"{part}-images-idx3-ubyte{suffix}", pixels((count, 4, 6), seed))
        write(root / f"{part}-labels-idx1-ubyte{suffix}", labels)
    return root


@pytest.mark.parametrize("suffix", [".gz", ""])
def test_images_labels_and_test_part(tmp_path: Path, suffix: str) -> None:
    splits = data.read(idx_set(tmp_path, suffix), holdout=0)
    assert np.array_equal(splits.train.inputs, pixels((30, 4, 6), 0)[:, None])
    assert splits.train.targets.tolist() == [0, 1, 2] * 10
    assert splits.classes == ("0", "1", "2")
    assert splits.test is not None
    assert np.array_equal(splits.test.inputs, pixels((30, 4, 6), 1)[:, None])


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    idx_set(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    content = path.read_bytes()
    for wrong in (content[:100], b"", b"x" * 50, gzip.compress(gzip.decompress(content)[:50])):
        path.write_bytes(wrong)
        assert "train-images-idx3-ubyte.gz" in str(data.problems(tmp_path)[0])


def test_counts_that_differ_are_named(tmp_path: Path) -> None:
    idx_set(tmp_path)
    write(tmp_path / "t10k-labels-idx1-ubyte.gz", np.zeros(7, np.uint8))
    (problem,) = data.problems(tmp_path)
    assert "has 7 labels for 30 images" in problem.what


def test_a_label_that_training_lacks_is_a_problem(tmp_path: Path) -> None:
    idx_set(tmp_path)
    write(tmp_path / "t10k-labels-idx1-ubyte.gz", np.full(30, 9, np.uint8))
    assert "labels [9] are not in the training part" in str(data.problems(tmp_path)[0])
