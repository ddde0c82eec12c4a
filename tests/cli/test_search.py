"""`torchweld search` as a user meets it: a winner that train takes, a line for what is wrong, Ctrl-C that saves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from torchweld.cli import main

# A tenth of the digits to learn from, two epochs a trial: a trial takes a fifth of a second.
QUICK = ["--set", "model=branched_nano", "--set", "holdout=0.9", "--set", "epochs=2", "--set", "expand=null"]


def test_the_winner_is_a_config_that_train_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "search"
    command = ["search", "digits", "--budget", "10", *QUICK, "--out", str(out)]
    assert main(command) == 0
    shown = capsys.readouterr().out
    files = ["history.png", "importance.png", "search.json", "study.db", "winner.json"]
    assert sorted(p.name for p in out.iterdir()) == files
    for words in ("the winner, trial", "held-out score", "learning_rate", "10 of 10 spent", "winner.json"):
        assert words in shown
    found = json.loads((out / "search.json").read_text())
    assert found["epochs"] == 10
    assert main(["train", "--config", str(out / "winner.json"), "--out", str(tmp_path / "run"), "--json"]) == 0
    run = json.loads(capsys.readouterr().out)
    assert max(record["score"] for record in run["history"]) == found["best"]["score"]
    assert run["config"]["learning_rate"] == found["best"]["values"]["learning_rate"]
    assert run["config"]["trackers"] == ["tensorboard"]
    # The same command again has nothing left to spend, and says the same; with more to spend it goes on.
    assert main([*command, "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["trials"] == found["trials"]
    assert main([*command[:3], "14", *command[4:], "--json"]) == 0
    more = json.loads(capsys.readouterr().out)
    assert more["trials"][: len(found["trials"])] == found["trials"]
    assert more["epochs"] == 14


def test_only_what_is_asked_for_is_searched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--space", "batch_size=16,32", "--space", "learning_rate=0.01:0.2:log", "--only", "--sampler", "random"]
    assert main(["search", "digits", "--trials", "2", *QUICK, *words, "--out", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["trials"]) == 2
    for trial in found["trials"]:
        assert set(trial["values"]) == {"batch_size", "learning_rate"}
        assert trial["values"]["batch_size"] in (16, 32)
        assert 0.01 <= trial["values"]["learning_rate"] <= 0.2


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["digits"], "budget"),
        (["digits", "--budget", "0"], "budget of 0 epochs"),
        (["digits", "--budget", "8", "--set", "epochs=16"], "less than one trial"),
        (["--budget", "8"], "digits"),
        (["no/such/folder", "--budget", "8"], "no/such/folder"),
        (["digits", "--budget", "40", "--space", "lerning_rate=0.1:1"], "learning_rate"),
        (["digits", "--budget", "40", "--space", "learning_rate=1:0.1"], "lower bound"),
        (["digits", "--budget", "40", "--space", "dropout=0:2"], "dropout"),
        (["digits", "--budget", "40", "--only"], "--space"),
        (["digits", "--budget", "40", "--sampler", "annealing"], "annealing"),
        (["digits", "--budget", "40", "--storage", "nonsense"], "database URL"),
        (["digits", "--budget", "40", "--set", "holdout=0"], "holdout"),
    ],
)
def test_what_is_wrong_is_one_line(
    words: list[str], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", *words, "--out", str(tmp_path / "search")]) == 2
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1
    assert named in shown.err
    assert not list(tmp_path.rglob("*.json"))


def test_a_set_of_failures_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--space", "learning_rate=1e28:1e30", "--only", "--on-failure", "raise", "--out", str(tmp_path)]
    assert main(["search", "digits", "--trials", "3", *QUICK, *words]) == 2
    assert "trial 0 failed" in capsys.readouterr().err


def test_ctrl_c_saves_and_the_same_command_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "search"
    random = np.random.default_rng(0)
    rows = np.column_stack([inputs := random.normal(size=(60, 2)), inputs.sum(1)])
    np.savetxt(tmp_path / "table.csv", rows, delimiter=",", header="a,b,y", comments="")
    words = ["search", str(tmp_path / "table.csv"), "--budget", "90000", "--task", "regress",
             "--set", "epochs=10", "--no-prune", "--out", str(out)]  # fmt: skip
    # A parallel test runner ignores SIGINT, and its children inherit that.
    restored = (
        "import os, signal, sys; signal.signal(2, signal.default_int_handler); os.execv(sys.argv[1], sys.argv[1:])"
    )
    command = [sys.executable, "-c", restored, sys.executable, "-u", "-m", "torchweld.cli", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    watchdog = time.time() + 120
    for line in process.stdout:
        assert time.time() < watchdog
        if line.startswith("trial 1 "):
            break
    os.kill(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "give the same command again" in error
    assert "Traceback" not in error
    assert main([*words[:3], "30", *words[4:], "--json"]) == 0
    trials = json.loads((out / "search.json").read_text())["trials"]
    assert sum(trial["repeats"] is not None for trial in trials) <= 1  # none if it was interrupted between two
    assert sum(trial["epochs"] for trial in trials) == 30
    assert {trial["state"] for trial in trials} == {"complete"}
