"""Native against fused, engine by engine, in one process and in turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch.utils._pytree as pytree
from torch import Tensor, nn

from torchweld.core import InputError, Refusal
from torchweld.deploy.engines import ENGINES, Call
from torchweld.deploy.timing import Measured, interleaved, load_average
from torchweld.fusion import Fused, fuse
from torchweld.training import fastest_threads, limited_threads


@dataclass(frozen=True)
class Timing:
    """One engine. `ratio` is fused / native, below 1 where welding pays; `speedup` is its inverse."""

    engine: str
    native: Measured
    fused: Measured
    ratio: float
    speedup: float


@dataclass(frozen=True)
class Skipped:
    """An engine that does not apply, and why."""

    engine: str
    reason: str


@dataclass(frozen=True)
class BenchResult:
    """Median latencies for the given inputs (`shapes`), and the threads and load they were taken under."""

    timings: tuple[Timing, ...]
    skipped: tuple[Skipped, ...]
    shapes: str
    threads: int
    load_before: float | None
    load_after: float | None

    def to_dict(self) -> dict[str, Any]:
        """The result as plain dictionaries, lists, numbers and strings, ready for JSON."""
        return asdict(self)


def bench(
    model: nn.Module,
    example_inputs: Any,
    engines: Sequence[str] = tuple(ENGINES),
    *,
    example_kwargs: Mapping[str, Any] | None = None,
    fused: Fused | None = None,
    threads: int | None = None,
    budget_seconds: float = 3.0,
) -> BenchResult:
    """Times `model` against its welded form on the example inputs, for about `budget_seconds` an engine.

    `fused`: the welded form if it is already there, else it is made. `threads=None` tries one thread and all of them
    and keeps the faster. Raises `InputError` for an unknown engine, and what `fuse` raises.

    >>> import torch
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)).eval()
    >>> result = bench(model, torch.randn(1, 3, 16, 16), engines=["eager"], budget_seconds=0.01)
    >>> [timing.engine for timing in result.timings]
    ['eager']
    """
    for engine in engines:
        if engine not in ENGINES:
            raise InputError(f"there is no engine {engine!r}; known are {', '.join(ENGINES)}")
    args = tuple(example_inputs) if isinstance(example_inputs, (tuple, list)) else (example_inputs,)
    kwargs = dict(example_kwargs or {})
    if fused is None:
        fused = fuse(model, args, kwargs)
    contestants: dict[tuple[str, str], Call] = {}
    skipped: list[Skipped] = []
    for engine in engines:
        try:
            pair = [ENGINES[engine](module, args, kwargs) for module in (model, fused.module)]
        except Refusal as refusal:
            skipped.append(Skipped(engine, refusal.reason))
            continue
        contestants |= {(engine, form): call for form, call in zip(("native", "fused"), pair, strict=True)}
    load_before = load_average()
    if threads is None:
        threads = fastest_threads(lambda: [call() for call in contestants.values()], budget_seconds / 3)
    timings = []
    with limited_threads(threads):
        for engine in dict.fromkeys(engine for engine, _ in contestants):
            taken = interleaved({form: contestants[engine, form] for form in ("native", "fused")}, budget_seconds)
            native_ms, fused_ms = taken["native"].median_ms, taken["fused"].median_ms
            timings.append(Timing(engine, taken["native"], taken["fused"], fused_ms / native_ms, native_ms / fused_ms))
    return BenchResult(tuple(timings), tuple(skipped), _shapes(args, kwargs), threads, load_before, load_average())


def _shapes(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    leaves = pytree.tree_leaves((args, dict(kwargs)))
    return ", ".join("x".join(map(str, leaf.shape)) for leaf in leaves if isinstance(leaf, Tensor))
