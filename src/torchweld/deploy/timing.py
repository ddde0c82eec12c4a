"""Fair timing on a machine that is never quiet: contestants take turns in one process, and their medians count."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

try:
    import resource
except ImportError:  # only Unix has it
    resource = None  # type: ignore[assignment]

_LEAST_ROUNDS, _MOST_ROUNDS = 7, 2000
_PAUSE_SECONDS = 1e-3


@dataclass(frozen=True)
class Measured:
    """Milliseconds of one contestant over `rounds` turns: the median and the quartiles.

    `disturbed` more turns are left out, in which the system took the processor away from this process.
    """

    median_ms: float
    quarter_ms: float
    three_quarters_ms: float
    rounds: int
    disturbed: int


def interleaved(
    contestants: Mapping[str, Callable[[], object]], budget_seconds: float = 2.0, warmups: int = 3
) -> dict[str, Measured]:
    """Times the contestants in turns, A B A B ..., for about `budget_seconds` in all.

    Whatever slows the machine for a while slows all of them, so their ratios stay true. Other processes do not: a call
    longer than the scheduler's slice is stopped in most of its turns, a shorter one in few, which would make the longer
    look several times as slow. So turns that were interrupted are left out, as long as enough others remain; and after
    each millisecond of work comes a pause as long, since a process that has just slept is let run through.

    >>> sorted(interleaved({"a": lambda: None, "b": lambda: None}, budget_seconds=0.01))
    ['a', 'b']
    """
    for _ in range(warmups):
        for call in contestants.values():
            call()
    times_ms: dict[str, list[tuple[float, bool]]] = {name: [] for name in contestants}
    deadline = time.perf_counter() + budget_seconds
    worked = 0.0
    for turn in range(_MOST_ROUNDS):
        if turn >= _LEAST_ROUNDS and time.perf_counter() > deadline:
            break
        for name, call in contestants.items():
            if worked > _PAUSE_SECONDS:
                time.sleep(_PAUSE_SECONDS)
                worked = 0.0
            before, start = _interruptions(), time.perf_counter()
            call()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            taken = time.perf_counter() - start
            worked += taken
            times_ms[name].append((1e3 * taken, _interruptions() != before))
    return {name: _measured(samples) for name, samples in times_ms.items()}


def load_average() -> float | None:
    """The machine's load average over a minute, where the system tells it."""
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):
        return None


def _interruptions() -> int:
    """How often this process has been stopped for another, where the system counts it."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw if resource is not None else 0


def _measured(samples: list[tuple[float, bool]]) -> Measured:
    """Median and quartiles of (milliseconds, disturbed)."""
    undisturbed = [taken for taken, disturbed in samples if not disturbed]
    counted = undisturbed if len(undisturbed) >= _LEAST_ROUNDS else [taken for taken, _ in samples]
    low, median, high = statistics.quantiles(counted, n=4)
    return Measured(median, low, high, len(counted), len(samples) - len(counted))
