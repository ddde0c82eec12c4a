"""Evaluation: batched, one by one, in processes, on a cluster: equal runs; whatever fails is told or penalised."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest
import torch
from tests.genetic.individuals import BOX, KillsAlways, KillsOnce, OutOfRange, bowl, bowls, raising, undefined
from torch import Tensor

from torchweld.core import InputError
from torchweld.genetic import (
    Category,
    Evaluated,
    EvaluationFailed,
    Integer,
    Interrupted,
    OneByOne,
    Options,
    Result,
    Terminate,
    ga,
    load_state,
)

SHORT = Terminate(generations=4)
SMALL = Options(population=12)


def facts(found: Result) -> dict:
    told = found.to_dict()
    return {
        name: told[name]
        for name in told
        if name not in ("seconds", "evaluations", "evaluations_with_gradients", "trace")
    } | {"trace": found.trace[:, :4].tolist()}


def test_batched_one_by_one_and_processes_are_equal_bit_for_bit() -> None:
    batched = ga(BOX, bowls, options=SMALL, terminate=SHORT, seed=2)
    alone = ga(BOX, OneByOne(bowl), options=SMALL, terminate=SHORT, seed=2)
    processes = ga(BOX, OneByOne(bowl, jobs=2), options=SMALL, terminate=SHORT, seed=2)
    assert facts(batched) == facts(alone) == facts(processes)
    assert alone.evaluations == processes.evaluations


def test_a_dask_cluster_gives_the_same_run() -> None:
    distributed = pytest.importorskip("distributed")
    import joblib

    alone = ga(BOX, OneByOne(bowl), options=SMALL, terminate=SHORT, seed=2)
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        spread = ga(BOX, OneByOne(bowl, jobs=None), options=SMALL, terminate=SHORT, seed=2)
        with pytest.raises(EvaluationFailed, match="no value at"):
            ga(BOX, OneByOne(raising, jobs=None), options=SMALL, terminate=SHORT, seed=2)
    assert facts(spread) == facts(alone)


def test_one_by_one_is_handed_names_and_may_repair_and_constrain() -> None:
    seen = []

    def evaluate(x: dict) -> Evaluated:
        seen.append(x)
        return Evaluated(-abs(x["width"] - 7) - (x["kind"] != "b"), violation=max(0, x["width"] - 20))

    bounds = {"width": Integer(1, 60), "kind": Category(("a", "b", "c"))}
    best = ga(bounds, OneByOne(evaluate), options=Options(population=20), terminate=Terminate(generations=30)).best
    assert best.values == {"width": 7, "kind": "b"}
    assert {type(x["width"]) for x in seen} == {int}
    assert {x["kind"] for x in seen} == {"a", "b", "c"}
    assert len({tuple(x.values()) for x in seen}) == len(seen)

    def repairing(x: Tensor) -> tuple[float, Tensor]:
        return bowl(x.round()), x.round()

    found = ga([(-3, 12), (4, 6)], OneByOne(repairing), options=SMALL, terminate=SHORT)
    assert torch.equal(found.solutions, found.solutions.round())


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_exception_is_chained_and_what_was_finished_is_kept(jobs: int, tmp_path: Path) -> None:
    file = tmp_path / "run.safetensors"
    with pytest.raises(EvaluationFailed, match=r"failed: OutOfRange: no value at") as told:
        ga(BOX, OneByOne(raising, jobs=jobs), options=SMALL, terminate=SHORT, seed=2, save=file)
    assert isinstance(told.value.__cause__, OutOfRange)
    assert isinstance(told.value, InputError)
    kept = load_state(file).memory
    assert kept is not None
    assert len(kept) > 0
    # with the fault mended, the run goes on from there: nothing that was finished is computed again
    mended = ga(BOX, OneByOne(bowl), options=SMALL, terminate=SHORT, start=load_state(file))
    straight = ga(BOX, OneByOne(bowl), options=SMALL, terminate=SHORT, seed=2)
    assert facts(mended) == facts(straight)
    failed = load_state(file).evaluations - len(kept)
    assert mended.evaluations == straight.evaluations + failed


@pytest.mark.parametrize("evaluate", [raising, undefined])
def test_failures_are_penalised_on_request(evaluate: object) -> None:
    options = Options(population=30, on_failure="penalise")
    found = ga(BOX, OneByOne(evaluate), options=options, terminate=SHORT, seed=2)  # type: ignore[arg-type]
    assert found.trace[:, 1:4].isfinite().all()
    failed = found.solutions[:, 0] > 9
    assert (found.population.fitness[failed] == -torch.inf).all()
    assert found.population.fitness[~failed].isfinite().all()

    def batched(x: Tensor) -> Tensor:
        return torch.stack([torch.tensor(evaluate(row), dtype=x.dtype) for row in x])  # type: ignore[operator]

    assert facts(ga(BOX, batched, options=options, terminate=SHORT, seed=2)) == facts(found)


def test_a_batched_evaluation_that_fails_says_what_and_where() -> None:
    def explode(x: Tensor) -> Tensor:
        raise OutOfRange("too hot")

    with pytest.raises(EvaluationFailed, match="80 individuals raised OutOfRange: too hot") as told:
        ga(BOX, explode)
    assert isinstance(told.value.__cause__, OutOfRange)
    with pytest.raises(EvaluationFailed, match=r"gave nan at \[.*penalise"):
        ga(BOX, lambda x: torch.where(x[:, 0] > 9, torch.nan, x[:, 1]))
    with pytest.raises(EvaluationFailed, match="gave inf"):
        ga(BOX, lambda x: torch.where(x[:, 0] > 9, torch.inf, x[:, 1]))
    worst = ga(BOX, lambda x: torch.where(x[:, 0] > 9, -torch.inf, x[:, 1]), terminate=SHORT)
    assert worst.trace.isfinite().all()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x: x, "must return 80 numbers"),
        (lambda x: Evaluated(x[:, 0], solutions=x[:5]), "repaired solutions"),
        (lambda x: Evaluated(x[:, 0], violation=-x[:, 1]), "none negative"),
    ],
)
def test_answers_of_the_wrong_shape_are_refused(answer: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ga(BOX, answer)  # type: ignore[arg-type]


def test_a_killed_worker_costs_only_a_second_evaluation(tmp_path: Path) -> None:
    straight = ga(BOX, OneByOne(bowl), options=SMALL, terminate=SHORT, seed=2)
    killed = ga(BOX, OneByOne(KillsOnce(tmp_path, os.getpid()), jobs=2), options=SMALL, terminate=SHORT, seed=2)
    assert (tmp_path / "killed").exists()
    assert facts(killed) == facts(straight)
    assert killed.evaluations == straight.evaluations


def test_an_individual_that_always_kills_its_worker_is_told_or_penalised() -> None:
    deadly = OneByOne(KillsAlways(os.getpid()), jobs=2, retries=0)
    start = torch.tensor([[1.0, 5.0], [2.0, 4.5], [10.0, 5.5]], dtype=torch.float64)
    limit = Terminate(generations=0)
    found = ga(BOX, deadly, start=start, options=Options(population=3, on_failure="penalise"), terminate=limit)
    failed = found.solutions[:, 0] > 9
    assert failed.sum() == 1
    assert torch.equal(found.population.fitness == -torch.inf, failed)
    assert torch.equal(found.population.fitness[~failed], bowls(found.solutions[~failed]))
    with pytest.raises(EvaluationFailed, match="worker process died each time"):
        ga(BOX, deadly, start=start[2:].expand(3, 2), options=Options(population=3), terminate=limit)


def test_an_interrupt_saves_the_last_generation_and_what_was_finished(tmp_path: Path) -> None:
    file, count = tmp_path / "run.safetensors", [0]

    def interrupted(x: Tensor) -> float:
        count[0] += 1
        if count[0] == 26:
            raise KeyboardInterrupt
        return bowl(x)

    with pytest.raises(KeyboardInterrupt) as told:
        ga(BOX, OneByOne(interrupted), options=SMALL, terminate=SHORT, seed=2, save=file)
    assert isinstance(told.value, Interrupted)
    state = load_state(file)
    assert state.generation >= 1
    assert state.evaluations == 25
    straight = ga(BOX, OneByOne(bowl), options=SMALL, terminate=SHORT, seed=2)
    for start in (state, told.value.state):
        resumed = ga(BOX, OneByOne(bowl), options=SMALL, terminate=SHORT, start=start)
        assert facts(resumed) == facts(straight)
        assert resumed.evaluations == straight.evaluations


def test_ctrl_c_during_process_evaluation_leaves_a_state(tmp_path: Path) -> None:
    file = tmp_path / "run.safetensors"
    main, over = threading.get_ident(), threading.Event()

    def press_ctrl_c() -> None:
        while not file.exists() and not over.wait(0.05):
            pass
        if not over.is_set():
            signal.pthread_kill(main, signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a parallel test runner's workers ignore it
    threading.Thread(target=press_ctrl_c, daemon=True).start()
    endless = Terminate(generations=None, seconds=60)
    try:
        with pytest.raises(Interrupted) as told:
            ga(BOX, OneByOne(bowl, jobs=2), options=SMALL, terminate=endless, seed=2, save=file)
    finally:
        over.set()
        signal.signal(signal.SIGINT, before)
    assert told.value.state is not None
    assert load_state(file).generation == told.value.state.generation >= 0
    again = Terminate(generations=told.value.state.generation + 2)
    resumed = ga(BOX, OneByOne(bowl), options=SMALL, terminate=again, start=load_state(file))
    assert resumed.generations == told.value.state.generation + 2


def test_jobs_retries_and_answers_are_checked() -> None:
    with pytest.raises(InputError, match="must return a number, not None"):
        ga(BOX, OneByOne(lambda x: None))
    for wrong in ({"jobs": 0}, {"retries": -1}):
        with pytest.raises(InputError):
            OneByOne(bowl, **wrong)


class Unsendable:
    """Pickles, but cannot be unpickled."""

    def __call__(self, x: Tensor) -> float:
        return bowl(x)

    def __reduce__(self) -> tuple:
        return int, ("not a number",)


def test_an_evaluation_that_workers_cannot_load_is_told_at_once() -> None:
    with pytest.raises(InputError, match="cannot be sent to worker processes"):
        ga(BOX, OneByOne(Unsendable(), jobs=2), options=SMALL, terminate=SHORT)
