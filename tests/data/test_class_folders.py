"""A folder a class: numbered by the training part, and nothing hidden taken for data."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from torchweld import data
from torchweld.core import InputError

from .files import class_set, pixels, save


def said(source: Path, **options: object) -> str:
    return "\n".join(map(str, data.problems(source, **options)))  # type: ignore[arg-type]


def test_classes_are_the_folders_by_name(tmp_path: Path) -> None:
    splits = data.read(class_set(tmp_path, {"dog": 4, "ant": 3, "cat": 5}), holdout=0)
    assert splits.task == "classify"
    assert splits.classes == ("ant", "cat", "dog")
    assert np.bincount(splits.train.targets).tolist() == [3, 5, 4]
    assert splits.train.names[0] == "ant/0.png"
    assert splits.train.inputs.shape == (12, 1, 6, 5)
    assert len(splits.held_out) == 0
    assert splits.test is None


def test_hidden_folders_and_files_are_no_data(tmp_path: Path) -> None:
    """The complaint: `.ipynb_checkpoints` taken for a class."""
    class_set(tmp_path, {"a": 2, "b": 2, ".ipynb_checkpoints": 2, "__MACOSX": 1, ".git": 1})
    save(tmp_path / "a" / ".thumb.png", pixels((3, 3)))
    save(tmp_path / "a" / ".cache" / "x.png", pixels((3, 3)))
    (tmp_path / ".DS_Store").write_bytes(b"x")
    (tmp_path / "a" / "notes.txt").write_text("no image")
    splits = data.read(tmp_path, holdout=0)
    assert splits.classes == ("a", "b")
    assert len(splits.train) == 4


def test_images_of_any_ending_and_depth_are_found(tmp_path: Path) -> None:
    class_set(tmp_path, {"a": 1, "b": 1})
    for name in ("x.JPG", "y.Bmp", "z.TIF", "w.webp", "deep/er/v.PnG", "with.dots.v2.png"):
        save(tmp_path / "a" / name, pixels((6, 5)))
    assert len(data.read(tmp_path, holdout=0).train) == 8


def test_the_test_parts_classes_take_the_training_parts_numbers(tmp_path: Path) -> None:
    """The complaint: numbers by folder within each split, so that a class missing in one shifts all others."""
    class_set(tmp_path / "train", {"a": 2, "b": 2, "c": 2})
    class_set(tmp_path / "test", {"b": 1, "c": 3}, seed=50)
    splits = data.read(tmp_path, holdout=0)
    assert splits.test is not None
    assert np.asarray(splits.test.targets).tolist() == [1, 2, 2, 2]
    assert splits.classes == ("a", "b", "c")


@pytest.mark.parametrize("name", ["val", "Test", "valid"])
def test_a_class_that_training_lacks_is_a_problem(tmp_path: Path, name: str) -> None:
    class_set(tmp_path / "train", {"a": 2, "b": 2})
    class_set(tmp_path / name, {"b": 1, "z": 1}, seed=50)
    assert "class 'z' is not in the training part (a, b)" in said(tmp_path)


def test_train_val_and_test_each_have_their_place(tmp_path: Path) -> None:
    for part, count in (("train", 4), ("val", 2), ("test", 3)):
        class_set(tmp_path / part, {"a": count, "b": count}, seed=count)
    splits = data.read(tmp_path)
    assert splits.test is not None
    assert (len(splits.train), len(splits.held_out), len(splits.test)) == (8, 4, 6)


def test_a_test_part_may_lie_elsewhere(tmp_path: Path) -> None:
    class_set(tmp_path / "here", {"a": 4, "b": 4})
    class_set(tmp_path / "there", {"a": 1, "b": 2}, size=(9, 9), seed=50)
    splits = data.read(tmp_path / "here", test=tmp_path / "there")
    assert splits.test is not None
    assert splits.test.inputs.shape == (3, 1, 6, 5)  # the size is the training part's


def test_all_problems_are_found_at_once(tmp_path: Path) -> None:
    class_set(tmp_path, {"a": 3, "b": 3, "empty": 0})
    (tmp_path / "a" / "broken.png").write_bytes(b"no image at all")
    whole = save(tmp_path / "b" / "cut.jpg", pixels((50, 50, 3))).read_bytes()
    (tmp_path / "b" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    save(tmp_path / "stray.png", pixels((6, 5)))
    (tmp_path / "b" / "nowhere.png").symlink_to(tmp_path / "gone.png")
    found = data.problems(tmp_path)
    by_name = {Path(problem.path).name: problem.what for problem in found}
    assert set(by_name) == {"broken.png", "cut.jpg", "stray.png", "empty", "nowhere.png"}
    assert by_name["empty"] == "class without images"
    assert "truncated" in by_name["cut.jpg"]
    assert all(problem.mend for problem in found)
    with pytest.raises(data.BadData, match="5 problems") as error:
        data.read(tmp_path)
    assert set(error.value.problems) == set(found)
    assert "\n" not in str(error.value)


def test_many_problems_are_counted(tmp_path: Path) -> None:
    class_set(tmp_path, {"a": 1, "b": 1, **{f"empty{i}": 0 for i in range(9)}})
    with pytest.raises(InputError, match=r"9 problems.*and 4 more"):
        data.read(tmp_path)


def test_mixed_sizes_take_the_most_frequent(tmp_path: Path) -> None:
    class_set(tmp_path, {"a": 3, "b": 3})
    save(tmp_path / "a" / "large.png", pixels((60, 80)))
    splits = data.read(tmp_path, holdout=0)
    assert splits.train.inputs.shape[2:] == (6, 5)
    assert splits.sizes == {"6x5": 6, "60x80": 1}
    assert data.read(tmp_path, holdout=0, image_size=(4, 8)).train.inputs.shape[2:] == (4, 8)
    assert data.read(tmp_path, holdout=0, image_size=3).train.inputs.shape[2:] == (3, 3)


def test_one_colour_image_makes_all_colour_unless_asked_otherwise(tmp_path: Path) -> None:
    class_set(tmp_path, {"a": 2, "b": 2})
    assert data.read(tmp_path).train.inputs.shape[1] == 1
    save(tmp_path / "a" / "colour.png", pixels((6, 5, 3)))
    assert data.read(tmp_path).train.inputs.shape[1] == 3
    for channels in (1, 3, 4):
        assert data.read(tmp_path, channels=channels).train.inputs.shape[1] == channels


def test_one_class_alone_is_a_problem(tmp_path: Path) -> None:
    assert "one class only (a)" in said(class_set(tmp_path, {"a": 2}))


def test_nothing_to_read_is_named(tmp_path: Path) -> None:
    for source, named in ((tmp_path, "no images"), (tmp_path / "gone", "does not exist")):
        with pytest.raises(InputError, match=named):
            data.read(source)
    save(tmp_path / "loose.png", pixels((3, 3)))
    with pytest.raises(InputError, match="neither class folders nor masks"):
        data.read(tmp_path)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"task": "segment"}, "no task 'segment'"),
        ({"task": "cluster"}, "classify, segment, regress"),
        ({"channels": 2}, "channels=2"),
        ({"image_size": 0}, "image_size=0"),
        ({"holdout": 1.0}, "holdout=1.0"),
        ({"seed": -1}, "seed=-1"),
        ({"holdout": -0.1}, "holdout=-0.1"),
    ],
)
def test_options_out_of_range_are_named(tmp_path: Path, options: dict[str, object], named: str) -> None:
    with pytest.raises(InputError, match=named):
        data.read(class_set(tmp_path, {"a": 2, "b": 2}), **options)  # type: ignore[arg-type]


def test_a_folder_may_be_moved_and_read_again(tmp_path: Path) -> None:
    first = data.read(class_set(tmp_path / "x", {"a": 2, "b": 2}), holdout=0)
    shutil.move(tmp_path / "x", tmp_path / "y")
    second = data.read(tmp_path / "y", holdout=0)
    assert np.array_equal(first.train.inputs, second.train.inputs)
    assert not os.path.exists(tmp_path / "x")
