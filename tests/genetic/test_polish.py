"""Memetic mode: what is polished, how it is counted, and that a bad polish does no harm."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from torchweld.core import InputError
from torchweld.genetic import Evaluated, Options, Polish, Polished, Terminate, ga

BOX = [(-3.0, 12.1), (4.1, 5.8)]
CENTRE = torch.tensor([2.5, 5.1], dtype=torch.float64)


def bowl(x: Tensor) -> Tensor:
    return 100.0 - (x - CENTRE).square().sum(1)


class Recorded:
    """A polish that moves the given share of the way to the centre and keeps what it was handed."""

    def __init__(self, share: float = 0.5, calls: int = 3) -> None:
        self.share, self.calls, self.seen = share, calls, torch.empty(0, 2, dtype=torch.float64)

    def __call__(self, solutions: Tensor) -> Polished:
        self.seen = torch.cat([self.seen, solutions])
        moved = torch.lerp(solutions, CENTRE, self.share)
        return Polished(moved, bowl(moved), self.calls * len(solutions))


def test_calls_count_once_and_with_a_gradient_as_one_more_than_the_dimension() -> None:
    polish, evaluated = Recorded(), [0]

    def evaluate(x: Tensor) -> Tensor:
        evaluated[0] += len(x)
        return bowl(x)

    options = Options(population=16)
    found = ga(
        BOX, evaluate, options=options, terminate=Terminate(generations=6), polish=Polish(polish, best=2, every=3)
    )
    assert len(polish.seen) == 2 * 3  # the start, generations 3 and 6
    assert found.gradient_calls == 3 * len(polish.seen)
    assert found.evaluations == evaluated[0] + found.gradient_calls
    assert found.evaluations_with_gradients == evaluated[0] + 3 * found.gradient_calls


def test_the_best_unpolished_individuals_are_taken_and_none_twice() -> None:
    polish = Recorded()
    starts = torch.lerp(torch.tensor([-3.0, 4.1]).double(), CENTRE, torch.rand(16, 1).double())
    limit = Terminate(generations=0)
    ga(BOX, bowl, start=starts, options=Options(population=16), terminate=limit, polish=Polish(polish, best=3))
    assert torch.equal(polish.seen, starts[bowl(starts).topk(3).indices])
    polish = Recorded()
    ga(BOX, bowl, options=Options(population=16), terminate=Terminate(generations=30), polish=Polish(polish, best=4))
    assert len(polish.seen.unique(dim=0)) == len(polish.seen)


def test_a_polish_that_gets_worse_changes_nothing_but_the_count() -> None:
    limit, options = Terminate(generations=10), Options(population=16)
    away = ga(BOX, bowl, options=options, terminate=limit, polish=Polish(Recorded(-0.01)))
    plain = ga(BOX, bowl, options=options, terminate=limit)
    assert torch.equal(away.population.rows, plain.population.rows)
    assert away.evaluations == plain.evaluations + away.gradient_calls


def test_a_polish_outside_the_bounds_is_brought_back_and_evaluated_again() -> None:
    def beyond(solutions: Tensor) -> Polished:
        return Polished(solutions + 100, torch.full((len(solutions),), 1e9), 1)

    found = ga(
        BOX,
        lambda x: x.sum(1),
        options=Options(population=16),
        terminate=Terminate(generations=0),
        polish=Polish(beyond),
    )
    assert found.best.solution.tolist() == [12.1, 5.8]
    assert found.best.fitness == pytest.approx(17.9)
    assert found.evaluations == 16 + 1 + 1


def test_a_polish_into_the_infeasible_is_noticed_and_one_out_of_it_is_kept() -> None:
    def evaluate(x: Tensor) -> Evaluated:
        return Evaluated(bowl(x), violation=(x[:, 0] - 1.0).clamp(min=0))

    start = torch.tensor([[0.0, 5.0], [0.5, 5.0]], dtype=torch.float64)
    limit, pair = Terminate(generations=0), Options(population=2)
    left = ga(BOX, evaluate, start=start, options=pair, terminate=limit, polish=Polish(Recorded(1.0), best=2))
    assert sorted(left.solutions.tolist()) == start.tolist()
    assert left.best.violation == 0
    assert left.evaluations == 2 + 2 * 3 + 2  # the start, the polish, its ends

    def inwards(x: Tensor) -> Polished:
        moved = x.clone()
        moved[:, 0] = 0.5
        return Polished(moved, bowl(moved), len(x))

    entered = ga(
        BOX,
        evaluate,
        start=start + torch.tensor([3.0, 0.0]),
        options=pair,
        terminate=limit,
        polish=Polish(inwards, best=1),
    )
    assert entered.best.violation == 0
    assert entered.best.solution[0].item() == 0.5


def test_answers_of_the_wrong_shape_and_settings_are_refused() -> None:
    with pytest.raises(InputError, match="must return Polished"):
        ga(BOX, bowl, polish=Polish(lambda x: x))  # type: ignore[arg-type, return-value]
    with pytest.raises(InputError, match="returned solutions"):
        ga(BOX, bowl, polish=Polish(lambda x: Polished(x[:, :1], bowl(x), 1)))
    for wrong in ({"best": 0}, {"every": 0}):
        with pytest.raises(InputError):
            Polish(Recorded(), **wrong)
