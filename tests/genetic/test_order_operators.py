"""Permutation operators: always permutations, each with the property that defines it, against plain oracles."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from torchweld.core import InputError
from torchweld.genetic import (
    Setting,
    adjacent_swap_mutation,
    cyclic_crossover,
    edge_recombination_crossover,
    inversion_mutation,
    linear_order_crossover,
    order_based_crossover,
    partially_mapped_crossover,
    shift_mutation,
    single_point_crossover,
    swap_mutation,
    three_swap_mutation,
    uniform_order_crossover,
)

CROSSOVERS = [
    cyclic_crossover,
    partially_mapped_crossover,
    order_based_crossover,
    linear_order_crossover,
    single_point_crossover,
    uniform_order_crossover,
    edge_recombination_crossover,
]
MUTATIONS = [swap_mutation, adjacent_swap_mutation, three_swap_mutation, inversion_mutation, shift_mutation]


def setting(seed: int, n: int) -> Setting:
    low = torch.zeros(n, dtype=torch.int64)
    return Setting(torch.Generator().manual_seed(seed), low, low + n - 1)


def permutations(k: int, n: int, seed: int) -> Tensor:
    return torch.rand(k, n, generator=torch.Generator().manual_seed(seed)).argsort(1)


def assert_permutations(rows: Tensor) -> None:
    assert torch.equal(rows.sort(1).values, torch.arange(rows.shape[1]).expand_as(rows))


@given(st.integers(0, 2**31), st.integers(1, 12), st.integers(3, 25))
def test_children_and_mutants_are_permutations(seed: int, k: int, n: int) -> None:
    first, second = permutations(k, n, seed), permutations(k, n, seed + 1)
    for cross in CROSSOVERS:
        for child in cross(first, second, setting(seed, n)):
            assert_permutations(child)
        same, again = cross(first, first, setting(seed, n))
        if cross is not edge_recombination_crossover:  # it may walk a ring the other way round
            assert torch.equal(same, first), cross.__name__
            assert torch.equal(again, first), cross.__name__
    for mutate in MUTATIONS:
        assert_permutations(mutate(first, setting(seed, n)))


@given(st.integers(0, 2**31), st.integers(3, 20))
def test_cyclic_and_mapped_children_keep_places(seed: int, n: int) -> None:
    first, second = permutations(8, n, seed), permutations(8, n, seed + 1)
    one, two = cyclic_crossover(first, second, setting(seed, n))
    assert ((one == first) | (one == second)).all()
    swapped = (one == second) & (one != first)
    assert torch.equal(torch.where(swapped, first, second), two)


def cycle_through(first: list[int], second: list[int], place: int) -> set[int]:
    cycle: set[int] = set()
    while place not in cycle:
        cycle.add(place)
        place = first.index(second[place])
    return cycle


def test_cyclic_crossover_keeps_exactly_one_cycle() -> None:
    first, second = permutations(200, 12, 1), permutations(200, 12, 2)
    one, _ = cyclic_crossover(first, second, setting(3, 12))
    for a, b, child in zip(first.tolist(), second.tolist(), one.tolist(), strict=True):
        allowed = []
        for place in range(12):
            cycle = cycle_through(a, b, place)
            allowed.append([a[i] if i in cycle else b[i] for i in range(12)])
        assert child in allowed


def mapped(keeper: list[int], other: list[int], low: int, high: int) -> list[int]:
    child = list(other)
    child[low:high] = keeper[low:high]
    for place in [*range(low), *range(high, len(keeper))]:
        while child[place] in keeper[low:high]:
            child[place] = other[keeper.index(child[place])]
    return child


def filled(keeper: list[int], other: list[int], low: int, high: int) -> list[int]:
    rest = [v for v in other if v not in keeper[low:high]]
    return rest[:low] + keeper[low:high] + rest[low:]


def wrapped(keeper: list[int], other: list[int], low: int, high: int) -> list[int]:
    n = len(keeper)
    rest = [v for v in other[high:] + other[:high] if v not in keeper[low:high]]
    child = list(keeper)
    for place, value in zip([i % n for i in range(high, high + n - (high - low))], rest, strict=True):
        child[place] = value
    return child


@pytest.mark.parametrize(
    ("cross", "oracle"),
    [(partially_mapped_crossover, mapped), (linear_order_crossover, filled), (order_based_crossover, wrapped)],
)
def test_segment_crossovers_equal_their_plain_form(cross: object, oracle: object) -> None:
    n = 9
    first, second = permutations(300, n, 4), permutations(300, n, 5)
    one, two = cross(first, second, setting(6, n))  # type: ignore[operator]
    for a, b, c, d in zip(first.tolist(), second.tolist(), one.tolist(), two.tolist(), strict=True):
        pairs = [
            (oracle(a, b, low, high), oracle(b, a, low, high))  # type: ignore[operator]
            for low in range(n)
            for high in range(low + 1, n + 1)
        ]
        assert (c, d) in pairs


def test_fills_follow_the_order_of_the_other_parent() -> None:
    first, second = permutations(200, 10, 7), permutations(200, 10, 8)
    for cross in (single_point_crossover, uniform_order_crossover):
        one, _ = cross(first, second, setting(9, 10))
        for a, b, child in zip(first.tolist(), second.tolist(), one.tolist(), strict=True):
            moved = [v for v, w in zip(child, a, strict=True) if v != w]
            assert sorted(moved, key=b.index) == moved


def ring(tour: list[int]) -> set[frozenset[int]]:
    return {frozenset(edge) for edge in zip(tour, tour[1:] + tour[:1], strict=True)}


def test_edge_recombination_uses_almost_only_edges_of_its_parents() -> None:
    n, k = 20, 300
    first, second = permutations(k, n, 1), permutations(k, n, 2)
    one, two = edge_recombination_crossover(first, second, setting(3, n))
    assert torch.equal(one[:, 0], first[:, 0])
    assert torch.equal(two[:, 0], second[:, 0])
    foreign = 0
    for a, b, child in zip(first.tolist(), second.tolist(), one.tolist(), strict=True):
        path = {frozenset(edge) for edge in pairwise(child)}
        foreign += len(path - ring(a) - ring(b))
    # Whitley et al. report 95 to 99% of edges inherited
    assert foreign / (k * (n - 1)) < 0.05
    # one ring for both parents leaves nothing else to inherit
    same, _ = edge_recombination_crossover(first, first, setting(3, n))
    assert all(ring(c) == ring(a) for a, c in zip(first.tolist(), same.tolist(), strict=True))


@pytest.mark.parametrize(
    ("mutate", "moved"), [(swap_mutation, {2}), (adjacent_swap_mutation, {2}), (three_swap_mutation, {3})]
)
def test_swaps_move_as_many_values_as_they_say(mutate: object, moved: set[int]) -> None:
    rows = permutations(2000, 6, 1)
    after = mutate(rows, setting(2, 6))  # type: ignore[operator]
    assert set((after != rows).sum(1).tolist()) == moved
    if mutate is adjacent_swap_mutation:
        left = (after != rows).byte().argmax(1)
        assert (after != rows).gather(1, (left + 1)[:, None]).all()


def test_every_pair_of_places_is_swapped_equally_often() -> None:
    rows = permutations(60_000, 5, 1)
    changed = swap_mutation(rows, setting(2, 5)) != rows
    pair = (changed * 2 ** torch.arange(5)).sum(1)
    counts = torch.bincount(pair, minlength=32)
    counts = counts[counts > 0].double()
    assert len(counts) == 10
    assert (counts - 6000).abs().max() < 5 * (60_000 * 0.1 * 0.9) ** 0.5


def test_inversion_and_shift_are_reversed_and_moved_segments() -> None:
    n = 7
    rows = permutations(500, n, 1)
    inverted, shifted = inversion_mutation(rows, setting(2, n)), shift_mutation(rows, setting(2, n))
    for a, b, c in zip(rows.tolist(), inverted.tolist(), shifted.tolist(), strict=True):
        assert b in [a[:i] + a[i : j + 1][::-1] + a[j + 1 :] for i in range(n) for j in range(i + 1, n)]
        moves = []
        for i in range(n):
            rest = a[:i] + a[i + 1 :]
            moves += [[*rest[:j], a[i], *rest[j:]] for j in range(n) if j != i]
        assert c in moves


def test_a_mutation_of_three_places_needs_three() -> None:
    with pytest.raises(InputError, match="at least 3"):
        three_swap_mutation(permutations(2, 2, 0), setting(0, 2))
