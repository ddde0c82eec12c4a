"""The laws among themselves: they form an algebra wherever they are exact."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from torchweld.core import Refusal
from torchweld.maps import ConvMap, add, apply, compose, concat, identity, negate, select

from .kinds import KINDS, draw_sizes
from .layer import FREE, SEEDS, Sizes, Wish
from .oracles import assert_same, dense_map, random_numbers

KIND = st.sampled_from(list(KINDS))


def assert_same_map(a: ConvMap, b: ConvMap, state: dict[str, Tensor], sizes: Sizes) -> None:
    for one, other in zip(dense_map(a, state, sizes), dense_map(b, state, sizes), strict=True):
        assert_same(one, other)


@settings(max_examples=500)
@given(data=st.data())
def test_compose_is_associative_where_exact(data):
    kinds = [data.draw(KIND) for _ in range(3)]
    sizes = draw_sizes(data.draw, *kinds)
    inputs, channels, state, layers = [], data.draw(st.sampled_from((2, 3, 4))), {}, []
    for j, kind in enumerate(kinds):
        inputs.append(layers[-1].outputs(inputs[-1]) if layers else sizes)
        layers.append(KINDS[kind].draw(data.draw, f"layer{j}", channels, inputs[-1], FREE))
        channels, state = layers[-1].weight.shape[0], state | layers[-1].state
    a, b, c = (layer.map for layer in layers)
    results = []
    for order in (
        lambda: compose(c, compose(b, a, sizes), sizes),
        lambda: compose(compose(c, b, inputs[1]), a, sizes),
    ):
        with suppress(Refusal):
            results.append(order())
    x = random_numbers(data.draw(SEEDS), 1, layers[0].weight.shape[1], *sizes)
    for made in results:
        assert_same(apply(made, x, state), layers[2].run(layers[1].run(layers[0].run(x))))
    if len(results) == 2:
        assert_same_map(*results, state, sizes)


def draw_three(data: st.DataObject):
    """Three branches of kinds drawn at random, alike in channels, stride and output size where their kinds can be."""
    kinds = [data.draw(KIND) for _ in range(3)]
    sizes, channels = draw_sizes(data.draw, *kinds), data.draw(st.sampled_from((2, 3, 4)))
    wish = Wish(channels, (1,) * len(sizes), (-1,) * len(sizes))
    layers = [KINDS[k].draw(data.draw, f"branch{j}", channels, sizes, wish) for j, k in enumerate(kinds)]
    state = {name: value for layer in layers for name, value in layer.state.items()}
    return [layer.map for layer in layers], state, sizes


@settings(max_examples=300)
@given(data=st.data())
def test_add_is_commutative_and_associative(data):
    (a, b, c), state, sizes = draw_three(data)
    try:
        ab, ba = add(a, b, sizes), add(b, a, sizes)
        left, right = add(ab, c, sizes), add(a, add(b, c, sizes), sizes)
    except Refusal:
        return
    assert ab.geometry == ba.geometry
    assert_same_map(ab, ba, state, sizes)
    assert_same_map(left, right, state, sizes)


@settings(max_examples=300)
@given(data=st.data())
def test_compose_distributes_over_add(data):
    (a, b, _), state, sizes = draw_three(data)
    after = KINDS["linear"].draw(data.draw, "after", a.geometry.out_channels, (), FREE)
    before = KINDS["linear"].draw(data.draw, "before", 3, (), Wish(out=a.geometry.in_channels))
    state |= after.state | before.state
    try:
        both = add(a, b, sizes)
    except Refusal:
        return
    one, other = compose(after.map, a, sizes), compose(after.map, b, sizes)  # a 1x1 goes after anything
    apart = add(one, other, sizes)
    own = after.map.bias
    if own is not None:  # it was counted twice
        apart = ConvMap(apart.geometry, apart.weight, compose(after.map, both, sizes).bias)
    assert_same_map(compose(after.map, both, sizes), apart, state, sizes)
    try:
        joined = add(compose(a, before.map, sizes), compose(b, before.map, sizes), sizes)
    except Refusal:
        return
    assert_same_map(compose(both, before.map, sizes), joined, state, sizes)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=10)
@given(data=st.data())
def test_identity_is_neutral_and_negation_the_inverse(kind, data):
    sizes = draw_sizes(data.draw, kind)
    layer = KINDS[kind].draw(data.draw, "layer", 3, sizes, FREE)
    a, out = layer.map, layer.weight.shape[0]
    assert compose(identity(out), a, sizes) == a
    assert compose(a, identity(3), sizes) == a
    nothing = add(a, negate(a), sizes)
    for part in dense_map(nothing, layer.state, sizes):
        assert part.abs().max() < 1e-14
    assert_same_map(negate(negate(a)), a, layer.state, sizes)


@settings(max_examples=200)
@given(data=st.data())
def test_select_undoes_concat(data):
    (a, b, _), state, sizes = draw_three(data)
    try:
        both = concat(a, b, sizes)
    except Refusal:
        return
    cut = a.geometry.out_channels
    x = random_numbers(data.draw(SEEDS), 1, a.geometry.in_channels, *sizes)
    assert_same(apply(select(both, range(cut)), x, state), apply(a, x, state))
    assert_same(apply(select(both, range(cut, both.geometry.out_channels)), x, state), apply(b, x, state))
