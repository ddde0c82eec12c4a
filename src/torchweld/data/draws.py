"""Random numbers as a pure function of (seed, epoch, purpose, row): the same whatever the batch, worker or restart.

numpy's Philox (J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011) is counter-based: its key is
(seed, epoch), its counter starts at (purpose, block of rows), and streams of different keys or counters are
independent. Rows are drawn in blocks, which are kept for the epoch, so that a batch costs one look-up.

Shapes: B rows, D numbers a row.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float32]]
Integers = np.ndarray[Any, np.dtype[np.int64]]

_BLOCK = 1 << 16


class Purpose(enum.IntEnum):
    """What a stream is for. Turning one augmentation on leaves the numbers of all others as they are."""

    ORDER = 0
    FLIP = 1
    FLIP_VERTICAL = 2
    TURN = 3
    SHIFT = 4
    CROP = 5
    ROTATE = 6
    SHEAR = 7
    ERASE = 8
    COLOUR = 9
    MIX = 10
    PARTNER = 11
    HOLD_OUT = 12
    BLEND = 13
    PRUNE = 14


def generator(seed: int, epoch: int, purpose: Purpose, block: int = 0) -> np.random.Generator:
    """The stream of that key and counter, from its beginning."""
    counter = np.array([0, block, purpose, 0], np.uint64)
    return np.random.Generator(np.random.Philox(key=np.array([seed, epoch], np.uint64), counter=counter))


def uniform(seed: int, epoch: int, purpose: Purpose, rows: Integers, width: int) -> Floats:  # (B, D)
    """`width` numbers in [0, 1) for each row.

    >>> rows = np.arange(100_000)
    >>> table = uniform(0, 1, Purpose.FLIP, rows, 2)
    >>> bool((uniform(0, 1, Purpose.FLIP, rows[[70_000, 3]], 2) == table[[70_000, 3]]).all())
    True
    """
    return _gathered(lambda block: _uniform_block(seed, epoch, purpose, width, block), rows)


def beta(seed: int, epoch: int, purpose: Purpose, rows: Integers, alpha: float) -> Floats:  # (B,)
    """A number of Beta(alpha, alpha) for each row."""
    return _gathered(lambda block: _beta_block(seed, epoch, purpose, alpha, block), rows)


@lru_cache(maxsize=4)
def permutation(samples: int, seed: int, epoch: int, purpose: Purpose) -> Integers:
    """The numbers below `samples` in an order drawn by (seed, epoch)."""
    order = generator(seed, epoch, purpose).permutation(samples)
    order.flags.writeable = False
    return order


def _gathered(table: Callable[[int], Floats], rows: Integers) -> Floats:
    if len(rows) == 0 or rows.max() < _BLOCK:
        return table(0)[rows]
    blocks = rows // _BLOCK
    found = np.empty((len(rows), *table(0).shape[1:]), np.float32)
    for block in np.unique(blocks):
        here = blocks == block
        found[here] = table(int(block))[rows[here] - block * _BLOCK]
    return found


# 256 blocks of a few numbers hold the draws of 16 million rows; beyond that some are drawn again.
@lru_cache(maxsize=256)
def _uniform_block(seed: int, epoch: int, purpose: Purpose, width: int, block: int) -> Floats:
    return generator(seed, epoch, purpose, block).random((_BLOCK, width), np.float32)


@lru_cache(maxsize=64)
def _beta_block(seed: int, epoch: int, purpose: Purpose, alpha: float, block: int) -> Floats:
    return generator(seed, epoch, purpose, block).beta(alpha, alpha, _BLOCK).astype(np.float32)
