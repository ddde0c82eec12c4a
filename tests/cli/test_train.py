"""`torchweld train` as a user meets it: pictures, files, a resume, and a line for what is wrong."""

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
from PIL import Image
from safetensors.torch import load_file

from torchweld.cli import main
from torchweld.training import load_run

QUICK = ["--set", "epochs=2", "--set", "warmup_epochs=0.5", "--set", "threads=1", "--set", "dtype=float32",
         "--set", "channels_last=false"]  # fmt: skip
FILES = [
    "checkpoints",
    "config.json",
    "metrics.jsonl",
    "model.safetensors",
    "predictions.png",
    "result.json",
    "tensorboard",
]


def test_a_run_writes_what_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert main(["train", "digits", *QUICK, "--out", str(out)]) == 0
    shown = capsys.readouterr()
    assert sorted(p.name for p in out.iterdir()) == FILES
    for name in ("model.safetensors", "predictions.png", "held out", "tensorboard --logdir"):
        assert name in shown.out
    assert "epoch 2/2" in shown.err
    result = json.loads((out / "result.json").read_text())
    assert result["history"][-1]["held_out_accuracy"] > 0.8
    assert sum(v.numel() for v in load_file(out / "model.safetensors").values()) >= result["parameters"]
    assert main(["train", "digits", "--out", str(out)]) == 2
    assert "--resume" in capsys.readouterr().err


@pytest.mark.parametrize("settings", [[], ["model=plain_cnn", "expand=rep", "dropout=0.1"]], ids=str)
def test_a_run_can_be_welded_as_it_lies(
    settings: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word for setting in settings for word in ("--set", setting)]
    assert main(["train", "digits", *QUICK, *words, "--out", str(tmp_path / "run"), "--json"]) == 0
    capsys.readouterr()
    assert main(["fuse", str(tmp_path / "run"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["after"]["norms"] == 0 < report["before"]["norms"]
    assert report["after"]["convs"] < report["before"]["convs"]
    model, example = load_run(tmp_path / "run")
    assert not model.training
    assert example.shape == (1, 1, 8, 8)
    (tmp_path / "run" / "result.json").unlink()
    assert main(["fuse", str(tmp_path / "run")]) == 2
    assert "--resume" in capsys.readouterr().err


def test_a_run_is_welded_with_its_views_or_without(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(tmp_path / "run")
    assert main(["train", "digits", *QUICK, "--set", 'views=["flip", "shift"]', "--out", run]) == 0
    capsys.readouterr()
    flops = []
    for words in ([], ["--one-view"]):
        assert main(["fuse", run, *words, "--json"]) == 0
        flops.append(json.loads(capsys.readouterr().out)["after"]["flops"])
    assert flops[0] == 6 * flops[1]
    assert main(["fuse", "torch.nn:Identity", "--input", "1x1", "--one-view"]) == 2
    assert "torch.nn:Identity is none; leave it out" in capsys.readouterr().err
    assert main(["train", "digits", *QUICK, "--set", "views=mirror", "--out", str(tmp_path / "other")]) == 2
    assert "known are flip, flip_vertical, turn, shift" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_the_config_of_a_run_repeats_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(["train", "digits", *QUICK, "--out", str(first), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert main(["train", "--config", str(first / "config.json"), "--out", str(second)]) == 0
    assert (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()
    assert told["config"]["epochs"] == 2


def _fields(folder: Path, count: int, seed: int) -> None:
    """Images whose left part, brighter, is the field."""
    random = np.random.default_rng(seed)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for i in range(count):
        edge = int(random.integers(8, 24))
        image = random.integers(0, 90, (32, 32, 3))
        image[:, :edge] += 120
        mask = np.zeros((32, 32), np.uint8)
        mask[:, :edge] = 255
        Image.fromarray(image.astype(np.uint8)).save(folder / "images" / f"tile.{i}.png")
        Image.fromarray(mask).save(folder / "masks" / f"tile.{i}_mask.png")


def test_masks_are_learnt_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _fields(tmp_path / "train", 24, 0)
    _fields(tmp_path / "test", 6, 1)
    settings = [*QUICK, "--set", "epochs=12", "--set", "model=unet_branched_nano"]
    where = ["--val", str(tmp_path / "test"), "--out", str(tmp_path / "run")]
    command = ["train", str(tmp_path / "train"), *where, *settings, "--json"]
    assert main(command) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["data"]["task"] == "segment"
    assert result["test"]["named"] == "IoU"
    assert result["test"]["score"] > 0.9
    assert result["test"]["samples"] == 6
    # The test part is scored once, after the epoch was chosen on a part of the training data.
    assert all(record["score"] is not None for record in result["history"])
    assert (tmp_path / "run" / "predictions.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], "digits"),
        (["no/such/folder"], "no/such/folder"),
        (["digits", "--recipe", "no_such"], "no_such"),
        (["digits", "--set", "epochs"], "key=value"),
        (["digits", "--set", "lerning_rate=1"], "learning_rate"),
        (["digits", "--task", "segmentation"], "segmentation"),
        (["digits", "--config", "missing.json"], "missing.json"),
        (["digits", "--set", "model=resnet81"], "resnet"),
        (["digits", "--set", "trackers=wandb"], "wandb"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(
    words: list[str], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # as if it were not installed
    assert main(["train", *words, "--out", str(tmp_path / "run")]) == 2
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1
    assert named in shown.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("workers", [0, 2])
def test_ctrl_c_saves_and_says_how_to_go_on(workers: int, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["train", "digits", *QUICK, "--set", "epochs=500", "--set", f"workers={workers}", "--out", str(out)]
    # A parallel test runner ignores SIGINT, and its children inherit that.
    restored = (
        "import os, signal, sys; signal.signal(2, signal.default_int_handler); os.execv(sys.argv[1], sys.argv[1:])"
    )
    restore = [sys.executable, "-c", restored, sys.executable, "-m", "torchweld.cli", *words]
    process = subprocess.Popen(
        restore, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.time() + 120
    while len(list((out / "checkpoints").glob("step-*"))) < 2:
        assert process.poll() is None, process.communicate()
        assert time.time() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers, too
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130
    assert f"torchweld train --out {out} --resume" in error
    assert "Traceback" not in error
    assert not (out / "result.json").exists()
