"""The idx format of MNIST and its family, gzipped or not.

Four bytes: 0, 0, the type of the numbers, how many axes; then the axes' sizes, big-endian; then the numbers.
Y. LeCun, C. Cortes and C. Burges, "The MNIST database of handwritten digits" (1998).
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from torchweld.data.problem import Problem
from torchweld.data.splits import Dataset

_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_MEND = "fetch the file again"


def idx_files(folder: Path, part: str) -> tuple[Path, Path] | None:
    """Images and labels of a part ("train" or "t10k"), under the names that this family uses, or None."""
    found = []
    for kind in ("images", "labels"):
        files = sorted(p for p in folder.glob(f"{part}-{kind}*") if "idx" in p.name and not p.name.startswith("."))
        if not files:
            return None
        found.append(files[0])
    return found[0], found[1]


def read_idx(images: Path, labels: Path) -> tuple[Dataset | None, list[Problem]]:
    """Images (N, 1, H, W) and labels of two files, or what is wrong with them."""
    problems: list[Problem] = []
    pixels, classes = (_array(path, problems) for path in (images, labels))
    if pixels is None or classes is None:
        return None, problems
    if pixels.ndim not in (3, 4) or pixels.dtype != np.uint8:
        problems.append(Problem(str(images), f"holds {pixels.dtype} of {pixels.ndim} axes", "images are bytes NxHxW"))
    elif classes.ndim != 1 or classes.dtype.kind not in "iu":
        problems.append(Problem(str(labels), f"holds {classes.dtype} of {classes.ndim} axes", "labels are integers N"))
    elif len(pixels) != len(classes):
        counts = f"has {len(classes)} labels for {len(pixels)} images"
        problems.append(Problem(str(labels), counts, f"take the labels that belong to {images.name}"))
    if problems:
        return None, problems
    pixels = pixels[:, None] if pixels.ndim == 3 else pixels
    stem = images.name.split("-images")[0]
    return Dataset(pixels, classes.astype(np.int64), [f"{stem}[{row}]" for row in range(len(pixels))]), []


def _array(path: Path, problems: list[Problem]) -> np.ndarray[Any, Any] | None:
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            content = file.read()
    except (OSError, EOFError, zlib.error) as error:
        problems.append(Problem(str(path), f"cannot be read ({error})", _MEND))
        return None
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _TYPES:
        problems.append(Problem(str(path), "is not in the idx format", "check what the file is"))
        return None
    axes = content[3]
    if len(content) < 4 + 4 * axes:
        problems.append(Problem(str(path), "ends inside its header", _MEND))
        return None
    shape = struct.unpack(f">{axes}I", content[4 : 4 + 4 * axes])
    dtype = np.dtype(_TYPES[content[2]])
    wanted, given = math.prod(shape) * dtype.itemsize, len(content) - 4 - 4 * axes
    if wanted != given:
        sizes = "x".join(map(str, shape))
        problems.append(Problem(str(path), f"has {given} bytes where its header ({sizes}) says {wanted}", _MEND))
        return None
    return np.frombuffer(content, dtype, offset=4 + 4 * axes).reshape(shape)
