"""Several processes on one study, one of them killed: nothing is lost and nothing counts twice."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

from torchweld.search import Budget, search

from .quick import RATE, config, table
from .workers import assert_none_lost, begin, end, killed_at_work, words


def _program(name: str) -> str | None:
    """A program of the PostgreSQL server, which Debian keeps off the path."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(debian[-1]) if debian else shutil.which(name)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a PostgreSQL server of our own, on a socket in a folder of its own."""
    initdb, control = _program("initdb"), _program("pg_ctl")
    if initdb is None or control is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    as_user: list[str] = []
    folder = Path(tempfile.mkdtemp(prefix="tw-pg-", dir="/tmp"))  # a socket's path must be short
    if os.getuid() == 0:  # the server refuses to run as root
        as_user = ["runuser", "-u", "postgres", "--"]
        shutil.chown(folder, "postgres")
    place = folder / "data"
    options = f"-k {folder} -c listen_addresses='' -c fsync=off -c shared_buffers=16MB"
    try:
        _do([*as_user, initdb, "-D", str(place), "-A", "trust", "-U", "search", "-E", "UTF8", "--no-sync"])
        _do([*as_user, control, "-D", str(place), "-w", "-o", options, "-l", str(folder / "log"), "start"])
        try:
            yield f"postgresql://search@/postgres?host={folder}"
        finally:
            _do([*as_user, control, "-D", str(place), "-w", "-m", "immediate", "stop"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _do(command: list[str]) -> None:
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd="/", check=False)
    assert done.returncode == 0, done.stderr


def test_two_processes_on_postgresql_one_killed(server: str, tmp_path: Path) -> None:
    command = words(tmp_path, table(tmp_path), server)
    first, second = begin(command, tmp_path / "first"), begin(command, tmp_path / "second")
    url = server.replace("postgresql:", "postgresql+psycopg:")
    try:
        dead = killed_at_work(first, url)
        shown, error = end(second)
    finally:
        first.kill()
        second.kill()
    assert second.returncode == 0, error
    assert "lost with dead workers" in " ".join(shown.split())
    assert_none_lost(url, dead, tmp_path / "second")


def test_a_killed_process_on_sqlite_is_gone_on_with(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    command = words(tmp_path, table(tmp_path), url)
    dead = killed_at_work(begin(command, tmp_path / "first"), url)
    again = begin(command, tmp_path / "second")
    _, error = end(again)
    assert again.returncode == 0, error
    assert_none_lost(url, dead, tmp_path / "second")


def test_a_trial_whose_worker_died_at_its_first_breath_is_repeated(tmp_path: Path) -> None:
    """Before the first sign of life: to Optuna such a trial runs for ever."""
    url, start = f"sqlite:///{tmp_path}/study.db", config(table(tmp_path))
    settings: dict[str, Any] = {"space": RATE, "prune": False, "storage": url, "heartbeat_seconds": 1}
    search(start, Budget(epochs=4), **settings)
    study = optuna.load_study(study_name="search", storage=url)
    lost = study.ask().number
    found = search(start, Budget(epochs=8), **settings)
    assert [t.repeats for t in found.trials if t.repeats is not None] == [lost]
    assert (found.epochs, found.lost_epochs, found.count("complete")) == (8, 0, 4)
