"""How cost grows with length: operations counted, time measured, and steps that must wait for each other.

Each core's mixer is measured alone: the rest of a layer works on each position by itself and costs the same in all.
The claims are those of Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, table 1: a layer costs n^2 d with
attention, n d^2 with recurrence, k n d^2 with convolution; recurrence takes n steps one after the other, the others a
number that does not depend on n.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from torchweld.core import InputError
from torchweld.diagnosis.sequence.findings import Finding, judged
from torchweld.models.sequence import Mixer, Sizes, cores, mixer
from torchweld.training import limited_threads

_FEATURES = 32  # far fewer than the longest sequence has positions, so that n^2 d outweighs n d^2
_FLOP_LENGTHS = (64, 128, 256, 512, 1024, 2048)
_TIME_LENGTHS = (128, 256, 512, 1024, 2048)
_STEP_LENGTHS = (8, 16, 32, 64)
_ROUNDS = 5
_COST_CLAIMS = {"cnn": 1, "gru": 1, "transformer": 2}
_STEP_CLAIMS = {"cnn": 0, "gru": 1, "transformer": 0}


@dataclass(frozen=True)
class Growth:
    """A quantity of one core at several lengths; `exponent` is the slope of its logarithm at the longest ones."""

    what: str
    core: str
    lengths: tuple[int, ...]
    values: tuple[float, ...]
    exponent: float

    def ends(self) -> str:
        """The values at the shortest and the longest length, in words."""
        first, last = (f"{self.values[i]:.0f} at n={self.lengths[i]}" for i in (0, -1))
        return f"{first}, {last}"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def exponent(lengths: Sequence[int], values: Sequence[float], longest: int = 3) -> float:
    """p of `value ~ length^p`, by least squares of the logarithms over the `longest` lengths.

    Over the longest only, since a growing term shows late beside a large constant one. Raises `InputError` for fewer
    than two points and for values that are not positive.

    >>> exponent([1, 2, 4, 8], [7, 3 * 4, 3 * 16, 3 * 64])
    2.0
    """
    if len(lengths) != len(values) or len(lengths) < 2 or min(values) <= 0:
        raise InputError("an exponent is fitted to two or more positive values, one for each length")
    x, y = ([math.log(v) for v in part[-longest:]] for part in (lengths, values))
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    rise = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return round(rise / sum((a - mean_x) ** 2 for a in x), 6)


def flops_of(module: nn.Module, length: int, features: int) -> int:
    """FLOPs of one pass over one sequence, a multiplication and an addition counted as two.

    Attention is counted in its written-out form: torch's fused kernel for the CPU is one operator that the counter does
    not know, and attention would seem to cost its four projections alone.
    """
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        module(torch.zeros(1, length, features))
    return int(counter.get_total_flops())


def serial_steps(module: Mixer, length: int) -> int:
    """The longest chain of operations, each waiting for the one before, from input to output, as autograd recorded it.

    >>> serial_steps(mixer("cnn", Sizes(1, 1, 8), causal=False), 5) == serial_steps(mixer("cnn", Sizes(1, 1, 8),
    ...     causal=False), 50)
    True
    """
    y = module(torch.randn(1, length, module.features, requires_grad=True))[0]
    longest: dict[Any, int] = {}
    stack = [(y.grad_fn, False)]
    while stack:
        node, children_done = stack.pop()
        below = [child for child, _ in node.next_functions if child is not None]
        if children_done:
            longest[node] = 1 + max((longest[child] for child in below), default=0)
        elif node not in longest:
            stack.append((node, True))
            stack.extend((child, False) for child in below if child not in longest)
    return longest[y.grad_fn]


def costs(seed: int = 0) -> tuple[Growth, ...]:
    """FLOPs, seconds of processor time on one thread and serial steps of each core's mixer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sizes = Sizes(1, 1, features=_FEATURES)
        mixers = {core: mixer(core, sizes, causal=False).eval() for core in cores()}
        grown = []
        for core, made in mixers.items():
            counted = [float(flops_of(made, n, _FEATURES)) for n in _FLOP_LENGTHS]
            grown.append(Growth("FLOPs", core, _FLOP_LENGTHS, tuple(counted), exponent(_FLOP_LENGTHS, counted)))
            chains = [float(serial_steps(made, n)) for n in _STEP_LENGTHS]
            grown.append(Growth("serial steps", core, _STEP_LENGTHS, tuple(chains), exponent(_STEP_LENGTHS, chains)))
        taken = _seconds(mixers)
    grown += [Growth("seconds", core, _TIME_LENGTHS, s, exponent(_TIME_LENGTHS, s)) for core, s in taken.items()]
    return tuple(grown)


def _seconds(mixers: dict[str, Mixer]) -> dict[str, tuple[float, ...]]:
    """The least processor time of some rounds in which the cores take turns."""
    best = {core: [math.inf] * len(_TIME_LENGTHS) for core in mixers}
    with limited_threads(1), torch.no_grad():
        for i, length in enumerate(_TIME_LENGTHS):
            x = torch.randn(1, length, _FEATURES)
            for _ in range(_ROUNDS):
                for core, made in mixers.items():
                    began = time.thread_time()
                    made(x)
                    best[core][i] = min(best[core][i], time.thread_time() - began)
    return {core: tuple(max(s, 1e-9) for s in times) for core, times in best.items()}


def cost_findings(grown: Sequence[Growth]) -> tuple[Finding, ...]:
    """FLOPs and time against the claimed exponents, serial steps against theirs."""
    by = {(g.what, g.core): g for g in grown}
    made = []
    for core, power in _COST_CLAIMS.items():
        counted, timed = by["FLOPs", core].exponent, by["seconds", core].exponent
        right, fast = abs(counted - power) <= 0.1, abs(timed - power) <= 0.35
        claim = "grows with n^2" if power == 2 else "grows with n"
        measured = f"FLOPs n^{counted:.2f}, time n^{timed:.2f}"
        made.append(Finding("cost", core, claim, measured, judged(right and fast, right)))
    for core, power in _STEP_CLAIMS.items():
        chain = by["serial steps", core]
        right = abs(chain.exponent - power) <= 0.1
        claim = "serial: grows with n" if power else "parallel: the same at any n"
        made.append(Finding("serial steps", core, claim, chain.ends(), judged(right)))
    return tuple(made)
