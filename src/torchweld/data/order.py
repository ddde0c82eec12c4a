"""The order of samples, a pure function of (seed, epoch): resuming needs no state."""

from __future__ import annotations

import math

import numpy as np

from torchweld.data.draws import Integers, Purpose, permutation


def steps(samples: int, batch_size: int) -> int:
    """Batches an epoch.

    >>> steps(10, 4)
    3
    """
    return math.ceil(samples / batch_size)


def rows_of(step: int, samples: int, batch_size: int, seed: int, epoch: int, shuffle: bool = True) -> Integers:
    """Row numbers of one batch: over an epoch every sample once, batches of equal size to within one.

    >>> [len(rows_of(step, 10, 4, seed=0, epoch=0)) for step in range(3)]
    [4, 3, 3]
    """
    size, larger = divmod(samples, steps(samples, batch_size))
    start = step * size + min(step, larger)
    stop = start + size + (step < larger)
    if not shuffle:
        return np.arange(start, stop)
    return permutation(samples, seed, epoch, Purpose.ORDER)[start:stop]
