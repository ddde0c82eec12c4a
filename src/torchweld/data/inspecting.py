"""What there is to know of a data set before a network sees it.

Shapes: N samples, H and W the image.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from torchweld.data.splits import Dataset, Splits

_CHUNK_BYTES = 1 << 20  # counting turns each byte into an int64


@dataclass(frozen=True)
class Duplicate:
    """The same pixels or numbers in two places; `conflict` where their targets differ."""

    first: str
    second: str
    conflict: bool


@dataclass(frozen=True)
class Inspection:
    """Facts of a data set; by part: train, held_out, test.

    `counts`: samples of each class, or pixels for masks. `imbalance`: the largest class of the training part over its
    smallest, infinite if that is empty. `within`: copies inside the training part. `stored_bytes` are uint8 pixels or
    float32 tables, in memory or mapped; `float_bytes` what the same would take as float32.
    """

    facts: Mapping[str, Any]
    counts: Mapping[str, tuple[int, ...]]
    imbalance: float
    across: tuple[Duplicate, ...]
    within: tuple[Duplicate, ...]
    constant: tuple[str, ...]
    sizes: Mapping[str, int]
    modes: Mapping[str, int]
    stored_bytes: int
    float_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """The facts of `Splits.to_dict` and these, by name."""
        own = {name: value for name, value in asdict(self).items() if name != "facts"}
        return {**self.facts, **own}


def inspect(splits: Splits) -> Inspection:
    """Looks at every sample once, in bounded memory.

    >>> from torchweld import data
    >>> seen = inspect(data.read("digits"))
    >>> round(seen.imbalance, 2), len(seen.across), seen.stored_bytes
    (1.05, 0, 129384)
    """
    parts = {"train": splits.train, "held_out": splits.held_out}
    if splits.test is not None:
        parts["test"] = splits.test
    counts = {name: _counts(part, len(splits.classes)) for name, part in parts.items() if splits.classes}
    across, within = _duplicates(parts)
    arrays = [array for part in parts.values() for array in (part.inputs, part.targets)]
    stored = sum(_bytes(array) for array in arrays)
    names = splits.columns or tuple(f"channel {i}" for i in range(len(splits.std)))
    return Inspection(
        splits.to_dict(),
        counts,
        _imbalance(counts.get("train", ())),
        across,
        within,
        tuple(name for name, std in zip(names, splits.std, strict=True) if std == 0),
        splits.sizes,
        splits.modes,
        stored,
        sum(math.prod(part.inputs.shape) * 4 for part in parts.values()),
    )


def _imbalance(counts: tuple[int, ...]) -> float:
    if not counts:
        return 1.0
    return max(counts) / min(counts) if min(counts) else math.inf


def _counts(part: Dataset, classes: int) -> tuple[int, ...]:
    total = np.zeros(classes, np.int64)
    step = max(1, _CHUNK_BYTES // max(1, math.prod(part.targets.shape[1:])))
    for start in range(0, len(part), step):
        total += np.bincount(np.asarray(part.targets[start : start + step]).ravel(), minlength=classes)
    return tuple(int(count) for count in total)


def _duplicates(parts: Mapping[str, Dataset]) -> tuple[tuple[Duplicate, ...], tuple[Duplicate, ...]]:
    """Copies across parts, and inside the training part: each against the first of its kind."""
    first: dict[bytes, tuple[str, int]] = {}
    across: list[Duplicate] = []
    within: list[Duplicate] = []
    for name, part in parts.items():
        for row in range(len(part)):
            # 128 bits: two different images with one digest are not to be expected before 2^64 of them.
            digest = hashlib.blake2b(np.ascontiguousarray(part.inputs[row]).data, digest_size=16).digest()
            before = first.setdefault(digest, (name, row))
            if before == (name, row) or (before[0] == name and name != "train"):
                continue
            other = parts[before[0]]
            conflict = not np.array_equal(other.targets[before[1]], part.targets[row])
            pair = Duplicate(f"{before[0]} {other.names[before[1]]}", f"{name} {part.names[row]}", conflict)
            (within if before[0] == name else across).append(pair)
    return tuple(across), tuple(within)


def _bytes(array: Any) -> int:
    return math.prod(array.shape) * array.dtype.itemsize
