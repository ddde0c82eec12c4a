"""The search as a whole, on a table of sixty rows: budgets, failures, interrupts, and a winner that can be repeated."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy.exc import OperationalError

from torchweld import data
from torchweld.core import CheckFailed, InputError
from torchweld.genetic import Category, Real
from torchweld.search import Budget, Found, Space, draw_history, draw_importance, importances, search
from torchweld.search import objective as objective_module
from torchweld.search import study as study_module
from torchweld.training import train

from .quick import MIXED, RATE, config, table


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return table(tmp_path)


def tried(found: Found) -> list[Any]:
    return [(t.state, t.epochs, t.score, t.values) for t in found.trials]


@pytest.mark.parametrize("sampler", ["ga", "tpe", "random"])
def test_the_winner_is_the_best_and_repeats(sampler: str, path: Path) -> None:
    found = search(config(path, epochs=3), Budget(epochs=24), space=MIXED, sampler=sampler, population=3, seed=2)
    assert found.epochs <= 24 < found.epochs + 3
    assert found.epochs == sum(t.epochs for t in found.trials)
    assert found.count("pruned") > 0
    assert found.best.score == max(t.score for t in found.trials if t.state == "complete" and t.score is not None)
    run = train(found.config)
    assert run.history[run.best_epoch - 1].score == found.best.score
    assert {name: getattr(found.config, name) for name in MIXED.names} == found.best.values
    again = search(config(path, epochs=3), Budget(epochs=24), space=MIXED, sampler=sampler, population=3, seed=2)
    assert tried(again) == tried(found)


def test_the_first_trial_is_the_config_itself(path: Path) -> None:
    found = search(config(path), Budget(trials=1), space=RATE)
    assert found.trials[0].values == {"learning_rate": 1e-2}
    other = search(config(path), Budget(trials=1), space=RATE, first=False)
    assert other.trials[0].values != {"learning_rate": 1e-2}


def test_the_test_part_is_not_looked_at(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = data.read(path, task="regress", holdout=0.3)
    seen = []
    run = objective_module.train

    def watched(*arguments: Any, **named: Any) -> Any:
        seen.append(named["splits"].test)
        return run(*arguments, **named)

    monkeypatch.setattr(objective_module, "train", watched)
    search(config(path), Budget(trials=2), space=RATE, splits=replace(splits, test=splits.held_out))
    assert seen == [None, None]


def test_going_on_spends_the_rest_and_equals_one_go(path: Path, tmp_path: Path) -> None:
    def go(budget: int, name: str) -> Found:
        url = f"sqlite:///{tmp_path}/{name}.db"
        return search(config(path), Budget(epochs=budget), space=MIXED, population=2, storage=url)

    go(6, "parts")
    assert tried(go(14, "parts")) == tried(go(14, "whole"))
    assert go(14, "parts").epochs <= 14


class Interrupting:
    """Raises SIGINT in the middle of the trial with this number."""

    def __init__(self, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
        run = objective_module.train

        def train_until(*arguments: Any, **named: Any) -> Any:
            judge = named["watchers"][0]
            if judge.trial.number == number:
                reports = judge.epoch_done

                def report(session: Any, record: Any) -> None:
                    reports(session, record)
                    signal.raise_signal(signal.SIGINT)

                judge.epoch_done = report
            return run(*arguments, **named)

        monkeypatch.setattr(objective_module, "train", train_until)


def test_ctrl_c_loses_nothing(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings: dict[str, Any] = {"space": MIXED, "population": 2, "prune": False}
    straight = search(config(path), Budget(epochs=12), **settings)
    url = f"sqlite:///{tmp_path}/study.db"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a parallel runner ignores it
    try:
        with monkeypatch.context() as patched:
            Interrupting(3, patched)
            with pytest.raises(KeyboardInterrupt):
                search(config(path), Budget(epochs=12), storage=url, **settings)
    finally:
        signal.signal(signal.SIGINT, before)
    found = search(config(path), Budget(epochs=12), storage=url, **settings)
    assert tried(found) == tried(straight)
    assert [t.repeats for t in found.trials] == [None, None, None, 3, None, None]
    assert (found.epochs, found.lost_epochs) == (12, 1)


def test_failing_runs_rank_last_or_end_the_search(path: Path, tmp_path: Path) -> None:
    space = Space({"learning_rate": Category((1e-2, 1e30, 2e-2)), "momentum": Real(0.5, 0.9)})
    start = config(path, optimizer="sgd")
    found = search(start, Budget(epochs=20), space=space, population=3, seed=1)
    failed = [t for t in found.trials if t.state == "failed"]
    assert failed
    assert all(t.values["learning_rate"] == 1e30 and "not finite" in str(t.failure) for t in failed)
    assert found.best.values["learning_rate"] != 1e30
    url = f"sqlite:///{tmp_path}/study.db"
    with pytest.raises(InputError, match=r"trial \d+ failed: CheckFailed.*--on-failure penalise"):
        search(start, Budget(epochs=20), space=space, population=3, seed=1, storage=url, on_failure="raise")
    # What was done is kept, and the search goes on without the failure.
    again = search(start, Budget(epochs=20), space=space, population=3, seed=1, storage=url)
    assert tried(again) == tried(found)


def test_a_score_that_is_no_number_is_a_failure(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged = objective_module.Judge.epoch_done

    def spoilt(judge: Any, session: Any, record: Any) -> None:
        judged(judge, session, replace(record, score=float("nan")) if judge.trial.number == 1 else record)

    monkeypatch.setattr(objective_module.Judge, "epoch_done", spoilt)
    found = search(config(path), Budget(trials=3), space=RATE)
    assert [t.state for t in found.trials].count("failed") == 1
    assert "score is nan" in str(found.trials[1].failure)


def test_where_every_run_fails_it_says_so(path: Path) -> None:
    space = Space({"learning_rate": Real(1e28, 1e30)})
    with pytest.raises(InputError, match="all of the first 5 trials failed, the last: CheckFailed"):
        search(config(path, optimizer="sgd"), Budget(trials=50), space=space)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"sampler": "annealing"}, "annealing"),
        ({"on_failure": "ignore"}, "ignore"),
        ({"budget": Budget(epochs=1)}, "less than one trial"),
        ({"space": Space({"dropout": Real(0.0, 2.0)})}, "dropout"),
        ({"storage": "nonsense"}, "database URL"),
        ({"storage": "sqlite:////no/such/folder/study.db"}, "cannot be opened"),
        ({"storage": "postgresql://nobody@127.0.0.1:1/none"}, "cannot be opened"),
        ({"storage": "sqlite://", "heartbeat_seconds": 0}, "heartbeat"),
        ({"population": 1}, "two individuals"),
    ],
)
def test_what_cannot_be_used_is_refused(changes: dict[str, Any], named: str, path: Path) -> None:
    arguments: dict[str, Any] = {"budget": Budget(epochs=4), "space": RATE, **changes}
    with pytest.raises(InputError, match=named):
        search(config(path), **arguments)


def test_budgets_must_be_limits() -> None:
    for limits in ({}, {"epochs": 0}, {"trials": -1}, {"minutes": float("nan")}):
        with pytest.raises(InputError, match="budget"):
            Budget(**limits)
    with pytest.raises(InputError, match="held-out"):
        search(config(Path("none.csv"), holdout=0.0), Budget(trials=1))


def test_no_time_is_no_winner(path: Path) -> None:
    with pytest.raises(CheckFailed, match="none of 0 trials"):
        search(config(path), Budget(minutes=1e-9), space=RATE)


def test_another_search_under_the_same_name_is_refused(path: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    search(config(path), Budget(trials=1), space=RATE, storage=url)
    with pytest.raises(InputError, match=r"config\.batch_size is 16, not 8"):
        search(config(path, batch_size=8), Budget(trials=1), space=RATE, storage=url)
    with pytest.raises(InputError, match=r"space\.learning_rate\.high is 0.1, not 1.0"):
        search(config(path), Budget(trials=1), space=MIXED, storage=url)
    search(config(path, batch_size=8), Budget(trials=1), space=RATE, storage=url, name="other")


def test_importance_finds_what_decides_and_pictures_are_drawn(path: Path, tmp_path: Path) -> None:
    space = Space({"learning_rate": Real(1e-6, 1e-1, log=True), "smoothing": Real(0.0, 0.5)})  # smoothing does nothing
    found = search(config(path, epochs=3), Budget(trials=12), space=space)
    assert set(found.importance) == set(space.names)
    assert sum(found.importance.values()) == pytest.approx(1)
    assert found.importance["learning_rate"] > 0.7
    for draw in (draw_history, draw_importance):
        draw(found, tmp_path / f"{draw.__name__}.png")
        assert (tmp_path / f"{draw.__name__}.png").read_bytes()[:4] == b"\x89PNG"
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    with pytest.raises(InputError, match="four"):
        draw_importance(replace(found, importance={}), tmp_path / "none.png")
    assert importances(optuna.create_study(), space) == {}


def test_tables_that_another_process_makes_meanwhile_are_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = study_module._storage
    calls = []

    def late(url: str, heartbeat_seconds: int) -> Any:
        calls.append(url)
        if len(calls) == 1:
            raise OperationalError("CREATE TABLE trials", {}, Exception("table trials already exists"))
        return make(url, heartbeat_seconds)

    monkeypatch.setattr(study_module, "_storage", late)
    assert study_module.open_storage(f"sqlite:///{tmp_path}/study.db") is not None
    assert len(calls) == 2


def test_of_two_trials_begun_at_once_the_budget_takes_one() -> None:
    study = optuna.create_study(direction="maximize")
    budget = Budget(epochs=4)
    for _ in range(2):
        assert budget.allows([], 4, 0.0)
    study.ask(), study.ask()
    trials = study.get_trials()
    assert [t.state for t in trials] == [TrialState.RUNNING] * 2
    assert [budget.overrun(trials, t.number, 4) for t in trials] == [False, True]
