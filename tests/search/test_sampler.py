"""The genetic sampler: generations of every finished individual, no point twice, the same from the same seed."""

from __future__ import annotations

import math
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState, create_trial

from torchweld.core import InputError
from torchweld.genetic import Category
from torchweld.search import GeneticSampler, Halving, Space, queue_again, sampler_of
from torchweld.search.individuals import worst_first

from .quick import MIXED, RATE, one, studied

optuna.logging.set_verbosity(optuna.logging.ERROR)


def params(study: optuna.Study) -> list[dict[str, Any]]:
    return [trial.params for trial in study.trials]


def test_generations_fill_with_pruned_and_failed_individuals_too() -> None:
    sampler = GeneticSampler(MIXED, population=4)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    ends = [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.PRUNED]
    for number in range(12):
        trial = study.ask()
        MIXED.suggested(trial)
        trial.report(float(number), 1)
        state = ends[number % 4]
        study.tell(trial, float(number) if state == TrialState.COMPLETE else None, state)
    key = "GeneticSampler:generation"
    assert [t.system_attrs[key] for t in study.trials] == [0] * 4 + [1] * 4 + [2] * 4
    assert [t.number for t in sampler.get_population(study, 1)] == [4, 5, 6, 7]
    # Failed ones last; pruned ones by what completed ones came to that had as much, completed before pruned equals.
    assert [t.number for t in worst_first(study.trials[:8])] == [2, 6, 0, 1, 3, 5, 7, 4]
    assert [t.number for t in sampler.select_parent(study, 2)] == [7, 4]


@pytest.mark.parametrize("kind", ["ga", "tpe", "random"])
def test_the_same_seed_repeats_and_another_does_not(kind: str) -> None:
    first, second, other = (params(studied(sampler_of(kind, MIXED, seed, 4, None), 14)) for seed in (3, 3, 4))
    assert first == second
    assert first != other


@pytest.mark.parametrize("kind", ["ga", "tpe", "random"])
def test_an_interrupted_study_goes_on_as_if_it_had_not_been(kind: str) -> None:
    straight = studied(sampler_of(kind, MIXED, 1, 4, None), 16, pruner=Halving(4, 2))
    study = studied(sampler_of(kind, MIXED, 1, 4, None), 6, pruner=Halving(4, 2))
    trial = study.ask()  # begun, an epoch done, then interrupted
    MIXED.suggested(trial)
    trial.report(0.0, 1)
    study.tell(trial, state=TrialState.FAIL)
    queue_again(study, trial.number)
    study.sampler = sampler_of(kind, MIXED, 1, 4, None)  # a new process
    for _ in range(10):
        one(study)
    assert [t.params for t in study.trials if t.number != 6] == params(straight)
    assert [t.state for t in study.trials if t.number != 6] == [t.state for t in straight.trials]


@given(st.integers(0, 2**20), st.integers(2, 6))
@settings(max_examples=10)
def test_points_are_inside_the_space_and_none_comes_twice(seed: int, population: int) -> None:
    study = studied(GeneticSampler(MIXED, population=population, seed=seed), 20)
    for trial in study.trials:
        assert all(d._contains(d.to_internal_repr(trial.params[n])) for n, d in MIXED.distributions().items())
    assert len({tuple(p.values()) for p in params(study)}) == 20


def test_a_space_that_is_used_up_does_not_hang() -> None:
    space = Space({"optimizer": Category(("sgd", "adam"))})
    study = studied(GeneticSampler(space, population=2), 5, space)
    assert {t.params["optimizer"] for t in study.trials[:2]} == {"sgd", "adam"}


def test_the_first_generation_is_a_latin_hypercube() -> None:
    study = studied(GeneticSampler(RATE, population=8, seed=5), 8, RATE)
    encoding = RATE.encoding()
    share = sorted(
        (math.log(t.params["learning_rate"]) - float(encoding.low)) / float(encoding.high - encoding.low)
        for t in study.trials
    )
    assert [int(8 * s) for s in share] == list(range(8))


def test_the_first_point_is_the_one_that_is_given() -> None:
    first = {"learning_rate": 0.01, "dropout": 0.2, "batch_size": 16, "optimizer": "adam"}
    for kind in ("ga", "tpe", "random"):
        assert params(studied(sampler_of(kind, MIXED, 0, 4, first), 3))[0] == first


def test_it_climbs() -> None:
    """Over ten seeds the best of 60 trials comes nearer to the top than of as many random ones, by a third at least."""
    best = {
        kind: [studied(sampler_of(kind, MIXED, seed, 6, None), 60).best_value for seed in range(10)]
        for kind in ("ga", "random")
    }
    assert 0 > sum(best["ga"]) > sum(best["random"]) * 2 / 3  # the top is at 0


def test_a_parameter_outside_the_space_is_drawn_too() -> None:
    study = optuna.create_study(sampler=GeneticSampler(RATE, population=2))
    values = [study.ask().suggest_float("other", 0, 1) for _ in range(3)]
    assert len(set(values)) == 3


def test_a_population_of_one_is_refused() -> None:
    with pytest.raises(InputError, match="two individuals"):
        GeneticSampler(RATE, population=1)


def test_halving_compares_with_those_that_count() -> None:
    study = optuna.create_study(direction="maximize", pruner=Halving(9, 3))
    for value in (0.5, 0.9):
        study.add_trial(
            create_trial(state=TrialState.PRUNED, intermediate_values={1: value}, params={}, distributions={})
        )
    # The second one is repeated: it counts no more.
    study.add_trial(create_trial(state=TrialState.WAITING, system_attrs={"failed_trial": 1, "retry_history": [1]}))
    repeating, fresh = study.ask(), study.ask()
    repeating.report(0.4, 1)
    fresh.report(0.6, 1)
    assert not fresh.should_prune()
    assert repeating.should_prune()
    repeating.report(0.4, 2)
    assert not repeating.should_prune()  # no rung


def test_halving_lets_a_share_through() -> None:
    assert Halving(9, 3).rungs == (1, 3)
    assert Halving(1, 3).rungs == ()
    for factor in (1, 0):
        with pytest.raises(InputError):
            Halving(9, factor)
    study = studied(sampler_of("random", MIXED, 0, 4, None), 90, pruner=Halving(9, 3), epochs=9)
    complete = sum(t.state == TrialState.COMPLETE for t in study.trials)
    reached = sum(t.last_step is not None and t.last_step >= 3 for t in study.trials)
    assert 90 / 3 - 10 <= reached <= 90 / 3 + 10
    assert 90 / 9 - 5 <= complete <= 90 / 9 + 5
