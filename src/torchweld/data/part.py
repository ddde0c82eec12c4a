"""One part of a data set (train, val or test), read: samples, or problems, or both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from torchweld.data.problem import Problem
from torchweld.data.splits import Dataset


@dataclass(frozen=True)
class Options:
    """What a reader is asked for. `cache` is a folder."""

    task: str | None = None
    size: tuple[int, int] | None = None
    channels: int | None = None
    cache: str | Path | None = None


@dataclass(frozen=True)
class Part:
    """What a reader found. `dataset` is None where problems left nothing to read."""

    dataset: Dataset | None
    task: str
    classes: tuple[str, ...] = ()
    mask_values: Mapping[int, int] | None = None
    problems: tuple[Problem, ...] = ()
    sums: np.ndarray[Any, Any] | None = None  # (N, C, 2) of pixels and of their squares, where they are kept
    sizes: Mapping[str, int] = field(default_factory=dict)  # of the files, height x width
    modes: Mapping[str, int] = field(default_factory=dict)  # of the files, Pillow's names
    columns: tuple[str, ...] = ()  # of a table, its inputs'
