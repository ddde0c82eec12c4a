"""How many threads to use: on a shared machine two can be ten times slower than one, so it is measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch


@contextmanager
def limited_threads(threads: int) -> Iterator[None]:
    """Torch's operators use this many threads inside, and as many as before after."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def fastest_threads(step: Callable[[], object], budget_seconds: float = 1.0) -> int:
    """One thread or as many as torch would use, whichever runs `step` faster here and now.

    Both are timed in turns within about `budget_seconds`; the best time of each counts, since load only ever adds.

    >>> fastest_threads(lambda: None, budget_seconds=0.01) in (1, torch.get_num_threads())
    True
    """
    candidates = sorted({1, torch.get_num_threads()})
    if len(candidates) == 1:
        return candidates[0]
    best = dict.fromkeys(candidates, float("inf"))
    deadline = time.perf_counter() + budget_seconds
    warm = False
    while not warm or time.perf_counter() < deadline:
        for threads in candidates:
            with limited_threads(threads):
                start = time.perf_counter()
                step()
                taken = time.perf_counter() - start
            if warm:
                best[threads] = min(best[threads], taken)
        warm = True
    return min(candidates, key=best.__getitem__)
