"""From rows to fitness: decode, look up what is known, evaluate the rest, check every number that comes back.

Letters: N individuals to evaluate, n variables, L columns of a row.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from torchweld.core import InputError
from torchweld.genetic.encodings import Encoding
from torchweld.genetic.failures import EvaluationFailed
from torchweld.genetic.memory import Memory
from torchweld.genetic.one_by_one import Failure, OneByOne
from torchweld.genetic.population import Evaluated, Population


class Evaluation:
    """Evaluates rows, counts what it spends, and remembers if it has a `memory`.

    `on_failure`: "raise" ends the run with `EvaluationFailed`, the exception chained; "penalise" gives -inf.
    """

    def __init__(
        self,
        evaluate: Callable[[Tensor], Any] | OneByOne,
        encoding: Encoding,
        *,
        on_failure: str = "raise",
        memory: Memory | None = None,
    ) -> None:
        if on_failure not in ("raise", "penalise"):
            raise InputError(f"on_failure must be 'raise' or 'penalise', not {on_failure!r}")
        self.evaluate, self.encoding, self.on_failure, self.memory = evaluate, encoding, on_failure, memory
        self.spent = 0
        self.dtype = encoding.low.dtype if encoding.low.is_floating_point() else torch.float64

    def __call__(self, rows: Tensor) -> Population:
        """The rows (N, L), as the evaluation may have repaired them, with fitness (N,) and violation (N,) or None."""
        if not len(rows):
            return Population(rows, torch.empty(0, dtype=self.dtype, device=rows.device))
        solutions = self.encoding.decode(rows)
        if self.memory is None:
            scored = self._compute(solutions)
        else:
            scored = self._recall(solutions, self.memory)
        if scored.solutions is not None:
            same = (scored.solutions == solutions).all(1, keepdim=True)
            rows = torch.where(same, rows, self.encoding.encode(scored.solutions))
        return Population(rows, scored.fitness, scored.violation)

    def _recall(self, solutions: Tensor, memory: Memory) -> Evaluated:
        keys, fresh = memory.unknown(solutions)
        if fresh:

            def keep(done: list[int], scored: Evaluated) -> None:
                memory.add([keys[fresh[i]] for i in done], scored)

            part = solutions[torch.tensor(fresh, device=solutions.device)]
            keep(list(range(len(fresh))), self._compute(part, keep))
        return memory.recall(keys, solutions, self.dtype)

    def _compute(self, solutions: Tensor, keep: Callable[[list[int], Evaluated], None] | None = None) -> Evaluated:
        """Evaluate solutions (N, n). Where that ends early, `keep` gets the places that were finished, and theirs."""
        if isinstance(self.evaluate, OneByOne):
            return self._one_by_one(self.evaluate, solutions, keep)
        try:
            answer = self.evaluate(solutions)
        except Exception as error:
            if self.on_failure == "raise":
                raise EvaluationFailed(
                    f"the evaluation of {len(solutions)} individuals raised {type(error).__name__}: {error}"
                ) from error
            return self._one_by_one(OneByOne(lambda row: self._single(row)), solutions, keep, raw=True)
        self.spent += len(solutions)
        return self._checked(self._read(answer, solutions), solutions)

    def _single(self, row: Tensor) -> Evaluated:
        """One individual through the batched evaluation, for finding out which of a batch raises."""
        read = self._read(self.evaluate(row[None]), row[None])  # type: ignore[operator]
        return Evaluated(*(None if v is None else v[0] for v in (read.fitness, read.solutions, read.violation)))

    def _read(self, answer: Any, solutions: Tensor) -> Evaluated:
        """The answer as tensors of the right shapes; raises `InputError` otherwise."""
        if isinstance(answer, tuple) and len(answer) == 2:
            answer = Evaluated(*answer)
        elif not isinstance(answer, Evaluated):
            answer = Evaluated(answer)
        n = len(solutions)
        fitness = torch.as_tensor(answer.fitness, dtype=self.dtype, device=solutions.device).detach()
        if fitness.shape != (n,):
            raise InputError(f"the evaluation of {n} individuals must return {n} numbers, not {tuple(fitness.shape)}")
        repaired, violation = answer.solutions, answer.violation
        if repaired is not None:
            repaired = torch.as_tensor(repaired, dtype=solutions.dtype, device=solutions.device).detach()
            if repaired.shape != solutions.shape:
                raise InputError(f"repaired solutions must be {tuple(solutions.shape)}, not {tuple(repaired.shape)}")
        if violation is not None:
            violation = torch.as_tensor(violation, dtype=self.dtype, device=solutions.device).detach()
            if violation.shape != (n,) or not bool((violation >= 0).all()):
                raise InputError(f"violation must be {n} numbers, none negative or NaN")
        return Evaluated(fitness, repaired, violation)

    def _checked(self, scored: Evaluated, solutions: Tensor) -> Evaluated:
        """NaN and +inf refused or penalised; -inf is the caller's own penalty and stays."""
        if math.isfinite(float(scored.fitness.sum())):
            return scored
        bad = scored.fitness.isnan() | (scored.fitness == math.inf)
        if not bool(bad.any()):
            return scored
        if self.on_failure == "raise":
            place = int(bad.nonzero()[0])
            raise EvaluationFailed(
                f"the evaluation gave {float(scored.fitness[place])} at {solutions[place].tolist()}: "
                "fitness must be finite (-inf for the worst); on_failure='penalise' goes on without"
            )
        return replace(scored, fitness=torch.where(bad, -math.inf, scored.fitness))

    def _one_by_one(
        self,
        evaluate: OneByOne,
        solutions: Tensor,
        keep: Callable[[list[int], Evaluated], None] | None,
        raw: bool = False,
    ) -> Evaluated:
        outcomes: dict[int, Any] = {}
        values = list(solutions) if raw else [self.encoding.values(s) for s in solutions.cpu()]
        try:
            evaluate.each(values, outcomes)
            self._refuse_failures(outcomes, solutions)
            return self._gather(range(len(solutions)), outcomes, solutions)
        except (KeyboardInterrupt, EvaluationFailed):
            done = sorted(i for i, outcome in outcomes.items() if not isinstance(outcome, Failure))
            done = [i for i in done if math.isfinite(_number(self._individual(outcomes[i]).fitness))]
            if keep is not None and done:
                keep(done, self._gather(done, outcomes, solutions[done]))
            raise
        finally:
            self.spent += len(outcomes)

    def _refuse_failures(self, outcomes: dict[int, Any], solutions: Tensor) -> None:
        failed = [i for i in sorted(outcomes) if isinstance(outcomes[i], Failure)]
        if failed and self.on_failure == "raise":
            failure: Failure = outcomes[failed[0]]
            error = EvaluationFailed(f"the evaluation of {solutions[failed[0]].tolist()} failed: {failure.reason}")
            if failure.trace:
                error.add_note(f"in the evaluation:\n{failure.trace}")
            raise error from failure.cause

    def _gather(self, places: Any, outcomes: dict[int, Any], solutions: Tensor) -> Evaluated:
        each = [self._individual(outcomes[i]) for i in places]
        repaired = violation = None
        if any(e.solutions is not None for e in each):
            repaired = torch.stack(
                [
                    s if e.solutions is None else torch.as_tensor(e.solutions, dtype=s.dtype, device=s.device)
                    for e, s in zip(each, solutions, strict=True)
                ]
            )
        if any(e.violation is not None for e in each):
            violation = [0.0 if e.violation is None else _number(e.violation) for e in each]
        fitness = [_number(e.fitness) for e in each]
        return self._checked(self._read(Evaluated(fitness, repaired, violation), solutions), solutions)

    def _individual(self, outcome: Any) -> Evaluated:
        if isinstance(outcome, Failure):
            return Evaluated(-math.inf)
        if isinstance(outcome, tuple) and len(outcome) == 2:
            return Evaluated(*outcome)
        return outcome if isinstance(outcome, Evaluated) else Evaluated(outcome)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"the evaluation of one individual must return a number, not {value!r}") from error
