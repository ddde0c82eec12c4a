"""Evaluation of one individual at a time, in this process or through joblib, on one machine or many.

Randomness is drawn by the algorithm, never here, so where an evaluation runs cannot change the result.
"""

from __future__ import annotations

import pickle
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from torchweld.core import InputError


@dataclass(frozen=True)
class Failure:
    """An evaluation that gave no value: why, in one line, the exception if it can travel, and its traceback."""

    reason: str
    cause: Exception | None = None
    trace: str = ""


@dataclass(frozen=True)
class OneByOne:
    """`function` of one individual, for `ga(bounds, OneByOne(function, jobs=4))`.

    The function takes a 1-D tensor (a tuple for mixed genes, a dict where the bounds are named) and returns its
    fitness, `(fitness, repaired solution)` or an `Evaluated`. `jobs=1` stays in this process; any other number uses
    joblib's processes, `jobs=None` whatever `joblib.parallel_config` says, Dask and Ray clusters included.

    When a worker process dies, joblib gives up on all that were under way: the missing ones are evaluated again,
    `retries` times together and then each alone, so that only an individual which kills its worker each time fails.
    """

    function: Callable[[Any], Any]
    jobs: int | None = 1
    retries: int = 1

    def __post_init__(self) -> None:
        if self.jobs == 0 or self.retries < 0:
            raise InputError(f"jobs must not be 0 and retries not negative: {self.jobs}, {self.retries}")

    def each(self, values: Sequence[Any], outcomes: dict[int, Any]) -> None:
        """Fill `outcomes` with what the function returned, or a `Failure`, by position.

        Results are filled in as they come: an interrupt leaves the finished ones.
        """
        if self.jobs == 1:
            for place, value in enumerate(values):
                outcomes[place] = _attempt(self.function, value)
            return
        for _ in range(1 + self.retries):
            if self._parallel(values, [i for i in range(len(values)) if i not in outcomes], outcomes):
                return
        for place in [i for i in range(len(values)) if i not in outcomes]:
            if not self._parallel(values, [place], outcomes):
                outcomes[place] = Failure("its worker process died each time (out of memory, or killed)")

    def _parallel(self, values: Sequence[Any], places: list[int], outcomes: dict[int, Any]) -> bool:
        """Evaluate `places`; False where a worker died, with what was finished by then filled in."""
        if not places:
            return True
        try:
            from joblib import Parallel, delayed
        except ImportError as error:
            raise InputError("evaluating in processes needs joblib: pip install 'torchweld[search]'") from error
        # Dask's backend has no generators: it re-runs a dead worker's tasks itself
        streaming = _backend_streams()
        pool = Parallel(n_jobs=self.jobs, **({"return_as": "generator_unordered"} if streaming else {}))
        task = delayed(_placed)
        try:
            finished: Iterable[tuple[int, Any]] = pool(task(self.function, i, values[i]) for i in places)
            for place, outcome in finished:
                outcomes[place] = outcome  # noqa: PERF403 - one at a time, so that an interrupt leaves those that came
        except _worker_losses():
            return False
        except BrokenProcessPool as error:
            raise InputError(
                f"the evaluation cannot be sent to worker processes ({error}): define it in a module that they can "
                "import, or use jobs=1"
            ) from error
        return True


def _placed(function: Callable[[Any], Any], place: int, value: Any) -> tuple[int, Any]:
    return place, _attempt(function, value)


def _attempt(function: Callable[[Any], Any], value: Any) -> Any:
    try:
        return function(value)
    except Exception as error:  # noqa: BLE001 - the user's function may raise anything; it is reported, never lost
        return Failure(f"{type(error).__name__}: {error}", _portable(error), traceback.format_exc())


def _portable(error: Exception) -> Exception | None:
    """The exception itself, where it survives the way between processes."""
    try:
        pickle.loads(pickle.dumps(error))
    except (pickle.PicklingError, TypeError, AttributeError, ValueError, ImportError):
        return None
    return error


def _backend_streams() -> bool:
    from joblib.parallel import get_active_backend

    return bool(get_active_backend()[0].supports_return_generator)


def _worker_losses() -> tuple[type[Exception], ...]:
    """The words of joblib's processes, and of Dask where it is in use, for workers that died."""
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    scheduler = sys.modules.get("distributed.scheduler")
    return (TerminatedWorkerError,) if scheduler is None else (TerminatedWorkerError, scheduler.KilledWorker)
