"""How many threads to use: on a shared machine two can be ten times slower than one, so it is measured."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

_LEAST_ROUNDS = 3


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

    Both are timed in turns for about `budget_seconds`, three times at least, and their medians count: threads that wait
    for a busy core are slow most of the time, however fast at best.

    >>> fastest_threads(lambda: None, budget_seconds=0.01) in (1, torch.get_num_threads())
    True
    """
    candidates = sorted({1, torch.get_num_threads()})
    if len(candidates) == 1:
        return candidates[0]
    taken: dict[int, list[float]] = {threads: [] for threads in candidates}
    deadline = time.perf_counter() + budget_seconds
    while len(taken[1]) <= _LEAST_ROUNDS or time.perf_counter() < deadline:
        for threads in candidates:
            with limited_threads(threads):
                start = time.perf_counter()
                step()
                taken[threads].append(time.perf_counter() - start)
    return min(candidates, key=lambda threads: statistics.median(taken[threads][1:]))  # the first warms up
