"""The demo, end to end: it writes what it says, the written model is the trained one, and a poor run fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from torchweld import data, models
from torchweld.cli import main
from torchweld.deploy import load_weights, read_program
from torchweld.deploy.stages import StageSetting, time_stages
from torchweld.training import evaluate

FILES = ["fused.pt2", "report.html", "report.json", "weights.safetensors"]


@pytest.fixture(autouse=True)
def _short_timings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "torchweld.cli.demo.time_stages", lambda: time_stages((StageSetting(8, 14),), budget_seconds=0.01, threads=1)
    )


def test_the_demo_trains_welds_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "runs" / "demo"
    assert main(["demo", "--out", str(out)]) == 0
    shown = capsys.readouterr()
    assert sorted(p.name for p in out.iterdir()) == FILES
    assert str(out / "report.html") in shown.out
    for part in ("three stages", "certificate", "native ms", "held-out digits right"):
        assert part in shown.out
    assert "epoch" in shown.err
    report = json.loads((out / "report.json").read_text())
    assert report["training"]["history"][-1]["held_out_accuracy"] >= 0.97
    assert report["fused_held_out_accuracy"] >= 0.97
    assert (report["fusion"]["after"]["convs"], report["fusion"]["after"]["norms"]) == (5, 0)

    splits = data.read("digits", holdout=0.2, seed=0)
    trained = models.create(report["training"]["config"]["model"], classes=10, channels=1).eval()
    load_weights(trained, out / "weights.safetensors")
    scores = evaluate(trained, splits.held_out, splits)
    best = report["training"]["history"][report["training"]["best_epoch"] - 1]
    assert scores.accuracy == best["held_out_accuracy"] == report["fused_held_out_accuracy"]
    images = splits.scale.normalised(torch.from_numpy(splits.held_out.inputs))
    fused = read_program(out / "fused.pt2", trust=True)
    torch.testing.assert_close(fused(images), trained(images), rtol=1e-4, atol=1e-4)
    assert scores.loss < 0.2


def test_a_demo_that_learns_too_little_fails_with_its_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--out", str(tmp_path), "--epochs", "1", "--json"]) == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out)["training"]["config"]["epochs"] == 1
    assert "97%" in shown.err.splitlines()[-1]
    assert sorted(p.name for p in tmp_path.iterdir()) == FILES


def test_a_folder_that_cannot_be_made_is_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("torchweld.cli.demo.time_stages", lambda: pytest.fail("began to work"))
    assert main(["demo", "--out", str(tmp_path / "file")]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert str(tmp_path / "file") in shown.err
