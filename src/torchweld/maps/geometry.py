"""The shape of an affine map: a grouped convolution without its numbers.

Letters: I, O channels in and out; g groups; k kernel; s stride; p padding (near, far); d dilation;
e = 1 + (k-1)d extent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Literal

PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]
Sizes = tuple[int | None, ...]  # spatial sizes; None where the size is dynamic


@dataclass(frozen=True)
class Geometry:
    """Weight (O, I/g, *k). Rank 0 (`kernel == ()`) is a map at each position: a linear layer or a 1x1 convolution.

    `transposed` maps are adjoints: their weight is stored (O, I/g, *k) too, and `output_padding` belongs to them alone.
    """

    in_channels: int
    out_channels: int
    groups: int = 1
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    padding: tuple[tuple[int, int], ...] = ()
    dilation: tuple[int, ...] = ()
    padding_mode: PaddingMode = "zeros"
    transposed: bool = False
    output_padding: tuple[int, ...] = ()

    @property
    def rank(self) -> int:
        return len(self.kernel)

    @property
    def taps(self) -> int:
        return prod(self.kernel)

    @property
    def extent(self) -> tuple[int, ...]:
        return tuple(1 + (k - 1) * d for k, d in zip(self.kernel, self.dilation, strict=True))

    @property
    def weight_shape(self) -> tuple[int, ...]:
        return (self.out_channels, self.in_channels // self.groups, *self.kernel)

    @property
    def pointwise(self) -> bool:
        """One tap, no stride, no padding: the same matrix at each position."""
        return not self.transposed and self.rank == 0

    @property
    def per_channel(self) -> bool:
        """Each output channel reads the input channel of its own number, and nothing else."""
        return self.groups == self.in_channels == self.out_channels

    @property
    def padded(self) -> bool:
        return any(p != (0, 0) for p in self.padding)

    def canonical(self) -> Geometry:
        """The simplest writing of the same map: pointwise has rank 0, one tap dilation 1, no padding mode "zeros"."""
        dilation = tuple(d if k > 1 else 1 for k, d in zip(self.kernel, self.dilation, strict=True))
        mode = self.padding_mode if self.padded else "zeros"
        plain = not self.transposed and self.taps == 1 and not self.padded and all(s == 1 for s in self.stride)
        if plain:
            return Geometry(self.in_channels, self.out_channels, self.groups)
        return replace(self, dilation=dilation, padding_mode=mode)

    def lifted(self, rank: int) -> Geometry:
        """A pointwise map written with `rank` spatial dimensions of one tap; any other map must have that rank."""
        if self.rank or not rank:
            return self
        ones = (1,) * rank
        return replace(self, kernel=ones, stride=ones, padding=((0, 0),) * rank, dilation=ones)

    def output_sizes(self, sizes: Sizes) -> Sizes:
        """Spatial sizes after the map; dynamic stays dynamic."""
        if self.rank == 0:
            return sizes
        if self.transposed:
            return tuple(
                None if n is None else (n - 1) * s - sum(p) + e + o
                for n, s, p, e, o in zip(
                    sizes, self.stride, self.padding, self.extent, self.output_padding, strict=True
                )
            )
        return tuple(
            None if n is None else (n + sum(p) - e) // s + 1
            for n, s, p, e in zip(sizes, self.stride, self.padding, self.extent, strict=True)
        )

    def __str__(self) -> str:
        if self.rank == 0:
            kind = "per-channel scale" if self.per_channel else "1x1"
        else:
            kind = "x".join(map(str, self.kernel)) + (" transposed" if self.transposed else "")
        parts = [f"{kind} {self.in_channels}->{self.out_channels}"]
        if self.groups > 1 and not (self.rank == 0 and self.per_channel):
            parts.append(f"groups {self.groups}")
        for name, values, plain in (("stride", self.stride, 1), ("dilation", self.dilation, 1)):
            if any(v != plain for v in values):
                parts.append(f"{name} {'x'.join(map(str, values))}")
        if self.padded:
            parts.append(
                f"{self.padding_mode} padding " + "x".join(f"{a}" if a == b else f"({a},{b})" for a, b in self.padding)
            )
        return ", ".join(parts)
