"""Plans by the clock: maps are timed on this machine instead of estimated, and whole plans run against each other.

What a map takes is kept by its geometry, sizes and dtype with the machine, torch's version and the threads, so the next
model that has it need not be timed. The plans made of such times, of the roofline, and the captured graph as it was
written then take turns with the model itself. The fastest wins; if none is faster than the model, the graph stays as it
was written.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from torchweld.fusion.calibrate import best_seconds, clock_for
from torchweld.fusion.cost import Costs
from torchweld.fusion.layout import Place
from torchweld.fusion.machine import Machine, this_machine
from torchweld.fusion.remembered import Remembered
from torchweld.fusion.sizes import Hints
from torchweld.maps import Geometry

TIMES = "maps.json"
WRITTEN = "as written"
_MAP_SECONDS = 0.02
_LARGEST_ELEMENTS = 2**27  # of an operand; larger ones are left to the roofline


@dataclass(frozen=True)
class Measured:
    """Medians of the candidates over the model's own, and the one that was chosen."""

    ratios: Mapping[str, float]
    chosen: str

    def __str__(self) -> str:
        told = ", ".join(f"{name} {ratio:.2f}" for name, ratio in self.ratios.items())
        if self.chosen == WRITTEN:
            return f"measured: nothing is faster than the model, so it stays as written (of its time: {told})"
        return f"measured: {self.chosen} is fastest (of the model's time: {told})"


class MeasuredCosts(Costs):
    """Costs whose maps have been timed; call `keep` when the plan is made."""

    def __init__(self, machine: Machine, hints: Hints, device: str, dtype: torch.dtype) -> None:
        super().__init__(machine, hints)
        self.device, self.dtype = device, dtype
        self.remembered = Remembered(TIMES)
        self.where = f"{this_machine(device)}, {str(dtype).removeprefix('torch.')}"
        self.known: dict[str, float] = dict(self.remembered.get(self.where) or {})
        self.new: dict[str, float] = {}

    def keep(self) -> None:
        """Writes the new times to the file."""
        if self.new:
            self.remembered.update({self.where: {**self.known, **self.new}})

    def product(self, g: Geometry, place: Place, read: int, positions: int, width: int) -> float:
        sizes = tuple(self.hints.number(d) for d in place.leaf.shape)
        if read > _LARGEST_ELEMENTS:
            return super().product(g, place, read, positions, width)
        key = repr((_told(g), sizes, place.axis, place.linear, bool(place.copied)))
        seconds = self.known.get(key) or self.new.get(key)
        if not isinstance(seconds, float):
            seconds = self.new[key] = self._timed(g, place, sizes)
        return seconds

    def _timed(self, g: Geometry, place: Place, sizes: tuple[int, ...]) -> float:
        x = torch.zeros(sizes, device=self.device, dtype=self.dtype)
        if place.copied:
            x = x.transpose(0, -1).contiguous().transpose(0, -1)
        call = _call(g, place, x)
        with torch.inference_mode():
            return best_seconds(call, _MAP_SECONDS, self.device)


def fastest(
    native: Callable[[], object],
    candidates: Mapping[str, Callable[[], object]],
    device: str = "cpu",
    *,
    budget_seconds: float = 2.0,
) -> Measured:
    """Times the candidates and the model in turns; the fastest, or `WRITTEN` where none is faster than the model."""
    calls = {"native": native, **candidates}
    taken: dict[str, list[float]] = {name: [] for name in calls}
    clock, started, turn = clock_for(device), time.perf_counter(), 0
    with torch.inference_mode():
        while turn < 9 or (time.perf_counter() - started < budget_seconds and turn < 200):
            for name, call in calls.items():
                start = clock()
                call()
                if device == "cuda":
                    torch.cuda.synchronize()
                if turn >= 2:  # the first turns warm up
                    taken[name].append(clock() - start)
            turn += 1
    medians = {name: statistics.median(times) for name, times in taken.items()}
    own = medians.pop("native")
    ratios = {name: median / own for name, median in sorted(medians.items(), key=lambda item: item[1])}
    best = next(iter(ratios))
    return Measured(ratios, best if ratios[best] < 1 else WRITTEN)


def _told(g: Geometry) -> tuple[object, ...]:
    return g.in_channels, g.out_channels, g.kernel, g.stride, g.padding, g.dilation, g.groups, g.transposed


def _call(g: Geometry, place: Place, x: Tensor) -> Callable[[], object]:
    if place.linear:
        matrix = x.new_zeros(g.out_channels, g.in_channels)
        return lambda: F.linear(x, matrix)
    g = g.lifted(x.ndim - place.axis - 1)
    near = tuple(max(pair) for pair in g.padding)
    if g.transposed:
        weight = x.new_zeros(g.in_channels, g.out_channels // g.groups, *g.kernel)
        back: Callable[..., Tensor] = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[g.rank - 1]
        return lambda: back(x, weight, None, g.stride, near, g.output_padding, g.groups, g.dilation)
    weight = x.new_zeros(g.weight_shape)
    forth: Callable[..., Tensor] = (F.conv1d, F.conv2d, F.conv3d)[g.rank - 1]
    return lambda: forth(x, weight, None, g.stride, near, g.dilation, g.groups)
