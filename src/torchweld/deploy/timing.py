"""Fair timing on a machine that is never quiet: contestants take turns in one process, and their medians count."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

_LEAST_ROUNDS, _MOST_ROUNDS = 7, 2000
_PAUSE_SECONDS = 1e-3


@dataclass(frozen=True)
class Measured:
    """Milliseconds of one contestant over `rounds` turns: the median and the quartiles."""

    median_ms: float
    quarter_ms: float
    three_quarters_ms: float
    rounds: int


def interleaved(
    contestants: Mapping[str, Callable[[], object]], budget_seconds: float = 2.0, warmups: int = 3
) -> dict[str, Measured]:
    """Times the contestants in turns, A B A B ..., for about `budget_seconds` in all.

    Whatever slows the machine for a while slows all of them, so their ratios stay true. After each millisecond of work
    comes a pause as long: on a busy machine a process that has just slept is let run through, while one that never
    does is stopped within its turns, and always within the same contestant's if their times fit the scheduler's.

    >>> sorted(interleaved({"a": lambda: None, "b": lambda: None}, budget_seconds=0.01))
    ['a', 'b']
    """
    for _ in range(warmups):
        for call in contestants.values():
            call()
    times_ms: dict[str, list[float]] = {name: [] for name in contestants}
    deadline = time.perf_counter() + budget_seconds
    worked = 0.0
    for turn in range(_MOST_ROUNDS):
        if turn >= _LEAST_ROUNDS and time.perf_counter() > deadline:
            break
        for name, call in contestants.items():
            if worked > _PAUSE_SECONDS:
                time.sleep(_PAUSE_SECONDS)
                worked = 0.0
            start = time.perf_counter()
            call()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            taken = time.perf_counter() - start
            worked += taken
            times_ms[name].append(1e3 * taken)
    return {name: _measured(samples) for name, samples in times_ms.items()}


def load_average() -> float | None:
    """The machine's load average over a minute, where the system tells it."""
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):
        return None


def _measured(samples_ms: list[float]) -> Measured:
    low, median, high = statistics.quantiles(samples_ms, n=4)
    return Measured(median, low, high, len(samples_ms))
