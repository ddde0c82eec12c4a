"""`read`: from a name or a path to the parts that training needs; `problems`: what stands in the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from torchweld.core import InputError
from torchweld.data.bundled import CLASSES, bundled_digits
from torchweld.data.class_folders import class_folders
from torchweld.data.delimited import read_table
from torchweld.data.holdout import groups_of, held_out, held_out_groups
from torchweld.data.idx import idx_files, read_idx
from torchweld.data.images import read_images
from torchweld.data.layout import Layout, layout, tables_in
from torchweld.data.moments import measured
from torchweld.data.pairs import pairs
from torchweld.data.part import Options, Part
from torchweld.data.problem import Problem, refuse
from torchweld.data.splits import Splits

_TASKS = {
    "digits": ("classify",),
    "idx": ("classify",),
    "classes": ("classify",),
    "pairs": ("segment",),
    "table": ("classify", "regress"),
}


def read(
    source: str | Path,
    *,
    test: str | Path | None = None,
    task: str | None = None,
    image_size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    holdout: float = 0.1,
    holdout_by: str | None = None,
    seed: int = 0,
    cache: str | Path | None = None,
) -> Splits:
    """The data set named or found at `source`, checked, decoded and split; the same for the same seed.

    `source` is "digits", or a path: class folders; image and mask pairs; `train/` and `test/` (or `val/`) of these; idx
    files; a table, whose last column is the target. `test` is another such path, scored once at the end. With `train/`,
    `val/` and `test/` together, `val/` is what is held out; else a share `holdout` of the training part is, by class.
    Samples that are of one origin, such as tiles of a photograph or pictures of a patient, tell more about each other
    than about new ones: `holdout_by`, a regular expression, holds out together those in whose names it finds the same.
    `image_size` is a side, or (height, width); by default the most frequent one. Images of another size are scaled to
    cover it, antialiased, and cut to their centre; masks with them, by the nearest pixel. `channels` is 1, 3 or 4; by
    default 3 if any image has colours. Images are decoded once, into memory-mapped files in `cache`.

    Raises `BadData`, an `InputError` that lists what is wrong with the data, all of it in `.problems`.

    >>> splits = read("digits")
    >>> len(splits.train), len(splits.held_out), splits.train.inputs.dtype
    (1618, 179, dtype('uint8'))
    """
    if seed < 0:
        raise InputError(f"seed={seed} must not be negative")
    train, val, tested, found = _gathered(source, test, task, image_size, channels, cache)
    refuse(found)
    if train.dataset is None:
        raise InputError(f"{source}: there is nothing to train on")
    whole = train.dataset
    sums = train.sums
    if val is not None and val.dataset is not None:
        kept, held = whole, val.dataset
    else:
        strata = np.asarray(whole.targets) if train.task == "classify" else np.zeros(len(whole), np.int64)
        if holdout_by is None:
            rows, out = held_out(strata, holdout, seed)
        else:
            rows, out = held_out_groups(groups_of(whole.names, holdout_by), strata, holdout, seed)
        kept, held = whole.part(rows) if len(out) else whole, whole.part(out)
        sums = None if sums is None else sums[rows]
    scale = measured(kept, len(train.classes), sums)
    last = None if tested is None else tested.dataset
    return Splits(
        kept,
        held,
        last,
        train.task,
        train.classes,
        scale,
        train.mask_values,
        str(source),
        train.sizes,
        train.modes,
        train.columns,
    )


def problems(
    source: str | Path,
    *,
    test: str | Path | None = None,
    task: str | None = None,
    image_size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    cache: str | Path | None = None,
) -> list[Problem]:
    """All that keeps `read` from reading; empty if nothing does.

    >>> problems("digits")
    []
    """
    return _gathered(source, test, task, image_size, channels, cache)[3]


def _gathered(
    source: str | Path,
    test: str | Path | None,
    task: str | None,
    image_size: int | tuple[int, int] | None,
    channels: int | None,
    cache: str | Path | None,
) -> tuple[Part, Part | None, Part | None, list[Problem]]:
    """Train, val, test, and the problems of all of them."""
    options = _options(task, image_size, channels, cache)
    where = layout(source)
    _check(where, options, source)
    if test is not None:
        where = replace(where, test=_test_of(Path(test), where))
    train = _READERS[where.kind](where.train, options, None)
    if train.dataset is not None and train.dataset.inputs.ndim == 4:
        made = train.dataset.inputs.shape
        options = replace(options, size=(made[2], made[3]), channels=made[1])
    later = [None if path is None else _READERS[where.kind](path, options, train) for path in (where.val, where.test)]
    parts = [part for part in (train, *later) if part is not None]
    return train, later[0], later[1], [problem for part in parts for problem in part.problems]


def _options(
    task: str | None, image_size: int | tuple[int, int] | None, channels: int | None, cache: str | Path | None
) -> Options:
    if task not in (None, "classify", "segment", "regress"):
        raise InputError(f"task={task!r}; choose from classify, segment, regress")
    if channels not in (None, 1, 3, 4):
        raise InputError(f"channels={channels}; choose 1, 3 or 4")
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise InputError(f"image_size={image_size} must be a positive side, or (height, width)")
    return Options(task, size, channels, cache)


def _check(where: Layout, options: Options, source: str | Path) -> None:
    """What is asked for must be something that this kind of data has."""
    if options.task is not None and options.task not in _TASKS[where.kind]:
        raise InputError(f"{source} is read as {where.kind}, which has no task {options.task!r}; leave the task out")
    for name, value in (("image_size", options.size), ("channels", options.channels)):
        if value is not None and where.kind not in ("classes", "pairs"):
            raise InputError(f"{name} is for image files, and {source} is read as {where.kind}; leave it out")


def _test_of(path: Path, train: Layout) -> Path:
    found = layout(path)
    if found.kind != train.kind:
        raise InputError(f"test {path} is read as {found.kind}, and the training part as {train.kind}")
    return found.test or found.train


def _digits(path: Path, options: Options, train: Part | None) -> Part:
    return Part(bundled_digits(), "classify", CLASSES)


def _idx(path: Path, options: Options, train: Part | None) -> Part:
    files = idx_files(path, "train") if train is None else idx_files(path, "t10k") or idx_files(path, "train")
    if files is None:
        return Part(None, "classify", problems=(Problem(str(path), "has no idx files", "add train-* files"),))
    dataset, found = read_idx(*files)
    if dataset is None:
        return Part(None, "classify", () if train is None else train.classes, problems=tuple(found))
    numbers = np.unique(np.asarray(dataset.targets)).tolist()
    classes = train.classes if train is not None else tuple(map(str, range(max(numbers) + 1)))
    unknown = [number for number in numbers if not 0 <= number < len(classes)]
    if unknown:
        what = f"labels {unknown} are not in the training part"
        return Part(None, "classify", classes, problems=(Problem(str(files[1]), what, "take them out"),))
    return Part(dataset, "classify", classes)


def _pairs(path: Path, options: Options, train: Part | None) -> Part:
    return read_images(pairs(path), options, train)


def _classes(path: Path, options: Options, train: Part | None) -> Part:
    return read_images(class_folders(path, None if train is None else train.classes), options, train)


def _table(path: Path, options: Options, train: Part | None) -> Part:
    return read_table(path if path.is_file() else tables_in(path)[0], options, train)


_READERS: dict[str, Callable[[Path, Options, Part | None], Part]] = {
    "digits": _digits,
    "idx": _idx,
    "pairs": _pairs,
    "classes": _classes,
    "table": _table,
}
