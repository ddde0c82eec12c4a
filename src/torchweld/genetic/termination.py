"""When a run ends."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torchweld.core import InputError


@dataclass(frozen=True)
class Terminate:
    """The first of these that is met ends the run; None is no limit, and at least one must be given.

    `evaluations` counts every evaluation and every value-and-gradient call of a polish; a generation is finished
    once begun. `stall` is the number of generations without an improvement above the history's epsilon.
    """

    generations: int | None = 100
    target: float | None = None
    tolerance: float = 0.0  # the target counts as reached this far below it
    stall: int | None = None
    seconds: float | None = None
    evaluations: int | None = None

    def __post_init__(self) -> None:
        limits = {n: getattr(self, n) for n in ("generations", "stall", "seconds", "evaluations")}
        if self.target is None and all(v is None for v in limits.values()):
            raise InputError("a run needs an end: generations, target, stall, seconds or evaluations")
        for name, limit in limits.items():
            if limit is not None and limit < 0:
                raise InputError(f"{name} must not be negative, not {limit}")
        if self.target is not None and math.isnan(self.target):
            raise InputError("the target must be a number, not NaN")

    def reason(self, generation: int, best: float, improved_at: int, seconds: float, evaluations: int) -> str | None:
        """Why the run ends now, or None.

        >>> Terminate(generations=5).reason(5, 0.0, 0, 0.0, 0)
        'generations'
        """
        if self.target is not None and best >= self.target - self.tolerance:
            return "target"
        if self.generations is not None and generation >= self.generations:
            return "generations"
        if self.stall is not None and generation - improved_at >= self.stall:
            return "stall"
        if self.seconds is not None and seconds >= self.seconds:
            return "seconds"
        if self.evaluations is not None and evaluations >= self.evaluations:
            return "evaluations"
        return None
