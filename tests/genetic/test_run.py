"""The run: elitism, records, ends, resuming, duplicates, constraints, and GAOT's quirks."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from torchweld.core import InputError
from torchweld.genetic import (
    Evaluated,
    Options,
    Polish,
    Polished,
    State,
    Terminate,
    apply,
    boundary_mutation,
    ga,
    heuristic_crossover,
    initialize,
    load_state,
    multi_nonuniform_mutation,
    roulette,
    simple_crossover,
    tournament,
    uniform_mutation,
)
from torchweld.genetic.setting import Operator

BOX = [(-3.0, 12.1), (4.1, 5.8), (-1.0, 2.0)]
CENTRE = torch.tensor([2.5, 5.1, -0.3], dtype=torch.float64)


def bowl(x: Tensor) -> Tensor:
    return 100.0 - (x - CENTRE.to(x)).square().sum(1)


def tour(x: Tensor) -> Tensor:
    return -(x - x.roll(1, 1)).abs().double().sum(1) - 0.01 * (x[:, 0] != 0)


def same(first: object, second: object) -> None:
    """Two results agree in everything but the clock."""
    a, b = (r.to_dict() for r in (first, second))  # type: ignore[attr-defined]
    assert {k: v for k, v in a.items() if k != "seconds"} == {k: v for k, v in b.items() if k != "seconds"}


PROBLEMS = {
    "float": (BOX, bowl, Options(population=30)),
    "float32": (BOX, bowl, Options(population=31, dtype=torch.float32)),
    "binary": (BOX, bowl, Options(population=30, encoding="binary", precision=1e-3)),
    "permutation": (9, tour, Options(population=30)),
    "gaot": (BOX, bowl, Options(population=20, compat="gaot")),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_best_never_gets_worse_and_the_records_agree(name: str) -> None:
    bounds, evaluate, options = PROBLEMS[name]
    states: list[State] = []
    limit = Terminate(generations=25)
    found = ga(bounds, evaluate, options=options, terminate=limit, seed=4, callbacks=[states.append])
    assert found.stopped == "generations"
    assert found.trace[:, 0].tolist() == list(range(26))
    assert (found.trace[:, 1].diff() >= 0).all()
    assert found.trace[-1, 1].item() == found.best.fitness
    assert evaluate(found.best.solution[None]).item() == found.best.fitness
    assert (found.trace[:, 4].diff() >= 0).all()
    assert found.trace[-1, 4].item() == found.evaluations
    assert len(states) == 26
    for state, (generation, best, mean, std, _) in zip(states[:-1], found.trace.tolist(), strict=False):
        fitness = state.population.fitness.double()
        assert state.generation == generation
        assert fitness.max().item() == best
        assert fitness.mean().item() == pytest.approx(mean, rel=1e-5)
        assert fitness.std().item() == pytest.approx(std, rel=1e-3, abs=1e-4)
    # a row for the start, for each gain above epsilon, and the last once more
    values = found.history[:, -1]
    assert (values[:-1].diff() > options.epsilon).all()
    assert found.history[-1, 0].item() == 25
    assert values[-1].item() == found.best.fitness
    assert found.history.shape[1] == (9 if isinstance(bounds, int) else 3) + 2


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_fitness_belongs_to_its_row(name: str) -> None:
    """Stale fitness, the commonest fault of batched genetic algorithms: after any generation, evaluate again."""
    bounds, evaluate, options = PROBLEMS[name]
    for operators in ({}, {"crossovers": [apply(simple_crossover, chance=1.0)] * 2}):
        if operators and options.encoding != "binary":
            continue
        found = ga(bounds, evaluate, options=options, terminate=Terminate(generations=15), seed=2, **operators)
        assert torch.equal(evaluate(found.solutions).to(found.population.fitness), found.population.fitness)


def test_operators_may_take_everyone_in_several_waves() -> None:
    found = ga(
        BOX,
        bowl,
        options=Options(population=20),
        crossovers=[apply(simple_crossover, times=10), apply(heuristic_crossover, times=10, tries=2)],
        mutations=[apply(multi_nonuniform_mutation, chance=1.0), apply(uniform_mutation, times=7)],
        terminate=Terminate(generations=20),
    )
    assert torch.equal(bowl(found.solutions), found.population.fitness)
    assert found.best.fitness > 99.9
    with pytest.raises(InputError, match="lower its times"):
        ga(BOX, bowl, options=Options(population=20), mutations=[apply(uniform_mutation, times=21)])


@pytest.mark.parametrize("select", [roulette, tournament, Operator(tournament, times=1, parameters={"k": 4})])
def test_other_selections_find_the_centre_too(select: object) -> None:
    found = ga(BOX, bowl, select=select, terminate=Terminate(generations=80), seed=1)  # type: ignore[arg-type]
    assert found.best.fitness > 99.99


@pytest.mark.parametrize("name", PROBLEMS)
def test_equal_seeds_give_equal_runs_whatever_the_global_generator(name: str) -> None:
    bounds, evaluate, options = PROBLEMS[name]
    limit = Terminate(generations=10)
    torch.manual_seed(1)
    first = ga(bounds, evaluate, options=options, terminate=limit, seed=7)
    torch.manual_seed(2)
    same(first, ga(bounds, evaluate, options=options, terminate=limit, seed=7))
    other = ga(bounds, evaluate, options=options, terminate=limit, seed=8)
    assert not torch.equal(first.population.rows, other.population.rows)


def nudge(solutions: Tensor) -> Polished:
    moved = torch.lerp(solutions, CENTRE.expand_as(solutions), 0.5)
    return Polished(moved, bowl(moved), 3 * len(solutions))


@pytest.mark.parametrize("name", [*PROBLEMS, "remembering", "memetic", "constrained"])
def test_a_resumed_run_equals_the_uninterrupted_one(name: str, tmp_path: Path) -> None:
    bounds, evaluate, options = PROBLEMS.get(name, PROBLEMS["float"])
    more: dict = {"seed": 3}
    if name == "remembering":
        options = replace(options, remember=True)
    if name == "memetic":
        more["polish"] = Polish(nudge, best=2, every=3)
    if name == "constrained":
        evaluate = constrained
    options = replace(options, horizon=20)
    file = tmp_path / "run.safetensors"
    straight = ga(bounds, evaluate, options=options, terminate=Terminate(generations=20), **more)
    ga(bounds, evaluate, options=options, terminate=Terminate(generations=8), save=file, **more)
    assert load_state(file).generation == 8
    resumed = ga(
        bounds,
        evaluate,
        options=options,
        terminate=Terminate(generations=20),
        start=load_state(file),
        **(more | {"seed": 99}),
    )
    same(straight, resumed)
    assert [p.name for p in tmp_path.iterdir()] == ["run.safetensors"]


def test_resuming_something_else_is_refused_with_the_difference(tmp_path: Path) -> None:
    file = tmp_path / "run.safetensors"
    ga(BOX, bowl, terminate=Terminate(generations=2), save=file)
    with pytest.raises(InputError, match="population, operators: 40 against 80"):
        ga(
            BOX,
            bowl,
            start=load_state(file),
            options=Options(population=40),
            crossovers=[],
            mutations=[],
            terminate=Terminate(2),
        )
    with pytest.raises(InputError, match="bounds"):
        ga([(0, 1)] * 3, bowl, start=load_state(file), terminate=Terminate(generations=2))
    with pytest.raises(InputError, match="no saved genetic run"):
        load_state(tmp_path / "missing.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"not this")
    with pytest.raises(InputError, match="no saved genetic run"):
        load_state(tmp_path / "broken.safetensors")


def test_each_limit_ends_the_run_and_says_so() -> None:
    assert ga(BOX, bowl, terminate=Terminate(generations=0)).generations == 0
    reached = ga(BOX, bowl, terminate=Terminate(generations=None, target=99.0))
    assert reached.stopped == "target"
    assert reached.best.fitness >= 99.0
    assert (reached.trace[:-1, 1] < 99.0).all()
    stalled = ga(BOX, lambda x: x[:, 0] * 0, terminate=Terminate(generations=None, stall=4))
    assert (stalled.stopped, stalled.generations) == ("stall", 4)
    spent = ga(BOX, bowl, terminate=Terminate(generations=None, evaluations=200))
    assert spent.stopped == "evaluations"
    assert spent.trace[-2, 4].item() < 200 <= spent.evaluations
    assert ga(BOX, bowl, terminate=Terminate(generations=None, seconds=0.0)).stopped == "seconds"
    for wrong in ({"generations": None}, {"stall": -1}, {"target": math.nan}):
        with pytest.raises(InputError):
            Terminate(**wrong)


class Watched:
    """An objective that keeps what it was asked for."""

    def __init__(self, evaluate: object) -> None:
        self.evaluate, self.seen = evaluate, torch.empty(0)

    def __call__(self, x: Tensor) -> Tensor:
        self.seen = x.clone() if not len(self.seen) else torch.cat([self.seen, x])
        return self.evaluate(x)  # type: ignore[operator]


@pytest.mark.parametrize("name", ["permutation", "binary", "remembering"])
def test_no_solution_is_evaluated_twice(name: str) -> None:
    bounds, evaluate, options = PROBLEMS.get(name, PROBLEMS["float"])
    watched = Watched(evaluate)
    remember = True if name == "remembering" else None
    found = ga(
        bounds,
        watched,
        options=replace(options, remember=remember),
        mutations=[apply(boundary_mutation, times=9)] if name == "remembering" else None,
        terminate=Terminate(generations=30),
    )
    assert len(watched.seen) == found.evaluations
    assert len(watched.seen.unique(dim=0)) == len(watched.seen)


def test_children_equal_to_a_parent_are_not_evaluated_even_without_memory() -> None:
    """One individual only: every crossover's children equal their parents."""
    start = CENTRE.expand(20, 3) + 0.1
    watched = Watched(bowl)
    ga(BOX, watched, start=start, options=Options(population=20), mutations=[], terminate=Terminate(generations=5))
    assert len(watched.seen) == 20
    # tails swapped between rows that share them: children equal the other parent, and take its fitness
    rows = torch.tensor([[0.0, 5.0, 1.0], [1.0, 5.0, 1.0]], dtype=torch.float64).repeat(10, 1)
    watched = Watched(bowl)
    found = ga(
        BOX,
        watched,
        start=rows,
        options=Options(population=20),
        crossovers=[apply(simple_crossover, times=10)],
        mutations=[],
        terminate=Terminate(generations=1),
    )
    assert len(watched.seen) == 20
    assert torch.equal(bowl(found.solutions), found.population.fitness)


