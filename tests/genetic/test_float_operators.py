"""The float and bit operators against their formulas, on random asymmetric rows."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from torchweld.core import InputError
from torchweld.genetic import (
    Setting,
    arithmetic_crossover,
    boundary_mutation,
    flip_mutation,
    heuristic_crossover,
    multi_nonuniform_mutation,
    nonuniform_mutation,
    simple_crossover,
    uniform_mutation,
)

LOW, HIGH = torch.tensor([-3.0, 4.1, 0.0, -1e3], dtype=torch.float64), torch.tensor([12.1, 5.8, 1e-6, 1e3]).double()
FLOAT_MUTATIONS = [uniform_mutation, boundary_mutation, nonuniform_mutation, multi_nonuniform_mutation]


def setting(seed: int, progress: float = 0.25, better: Tensor | None = None, middle: bool = False) -> Setting:
    return Setting(torch.Generator().manual_seed(seed), LOW, HIGH, progress, better, middle)


def rows(count: int, seed: int = 1) -> Tensor:
    u = torch.rand(count, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return torch.lerp(LOW, HIGH, u)


def within(values: Tensor) -> bool:
    return bool(((values >= LOW) & (values <= HIGH)).all())


@given(st.integers(0, 2**31), st.integers(1, 40), st.floats(0, 1))
def test_every_operator_stays_within_the_bounds_and_leaves_its_parents_alone(
    seed: int, k: int, progress: float
) -> None:
    first, second = rows(k, seed), rows(k, seed + 1)
    kept = first.clone(), second.clone()
    told = setting(seed, progress, first[:, 0] > second[:, 0])
    for cross in (arithmetic_crossover, heuristic_crossover, simple_crossover):
        for child in cross(first, second, told):
            assert child.shape == first.shape
            assert within(child)
    for mutate in FLOAT_MUTATIONS:
        assert within(mutate(first, told))
        assert within(mutate(torch.where(torch.rand(k, 4) < 0.5, LOW, HIGH), told))
    assert torch.equal(first, kept[0])
    assert torch.equal(second, kept[1])


@pytest.mark.parametrize("operator", [*FLOAT_MUTATIONS, flip_mutation])
def test_the_generator_alone_decides(operator: object) -> None:
    start = (rows(9) > 1).to(torch.uint8) if operator is flip_mutation else rows(9)
    torch.manual_seed(1)
    once = operator(start, setting(5))  # type: ignore[operator]
    torch.manual_seed(2)
    assert torch.equal(once, operator(start, setting(5)))  # type: ignore[operator]
    assert not torch.equal(once, operator(start, setting(6)))  # type: ignore[operator]


def test_arithmetic_children_are_complementary_mixtures() -> None:
    first, second = rows(500, 1), rows(500, 2)
    one, two = arithmetic_crossover(first, second, setting(0))
    torch.testing.assert_close(one + two, first + second)
    share = (one - second) / (first - second)
    torch.testing.assert_close(share, share[:, :1].expand_as(share), rtol=1e-6, atol=1e-6)
    # a mean of 500 uniform numbers has a standard deviation of 1/sqrt(12 * 500)
    assert share[:, 0].mean().item() == pytest.approx(0.5, abs=5 / (12 * 500) ** 0.5)


def test_heuristic_child_lies_beyond_the_better_parent_or_copies_the_worse() -> None:
    first, second = rows(400, 3), rows(400, 4)
    better = torch.rand(400, generator=torch.Generator().manual_seed(5)) < 0.5
    one, two = heuristic_crossover(first, second, setting(0, better=better), tries=3)
    best, worse = torch.where(better[:, None], first, second), torch.where(better[:, None], second, first)
    kept, child = torch.where(better[:, None], one, two), torch.where(better[:, None], two, one)
    assert torch.equal(kept, best)
    copied = (child == worse).all(1)
    step = (child - best) / (best - worse)
    torch.testing.assert_close(step[~copied], step[~copied][:, :1].expand_as(step[~copied]), rtol=1e-5, atol=1e-5)
    assert ((step[~copied] >= 0) & (step[~copied] < 1 + 1e-9)).all()
    assert 0 < copied.sum() < 400
    # where even the full step stays inside, the first try is taken
    roomy = within_each(best + (best - worse))
    assert not copied[roomy].any()
    with pytest.raises(InputError, match="first_better"):
        heuristic_crossover(first, second, setting(0))


def within_each(values: Tensor) -> Tensor:
    return ((values >= LOW) & (values <= HIGH)).all(1)


@pytest.mark.parametrize("middle", [False, True])
def test_simple_crossover_cuts_between_all_columns(middle: bool) -> None:
    first, second = torch.zeros(30_000, 4), torch.ones(30_000, 4)
    one, two = simple_crossover(first, second, setting(0, middle=middle))
    assert torch.equal(one + two, first + second)
    cut = 4 - one.sum(1).long()
    assert (one.diff(dim=1) >= 0).all()
    shares = torch.bincount(cut, minlength=5).double() / 30_000
    # GAOT rounds: the middle cut of three is picked half of the time, either end a quarter
    expected = torch.tensor([0, 0.25, 0.5, 0.25, 0] if middle else [0, 1 / 3, 1 / 3, 1 / 3, 0]).double()
    assert (shares - expected).abs().max() < 5 * (0.25 / 30_000) ** 0.5


@pytest.mark.parametrize("mutate", [uniform_mutation, boundary_mutation, nonuniform_mutation])
def test_one_column_of_each_row_changes_and_every_column_gets_its_turn(mutate: object) -> None:
    start = rows(20_000)
    changed = mutate(start, setting(0)) != start  # type: ignore[operator]
    assert changed.sum(1).max() == 1
    assert (changed.double().mean(0) - 0.25).abs().max() < 5 * (0.25 * 0.75 / 20_000) ** 0.5 + 1e-4


def test_boundary_goes_to_either_bound_equally_often() -> None:
    start = rows(20_000)
    after = boundary_mutation(start, setting(0))
    changed = after != start
    assert ((after == LOW) | (after == HIGH))[changed].all()
    high = (after == HIGH)[changed].double().mean().item()
    assert high == pytest.approx(0.5, abs=5 * (0.25 / 20_000) ** 0.5)


@pytest.mark.parametrize("progress", [0.0, 0.6])
def test_nonuniform_steps_have_the_stated_size(progress: float) -> None:
    start = rows(20_000)
    after = multi_nonuniform_mutation(start, setting(0, progress), b=3.0)
    room = torch.where(after > start, HIGH - start, start - LOW)
    share = ((after - start).abs() / room).clamp(max=1) ** (1 / 3)  # U (1 - progress)
    assert share.max() <= (1 - progress) + 1e-6
    # the mean of U (1 - progress) over 80,000 draws
    assert share.mean().item() == pytest.approx((1 - progress) / 2, abs=5 * (1 - progress) / (12 * 80_000) ** 0.5)
    assert (after > start).double().mean().item() == pytest.approx(0.5, abs=5 * (0.25 / 80_000) ** 0.5)


def test_nonuniform_steps_end_with_the_run() -> None:
    start = rows(50)
    assert torch.equal(nonuniform_mutation(start, setting(0, 1.0)), start)
    with pytest.raises(InputError, match="positive"):
        nonuniform_mutation(start, setting(0), b=0.0)


def test_bits_flip_at_the_given_rate() -> None:
    start = (rows(20_000) > 1).to(torch.uint8)
    told = Setting(torch.Generator().manual_seed(0), start[0] * 0, start[0] * 0 + 1)
    flipped = (flip_mutation(start, told, rate=0.05) != start).double().mean().item()
    assert flipped == pytest.approx(0.05, abs=5 * (0.05 * 0.95 / 80_000) ** 0.5)
    with pytest.raises(InputError, match="rate"):
        flip_mutation(start, told, rate=1.5)
