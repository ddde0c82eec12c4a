"""Which training samples are held out: a share of each class, or whole groups of samples, drawn by the seed.

Shapes: N samples.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

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


def held_out_groups(
    groups: Integers,  # (N,) samples of one group are all learnt from, or all held out
    strata: Integers,  # (N,) classes; all the same where there are none
    share: float,
    seed: int,
) -> tuple[Integers, Integers]:
    """Rows to learn from and rows to hold out, both ascending: groups in an order drawn by the seed, up to the share.

    A group that has the last samples of a class stays in the training part. Raises `InputError` for a share outside 0
    to below 1, and if no group can be held out.

    >>> kept, held = held_out_groups(np.array([3, 3, 5, 5, 8, 8]), np.zeros(6, int), 0.3, seed=0)
    >>> held
    array([2, 3])
    """
    if not 0 <= share < 1:
        raise InputError(f"holdout={share} must lie from 0 to below 1")
    chosen = np.zeros(len(groups), bool)
    for group in generator(seed, 0, Purpose.HOLD_OUT).permutation(np.unique(groups)):
        rows = groups == group
        if chosen.sum() >= share * len(groups):
            break
        if np.isin(strata[rows], strata[~chosen & ~rows]).all():
            chosen |= rows
    if share and not chosen.any():
        raise InputError("holdout_by: no group can be held out, as each has all samples of some class")
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def groups_of(names: Sequence[str], pattern: str) -> Integers:  # (N,)
    """Which samples belong together: those whose names match the regular expression alike, as numbers from 0.

    Raises `InputError` for a pattern that is none, or that a name does not contain.

    >>> groups_of(["f0_x1.png", "f0_x2.png", "f3_x1.png"], "f[0-9]+")
    array([0, 0, 1])
    """
    try:
        found = [re.search(pattern, name) for name in names]
    except re.error as error:
        raise InputError(f"holdout_by={pattern!r} is no regular expression ({error})") from None
    matched = [match.group() for match in found if match is not None]
    if len(matched) < len(names):
        raise InputError(f"holdout_by={pattern!r} does not occur in the name {names[found.index(None)]!r}")
    return np.unique(matched, return_inverse=True)[1].astype(np.int64)
