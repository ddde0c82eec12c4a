"""add and concat: two branches on one input are one map, or are refused, for every pair of kinds."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from torchweld.core import Refusal
from torchweld.maps import ConvMap, Geometry, add, apply, concat, literal

from .kinds import KINDS, PAIRS, draw_sizes
from .layer import SEEDS, Draw, Layer, Sizes, Wish
from .oracles import assert_same, dense, dense_map, random_numbers

# The only branch that a transposed convolution joins is another one that reads in the same way.
MAY_NEVER_ADD = {pair for pair in PAIRS if "transposed" in pair} - {("transposed", "transposed")}


def draw_branches(
    draw: Draw, kind_a: str, kind_b: str, sizes: Sizes, *, same_outputs: bool, any_size: bool = False
) -> tuple[Layer, Layer]:
    """Two layers on one input which mostly agree in stride and output size, where their kinds can."""
    kinds, channels, rank = (KINDS[kind_a], KINDS[kind_b]), draw(st.sampled_from((2, 3, 4))), len(sizes)
    out = channels if any(k.keeps_channels for k in kinds) else draw(st.sampled_from((2, 3, 4, 6)))
    stride = 1 if any(k.pointwise or not k.strides for k in kinds) else draw(st.integers(1, 3))
    slack = -1 if any(k.pointwise for k in kinds) else draw(st.sampled_from((-1, -1, 0, 1)))
    free, own_strides = draw(st.integers(0, 3)) == 0, draw(st.integers(0, 7)) == 0
    strides = None if own_strides else (stride,) * rank
    wish = Wish(out if same_outputs else None, strides, None if free else (slack,) * rank, any_size=any_size)
    a = KINDS[kind_a].draw(draw, "a", channels, sizes, wish)
    again = Wish(wish.out, wish.strides, wish.slacks, a.axes if kind_a == kind_b == "transposed" else None, any_size)
    return a, KINDS[kind_b].draw(draw, "b", channels, sizes, again)


def assert_is_both(made: ConvMap, a: Layer, b: Layer, join, sizes: Sizes, seed: int) -> None:
    """Against both oracles: the layers' outputs joined, and their matrices joined."""
    state = a.state | b.state
    x = random_numbers(seed, 2, a.weight.shape[1], *sizes)
    expected = join(a.run(x), b.run(x), 1)
    assert made.geometry.output_sizes(sizes) == tuple(expected.shape[2:])
    assert_same(apply(made, x, state), expected)
    matrices, constants = zip(*(dense(p.weight, p.bias, p.axes, sizes) for p in (a, b)), strict=True)
    matrix, constant = dense_map(made, state, sizes)
    assert_same(matrix, join(*matrices, 0))
    assert_same(constant, join(*constants, 0))


def summed(a, b, dim):
    return a + b


def stacked(a, b, dim):
    return torch.cat([a, b], dim)


def refused_rightly(a: Layer, b: Layer, sizes: Sizes, reason: str) -> None:
    """The reason is true of the layers as they were drawn."""
    one, two = a.map.geometry.lifted(len(sizes)), b.map.geometry.lifted(len(sizes))
    truth = {
        "the output sizes differ": a.outputs(sizes) != b.outputs(sizes),
        "the strides differ": one.stride != two.stride,
        "the padding modes differ": one.padding_mode != two.padding_mode and one.padded and two.padded,
        "the channels differ": a.weight.shape[0] != b.weight.shape[0],
        "transposed convolutions add only": (one.transposed or two.transposed) and a.axes != b.axes,
    }
    assert [holds for start, holds in truth.items() if reason.startswith(start)] == [True], reason


@pytest.mark.parametrize(("law", "join"), [(add, summed), (concat, stacked)], ids=["add", "concat"])
@pytest.mark.parametrize(("kind_a", "kind_b"), PAIRS)
def test_one_map_is_both_branches(kind_a, kind_b, law, join):
    outcomes = Counter()

    @settings(max_examples=8)
    @given(data=st.data())
    def check(data):
        sizes = draw_sizes(data.draw, kind_a, kind_b)
        a, b = draw_branches(data.draw, kind_a, kind_b, sizes, same_outputs=law is add)
        try:
            made = law(a.map, b.map, sizes)
        except Refusal as refusal:
            refused_rightly(a, b, sizes, refusal.reason)
            outcomes[refusal.reason] += 1
        else:
            assert_is_both(made, a, b, join, sizes, data.draw(SEEDS))
            outcomes["exact"] += 1

    check()
    if (kind_a, kind_b) not in MAY_NEVER_ADD:
        assert outcomes["exact"], f"never joined: {dict(outcomes)}"


@pytest.mark.parametrize(("kind_a", "kind_b"), PAIRS)
def test_what_passes_for_dynamic_sizes_is_exact_at_every_small_size(kind_a, kind_b):
    @settings(max_examples=2)
    @given(data=st.data())
    def check(data):
        a, b = draw_branches(
            data.draw, kind_a, kind_b, (data.draw(st.integers(1, 12)),), same_outputs=True, any_size=True
        )
        try:
            made = add(a.map, b.map)
        except Refusal:
            return
        seed = data.draw(SEEDS)
        for n in range(1, 13):
            if a.runs((n,)) and b.runs((n,)):
                assert_is_both(made, a, b, summed, (n,), seed)

    check()


@settings(max_examples=200)
@given(data=st.data())
def test_a_sum_is_refused_for_dynamic_sizes_only_where_some_size_tells_them_apart(data):
    a, b = draw_branches(data.draw, "strided", "strided", (data.draw(st.integers(1, 12)),), same_outputs=True)
    try:
        add(a.map, b.map)
    except Refusal as refusal:
        if refusal.reason.startswith("the output sizes differ"):
            both = [n for n in range(1, 24) if a.runs((n,)) and b.runs((n,))]
            assert any(a.outputs((n,)) != b.outputs((n,)) for n in both)


@pytest.mark.parametrize("mode", ["reflect", "circular"])
def test_padding_does_not_outgrow_the_image(mode):
    """At a static size two slacks may give one output size: the sum must still run where both branches do."""
    plain = Geometry(1, 1, 1, (1,), (5,), ((0, 0),), (1,))
    padded = Geometry(1, 1, 1, (1,), (5,), ((1, 1),), (1,), mode)
    a, b = (ConvMap(g, literal(random_numbers(seed, 1, 1, 1))) for seed, g in enumerate((plain, padded)))
    made = add(a, b, (2,))
    assert made.geometry.padding == ((1, 0),)
    x = random_numbers(2, 1, 1, 2)
    mirrored = F.pad(x, (1, 1), mode)
    assert_same(apply(made, x, {}), a.weight_in({}) * x[..., ::5] + b.weight_in({}) * mirrored[..., ::5])