def constrained(x: Tensor) -> Evaluated:
    """The bowl, whose top is cut off by x0 <= 1."""
    return Evaluated(bowl(x), violation=(x[:, 0] - 1.0).clamp(min=0))


def test_feasible_solutions_win_over_higher_ones() -> None:
    found = ga(BOX, constrained, terminate=Terminate(generations=150, target=100 - 1.5**2 + 0.01), seed=1)
    assert found.best.violation == 0
    assert found.best.solution[0].item() <= 1
    assert found.best.fitness == pytest.approx(100 - 1.5**2, abs=1e-3)
    assert found.stopped == "generations"
    hopeless = ga(
        BOX,
        lambda x: Evaluated(bowl(x), violation=x[:, 0] + 4),
        terminate=Terminate(generations=60, target=50.0),
    )
    assert hopeless.stopped == "generations"  # an infeasible individual reaches no target
    assert hopeless.best.solution[0].item() == pytest.approx(-3, abs=0.05)  # the least violation there is


@pytest.mark.parametrize("encoding", ["float", "binary"])
def test_a_repaired_solution_replaces_the_individual(encoding: str) -> None:
    def rounded(x: Tensor) -> tuple[Tensor, Tensor]:
        whole = x.round().clamp(-3, 5)
        return bowl(whole), whole

    options = Options(population=20, encoding=encoding, precision=[15.1 / 2**14, 1.7 / 2**14, 3 / 2**14])
    found = ga([(-3, 12), (4, 6), (-1, 2)], rounded, options=options, terminate=Terminate(generations=20))
    assert found.best.solution[0].item() in (pytest.approx(2, abs=1e-3), pytest.approx(3, abs=1e-3))
    if encoding == "float":
        assert torch.equal(found.solutions, found.solutions.round())
        assert torch.equal(bowl(found.solutions), found.population.fitness)


