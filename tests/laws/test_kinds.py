"""Each kind by itself: its map, the field's own operator, and its definition are one function; so are its sizes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torchweld.maps import apply

from .kinds import KINDS, draw_sizes
from .layer import FREE, SEEDS
from .oracles import assert_same, dense, dense_map, random_numbers


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40)
@given(data=st.data())
def test_a_map_is_its_layer_and_its_definition(kind, data):
    sizes = draw_sizes(data.draw, kind)
    channels = data.draw(st.sampled_from((2, 3, 4)))
    layer = KINDS[kind].draw(data.draw, "layer", channels, sizes, FREE)
    x = random_numbers(data.draw(SEEDS), 2, channels, *sizes)
    expected = layer.run(x)
    assert_same(apply(layer.map, x, layer.state), expected)
    matrix, constant = dense(layer.weight, layer.bias, layer.axes, sizes)
    assert_same((x.flatten(1) @ matrix.T + constant).reshape(expected.shape), expected)
    for actual, wanted in zip(dense_map(layer.map, layer.state, sizes), (matrix, constant), strict=True):
        assert_same(actual, wanted)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20)
@given(data=st.data())
def test_output_sizes_are_those_of_the_operator(kind, data):
    sizes = draw_sizes(data.draw, kind)
    layer = KINDS[kind].draw(data.draw, "layer", 2, sizes, FREE)
    real = tuple(layer.run(random_numbers(0, 1, 2, *sizes)).shape[2:])
    assert layer.map.geometry.output_sizes(sizes) == real == layer.outputs(sizes)
    if layer.map.geometry.rank:
        assert layer.map.geometry.output_sizes((None,) * len(sizes)) == (None,) * len(sizes)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20)
@given(data=st.data())
def test_the_factory_writes_the_simplest_geometry(kind, data):
    sizes = draw_sizes(data.draw, kind)
    geometry = KINDS[kind].draw(data.draw, "layer", 2, sizes, FREE).map.geometry
    assert geometry.canonical() == geometry or geometry.transposed
    assert geometry.rank in (0, len(sizes))
    assert geometry.padded or geometry.padding_mode == "zeros"
    assert str(geometry)
    assert geometry.lifted(len(sizes)).canonical() == geometry.canonical()
