"""What inspect counts, and the picture that it draws."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from torchweld import data
from torchweld.core import InputError

from .files import class_set, pair_set, pixels, save


def test_copies_across_parts_and_inside_training_are_found(tmp_path: Path) -> None:
    class_set(tmp_path / "train", {"a": 3, "b": 3})
    class_set(tmp_path / "test", {"a": 2, "b": 2}, seed=500)
    save(tmp_path / "test" / "a" / "copy.png", pixels((6, 5), 1))  # train/a/1
    save(tmp_path / "test" / "b" / "other.png", pixels((6, 5), 2))  # train/a/2, under another class
    save(tmp_path / "train" / "b" / "again.bmp", pixels((6, 5), 1000))  # train/b/0, in another format
    seen = data.inspect(data.read(tmp_path, holdout=0))
    assert [(pair.first, pair.second, pair.conflict) for pair in seen.across] == [
        ("train a/1.png", "test a/copy.png", False),
        ("train a/2.png", "test b/other.png", True),
    ]
    assert [(pair.first, pair.second) for pair in seen.within] == [("train b/0.png", "train b/again.bmp")]


def test_counts_and_imbalance(tmp_path: Path) -> None:
    splits = data.read(class_set(tmp_path, {"a": 12, "b": 4}), holdout=0.25)
    seen = data.inspect(splits)
    assert seen.counts == {"train": (9, 3), "held_out": (3, 1)}
    assert seen.imbalance == 3
    assert seen.stored_bytes == 16 * 30 + 16 * 8
    assert seen.float_bytes == 16 * 30 * 4


def test_pixels_of_masks_are_counted(tmp_path: Path) -> None:
    splits = data.read(pair_set(tmp_path, ["a", "b", "c"], values=(0, 9, 255)), holdout=0)
    exact = np.bincount(np.asarray(splits.train.targets).ravel(), minlength=3)
    assert data.inspect(splits).counts["train"] == tuple(exact)


def test_a_class_that_only_labels_skip_is_infinitely_rare() -> None:
    dataset = data.Dataset(pixels((4, 1, 2, 2)), np.array([0, 2, 2, 0]), "abcd")
    scale = data.Scale((0.5,), (0.5,), classes=3)
    splits = data.Splits(dataset, dataset.part(np.arange(0)), None, "classify", ("0", "1", "2"), scale)
    assert math.isinf(data.inspect(splits).imbalance)


def test_a_constant_column_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y,t\n1,7,0.5\n2,7,1.5\n3,7,2.5\n")
    assert data.inspect(data.read(tmp_path / "a.csv", holdout=0)).constant == ("y",)


def test_a_grid_shows_the_images_and_paints_their_masks(tmp_path: Path) -> None:
    image = np.full((60, 60, 3), 200, np.uint8)
    mask = np.zeros((60, 60), np.uint8)
    mask[:, 30:] = 255
    for name in ("a", "b"):
        save(tmp_path / f"{name}.png", image)
        save(tmp_path / f"{name}_mask.png", mask)
    splits = data.read(tmp_path, holdout=0)
    data.write_grid(splits, tmp_path / "out.png")
    drawn = np.asarray(Image.open(tmp_path / "out.png"))
    bare, painted = drawn[26:86, 6:66], drawn[26:86, 72:132]  # below the title
    assert (bare == 200).all()
    assert (painted[:, :30] == 200).all()
    assert (painted[:, 30:] != 200).any(2).all()


def test_a_grid_of_classes_has_a_row_each(tmp_path: Path) -> None:
    picture = data.grid(data.read(class_set(tmp_path, {"a": 3, "b": 12, "c": 1}), holdout=0))
    tall, wide = 60 + 6 + 20, 50 + 6  # 6x5 pixels ten times as large, a gap, a name
    assert picture.size == (8 * wide + 6, 3 * tall + 6)


def test_what_cannot_be_drawn_is_named(tmp_path: Path) -> None:
    splits = data.read("digits", holdout=0)
    with pytest.raises(InputError, match="held_out"):
        data.grid(splits, "held_out")
    with pytest.raises(InputError, match=r"\.xyz"):
        data.write_grid(splits, tmp_path / "a.xyz")
    (tmp_path / "a.csv").write_text("1,0.5\n2,1.5\n")
    with pytest.raises(InputError, match="table"):
        data.grid(data.read(tmp_path / "a.csv", holdout=0))
