"""When a law is exact: the conditions on borders and sizes, each ending in a reason.

Letters as in `geometry`; index 1 is the first map, 2 the second; n is the size of the first map's input. What a second
map's padding asks of the first map is worked out in `borders`.
"""

from __future__ import annotations

from math import gcd

from torchweld.core import Refusal
from torchweld.maps.borders import Window, reads_padding, refused_side, windows
from torchweld.maps.geometry import Geometry, Sizes


def check_composition(second: Geometry, first: Geometry, sizes: Sizes, *, biased: bool) -> None:
    """Raises `Refusal` unless second after first is one map for an input of these sizes. Both of one rank."""
    if first.transposed or second.transposed:
        _check_transposed(second, first, biased=biased)
        return
    if not second.padded:
        return
    mode = second.padding_mode
    if mode == "zeros" and biased and reads_padding(second, first.output_sizes(sizes)):
        raise Refusal("a bias before zero padding: the padding is zero there, not the bias, so the border would differ")
    if first.padded and first.padding_mode != mode:
        said = "zero" if mode == "zeros" else mode
        raise Refusal(f"{said} padding after {first.padding_mode} padding: outside the image the two disagree")
    for axis, n in enumerate(sizes):
        one, two = windows(first)[axis], windows(second)[axis]
        if two.near or two.far:
            side = refused_side(two, one, mode, n)
            if side is not None:
                raise Refusal(_border_reason(mode, side, axis, one) + (", for a size that is dynamic" * (n is None)))


def check_sum(a: Geometry, b: Geometry, sizes: Sizes) -> None:
    """Raises `Refusal` unless a + b is one map for an input of these sizes. Both of one rank."""
    if (a.in_channels, a.out_channels) != (b.in_channels, b.out_channels):
        raise Refusal(f"the channels differ: {a.in_channels}->{a.out_channels} and {b.in_channels}->{b.out_channels}")
    if a.transposed or b.transposed:
        same = (a.transposed, a.kernel, a.stride, a.padding, a.dilation, a.output_padding) == (
            b.transposed,
            b.kernel,
            b.stride,
            b.padding,
            b.dilation,
            b.output_padding,
        )
        if not same:
            raise Refusal("transposed convolutions add only where kernel, stride, padding and dilation are the same")
        return
    if a.stride != b.stride:
        raise Refusal(f"the strides differ: {a.stride} and {b.stride}")
    if a.padded and b.padded and a.padding_mode != b.padding_mode:
        raise Refusal(f"the padding modes differ: {a.padding_mode} and {b.padding_mode}")
    known = all(n is not None for n in sizes)
    if slack(a) != slack(b) and not (known and a.output_sizes(sizes) == b.output_sizes(sizes)):
        raise Refusal("the output sizes differ" if known else "the output sizes differ for some of the dynamic sizes")


def slack(geometry: Geometry) -> tuple[int, ...]:
    """`p(near) + p(far) - e`: maps of one stride with the same slack give the same output size at every size."""
    return tuple(sum(p) - e for p, e in zip(geometry.padding, geometry.extent, strict=True))


def common_dilation(steps: tuple[int, ...]) -> int:
    """The largest step that reaches all of these (0: a map of one tap takes no step); 1 if there is none.

    >>> common_dilation((0, 4, 6))
    2
    """
    return gcd(*steps) or 1


def _unstrided_tap(geometry: Geometry) -> bool:
    return geometry.taps == 1 and all(s == 1 for s in geometry.stride)


def _check_transposed(second: Geometry, first: Geometry, *, biased: bool) -> None:
    other = first if second.transposed else second
    if other.transposed or not _unstrided_tap(other) or other.padded:
        raise Refusal("a transposed convolution takes in 1x1 maps only")
    if second.transposed and biased:
        raise Refusal("a bias before a transposed convolution: its outputs read different numbers of taps")


def _border_reason(mode: str, side: str, axis: int, first: Window) -> str:
    padding = first.near if side == "near" else first.far
    saw = (
        "see the image where the padding says zero" if mode == "zeros" else "see other places than the padding repeats"
    )
    return (
        f"{'zero' if mode == 'zeros' else mode} padding after a map of extent {first.extent} (stride {first.stride}, "
        f"padding {padding}): at the {side} border of axis {axis} the first map would {saw}"
    )
