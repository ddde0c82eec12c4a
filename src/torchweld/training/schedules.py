"""Learning rates as pure functions of time: no state, so nothing is lost, applied twice or decayed again on resume.

Time is a float counted from 0, in whatever unit the schedule was given: the training loop counts epochs and asks at
`step / steps_per_epoch`. Every rate is positive, the first one too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, cast

from torchweld.core import InputError


class Schedule(Protocol):
    """The rate at a time."""

    def __call__(self, time: float) -> float: ...


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not (value > 0 and math.isfinite(value)):
            raise InputError(f"{name}={value} must be a positive number")


@dataclass(frozen=True)
class Constant:
    """One rate throughout."""

    base_lr: float

    def __post_init__(self) -> None:
        _positive(base_lr=self.base_lr)

    def __call__(self, time: float) -> float:
        return self.base_lr


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from `base_lr` down to `final_lr` at `length`, constant after. Loshchilov & Hutter 2017, eq. 5.

    >>> [round(Cosine(1.0, 0.1, length=4)(t), 3) for t in range(6)]
    [1.0, 0.868, 0.55, 0.232, 0.1, 0.1]
    """

    base_lr: float
    final_lr: float
    length: float

    def __post_init__(self) -> None:
        _positive(base_lr=self.base_lr, final_lr=self.final_lr, length=self.length)

    def __call__(self, time: float) -> float:
        if time >= self.length:
            return self.final_lr
        return self.final_lr + (self.base_lr - self.final_lr) * 0.5 * (1 + math.cos(math.pi * time / self.length))


@dataclass(frozen=True)
class Linear:
    """A straight line from `base_lr` to `final_lr` at `length`, constant after."""

    base_lr: float
    final_lr: float
    length: float

    def __post_init__(self) -> None:
        _positive(base_lr=self.base_lr, final_lr=self.final_lr, length=self.length)

    def __call__(self, time: float) -> float:
        return self.base_lr + (self.final_lr - self.base_lr) * min(time / self.length, 1.0)


@dataclass(frozen=True)
class PiecewiseConstant:
    """`rates[i]` from `boundaries[i - 1]` on, until `boundaries[i]`.

    >>> [PiecewiseConstant((2, 4), (1.0, 0.5, 0.1))(t) for t in range(6)]
    [1.0, 1.0, 0.5, 0.5, 0.1, 0.1]
    """

    boundaries: tuple[float, ...]
    rates: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.rates) != len(self.boundaries) + 1 or list(self.boundaries) != sorted(set(self.boundaries)):
            raise InputError("give rising boundaries, and one rate more than there are boundaries")
        _positive(**{f"rates[{i}]": rate for i, rate in enumerate(self.rates)})

    def __call__(self, time: float) -> float:
        return self.rates[sum(time >= boundary for boundary in self.boundaries)]


@dataclass(frozen=True)
class Exponential:
    """`base_lr * factor ** time`."""

    base_lr: float
    factor: float

    def __post_init__(self) -> None:
        _positive(base_lr=self.base_lr, factor=self.factor)

    def __call__(self, time: float) -> float:
        # Never 0, however long the run.
        return max(self.base_lr * self.factor**time, 1e-30)


@dataclass(frozen=True)
class Step:
    """`base_lr` times `factor` for every whole `every` that has passed; never below `final_lr` where it is given."""

    base_lr: float
    factor: float
    every: float
    final_lr: float = 1e-30

    def __post_init__(self) -> None:
        _positive(base_lr=self.base_lr, factor=self.factor, every=self.every, final_lr=self.final_lr)

    def __call__(self, time: float) -> float:
        return max(self.base_lr * self.factor ** math.floor(time / self.every), self.final_lr)


@dataclass(frozen=True)
class MultiStep:
    """`base_lr` times `factor` for every milestone that has passed.

    >>> [round(MultiStep(1.0, 0.1, (2, 3))(t), 3) for t in range(5)]
    [1.0, 1.0, 0.1, 0.01, 0.01]
    """

    base_lr: float
    factor: float
    milestones: tuple[float, ...]

    def __post_init__(self) -> None:
        _positive(base_lr=self.base_lr, factor=self.factor)

    def __call__(self, time: float) -> float:
        return cast(float, self.base_lr * self.factor ** sum(time >= milestone for milestone in self.milestones))


@dataclass(frozen=True)
class Restarts:
    """Cosines from `base_lr` to `final_lr` one after the other, each `growth` times as long as the one before (SGDR).

    >>> [round(Restarts(1.0, 0.1, period=2)(t), 3) for t in range(5)]
    [1.0, 0.55, 1.0, 0.55, 1.0]
    """

    base_lr: float
    final_lr: float
    period: float
    growth: float = 1.0

    def __post_init__(self) -> None:
        _positive(base_lr=self.base_lr, final_lr=self.final_lr, period=self.period)
        if not (self.growth >= 1 and math.isfinite(self.growth)):
            raise InputError(f"growth={self.growth} must be 1 or more")

    def __call__(self, time: float) -> float:
        begin, length = 0.0, self.period
        if self.growth == 1:
            begin = math.floor(time / length) * length
        else:
            while time >= begin + length:
                begin, length = begin + length, length * self.growth
        return Cosine(self.base_lr, self.final_lr, length)(min(time - begin, length))


@dataclass(frozen=True)
class Triangular:
    """Up from `low_lr` to `high_lr` in half a period, down again in the other half. Smith 2017, arXiv 1506.01186.

    >>> [Triangular(0.5, 1.0, period=4)(t) for t in range(5)]
    [0.5, 0.75, 1.0, 0.75, 0.5]
    """

    low_lr: float
    high_lr: float
    period: float

    def __post_init__(self) -> None:
        _positive(low_lr=self.low_lr, high_lr=self.high_lr, period=self.period)

    def __call__(self, time: float) -> float:
        phase = (time / self.period) % 1.0
        return self.low_lr + (self.high_lr - self.low_lr) * (1 - abs(2 * phase - 1))


@dataclass(frozen=True)
class Warmup:
    """A straight line from `begin_lr` to where `after` begins, in `length`; then `after`, its time counted from there.

    The notes' numbers: 5 of 40 epochs, from 1e-9, then a cosine to 1e-9.

    >>> notes = Warmup(5, 1e-9, Cosine(0.3, 1e-9, length=35))
    >>> [round(notes(t), 3) for t in (0, 1, 5, 22.5, 40, 50)]
    [0.0, 0.06, 0.3, 0.15, 0.0, 0.0]
    >>> notes(0)
    1e-09
    """

    length: float
    begin_lr: float
    after: Schedule

    def __post_init__(self) -> None:
        _positive(begin_lr=self.begin_lr)
        if not (self.length >= 0 and math.isfinite(self.length)):
            raise InputError(f"a warm-up's length={self.length} must not be negative")

    def __call__(self, time: float) -> float:
        if time >= self.length:
            return self.after(time - self.length)
        return self.begin_lr + (self.after(0) - self.begin_lr) * time / self.length
