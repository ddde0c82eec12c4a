"""Which training samples are held out: a share of each class, drawn by the seed.

Shapes: N samples.
"""

from __future__ import annotations

import numpy as np

from torchweld.core import InputError
from torchweld.data.draws import Integers, Purpose, generator


def held_out(
    strata: Integers,  # (N,) classes; all the same where there are none
    share: float,
    seed: int,
) -> tuple[Integers, Integers]:
    """Rows to learn from and rows to hold out, both ascending.

    Of a class with n samples, `share * n` are held out, rounded; at least one of two or more, and never all. Raises
    `InputError` for a share outside 0 to below 1.

    >>> kept, held = held_out(np.array([0] * 10 + [1] * 20), 0.1, seed=0)
    >>> len(kept), len(held)
    (27, 3)
    """
    if not 0 <= share < 1:
        raise InputError(f"holdout={share} must lie from 0 to below 1")
    if share == 0:
        return np.arange(len(strata)), np.arange(0)
    chosen = np.zeros(len(strata), bool)
    random = generator(seed, 0, Purpose.HOLD_OUT)
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        count = min(max(round(share * len(rows)), 1), len(rows) - 1)
        chosen[random.permutation(rows)[:count]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)