def test_a_start_is_completed_cut_and_checked() -> None:
    near = CENTRE.expand(1, 3) + 1e-3
    assert ga(BOX, bowl, start=near, terminate=Terminate(generations=0)).best.fitness == bowl(near).item()
    many = initialize(200, BOX, bowl, seed=5)
    kept = ga(BOX, bowl, start=many, terminate=Terminate(generations=0)).population.fitness
    assert torch.equal(kept.sort().values, many.fitness.topk(80).values.sort().values)
    with pytest.raises(InputError, match="leaves the bounds"):
        ga(BOX, bowl, start=near + 100)
    with pytest.raises(InputError, match=r"\(K, 3\)"):
        ga(BOX, bowl, start=near[:, :2])


def test_gaot_quirks_are_there_on_request_only() -> None:
    limit = Terminate(generations=12)
    plain, gaot = (ga(BOX, bowl, options=Options(population=20, compat=c), terminate=limit) for c in (None, "gaot"))
    assert plain.population.fitness.max().item() == plain.best.fitness
    assert plain.trace[-1, 3].item() > 0
    assert gaot.trace[-1, 3].item() == 0
    assert (gaot.trace[:-1, 3] > 0).all()
    lost = [  # the end population misses the elite whenever its last brood lost it
        found.population.fitness.max().item() < found.best.fitness
        for seed in range(12)
        for found in [ga(BOX, bowl, options=Options(population=6, compat="gaot"), terminate=limit, seed=seed)]
    ]
    assert any(lost)


