"""One layer drawn three times over: as a map of the algebra, as the field's own operator, as its definition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from torchweld.maps import ConvMap

from .oracles import Axes, random_numbers

Draw = Callable[[st.SearchStrategy[Any]], Any]
Sizes = tuple[int, ...]
SEEDS = st.integers(0, 2**20)


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer, three times: `map` with `state`; `run`; `weight` (O, I, *k), `bias` (O,) and `axes`."""

    map: ConvMap
    state: dict[str, Tensor]
    run: Callable[[Tensor], Tensor]
    weight: Tensor
    bias: Tensor
    axes: Axes = ()

    def outputs(self, sizes: Sizes) -> Sizes:
        return tuple(a.outputs(n) for a, n in zip(self.axes, sizes, strict=True)) if self.axes else sizes

    def runs(self, sizes: Sizes) -> bool:
        return all(a.runs(n) for a, n in zip(self.axes, sizes, strict=True)) if self.axes else min(sizes, default=1) > 0


@dataclass(frozen=True)
class Wish:
    """What a layer beside another one should have in common with it, where its kind can."""

    out: int | None = None
    strides: tuple[int, ...] | None = None
    slacks: tuple[int, ...] | None = None  # near + far - extent, along each axis
    axes: Axes | None = None
    any_size: bool = False  # a layer that means the same at sizes that it was not drawn for


FREE = Wish()
ANY_SIZE = Wish(any_size=True)


def numbers(draw: Draw, *shape: int) -> Tensor:
    """Parameters as a model holds them, in float32 or float64."""
    return random_numbers(draw(SEEDS), *shape).to(draw(st.sampled_from((torch.float64, torch.float32))))
