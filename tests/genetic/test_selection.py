"""Selection: the distributions that the definitions give, within five standard deviations of the counts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from torchweld.core import InputError
from torchweld.genetic import Population, best_first, norm_geometric, roulette, tournament

DRAWS = 200_000


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def population(fitness: list[float], violation: list[float] | None = None) -> Population:
    values = torch.tensor(fitness, dtype=torch.float64)
    return Population(values[:, None], values, None if violation is None else torch.tensor(violation))


def assert_drawn_with(chances: Tensor, drawn: Tensor) -> None:
    counts = torch.bincount(drawn, minlength=len(chances)).double()
    spread = (DRAWS * chances * (1 - chances)).sqrt()
    assert ((counts - DRAWS * chances).abs() <= 5 * spread + 1e-9).all(), (counts / DRAWS, chances)


@pytest.mark.parametrize("q", [0.08, 0.5])
def test_norm_geometric_follows_its_formula_by_rank(q: float) -> None:
    fitness = [3.0, -7.0, 12.0, 0.5, 12.5, -1.0]
    n = len(fitness)
    rank = torch.tensor(fitness).argsort(descending=True).argsort()
    chances = (q / (1 - (1 - q) ** n)) * (1 - q) ** rank.double()
    assert chances.sum().item() == pytest.approx(1)
    assert_drawn_with(chances, norm_geometric(population(fitness), DRAWS, generator(), q=q))


def test_roulette_is_proportional_and_leaves_out_the_penalised() -> None:
    fitness = [1.0, 4.0, -torch.inf, 5.0]
    assert_drawn_with(torch.tensor([0.1, 0.4, 0.0, 0.5]), roulette(population(fitness), DRAWS, generator()))
    with pytest.raises(InputError, match="positive fitness"):
        roulette(population([1.0, -1.0]), 5, generator())
    with pytest.raises(InputError, match="positive, finite sum"):
        roulette(population([0.0, 0.0]), 5, generator())


@pytest.mark.parametrize("k", [1, 2, 3])
def test_tournament_takes_the_best_of_k_drawn_with_replacement(k: int) -> None:
    fitness = [0.3, 0.1, 0.9, 0.5]
    better = torch.tensor([sum(g >= f for g in fitness) for f in fitness])  # individuals at least as good
    worse = 4 - better  # P(all k are no better than this one) - P(all k are worse)
    chances = ((worse + 1) / 4) ** k - (worse / 4) ** k
    assert_drawn_with(chances.double(), tournament(population(fitness), DRAWS, generator(), k=k))


def test_any_feasible_individual_comes_before_any_other() -> None:
    people = population([1.0, 9.0, 2.0, 8.0], [0.0, 0.2, 0.0, 0.1])
    assert best_first(people, 4).tolist() == [2, 0, 3, 1]
    rank = torch.tensor([1, 3, 0, 2])
    chances = ((4 - rank) / 4) ** 3 - ((3 - rank) / 4) ** 3
    assert_drawn_with(chances.double(), tournament(people, DRAWS, generator(), k=3))
    assert_drawn_with(torch.tensor([1.0, 0.0, 2.0, 0.0]) / 3, roulette(people, DRAWS, generator()))


@pytest.mark.parametrize(("select", "wrong"), [(norm_geometric, {"q": 1.0}), (tournament, {"k": 0})])
def test_parameters_that_make_no_distribution_are_refused(select: object, wrong: dict) -> None:
    with pytest.raises(InputError):
        select(population([1.0, 2.0]), 3, generator(), **wrong)  # type: ignore[operator]