def test_a_result_goes_into_json() -> None:
    found = ga(BOX, bowl, terminate=Terminate(generations=2))
    assert json.loads(json.dumps(found.to_dict()))["best"]["fitness"] == found.best.fitness


@pytest.mark.parametrize(
    "wrong",
    [{"population": 1}, {"compat": "deap"}, {"dtype": torch.int32}, {"horizon": 0}, {"on_failure": "ignore"}],
)
def test_options_that_make_no_sense_are_refused(wrong: dict) -> None:
    with pytest.raises(InputError):
        ga(BOX, bowl, options=Options(**wrong))


@pytest.mark.parametrize("compat", [None, "gaot"])
@pytest.mark.parametrize("operators", [{}, {"crossovers": [], "mutations": []}])
def test_what_callbacks_and_evaluations_keep_is_never_written_to(compat: str | None, operators: dict) -> None:
    handed: list[tuple[Tensor, Tensor]] = []
    states: list[tuple[State, Tensor]] = []

    def evaluate(x: Tensor) -> Tensor:
        handed.append((x, x.clone()))
        return bowl(x)

    options = Options(population=12, compat=compat)
    kept = [lambda s: states.append((s, s.population.rows.clone()))]
    start = initialize(12, BOX, bowl)
    before = start.rows.clone()
    limit = Terminate(generations=8)
    ga(BOX, evaluate, start=start, options=options, callbacks=kept, terminate=limit, **operators)
    ga(BOX, evaluate, options=options, callbacks=kept, terminate=limit, **operators)
    assert torch.equal(start.rows, before)
    assert all(torch.equal(x, copy) for x, copy in handed)
    assert all(torch.equal(state.population.rows, copy) for state, copy in states)
    first = states[0][0]
    ga(BOX, evaluate, start=first, options=options, terminate=limit, **operators)
    assert torch.equal(first.population.rows, states[0][1])


def test_evaluations_may_take_gradients_and_results_are_ordinary_tensors() -> None:
    def steepness(x: Tensor) -> Tensor:
        x.requires_grad_()
        (slope,) = torch.autograd.grad(bowl(x).sum(), x)
        return -slope.square().sum(1)

    everyone = [apply(simple_crossover, chance=1.0), apply(heuristic_crossover, times=8, tries=2)]
    for crossovers in (None, everyone):  # one wave, and several with an evaluation between them
        for compat in (None, "gaot"):
            options = Options(population=20, compat=compat)
            limit = Terminate(generations=6)
            found = ga(BOX, steepness, options=options, crossovers=crossovers, terminate=limit)
            assert found.best.fitness > -20
            assert not any(t.is_inference() for t in (found.population.rows, found.population.fitness, found.solutions))
