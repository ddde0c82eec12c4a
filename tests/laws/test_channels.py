"""select, columns, negate and composed_bias: parts of one map, for every kind."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from torchweld.maps import apply, columns, composed_bias, identity, literal, negate, parameter, scale, select

from .kinds import KINDS, draw_sizes
from .layer import FREE, SEEDS, Draw, Layer, Sizes
from .oracles import assert_same, dense, dense_map, random_numbers


def draw_layer(draw: Draw, kind: str) -> tuple[Layer, Sizes, Tensor]:
    """A layer, the sizes it runs on, and an input."""
    sizes, channels = draw_sizes(draw, kind), draw(st.sampled_from((2, 3, 4, 6)))
    layer = KINDS[kind].draw(draw, "layer", channels, sizes, FREE)
    return layer, sizes, random_numbers(draw(SEEDS), 2, channels, *sizes)


def by_channel(matrix: Tensor, channels: int) -> Tensor:  # (C * m, ...) -> (C, m, ...)
    return matrix.unflatten(0, (channels, -1))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20)
@given(data=st.data())
def test_select_keeps_the_named_rows(kind, data):
    layer, sizes, x = draw_layer(data.draw, kind)
    out = layer.weight.shape[0]
    rows = data.draw(st.lists(st.integers(0, out - 1), min_size=1, max_size=2 * out))
    made = select(layer.map, rows)
    assert_same(apply(made, x, layer.state), layer.run(x)[:, rows])
    for part, whole in zip(
        dense_map(made, layer.state, sizes), dense(layer.weight, layer.bias, layer.axes, sizes), strict=True
    ):
        assert_same(part, by_channel(whole, out)[rows].flatten(0, 1))


@pytest.mark.parametrize("kind", ["grouped", "depthwise", "batch norm", "average pool"])
@settings(max_examples=30)
@given(data=st.data())
def test_select_in_order_by_whole_groups_stays_grouped(kind, data):
    layer, _, _ = draw_layer(data.draw, kind)
    g = layer.map.geometry
    assert select(layer.map, range(g.out_channels)).geometry == g
    if g.groups > 1 and g.out_channels > g.groups:
        height = g.out_channels // g.groups
        first_of_each = [h * height for h in range(g.groups)]
        assert select(layer.map, first_of_each).geometry.groups == g.groups


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20)
@given(data=st.data())
def test_columns_is_the_map_on_an_input_that_is_zero_elsewhere(kind, data):
    layer, sizes, x = draw_layer(data.draw, kind)
    out, channels = layer.weight.shape[:2]
    start = data.draw(st.integers(0, channels - 1))
    stop = data.draw(st.integers(start + 1, channels))
    made, row = columns(layer.map, start, stop)
    rows = slice(row, row + made.geometry.out_channels)
    assert made.bias is None
    assert made.geometry.in_channels == stop - start

    alone = torch.zeros_like(x)
    alone[:, start:stop] = x[:, start:stop]
    expected = layer.run(alone) - layer.run(torch.zeros_like(x))
    assert_same(apply(made, x[:, start:stop], layer.state), expected[:, rows])
    others = torch.ones(out, dtype=torch.bool)
    others[rows] = False
    assert not expected[:, others].any()

    matrix, _ = dense(layer.weight, layer.bias, layer.axes, sizes)
    block = by_channel(by_channel(matrix, out)[rows].flatten(0, 1).T, channels)[start:stop].flatten(0, 1).T
    assert_same(dense_map(made, layer.state, sizes)[0], block)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=10)
@given(data=st.data())
def test_columns_of_a_partition_add_up(kind, data):
    layer, _, x = draw_layer(data.draw, kind)
    channels = layer.weight.shape[1]
    cut = data.draw(st.integers(1, channels - 1))
    expected = layer.run(x)
    total = layer.run(torch.zeros_like(x))
    for start, stop in ((0, cut), (cut, channels)):
        made, row = columns(layer.map, start, stop)
        total[:, row : row + made.geometry.out_channels] += apply(made, x[:, start:stop], layer.state)
    assert_same(total, expected)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=10)
@given(data=st.data())
def test_negate(kind, data):
    layer, sizes, x = draw_layer(data.draw, kind)
    made = negate(layer.map)
    assert_same(apply(made, x, layer.state), -layer.run(x))
    for part, whole in zip(
        dense_map(made, layer.state, sizes), dense(layer.weight, layer.bias, layer.axes, sizes), strict=True
    ):
        assert_same(part, -whole)
    assert not made.is_identity


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20)
@given(data=st.data())
def test_composed_bias_is_what_the_map_makes_of_a_constant(kind, data):
    """Asked where every output reads all taps: without padding, and never of a transposed convolution."""
    layer, sizes, _ = draw_layer(data.draw, kind)
    g, channels = layer.map.geometry, layer.weight.shape[1]
    if g.transposed or (g.padded and g.padding_mode == "zeros"):
        return
    bias = random_numbers(data.draw(SEEDS), channels)
    spread = bias.reshape(-1, *(1,) * len(sizes)).expand(1, channels, *sizes)
    made = composed_bias(layer.map, literal(bias)).evaluate(layer.state)
    expected = layer.run(spread)
    assert_same(made.reshape(-1, *(1,) * len(sizes)).expand_as(expected), expected)


def test_composed_bias_of_nothing_is_the_maps_own():
    a = scale(parameter("factors"), parameter("shift"), 2)
    assert composed_bias(a, None) is a.bias
    assert composed_bias(identity(2), None) is None
