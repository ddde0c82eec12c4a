"""`torchweld search` in processes of its own, on one study."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from .quick import config

EPOCHS, TRIALS = 24, 5


def words(folder: Path, table: Path, url: str) -> list[str]:
    """The command that every worker is given."""
    settings = folder / "config.json"
    settings.write_text(json.dumps(config(table, epochs=EPOCHS).to_dict()), encoding="utf-8")
    return [sys.executable, "-m", "torchweld.cli", "search", "--config", str(settings), "--budget",
            str(EPOCHS * TRIALS), "--space", "learning_rate=1e-4:1e-1:log", "--only", "--no-prune",
            "--population", "2", "--heartbeat", "1",
            "--storage", url]  # fmt: skip


def begin(command: list[str], out: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([*command, "--out", str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env=environment)  # fmt: skip


def end(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What a worker printed; one that hangs is ended."""
    try:
        return process.communicate(timeout=120)
    finally:
        process.kill()


def killed_at_work(process: subprocess.Popen[str], url: str) -> int:
    """Ends the process by SIGKILL while it trains, and returns the number of the trial."""
    deadline = time.time() + 120
    study = None
    while time.time() < deadline:
        assert process.poll() is None, process.communicate()
        study = study or opened(url)
        own = [
            t
            for t in (study.get_trials() if study else [])
            if t.user_attrs.get("worker", "").endswith(f":{process.pid}")
        ]
        busy = [t for t in own if t.state == TrialState.RUNNING and 1 <= len(t.intermediate_values) <= EPOCHS // 2]
        if busy:
            process.send_signal(signal.SIGKILL)
            process.wait()
            return busy[0].number
        time.sleep(0.02)
    raise AssertionError("the worker never trained")


def opened(url: str) -> optuna.Study | None:
    """The study, None before it is there."""
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists():
        return None
    # Connections are closed after use: one that is kept for each look would soon be one too many for the server.
    try:
        storage = RDBStorage(url, {"poolclass": NullPool}, skip_compatibility_check=True, skip_table_creation=True)
        return optuna.load_study(study_name="search", storage=storage)
    except (KeyError, StorageInternalError, SQLAlchemyError):  # the study, or the tables, are not there yet
        return None


def assert_none_lost(url: str, dead: int, out: Path) -> None:
    """The dead trial is repeated once, with its own point; every other counts once; the budget is spent."""
    study = opened(url)
    assert study is not None
    found = study.get_trials()
    by_number = {t.number: t for t in found}
    assert {t.state for t in found} == {TrialState.COMPLETE, TrialState.FAIL}
    repeating = [t for t in found if dead in t.system_attrs.get("retry_history", [])]
    assert len(repeating) == 1
    assert repeating[0].params == by_number[dead].params
    assert by_number[dead].state == TrialState.FAIL
    complete = [t for t in found if t.state == TrialState.COMPLETE]
    assert len(complete) == TRIALS
    assert all(len(t.intermediate_values) == EPOCHS for t in complete)
    assert len({t.params["learning_rate"] for t in complete}) == TRIALS
    never_run = [t for t in found if t.state == TrialState.FAIL and t.number != dead]
    assert all("withdrawn" in t.user_attrs for t in never_run)
    result: dict[str, Any] = json.loads((out / "search.json").read_text(encoding="utf-8"))
    assert result["epochs"] == EPOCHS * TRIALS
    assert len(result["trials"]) == TRIALS
    assert result["lost_epochs"] == len(by_number[dead].intermediate_values) > 0
    assert result["best"]["score"] == max(t["score"] for t in result["trials"])
