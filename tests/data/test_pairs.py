"""Images with masks: found by name before training, mapped to classes by value."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from torchweld import data

from .files import pair_set, pixels, save


def said(source: Path) -> str:
    return "\n".join(map(str, data.problems(source)))


def test_values_become_classes_and_255_is_1(tmp_path: Path) -> None:
    """The mistake: `// 255`, which sends 254 to 0."""
    pair_set(tmp_path, ["a", "b", "c"], values=(0, 254, 255))
    splits = data.read(tmp_path, holdout=0)
    assert splits.task == "segment"
    assert splits.mask_values == {0: 0, 254: 1, 255: 2}
    raw = np.asarray(Image.open(tmp_path / "b_mask.png"))
    mapped = np.asarray(splits.train.targets[1])
    assert mapped.dtype == np.uint8
    for value, number in splits.mask_values.items():
        assert np.array_equal(raw == value, mapped == number)
    assert data.read(pair_set(tmp_path / "two", ["a"]), holdout=0).mask_values == {0: 0, 255: 1}


def test_targets_are_what_cross_entropy_takes(tmp_path: Path) -> None:
    """The mistake: uint8 masks, which cross-entropy rejects."""
    splits = data.read(pair_set(tmp_path, ["a", "b"]), holdout=0)
    batch = next(data.Batches(splits.train, splits, 2).epoch(0))
    assert batch.targets.dtype == torch.int64
    loss = torch.nn.functional.cross_entropy(torch.zeros(2, 2, 6, 5), batch.targets)
    assert abs(loss.item() - np.log(2)) < 1e-6


def test_names_may_have_dots(tmp_path: Path) -> None:
    """The mistake: names split at the first dot, so that a.1 and a.2 are one."""
    splits = data.read(pair_set(tmp_path, ["a.1", "a.2", "tile_v1.0.3", "a"]), holdout=0)
    assert sorted(splits.train.names) == ["a.1.png", "a.2.png", "a.png", "tile_v1.0.3.png"]
    for name, mask in zip(splits.train.names, splits.train.targets, strict=True):
        raw = np.asarray(Image.open(tmp_path / f"{name.removesuffix('.png')}_mask.png"))
        assert np.array_equal(raw == 255, mask == 1)


@pytest.mark.parametrize("marked", [True, False])
def test_images_and_masks_may_lie_apart(tmp_path: Path, marked: bool) -> None:
    pair_set(tmp_path / "flat", ["a", "b.c"])
    for folder in ("images", "masks"):
        (tmp_path / "set" / folder).mkdir(parents=True)
    for path in (tmp_path / "flat").iterdir():
        if path.stem.endswith("_mask"):
            shutil.copy(path, tmp_path / "set" / "masks" / (path.name if marked else path.name.replace("_mask", "")))
        else:
            shutil.copy(path, tmp_path / "set" / "images" / path.name)
    together, apart = (data.read(tmp_path / name, holdout=0) for name in ("flat", "set"))
    assert np.array_equal(together.train.inputs, apart.train.inputs)
    assert np.array_equal(together.train.targets, apart.train.targets)


def test_images_of_another_format_have_their_masks(tmp_path: Path) -> None:
    for name in ("a.JPG", "b.tif"):
        save(tmp_path / name, pixels((6, 5, 3)))
        mask = np.zeros((6, 5), np.uint8)
        mask[2:4] = 255
        save(tmp_path / f"{Path(name).stem}_mask.png", mask)
    assert len(data.read(tmp_path, holdout=0).train) == 2


def test_everything_wrong_is_listed_before_training(tmp_path: Path) -> None:
    """The mistake: a missing mask only found in the middle of an epoch."""
    pair_set(tmp_path, ["good", "nomask", "size", "cut", "cutmask", "twice", "colour"])
    (tmp_path / "nomask_mask.png").unlink()
    save(tmp_path / "size_mask.png", pixels((5, 6)))
    (tmp_path / "cutmask_mask.png").write_bytes((tmp_path / "cutmask_mask.png").read_bytes()[:40])
    large = save(tmp_path / "cut.png", pixels((6, 5, 3))).read_bytes()
    (tmp_path / "cut.png").write_bytes(large[: len(large) - 40])
    save(tmp_path / "orphan_mask.png", np.zeros((6, 5), np.uint8))
    save(tmp_path / "twice.bmp", pixels((6, 5, 3)))
    save(tmp_path / "colour_mask.png", pixels((6, 5, 3)))
    save(tmp_path / "lossy.png", pixels((6, 5, 3)))
    save(tmp_path / "lossy_mask.jpg", np.zeros((6, 5), np.uint8))
    found = {Path(problem.path).name: str(problem) for problem in data.problems(tmp_path)}
    expected = {
        "nomask.png": "has no mask; add",
        "size_mask.png": "mask of 5x6 for an image of 6x5",
        "cutmask_mask.png": "cannot be read",
        "cut.png": "truncated",
        "orphan_mask.png": "without an image",
        "twice.png": "a second image 'twice'",
        "colour_mask.png": "mask in colours",
        "lossy_mask.jpg": "JPEG",
    }
    assert found.keys() == expected.keys()
    for name, words in expected.items():
        assert words in found[name]


def test_a_value_that_the_training_masks_lack_is_a_problem(tmp_path: Path) -> None:
    pair_set(tmp_path / "train", ["a", "b"])
    pair_set(tmp_path / "test", ["c"], values=(0, 7, 255))
    assert "c_mask.png: values 7 are not in the training masks (0, 255)" in said(tmp_path)


def test_the_test_parts_mapping_is_the_training_parts(tmp_path: Path) -> None:
    pair_set(tmp_path / "train", ["a", "b"], values=(0, 100, 200))
    pair_set(tmp_path / "test", ["c"], values=(100, 200))
    splits = data.read(tmp_path, holdout=0)
    assert splits.test is not None
    assert set(np.unique(splits.test.targets)) == {1, 2}


def test_masks_of_one_value_are_a_problem(tmp_path: Path) -> None:
    assert "hold only 7" in said(pair_set(tmp_path, ["a", "b"], values=(7,)))


def test_masks_are_fitted_by_the_nearest_pixel(tmp_path: Path) -> None:
    pair_set(tmp_path, ["a", "b"], values=(0, 100, 255))
    pair_set(tmp_path, ["c"], values=(0, 100, 255), size=(31, 47))
    splits = data.read(tmp_path, holdout=0)
    assert splits.train.targets.shape == (3, 6, 5)
    assert splits.mask_values == {0: 0, 100: 1, 255: 2}
    assert splits.train.targets[2].max() <= 2


def test_held_out_pairs_stay_pairs(tmp_path: Path) -> None:
    names = [f"n{i}" for i in range(10)]
    pair_set(tmp_path, names)
    splits = data.read(tmp_path, holdout=0.3, seed=1)
    assert (len(splits.train), len(splits.held_out)) == (7, 3)
    for part in (splits.train, splits.held_out):
        for i, name in enumerate(part.names):
            raw = np.asarray(Image.open(tmp_path / name))
            assert np.array_equal(part.inputs[i], raw.transpose(2, 0, 1))
            mask = np.asarray(Image.open(tmp_path / name.replace(".png", "_mask.png")))
            assert np.array_equal(part.targets[i], mask == 255)
