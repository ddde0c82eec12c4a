"""What a run is, apart from the problem and the operators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from torchweld.core import InputError


@dataclass(frozen=True)
class Options:
    """Settings of `ga`; the defaults are GAOT's.

    `epsilon`: the history gets a row when the best improves by more than this, and a stall counts from there.
    `horizon`: generations over which non-uniform steps shrink; None takes the run's limit, or 100,
    and a resumed run that of the first.
    `remember`: never evaluate a solution twice in a whole run; None means yes for bits, permutations, whole numbers
    and one-by-one evaluation, no for batched floats (children equal to a parent are never evaluated anyway).
    `on_failure`: an evaluation that raises or gives NaN ends the run ("raise") or counts as -inf ("penalise").
    `compat="gaot"`: its order of work and its quirks: index picks that favour the middle, floats to bits rounded
    down, one bit too few at powers of two, no std in the last trace row, an end population without the elite.
    """

    population: int = 80
    encoding: str | None = None  # None: "permutation" where the bounds are a length, else "float"
    precision: float | Sequence[float] = 1e-6
    epsilon: float = 1e-6
    horizon: int | None = None
    dtype: torch.dtype = torch.float64
    device: str = "cpu"
    remember: bool | None = None
    on_failure: str = "raise"
    compat: str | None = None

    def __post_init__(self) -> None:
        if self.population < 2:
            raise InputError(f"a population needs at least two individuals, not {self.population}")
        if self.compat not in (None, "gaot"):
            raise InputError(f"compat is None or 'gaot', not {self.compat!r}")
        if not self.dtype.is_floating_point:
            raise InputError(f"dtype must be a floating type, not {self.dtype}")
        if self.horizon is not None and self.horizon < 1:
            raise InputError(f"the horizon must be at least one generation, not {self.horizon}")
