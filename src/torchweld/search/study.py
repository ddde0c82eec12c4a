"""A study in its storage: made or gone on with, its dead workers' trials put in the queue again.

Every process, on any machine, that opens the same storage under the same name works on the same study.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Mapping
from typing import Any

import optuna
from optuna import Study
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage, RetryHeartbeatStaleTrialCallback, _CachedStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError, SQLAlchemyError

from torchweld.core import InputError

_ABOUT = "torchweld"  # the user attribute that says what the study searches
_RETRIES = 3  # of a trial whose worker dies, before it is taken for what kills it
_ATTEMPTS = 5  # to make the tables, which another process may be making


def open_storage(url: str | None, heartbeat_seconds: int = 15) -> BaseStorage:
    """The storage at an SQLAlchemy URL; None keeps the study in memory.

    A running trial shows a sign of life every `heartbeat_seconds`; after twice as long without one its worker counts as
    dead. Raises `InputError` for a URL that cannot be used, or a server that does not answer.
    """
    if url is None:
        return InMemoryStorage()
    if heartbeat_seconds < 1:
        raise InputError(f"heartbeat_seconds={heartbeat_seconds} must be at least 1")
    for attempt in range(_ATTEMPTS):
        try:
            return _storage(url, heartbeat_seconds)
        except (ArgumentError, NoSuchModuleError) as error:
            raise _no_address(url, error) from None
        except ImportError as error:
            raise InputError(f"--storage {shown(url)}: {_first_line(error)}: pip install 'torchweld[search]'") from None
        except (SQLAlchemyError, StorageInternalError, RuntimeError) as error:
            # SQLite calls it operational, too, when another process has just made the tables.
            unreachable = isinstance(error, OperationalError) and "already exists" not in str(error)
            if unreachable or attempt + 1 == _ATTEMPTS:
                raise InputError(
                    f"--storage {shown(url)} cannot be opened ({_first_line(error)}); check the path, or that the "
                    "server runs and lets you in"
                ) from None
            time.sleep(0.2 * (attempt + 1))
    raise AssertionError("unreachable")


def _storage(url: str, heartbeat_seconds: int) -> RDBStorage:
    address = make_url(url)
    if address.drivername in ("postgresql", "postgres"):
        address = address.set(drivername="postgresql+psycopg")
    options: dict[str, Any] = {}
    if address.get_backend_name() == "sqlite":
        options = {"connect_args": {"timeout": 60}}  # seconds to wait while another process writes
    else:
        options = {"pool_pre_ping": True}  # a connection that broke meanwhile is made anew
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return RDBStorage(
            address.render_as_string(hide_password=False),
            engine_kwargs=options,
            heartbeat_interval=heartbeat_seconds,
            grace_period=2 * heartbeat_seconds,
            heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=_RETRIES),
        )


def shown(url: str | None) -> str:
    """The URL without its password. Raises `InputError` if it is none.

    >>> shown("postgresql://me:secret@host/db")
    'postgresql://me:***@host/db'
    """
    if url is None:
        return "memory"
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError as error:
        raise _no_address(url, error) from None


def _no_address(url: str, error: Exception) -> InputError:
    return InputError(
        f"--storage {url!r} is no database URL ({_first_line(error)}); write sqlite:///FILE.db or "
        "postgresql://USER@HOST/DATABASE"
    )


def open_study(
    storage: BaseStorage,
    name: str,
    about: Mapping[str, Any],
    sampler: BaseSampler,
    pruner: BasePruner,
) -> Study:
    """The study of that name, made if it is not there. Raises `InputError` if it searches something else.

    `about` is what the study is of, in plain values: it is kept with it, and must agree when it is gone on with.
    """
    study = optuna.create_study(
        storage=storage, study_name=name, sampler=sampler, pruner=pruner, direction="maximize", load_if_exists=True
    )
    mine = json.loads(json.dumps(about))
    there = study.user_attrs.get(_ABOUT)
    if there is None:
        if study.get_trials(deepcopy=False):
            raise InputError(f"study {name!r} was not made by torchweld search; choose another --study")
        study.set_user_attr(_ABOUT, mine)
    elif there != mine:
        path, old, new = _difference(there, mine)
        raise InputError(
            f"study {name!r} is another search: its {path} is {old}, not {new}; give what it was begun with, or "
            "choose another --study"
        )
    return study


class Sweep:
    """Closes trials whose worker gives no sign of life, and queues them again as new ones; to be called now and then.

    A worker that dies before its trial's first sign of life would leave one that Optuna never takes for stale. So a
    trial that has been running before our eyes for longer than `grace_seconds` is given one sign by us: a living worker
    goes on with its own, a dead one's trial is stale when that has aged.
    """

    def __init__(self, study: Study, grace_seconds: float) -> None:
        self.study, self.grace_seconds = study, grace_seconds
        self.seen: dict[int, float] = {}
        self.marked: set[int] = set()

    def __call__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            optuna.storages.fail_stale_trials(self.study)
        storage = self.study._storage
        if not isinstance(storage, RDBStorage | _CachedStorage):
            return
        now = time.monotonic()
        for trial in running(self.study):
            first = self.seen.setdefault(trial.number, now)
            if now - first > self.grace_seconds and trial.number not in self.marked:
                storage.record_heartbeat(trial._trial_id)
                self.marked.add(trial.number)


def queue_again(study: Study, number: int) -> None:
    """An interrupted trial is queued again, as a dead worker's is."""
    trial = next(t for t in study.get_trials() if t.number == number)
    if trial.state == TrialState.FAIL:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            RetryHeartbeatStaleTrialCallback()(study, trial)


def running(study: Study) -> list[FrozenTrial]:
    """Trials that some process works on, or died over."""
    return study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


def waiting(study: Study) -> list[FrozenTrial]:
    """Trials in the queue."""
    return study.get_trials(deepcopy=False, states=(TrialState.WAITING,))


def _difference(one: Any, other: Any, path: str = "") -> tuple[str, Any, Any]:
    """Where two different trees first differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in [*one, *(n for n in other if n not in one)]:
            if one.get(name) != other.get(name):
                return _difference(one.get(name), other.get(name), f"{path}.{name}" if path else str(name))
    return path, one, other


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")
