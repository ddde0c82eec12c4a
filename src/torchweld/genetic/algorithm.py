"""The genetic algorithm: select, cross, mutate, evaluate, keep the best; maximises (Houck, Joines & Kay 1995)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from torchweld.genetic.encodings import Encoding, encoding_of
from torchweld.genetic.evaluation import Evaluation
from torchweld.genetic.failures import EvaluationFailed, Interrupted
from torchweld.genetic.genes import Bounds
from torchweld.genetic.memory import Memory
from torchweld.genetic.one_by_one import OneByOne
from torchweld.genetic.operators import default_crossovers, default_mutations
from torchweld.genetic.options import Options
from torchweld.genetic.polish import Polish
from torchweld.genetic.population import Population
from torchweld.genetic.result import Result
from torchweld.genetic.run import Plan, Run
from torchweld.genetic.selection import norm_geometric
from torchweld.genetic.setting import Operator
from torchweld.genetic.state import State, save_state
from torchweld.genetic.termination import Terminate

Evaluate = Callable[[Tensor], Any] | OneByOne
Callback = Callable[[State], object]


def initialize(
    size: int,
    bounds: Bounds,
    evaluate: Evaluate,
    encoding: str = "float",
    precision: float | Sequence[float] = 1e-6,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    device: str = "cpu",
) -> Population:
    """`size` random individuals within the bounds, evaluated: a start for `ga`. Arguments as there.

    >>> len(initialize(5, [(0, 1), (2, 3)], lambda x: x.sum(1)))
    5
    """
    generator = torch.Generator(device).manual_seed(seed)
    coded = encoding_of(bounds, encoding, precision=precision, dtype=dtype, device=device)
    return Evaluation(evaluate, coded)(coded.random(size, generator))


def ga(
    bounds: Bounds,
    evaluate: Evaluate,
    *,
    start: State | Population | Tensor | None = None,
    options: Options | None = None,
    terminate: Terminate | None = None,
    select: Callable[..., Tensor] | Operator = norm_geometric,
    crossovers: Sequence[Operator] | None = None,
    mutations: Sequence[Operator] | None = None,
    polish: Polish | None = None,
    seed: int = 0,
    save: str | os.PathLike[str] | None = None,
    callbacks: Sequence[Callback] = (),
) -> Result:
    """Maximise `evaluate` within `bounds`.

    `bounds`: (low, high) pairs, genes (`Real`, `Integer`, `Category`), a mapping of names to either, a tensor (n, 2),
    or the length of a permutation. `evaluate`: solutions (N, n) to fitness (N,), a pair with repaired solutions, or
    an `Evaluated` with constraint violations; or `OneByOne(function)`. `start`: solutions (K, n) or a `Population`
    (filled up at random, cut to the best), or a `State` of a run to go on with, which then continues exactly as if
    it had not stopped. `crossovers`, `mutations`: rows made by `apply`; None takes GAOT's, scaled to the population.
    `save`: a file that holds the state after every generation. `callbacks` are handed that state.

    Raises `InputError` on arguments that cannot be used, `EvaluationFailed` and `Interrupted` (Ctrl-C) with the
    state of the last whole generation.

    >>> found = ga([(0, 9)], lambda x: (x + 10 * (5 * x).sin() + 7 * (4 * x).cos()).squeeze(1), seed=1)
    >>> round(found.best.fitness, 3), round(found.best.solution.item(), 3)
    (24.855, 7.857)
    """
    options = options or Options()
    terminate = terminate or Terminate()
    kind = options.encoding or ("permutation" if isinstance(bounds, int) else "float")
    encoding = encoding_of(
        bounds,
        kind,
        precision=options.precision,
        dtype=options.dtype,
        device=options.device,
        compat=options.compat,
    )
    scale = 80 if options.compat == "gaot" else options.population
    plan = Plan(
        encoding,
        options,
        terminate,
        select if isinstance(select, Operator) else Operator(select, times=1),
        tuple(default_crossovers(kind, scale) if crossovers is None else crossovers),
        tuple(default_mutations(kind, scale) if mutations is None else mutations),
        polish,
    )
    memory = Memory() if _remembers(options, encoding, evaluate) else None
    evaluation = Evaluation(evaluate, encoding, on_failure=options.on_failure, memory=memory)
    run = Run(plan, evaluation, seed)
    try:
        run.begin(start)
        run.report(save, callbacks)
        while (reason := run.finished()) is None:
            run.step()
            run.report(save, callbacks)
    except (EvaluationFailed, KeyboardInterrupt) as error:
        state = run.state()
        if save is not None:
            save_state(state, save)
        if isinstance(error, EvaluationFailed):
            error.state = state
            raise
        interrupted = Interrupted("the run was interrupted")
        interrupted.state = state
        raise interrupted from error
    return run.result(reason)


def _remembers(options: Options, encoding: Encoding, evaluate: Evaluate) -> bool:
    if options.remember is not None:
        return options.remember
    return isinstance(evaluate, OneByOne) or not getattr(encoding, "plain", False)
