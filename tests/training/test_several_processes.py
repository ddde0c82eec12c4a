"""Two processes under torchrun train as one: the same weights, nothing dealt twice, only one of them writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from torchweld import data
from torchweld.data import Batches
from torchweld.training import Config, Shelf, resume, train

# Without batch norm, whose statistics are of each process's own samples; unequal shares, and parts of a step.
CONFIG = Config(model="plain_cnn", epochs=2, batch_size=51, accumulate=2, learning_rate=0.02, ema=0.9, threads=1,
                dtype="float32", channels_last=False, trackers=(), smoothing=0.1, save_steps=20,
                data_pruning=0.5)  # fmt: skip
SETTINGS = [
    "model=plain_cnn",
    "epochs=2",
    "batch_size=51",
    "accumulate=2",
    "learning_rate=0.02",
    "ema=0.9",
    "threads=1",
    "dtype=float32",
    "channels_last=false",
    "trackers=[]",
    "smoothing=0.1",
    "save_steps=20",
    "data_pruning=0.5",
    "augmentation.shift_pixels=0",
]


def _under_torchrun(*words: str) -> subprocess.CompletedProcess[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*launcher, "-m", "torchweld.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("together") / "run"
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    done = _under_torchrun("train", "digits", *settings, "--out", str(folder), "--json")
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)  # one object: the second process is silent


def test_the_weights_are_those_of_one_process(together: tuple[Path, dict], tmp_path: Path) -> None:
    folder, result = together
    alone = train(CONFIG, tmp_path / "alone")
    ours = load_file(folder / "model.safetensors")
    for name, value in alone.model.state_dict().items():
        torch.testing.assert_close(ours[name], value, rtol=1e-3, atol=1e-5, msg=name)
    for there, here in zip(result["history"], alone.history, strict=True):
        assert there["train_loss"] == pytest.approx(here.train_loss, rel=1e-4)
        assert there["held_out_loss"] == pytest.approx(here.held_out_loss, rel=1e-3)
        assert there["train_accuracy"] == pytest.approx(here.train_accuracy, abs=0.003)


def test_only_one_process_writes(together: tuple[Path, dict]) -> None:
    folder, _ = together
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 2
    assert not list(folder.rglob(".*"))
    assert Shelf(folder / "checkpoints").latest() is not None


def test_what_two_began_one_goes_on_with(together: tuple[Path, dict]) -> None:
    folder, result = together
    shelf = Shelf(folder / "checkpoints")
    newest, older = shelf.steps()
    newest.unlink()
    run = resume(folder)
    assert older.exists() or newest.exists()
    assert len(run.history) == 2
    assert run.history[-1].held_out_loss == pytest.approx(result["history"][-1]["held_out_loss"], rel=1e-3)


@pytest.mark.parametrize("world", [2, 3])
def test_samples_are_dealt_without_overlap_or_loss(world: int) -> None:
    splits = data.read("digits")
    ranks = [Batches(splits.train, splits, 51, rank=rank, world=world) for rank in range(world)]
    whole = Batches(splits.train, splits, 51)
    for parts in zip(whole.epoch(3), *(rank.epoch(3) for rank in ranks), strict=True):
        all_rows, *dealt = (batch.rows.tolist() for batch in parts)
        assert sorted(row for rows in dealt for row in rows) == sorted(all_rows)
        assert {batch.samples for batch in parts} == {len(all_rows)}


def test_batch_norm_over_processes_is_refused_on_a_cpu() -> None:
    done = _under_torchrun("train", "digits", "--set", "sync_batch_norm=true", "--set", "device=cpu")
    assert done.returncode != 0
    assert "needs GPUs" in done.stderr
