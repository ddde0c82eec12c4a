"""Two maps along one axis: whether the second's padding stands for what the first would give outside its output.

A second map reads places t of the first map's padded output. Inside, the first map gives them. Outside, zero padding
gives zero, and reflecting, replicating or circular padding a place u(t) inside. Composed, the first map is computed at
t itself, on an input padded as wide. Both agree if and only if, for each t outside that the second map *reads* (strides
and dilation pass over some) and each tap b of the first map,

    zeros:  t s1 + b d1 - p1 lies outside the image (and the first map has no bias),
    else:   t s1 + b d1 - p1 and u(t) s1 + b d1 - p1 are one place of the padded image.

With zeros and every place read that is `e1 <= s1 + p1` on the near side and `n1 s1 - p1 >= n` on the far side. For a
dynamic size the condition must hold at every size; it repeats with the period s1 s2 once the image is larger than all
windows and paddings together, so finitely many sizes decide.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

from torchweld.maps.geometry import Geometry, PaddingMode, Sizes


@dataclass(frozen=True)
class Window:
    """How a map reads along one axis."""

    kernel: int
    stride: int
    near: int
    far: int
    dilation: int

    @property
    def extent(self) -> int:
        return 1 + (self.kernel - 1) * self.dilation

    def outputs(self, n: int) -> int:
        return (n + self.near + self.far - self.extent) // self.stride + 1

    def outside_read(self, n: int) -> Iterator[int]:
        """Places of the padding that are read when n places lie between."""
        outputs = self.outputs(n)
        for t in chain(range(-self.near, 0), range(n, n + self.far)):
            taps = (t + self.near - a * self.dilation for a in range(self.kernel))
            if any(at % self.stride == 0 and 0 <= at // self.stride < outputs for at in taps):
                yield t


def windows(g: Geometry) -> tuple[Window, ...]:
    """One for each axis."""
    per_axis = zip(g.kernel, g.stride, g.padding, g.dilation, strict=True)
    return tuple(Window(k, s, p[0], p[1], d) for k, s, p, d in per_axis)


def reads_padding(g: Geometry, sizes: Sizes) -> bool:
    """Whether a map reads any of its padding, on an input of these sizes; where one is dynamic, at some size."""
    return any(_reads_padding(w, n) for w, n in zip(windows(g), sizes, strict=True) if w.near or w.far)


@lru_cache(maxsize=4096)
def _reads_padding(w: Window, n: int | None) -> bool:
    sizes = range(1, 2 * (w.extent + w.near + w.far) + w.stride + 1) if n is None else (n,)
    return any(w.outputs(m) >= 1 and any(True for _ in w.outside_read(m)) for m in sizes)


@lru_cache(maxsize=4096)
def refused_side(second: Window, first: Window, mode: PaddingMode, n: int | None) -> str | None:
    """ "near" or "far" where the second map's padding does not stand for the first map's values; None if exact."""
    if n is not None:
        return _side(second, first, mode, n)
    reach = first.extent + first.near + first.far + first.stride * (second.extent + second.near + second.far)
    for m in range(1, 2 * reach + first.stride * second.stride + 1):
        if first.outputs(m) >= 1 and second.outputs(first.outputs(m)) >= 1 and _fits(second, first, mode, m):
            side = _side(second, first, mode, m)
            if side is not None:
                return side
    return None


def _fits(second: Window, first: Window, mode: PaddingMode, n: int) -> bool:
    """Whether the original's own paddings are within the limit of their mode; larger ones raise there already."""
    if mode in ("zeros", "replicate"):
        return True
    inside, less = first.outputs(n), int(mode == "reflect")
    return max(second.near, second.far) <= inside - less and max(first.near, first.far) <= n - less


def _side(second: Window, first: Window, mode: PaddingMode, n: int) -> str | None:
    inside = first.outputs(n)
    near, far = first.near + first.stride * second.near, first.far + first.stride * second.far
    if mode in ("reflect", "circular") and max(near, far) > n - (mode == "reflect"):
        return "far" if far > near else "near"  # more padding than such a mode can give
    for t in second.outside_read(inside):
        u = _source(mode, t, inside)
        for b in range(first.kernel):
            at = t * first.stride + b * first.dilation - first.near
            stands = None if u is None else _source(mode, u * first.stride + b * first.dilation - first.near, n)
            if _source(mode, at, n) != stands:
                return "near" if t < 0 else "far"
    return None


def _source(mode: PaddingMode, place: int, n: int) -> int | None:
    """The place of an image of n that padding puts at `place`; None for a zero."""
    if 0 <= place < n:
        return place
    if mode == "zeros":
        return None
    if mode == "replicate":
        return min(max(place, 0), n - 1)
    if mode == "circular":
        return place % n
    if n == 1:
        return 0
    place %= 2 * (n - 1)
    return min(place, 2 * (n - 1) - place)
