"""Zero padding between two maps: compose is exact if and only if the padding stands for what the first map gives there.

Along one axis, the padding stands for the first map's outputs outside the real ones; they are zero where its windows
see none of the image. That is worked out here by listing every position, and the law's inequalities must agree.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from unittest.mock import patch

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from torchweld.core import Refusal
from torchweld.maps import ConvMap, Geometry, compose, literal
from torchweld.maps.exactness import check_composition

from .oracles import Axis, dense_map, differ, random_numbers

FIRSTS = [
    Axis(k, s, near, far, d)
    for k, d, s, near, far in product((1, 2, 3), (1, 2), (1, 2, 3), range(3), range(3))
    if k > 1 or d == 1
]
SECONDS = [
    Axis(k, s, near, far, d)
    for (k, s, d), near, far in product(((1, 1, 1), (1, 2, 1), (3, 2, 1), (2, 1, 2)), range(3), range(3))
    if near or far
]
SIZES = range(1, 14)


def geometry(*axes: Axis, mode: str = "zeros") -> Geometry:
    per_axis = [(a.kernel, a.stride, (a.near, a.far), a.dilation) for a in axes]
    kernel, stride, padding, dilation = zip(*per_axis, strict=True)
    return Geometry(1, 1, 1, kernel, stride, padding, dilation, mode).canonical()


def made(seed: int, shape: Geometry, *, biased: bool = False) -> ConvMap:
    bias = literal(random_numbers(seed + 1, shape.out_channels)) if biased else None
    return ConvMap(shape, literal(random_numbers(seed, *shape.weight_shape)), bias)


def refused(second: Geometry, first: Geometry, sizes: tuple[int | None, ...], biased: bool = False) -> bool:
    rank = len(sizes)
    try:
        check_composition(second.lifted(rank), first.lifted(rank), sizes, biased=biased)
    except Refusal:
        return True
    return False


def outside(second: Axis, first: Axis, n: int) -> list[int]:
    """The first map's outputs that the second's padding stands for."""
    real = first.outputs(n)
    return [*range(-second.near, 0), *range(real, real + second.far)]


def sees_image(first: Axis, t: int, n: int) -> bool:
    return any(0 <= t * first.stride + a * first.dilation - first.near < n for a in range(first.kernel))


def read(second: Axis, inside: int) -> set[int]:
    """Positions that the second map reads at all: strides and dilation may pass over some of its padding."""
    return set(second.positions(0, second.outputs(inside)).flatten().tolist())


def test_static_sizes_pass_exactly_where_the_padding_stands_for_zeros():
    for first, second, n in product(FIRSTS, SECONDS, SIZES):
        if not (first.runs(n) and second.runs(first.outputs(n))):
            continue
        reads = read(second, first.outputs(n))
        seen = [t for t in outside(second, first, n) if t in reads and sees_image(first, t, n)]
        verdict = refused(geometry(second), geometry(first), (n,))
        assert verdict == bool(seen), f"{second} after {first} at {n}: outputs {seen} are not zero"


def test_dynamic_sizes_pass_exactly_where_every_static_size_does():
    for first, second in product(FIRSTS, SECONDS[::2]):
        sizes = [n for n in range(1, 30) if first.runs(n) and second.runs(first.outputs(n))]
        at_each = [refused(geometry(second), geometry(first), (n,)) for n in sizes]
        assert refused(geometry(second), geometry(first), (None,)) == any(at_each), f"{second} after {first}"


WINDOW = st.tuples(*(st.integers(1, 3), st.integers(1, 3), st.integers(0, 2), st.integers(0, 2), st.integers(1, 2)))
GRID = st.lists(st.tuples(WINDOW, WINDOW, st.integers(1, 9)), min_size=1, max_size=2)


@settings(max_examples=600)
@given(grid=GRID, seed=st.integers(0, 10**6), biased=st.booleans())
def test_a_refused_chain_really_differs_at_the_border(grid, seed, biased):
    firsts, seconds = [Axis(*a) for a, _, _ in grid], [Axis(*b) for _, b, _ in grid]
    sizes = tuple(n for _, _, n in grid)
    assume(all(a.runs(n) and b.runs(a.outputs(n)) for a, b, n in zip(firsts, seconds, sizes, strict=True)))
    first, second = made(seed, geometry(*firsts), biased=biased), made(seed + 2, geometry(*seconds))
    inside = tuple(a.outputs(n) for a, n in zip(firsts, sizes, strict=True))
    try:
        compose(second, first, sizes)
    except Refusal:
        allowed = False
    else:
        allowed = True
    with patch("torchweld.maps.laws.check_composition"):
        naive = dense_map(compose(second, first), {}, sizes)
    matrix1, constant1 = dense_map(first, {}, sizes)
    matrix2, constant2 = dense_map(second, {}, inside)
    wrong = differ(naive[0], matrix2 @ matrix1) or differ(naive[1], matrix2 @ constant1 + constant2)
    # the law asks about all padding; what differs is that part of it which the second map reads
    reads = [read(b, m) for b, m in zip(seconds, inside, strict=True)]
    reached = [set(outside(b, a, n)) & r for a, b, n, r in zip(firsts, seconds, sizes, reads, strict=True)]
    # a window sees the image where it does so along every axis: on one in the padding, on the others anywhere
    seen = any(
        all(
            any(sees_image(a, t, n) for t in (reached[j] if j == i else reads[j]))
            for j, (a, n) in enumerate(zip(firsts, sizes, strict=True))
        )
        for i in range(len(sizes))
    )
    assert wrong == bool(seen or (biased and any(reached)))
    assert not (wrong and allowed), "composed, and wrong at the border"
    assert wrong or allowed or len(sizes) > 1, "refused, though exact"


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize(
    ("first", "exact"),
    [(Axis(), True), (Axis(3), False), (Axis(3, 1, 1, 1), False), (Axis(1, 3), False), (Axis(1, 1, 1, 1), False)],
    ids=["one tap", "three taps", "three taps, padded", "strided tap", "padding"],
)
def test_other_padding_passes_through_one_unstrided_tap_even_with_a_bias(mode, first, exact):
    second = made(0, geometry(Axis(3, 1, 1, 1), mode=mode))
    before = made(1, geometry(first), biased=True)
    sizes = (8,)
    with patch("torchweld.maps.laws.check_composition"):
        naive = dense_map(compose(second, before), {}, sizes)
    matrix1, constant1 = dense_map(before, {}, sizes)
    matrix2, constant2 = dense_map(second, {}, before.geometry.output_sizes(sizes))
    assert differ(naive[0], matrix2 @ matrix1) != exact
    assert not differ(naive[1], matrix2 @ constant1 + constant2)
    assert refused(second.geometry, before.geometry, sizes, biased=True) != exact


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_other_padding_passes_at_exactly_the_sizes_at_which_it_is_the_same(mode):
    counts = [0, 0]
    for first, second, n in product(FIRSTS[::4], SECONDS, range(3, 9)):
        first, second = replace(first, mode=mode), replace(second, mode=mode)
        widest = max(first.near + first.stride * second.near, first.far + first.stride * second.far)
        fits = widest <= n - (mode == "reflect") or mode == "replicate"
        if not (first.runs(n) and second.runs(first.outputs(n)) and fits):
            continue
        b, a = made(1, geometry(second, mode=mode)), made(0, geometry(first, mode=mode), biased=True)
        with patch("torchweld.maps.laws.check_composition"):
            whole = compose(b, a)
        if whole.geometry.padding_mode != mode:
            continue
        exact = dense_map(b, {}, a.geometry.lifted(1).output_sizes((n,)))[0] @ dense_map(a, {}, (n,))[0]
        same = not differ(dense_map(whole, {}, (n,))[0], exact)
        assert refused(b.geometry, a.geometry, (n,), biased=True) == (not same), f"{second} after {first} at {n}"
        counts[same] += 1
    assert min(counts) > 20


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_zero_padding_after_other_padding_is_refused_and_would_differ(mode):
    first, second = made(0, geometry(Axis(3, 1, 1, 1), mode=mode)), made(1, geometry(Axis(3, 1, 1, 1)))
    with pytest.raises(Refusal, match=f"zero padding after {mode} padding"):
        compose(second, first, (8,))
    with patch("torchweld.maps.laws.check_composition"):
        naive, _ = dense_map(compose(second, first), {}, (8,))
    assert differ(naive, dense_map(second, {}, (8,))[0] @ dense_map(first, {}, (8,))[0])


def test_axes_are_told_apart():
    """A border that only the second axis breaks is found, and named."""
    first, second = geometry(Axis(), Axis(3, 1, 1, 1)), geometry(Axis(3, 1, 1, 1), Axis(3, 1, 1, 1))
    with pytest.raises(Refusal, match="near border of axis 1"):
        check_composition(second, first, (8, 8), biased=False)
