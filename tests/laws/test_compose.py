"""compose: second after first is one map, or is refused, for every pair of kinds. Where it passes it is exact."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torchweld.core import Refusal
from torchweld.maps import ConvMap, apply, compose

from .kinds import KINDS, PAIRS, draw_sizes
from .layer import ANY_SIZE, FREE, SEEDS, Draw, Layer, Sizes, Wish
from .oracles import assert_same, dense, dense_map, random_numbers

CHANNELS = st.sampled_from((2, 3, 4))
# A transposed convolution takes in 1x1 maps only, and before it only those without a bias.
MAY_NEVER_COMPOSE = {
    *(
        (second, first)
        for second, first in PAIRS
        if "transposed" in (second, first) and KINDS[second].spatial and KINDS[first].spatial
    ),
    ("transposed", "batch norm"),
    ("transposed", "shift"),
}


def draw_chain(draw: Draw, second_kind: str, first_kind: str, sizes: Sizes, wish: Wish = FREE) -> tuple[Layer, Layer]:
    first = KINDS[first_kind].draw(draw, "first", draw(CHANNELS), sizes, wish)
    second = KINDS[second_kind].draw(draw, "second", first.weight.shape[0], first.outputs(sizes), wish)
    return second, first


def assert_is_chain(made: ConvMap, second: Layer, first: Layer, sizes: Sizes, seed: int) -> None:
    """Against both oracles: the two layers one after the other, and the product of their matrices."""
    state = first.state | second.state
    x = random_numbers(seed, 2, first.weight.shape[1], *sizes)
    expected = second.run(first.run(x))
    assert made.geometry.output_sizes(sizes) == tuple(expected.shape[2:])
    assert_same(apply(made, x, state), expected)
    matrix1, constant1 = dense(first.weight, first.bias, first.axes, sizes)
    matrix2, constant2 = dense(second.weight, second.bias, second.axes, first.outputs(sizes))
    matrix, constant = dense_map(made, state, sizes)
    assert_same(matrix, matrix2 @ matrix1)
    assert_same(constant, matrix2 @ constant1 + constant2)


@pytest.mark.parametrize(("second_kind", "first_kind"), PAIRS)
def test_one_map_is_the_two_layers(second_kind, first_kind):
    outcomes = Counter()

    @settings(max_examples=12)
    @given(data=st.data())
    def check(data):
        sizes = draw_sizes(data.draw, second_kind, first_kind)
        second, first = draw_chain(data.draw, second_kind, first_kind, sizes)
        try:
            made = compose(second.map, first.map, sizes)
        except Refusal as refusal:
            outcomes[refusal.reason] += 1
        else:
            assert_is_chain(made, second, first, sizes, data.draw(SEEDS))
            outcomes["exact"] += 1

    check()
    if (second_kind, first_kind) not in MAY_NEVER_COMPOSE:
        assert outcomes["exact"], f"never composed: {dict(outcomes)}"


@pytest.mark.parametrize(("second_kind", "first_kind"), PAIRS)
def test_what_passes_for_dynamic_sizes_is_exact_at_every_small_size(second_kind, first_kind):
    @settings(max_examples=3)
    @given(data=st.data())
    def check(data):
        second, first = draw_chain(data.draw, second_kind, first_kind, (data.draw(st.integers(1, 12)),), ANY_SIZE)
        try:
            made = compose(second.map, first.map)
        except Refusal:
            return
        seed = data.draw(SEEDS)
        for n in range(1, 13):
            if first.runs((n,)) and second.runs(first.outputs((n,))):
                assert_is_chain(made, second, first, (n,), seed)

    check()
