"""Small data sets on disk, made of random, asymmetric pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Pixels = np.ndarray[Any, Any]


def pixels(shape: tuple[int, ...], seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, array: Pixels, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def class_set(root: Path, counts: dict[str, int], size: tuple[int, int] = (6, 5), seed: int = 0) -> Path:
    """`counts` grey images in each class's folder."""
    for k, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            save(root / name / f"{i}.png", pixels(size, seed + 1000 * k + i))
    return root


def pair_set(root: Path, names: list[str], values: tuple[int, ...] = (0, 255), size: tuple[int, int] = (6, 5)) -> Path:
    """A colour image and a mask for each name, in one folder; every value is in every mask."""
    for i, name in enumerate(names):
        save(root / f"{name}.png", pixels((*size, 3), i))
        mask = np.random.default_rng(i).choice(np.array(values, np.uint8), size)
        mask.flat[: len(values)] = values
        save(root / f"{name}_mask.png", mask)
    return root
